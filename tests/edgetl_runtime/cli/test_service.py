"""The service runs until it is stopped, whatever arrives; its unit is printed, and what it may reach suffices."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgetl.deploy.bundle_writer import write_bundle
from edgetl_runtime.install.device import Device
from edgetl_runtime.install.installer import Installer, InstallOptions

WAIT_S = 60
# the service, in which one image ends the process as a fault in native code does
FRAGILE = """
import os, sys
from pathlib import Path
from edgetl_runtime.__main__ import main
from edgetl_runtime.install.live_session import LiveSession
predict = LiveSession.predict
def fragile(self, image):
    data = image.read_bytes() if isinstance(image, Path) else image
    if data == b"poison":
        os.kill(os.getpid(), 9)
    return predict(self, image)
LiveSession.predict = fragile
sys.exit(main(sys.argv[1:]))
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Station:
    """A device with a generation, and the folders of its service."""

    device: Device
    images: Path
    out: Path
    good: bytes

    @property
    def arguments(self) -> list[str]:
        folders = ["--root", self.device.root, "--images", self.images, "--out", self.out]
        return ["service", "run", *map(str, folders)]

    def arrive(self, name: str | bytes, data: bytes | None = None) -> None:
        path = self.images / os.fsdecode(name)
        path.with_suffix(".part").write_bytes(self.good if data is None else data)
        path.with_suffix(".part").rename(path)

    @contextlib.contextmanager
    def running(self, command=(sys.executable, "-m", "edgetl_runtime"), **options):
        with subprocess.Popen([*command, *self.arguments], stderr=subprocess.PIPE, **options) as process:
            try:
                yield process
            finally:
                process.kill()

    def until(self, reached, process) -> None:
        deadline = time.monotonic() + WAIT_S
        while not reached() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        assert reached(), process.communicate()[1].decode() if process.poll() is not None else "in vain"

    def stop(self, process) -> str:
        """Stop in order; return what the service said."""
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=WAIT_S)[1].decode()
        assert process.returncode == 0, said
        return said

    def entries(self) -> list[dict]:
        path = self.out / "decisions.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def waiting(self) -> list[str]:
        return sorted(path.name for path in self.images.iterdir())


@pytest.fixture
def station(tiny_parts, tmp_path):
    fields, members = tiny_parts()
    write_bundle(tmp_path / "a.edgetl", fields, members)
    device = Device(tmp_path / "root")
    passed = {"passed": True, "reason": "", "breaches": []}
    options = InstallOptions(allow_unsigned=True, variant="null-f32")
    Installer(device, self_test=lambda *_: passed).install(tmp_path / "a.edgetl", options)
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    return Station(device=device, images=tmp_path / "in", out=tmp_path / "out", good=members["golden/000.png"])


def test_run_stops_cleanly_at_the_first_signal(station):
    station.device.commit()
    station.arrive("a.png")
    with station.running() as process:
        station.until(lambda: not station.waiting(), process)
        station.stop(process)
    assert len(list(station.out.glob("*/a.png"))) == 1
    assert not station.device.service_runs()


def test_every_decision_and_the_start_have_a_time(station):
    station.arrive("a.png")
    with station.running() as process:
        station.until(lambda: not station.waiting(), process)
        said = station.stop(process)
    moment = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    (entry,) = station.entries()
    assert re.fullmatch(moment, entry["time"])
    assert (station.out / entry["file"]).read_bytes() == station.good
    first, last = said.splitlines()[0], said.splitlines()[-1]
    assert re.fullmatch(moment + r" INFO ready: generation \S+, variant null-f32, images of .*/in to .*/out", first)
    assert re.fullmatch(moment + " INFO stopped, decided on 1 images", last)


def test_no_single_file_stops_the_service_or_replaces_evidence(station, tmp_path):
    for verdict in ("OK", "NOK", "UNSURE", "FAULT"):
        (station.out / verdict / "folder.png").mkdir(parents=True)
        (station.out / verdict / "twice.png").write_bytes(b"yesterday's")
    station.arrive("folder.png")
    station.arrive("twice.png")
    station.arrive("empty.png", b"")
    station.arrive(b"caf\xe9.png")
    station.arrive("two\nlines.png")
    os.mkfifo(station.images / "pipe.png")
    (tmp_path / "elsewhere").write_bytes(station.good)
    (station.images / "link.png").symlink_to(tmp_path / "elsewhere")
    station.arrive("z.png")  # the last one by name: the others are over
    with station.running() as process:
        station.until(lambda: "z.png" not in station.waiting(), process)
        said = station.stop(process)
    assert station.waiting() == ["link.png", "pipe.png"]
    assert "left alone, no plain file: link.png" in said
    entries = {entry["image"]: entry for entry in station.entries()}
    assert sorted(entries) == ["caf\\xe9.png", "empty.png", "folder.png", "twice.png", "two\nlines.png", "z.png"]
    assert entries["empty.png"]["verdict"] == "FAULT"
    for name, entry in entries.items():
        assert (station.out / entry["file"]).read_bytes() == (b"" if name == "empty.png" else station.good)
        assert entry["file"].startswith(entry["verdict"])
    for old in station.out.glob("*/twice.png"):
        assert old.read_bytes() == b"yesterday's"


def test_an_image_that_ends_the_process_twice_is_set_aside_and_never_good(station):
    station.arrive("m.png", b"poison")
    fragile = (sys.executable, "-c", FRAGILE)
    for number in range(2):
        with station.running(fragile) as process:
            assert process.wait(WAIT_S) == -signal.SIGKILL
        station.arrive(f"a{number}.png")  # before it by name
    with station.running(fragile) as process:
        station.until(lambda: not station.waiting(), process)
        said = station.stop(process)
    found = {entry["image"]: entry for entry in station.entries()}
    assert found["m.png"]["verdict"] == "FAULT"
    assert (station.out / "FAULT/quarantine/m.png").read_bytes() == b"poison"
    assert "ended the service 2 times" in said
    assert len(list(station.out.glob("*/a?.png"))) == 2
    assert len(found) == len(station.entries()) == 3


def test_a_start_during_an_installation_waits_and_asks_systemd_for_time(station, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(WAIT_S)
        words = []
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        attempts = station.device.states.read().trial.attempts_left
        installation = contextlib.ExitStack()
        installation.enter_context(station.device.locked("SELF_TEST"))  # before the service looks for it
        with installation, station.running(env=environment) as process:
            while "STATUS=waiting: SELF_TEST is at work" not in words:
                words += systemd.recv(4096).decode().splitlines()
            assert process.poll() is None
            assert "EXTEND_TIMEOUT_USEC=300000000" in words
            assert not {"READY=1", "WATCHDOG=1"} & set(words)
            installation.close()
            while "READY=1" not in words:
                words += systemd.recv(4096).decode().splitlines()
            station.stop(process)
    assert station.device.states.read().trial.attempts_left == attempts - 1


def test_a_second_service_is_refused_and_takes_no_start_from_the_trial(station, run):
    with station.running() as process:
        station.until(station.device.service_runs, process)
        station.until(lambda: station.device.states.read().trial.attempts_left == 2, process)
        code, found = run(*station.arguments)
        assert (code, found["error"]["type"]) == (1, "BusyError")
        station.stop(process)
    assert station.device.states.read().trial.attempts_left == 2


def test_a_start_without_its_folder_takes_no_start_from_the_trial(station, run):
    station.images.rmdir()
    code, found = run(*station.arguments)
    assert (code, found["error"]["try"]) == (2, f"mkdir -p {station.images}")
    assert station.device.states.read().trial.attempts_left == 3


def mounts(unit: str) -> str:
    """Return what systemd mounts for a unit, as a script: everything read-only, each writable path a mount."""
    (paths,) = re.findall("^ReadWritePaths=(.*)$", unit, re.MULTILINE)
    (command,) = re.findall("^ExecStart=(.*)$", unit, re.MULTILINE)
    assert "ProtectSystem=strict" in unit
    binds = [f"mount --bind {path} {path}" for path in paths.split()]
    read_only = ["mount -o remount,bind,ro /", *(f"mount -o remount,bind,rw {path}" for path in paths.split())]
    return "\n".join(["set -e", *binds, *read_only, f"exec {command}"])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sudo make test")
def test_the_printed_unit_lets_images_move(station, run):
    folders = station.arguments[2:]
    code, found = run("service", "print", "--allow-home", *folders)
    assert code == 0
    script = mounts(found["unit"])
    alone = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    if subprocess.run([*alone, "mount --bind /tmp /tmp"], capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting is refused here: sudo make test, outside of containers")
    for number in range(3):
        station.arrive(f"{number}.png")
    probe = script.replace("exec", f"if touch {station.images.parent}/x 2>/dev/null; then exit 9; fi; exec")
    with subprocess.Popen([*alone, probe], stderr=subprocess.PIPE) as process:
        try:
            station.until(lambda: not station.waiting(), process)
            station.stop(process)
        finally:
            process.kill()
    assert {len(list(station.out.glob(f"*/{number}.png"))) for number in range(3)} == {1}
    assert [entry["image"] for entry in station.entries()] == ["0.png", "1.png", "2.png"]
    assert station.device.states.read().trial.attempts_left == 2


def test_print_needs_no_device_and_names_what_to_do_first(run):
    folders = ("--images", "/srv/in", "--out", "/srv/out", "--root", "/srv/edgetl")
    code, found = run("service", "print", "--allow-home", "--user", "station", *folders)
    assert code == 0
    command = f"{sys.executable} -m edgetl_runtime service run --root /srv/edgetl --images /srv/in --out /srv/out"
    assert f"\nExecStart={command}\n" in found["unit"]
    assert "\nUser=station\n" in found["unit"]
    assert "chown -R station: /srv/edgetl" in found["setup"]
    assert all(line in found["unit"] for line in (*found["setup"], *found["notes"]))


def test_print_refuses_what_the_unit_would_hide(run):
    code, found = run("service", "print", "--images", "/home/in", "--out", "/srv/out", "--root", "/srv/edgetl")
    assert code == 2
    assert "which the unit hides (ProtectHome=yes)" in found["error"]["message"]
