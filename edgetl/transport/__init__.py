"""The way to a device: the system's ssh, with host keys checked, commands with time limits and copies that resume.

The user's own OpenSSH does the work, because what a plant has set up then counts: `~/.ssh/config`, agents, jump hosts,
certificates, security keys. A library would know none of it, and brings its own cryptography to keep up to date.

    with connect("user@station") as remote:
        remote.run(["uname", "-m"], limit_s=10).stdout
        send(remote, Path("part.edgetl"), "incoming/part.edgetl")
        fetch(remote, "bench/record.json", Path("record.json"))

Public are the names in `__all__`. The device needs sshd, a POSIX shell and coreutils; for commands nothing of edgetl.
"""

from __future__ import annotations

from edgetl.transport.address import Address, parse
from edgetl.transport.copy import Copied, fetch, send
from edgetl.transport.ssh import Done, Remote, Settings, connect

__all__ = ["Address", "Copied", "Done", "Remote", "Settings", "connect", "fetch", "parse", "send"]
