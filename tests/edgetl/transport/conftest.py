"""A real sshd on loopback, on a free port, with keys made for this session."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from edgetl.errors import ConnectionLostError
from edgetl.transport import Address, Settings, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl.transport import Remote

SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The running sshd, and what a client needs."""

    folder: Path
    address: Address
    process: subprocess.Popen[bytes]

    def settings(self, *, known: str = "known_hosts", key: str = "user", **other) -> Settings:
        """Return settings whose ssh configuration names files of this server only."""
        config = self.folder / f"config-{known}-{key}"
        config.write_text(
            f"IdentityFile {self.folder / key}\nIdentitiesOnly yes\nIdentityAgent none\n"
            f"UserKnownHostsFile {self.folder / known}\nGlobalKnownHostsFile none\n"
        )
        return Settings(config=config, connect_s=5, **other)

    def cut(self) -> int:
        """Kill every session of the server at once; return how many processes died."""
        victims = descendants(self.process.pid)
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        return len(victims)


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            after_name = stat.read_text().rpartition(")")[2].split()
            if int(after_name[1]) == pid:
                found += [int(stat.parent.name), *descendants(int(stat.parent.name))]
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not os.access(SSHD, os.X_OK):
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail("sshd must be installed in CI; got none. Try: apt-get install openssh-server")
        pytest.skip("no sshd here: apt-get install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    folder.chmod(0o700)
    home = folder / "home"  # empty: whatever the tester's shell does at login stays out of the tests
    home.mkdir()
    for name in ("host", "user", "stranger", "other-host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)
    port = free_port()
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    listed = {"known_hosts": "host", "changed_hosts": "other-host"}
    for file, key in listed.items():
        (folder / file).write_text(f"[127.0.0.1]:{port} {(folder / f'{key}.pub').read_text()}")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nPasswordAuthentication no\n"
        f"KbdInteractiveAuthentication no\nMaxStartups 100\nSetEnv HOME={home}\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it where it runs as root
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stderr=log)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
                break
            time.sleep(0.05)
        address = Address(host="127.0.0.1", user=getpass.getuser(), port=port)
        yield Server(folder=folder, address=address, process=process)
    finally:
        for pid in descendants(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def _connected(server: Server) -> Iterator[Remote]:
    with connect(server.address, server.settings()) as connected:
        yield connected


@pytest.fixture
def remote(_connected: Remote) -> Remote:
    """One connection for the tests of a module; made anew after a test that broke it."""
    try:
        _connected.require_open()
    except ConnectionLostError:
        _connected.reconnect()
    return _connected
