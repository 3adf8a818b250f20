"""Addresses of devices as people type them: `device`, `user@device`, `user@device:2222`, `user@[::1]:2222`."""

from __future__ import annotations

import dataclasses
import re

from edgetl_runtime.errors import UsageError

# a leading dash would be read by ssh as an option
_FORM = re.compile(
    r"(?:(?P<user>[A-Za-z0-9_][\w.-]*)@)?(?:\[(?P<ipv6>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[A-Za-z0-9_][\w.-]*))(?::(?P<port>\d{1,5}))?"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where a device is.

    Attributes:
        host: Name, address or `Host` of the user's ssh configuration.
        user: Login name; None leaves it to the ssh configuration.
        port: None leaves it to the ssh configuration.
    """

    host: str
    user: str | None = None
    port: int | None = None

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.destination.removesuffix(self.host)}{host}" + (f":{self.port}" if self.port else "")

    @property
    def destination(self) -> str:
        """Return `user@host` as ssh takes it, the port apart."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def known_as(self) -> str:
        """Return the name under which known_hosts files list the host."""
        return self.host if self.port in (None, 22) else f"[{self.host}]:{self.port}"


def parse(text: str) -> Address:
    """Read an address.

    Args:
        text: `[user@]host[:port]`; an IPv6 address stands in brackets.

    Raises:
        UsageError: It is not of that form; nothing that ssh would take for an option passes.

    Example:
        >>> parse("ops@station-3:2222")
        Address(host='station-3', user='ops', port=2222)
    """
    match = _FORM.fullmatch(text)
    port = int(match["port"]) if match and match["port"] else None
    if not match or (port is not None and not 0 < port < 65536):
        raise UsageError("--host", "[user@]host[:port]", f"'{text:.80}'", fix="--host user@station")
    return Address(host=match["ipv6"] or match["host"], user=match["user"], port=port)
