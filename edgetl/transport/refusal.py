"""What ssh's words mean, as one table: its exit code is 255 whatever went wrong."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from edgetl.errors import ConnectionLostError, HostKeyError, HostUnreachableError, LoginError, TransportError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.transport.address import Address


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One way for ssh to fail.

    Attributes:
        words: Found in what ssh prints; its first group, where there is one, is what we got.
        error: Class of the error.
        what: The thing that is wrong; `{device}` stands for the address.
        must: What it must be.
        fix: What to try; `{device}`, `{login}`, `{port}` and `{known_as}` are filled in.
        got: Said instead of ssh's words.
    """

    words: re.Pattern[str]
    error: type[TransportError]
    what: str
    must: str
    fix: str
    got: str | None = None


_DEVICE = "the device {device}"
_HOST_KEY = "the host key of {device}"
# the first that matches counts: a changed key is also "Host key verification failed"
TABLE = (
    Refusal(
        words=re.compile(
            r"HOST IDENTIFICATION HAS CHANGED.*?(?:The fingerprint for the (.+?) sent by.*? is\s+(\S+)\.)", re.DOTALL
        ),
        error=HostKeyError,
        what=_HOST_KEY,
        must="the one known here",
        got="another, {0} {1}: the device was set up anew, or someone is in between",
        fix="ssh-keygen -R '{known_as}' && ssh{port} {login}   # only if who set the device up confirms the new key",
    ),
    Refusal(
        words=re.compile(r"host key .*revoked|REVOKED HOST KEY", re.IGNORECASE),
        error=HostKeyError,
        what=_HOST_KEY,
        must="trusted",
        got="a revoked one",
        fix="ask who set the device up; do not connect",
    ),
    Refusal(
        words=re.compile(r"No (\S+) host key is known|Host key verification failed|authenticity of host"),
        error=HostKeyError,
        what=_HOST_KEY,
        must="known here",
        got="an unknown one",
        fix="ssh{port} {login}   # once, and compare the fingerprint; or --accept-new-host-key in a network you trust",
    ),
    Refusal(
        words=re.compile(r"Permission denied \(([^)]*)\)|Too many authentication failures"),
        error=LoginError,
        what="the login at {device}",
        must="allowed without typing a password",
        got="permission denied",
        fix="ssh-copy-id{port} {login}",
    ),
    Refusal(
        words=re.compile(r"UNPROTECTED PRIVATE KEY FILE|Load key \"([^\"]+)\""),
        error=LoginError,
        what="the private key for {device}",
        must="readable by ssh, and by you alone",
        fix="chmod 600 the key file",
    ),
    Refusal(
        words=re.compile(r"Could not resolve hostname [^:]*: (.+)"),
        error=HostUnreachableError,
        what=_DEVICE,
        must="a known name or address",
        fix="check the name, or add it to /etc/hosts or ~/.ssh/config",
    ),
    Refusal(
        words=re.compile(r"connect to (?:host|address) .*: (.+)"),
        error=HostUnreachableError,
        what=_DEVICE,
        must="reachable",
        fix="check that it is on, in this network, and that sshd runs there: nc -vz {host} {port_number}",
    ),
    Refusal(
        words=re.compile(r"kex_exchange_identification: (.+)|banner exchange: .*?: (.+)|(no matching .+ found)"),
        error=HostUnreachableError,
        what=_DEVICE,
        must="answered by an SSH server that takes us",
        fix="check the port, and that sshd there takes new connections (MaxStartups, fail2ban)",
    ),
    Refusal(
        words=re.compile(
            r"(Timeout, server .* not responding|Connection (?:to \S+ )?(?:closed|reset|timed out)[^\r\n]*"
            r"|client_loop: [^\r\n]+|Broken pipe)"
        ),
        error=ConnectionLostError,
        what="the connection to {device}",
        must="kept until the work is done",
        fix="the same command again; copies go on where they stopped",
    ),
    Refusal(
        words=re.compile(r"Bad configuration option: (.+)|(.*line \d+: .+)"),
        error=TransportError,
        what="the ssh configuration for {device}",
        must="valid",
        fix="ssh -G {login}",
    ),
)


def translate(address: Address, words: str, *, lost: bool = False) -> TransportError:
    """Turn what ssh printed into one sentence.

    Args:
        address: Of the device.
        words: All that ssh printed on standard error.
        lost: The connection had stood; unknown words then mean that it was lost.

    Returns:
        The error, to be raised.
    """
    fill = {
        "device": str(address),
        "login": address.destination,
        "host": address.host,
        "known_as": address.known_as,
        "port": f" -p {address.port}" if address.port else "",
        "port_number": str(address.port or 22),
    }
    for refusal in TABLE:
        match = refusal.words.search(words)
        if match:
            groups = [" ".join(group.split()) for group in match.groups() if group]
            got = refusal.got.format(*groups) if refusal.got else (groups or [match[0]])[0]
            return refusal.error(refusal.what.format(**fill), refusal.must, got, fix=refusal.fix.format(**fill))
    kind = ConnectionLostError if lost else TransportError
    got = _last(words.splitlines()) or "no word from ssh"
    return kind(f"the connection to {address}", "usable", got, fix=f"ssh -v{fill['port']} {address.destination} true")


def _last(lines: Sequence[str]) -> str:
    return next((" ".join(line.split())[:300] for line in reversed(lines) if line.strip()), "")
