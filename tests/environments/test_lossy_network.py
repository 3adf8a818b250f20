"""Copies and deliveries over a real network that loses packets and goes away: a namespace behind two tun devices.

Every packet between here and the namespace passes a thread that may drop it. Needs root; nothing outside is touched.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import random
import select
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgetl.deploy.bundle_writer import write_bundle
from edgetl.deploy.delivery import DeliveryOptions, deliver
from edgetl.deploy.signing import new_key
from edgetl.errors import TransportError
from edgetl.progress import Progress
from edgetl.transport import Address, Settings, connect, copy, send
from edgetl_runtime.install.device import Device
from edgetl_runtime.signature import TrustedKey

if TYPE_CHECKING:
    from collections.abc import Iterator

TUN = Path("/dev/net/tun")
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
NEAR, FAR, PORT = "198.18.77.1", "198.18.77.2", 2222  # a range that is kept for tests of networks
LOSS = 0.03
SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
pytestmark = pytest.mark.skipif(
    os.getuid() != 0 or not TUN.exists() or not shutil.which("ip") or not os.access(SSHD, os.X_OK),
    reason="needs root, /dev/net/tun, ip and sshd: apt-get install iproute2 openssh-server, sudo make test",
)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Link:
    """Two tun devices with a thread between them that drops packets."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.up, self.dropped, self.passed = True, 0, 0
        self._draw = random.Random(0).random
        self._ends = [self._tun(f"etl{os.getpid() % 10**6}{side}") for side in "ab"]
        near, far = (name for _, name in self._ends)
        ip("addr", "add", NEAR, "peer", FAR, "dev", near)
        ip("link", "set", near, "up")
        ip("link", "set", far, "netns", namespace)
        ip("-n", namespace, "addr", "add", FAR, "peer", NEAR, "dev", far)
        ip("-n", namespace, "link", "set", far, "up")
        self._ending, self._wake = os.pipe()
        self._thread = threading.Thread(target=self._forward, daemon=True)
        self._thread.start()

    def close(self) -> None:
        os.write(self._wake, b"x")
        self._thread.join()
        for fd in (*(fd for fd, _ in self._ends), self._ending, self._wake):
            os.close(fd)

    def _tun(self, name: str) -> tuple[int, str]:
        fd = os.open(TUN, os.O_RDWR)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
        return fd, name

    def _forward(self) -> None:
        (one, _), (other, _) = self._ends
        while True:
            ready, _, _ = select.select([one, other, self._ending], [], [])
            if self._ending in ready:
                return
            for fd in ready:
                packet = os.read(fd, 65536)
                if not self.up or self._draw() < LOSS:
                    self.dropped += 1
                    continue
                self.passed += 1
                with contextlib.suppress(OSError):  # the other end is not up yet
                    os.write(other if fd == one else one, packet)


@dataclasses.dataclass(frozen=True, slots=True)
class Far:
    """A machine behind the link: its sshd shares this machine's files and nothing of its network."""

    link: Link
    address: Address
    settings: Settings


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    folder = tmp_path_factory.mktemp("far")
    folder.chmod(0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "config").write_text(
        f"Port {PORT}\nListenAddress {FAR}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/user.pub\nPidFile none\n"
        "UsePAM no\nStrictModes no\nPasswordAuthentication no\nMaxStartups 100\n"
        "ClientAliveInterval 1\nClientAliveCountMax 3\n"
    )
    (folder / "known").write_text(f"[{FAR}]:{PORT} {(folder / 'host.pub').read_text()}")
    (folder / "client").write_text(
        f"IdentityFile {folder}/user\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {folder}/known\n"
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    namespace = f"edgetl-{os.getpid()}"
    with contextlib.ExitStack() as stack:
        try:
            ip("netns", "add", namespace)
            stack.callback(ip, "netns", "del", namespace)
            link = Link(namespace)
        except (OSError, subprocess.CalledProcessError) as error:  # a container that may not
            pytest.skip(f"no network namespace here: {error}")
        stack.callback(link.close)
        line = ["ip", "netns", "exec", namespace, SSHD, "-D", "-e", "-f", str(folder / "config")]
        log = stack.enter_context((folder / "log").open("wb"))
        process = subprocess.Popen(line, stderr=log, start_new_session=True)
        stack.callback(process.wait)
        stack.callback(process.kill)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection((FAR, PORT), timeout=10):
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"sshd did not come up: {(folder / 'log').read_text()}")
        settings = Settings(config=folder / "client", connect_s=60, silence_s=3)
        yield Far(link, Address(host=FAR, user="root", port=PORT), settings)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "FIRST_DELAY_S", 0.2)


def test_a_copy_arrives_whole_through_loss(far: Far, tmp_path: Path) -> None:
    source = tmp_path / "part.edgetl"
    source.write_bytes(random.Random(0).randbytes(2 * 2**20))
    with connect(far.address, far.settings) as remote:
        send(remote, source, str(tmp_path / "there"))
    assert (tmp_path / "there").read_bytes() == source.read_bytes()
    assert far.link.dropped / (far.link.dropped + far.link.passed) == pytest.approx(LOSS, abs=0.02)


def test_a_copy_goes_on_where_the_network_went_away(far: Far, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network comes back when its loss has been noticed."""
    source = tmp_path / "part.edgetl"
    source.write_bytes(random.Random(1).randbytes(16 * 2**20))  # far more than a connection holds on its way
    outages = iter([True])

    def advance(done: int, total: int) -> None:
        if done >= total / 2 and next(outages, False):
            far.link.up = False

    with connect(far.address, far.settings) as remote:
        reconnect = remote.reconnect
        monkeypatch.setattr(remote, "reconnect", lambda: (setattr(far.link, "up", True), reconnect()))
        copied = send(remote, source, str(tmp_path / "there"), advance=advance)
    assert (tmp_path / "there").read_bytes() == source.read_bytes()
    assert copied.interruptions >= 1
    assert copied.moved_bytes < 2 * len(source.read_bytes())


def test_a_network_gone_during_the_self_test_leaves_the_old_generation(
    far: Far, tmp_path: Path, tiny_parts: Any
) -> None:
    key = new_key(tmp_path / "line.key")
    device = Device(tmp_path / "root")
    with device.locked("TRUST"):
        device.trust.add(TrustedKey(pem=key.pem))
    fields, members = tiny_parts()
    paths = []
    for sequence in (1, 2):
        paths.append(tmp_path / f"{sequence}.edgetl")
        chosen = dataclasses.replace(fields, sequence=sequence, chosen="null-f32")
        write_bundle(paths[-1], chosen, members, keys=(key,))

    here = (sys.executable, "-m", "edgetl_runtime")

    def deliver_it(path: Path, runtime: tuple[str, ...] = here) -> dict[str, Any]:
        options = DeliveryOptions(root=str(device.root), runtime=runtime, trial_s=0.2, trial_inferences=20)
        host = f"root@{FAR}:{PORT}"
        return deliver(path, host, options, Progress(quiet=True), settings=far.settings)

    assert deliver_it(paths[0])["result"] == "COMMITTED"

    patient = tmp_path / "patient.py"  # its self-test does not end by itself
    patient.write_text(
        "import signal, sys\nfrom edgetl_runtime.__main__ import main\nfrom edgetl_runtime.install import selftest\n"
        "selftest.run = lambda *_: [signal.pause() for _ in iter(int, 1)]\nsys.exit(main())\n"
    )

    def cut() -> None:
        deadline = time.monotonic() + 60
        while device.busy_phase() != "SELF_TEST" and time.monotonic() < deadline:
            time.sleep(0.01)
        far.link.up = False

    thread = threading.Thread(target=cut)
    thread.start()
    with pytest.raises(TransportError):
        deliver_it(paths[1], (sys.executable, str(patient)))
    thread.join()
    assert device.states.read().committed.sequence == 1
    deadline = time.monotonic() + 60
    while device.busy_phase() is not None and time.monotonic() < deadline:
        time.sleep(0.05)  # the device ends what was cut off
    far.link.up = True
    assert device.states.read().committed.sequence == 1
    assert deliver_it(paths[1])["result"] == "COMMITTED"
    state = device.states.read()
    assert (state.committed.sequence, state.trial) == (2, None)
