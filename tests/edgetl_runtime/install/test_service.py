"""The service: ready when warm, alive by progress, every image in exactly one place, whatever the disk does."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import threading
from types import SimpleNamespace

import pytest
from crash_model import QuickDisk

from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import BusyError, InstallError
from edgetl_runtime.install import service
from edgetl_runtime.install.device import Device
from edgetl_runtime.install.evidence import Evidence
from edgetl_runtime.install.live_session import LiveSession


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A socket that listens as systemd does."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(address))
        listener.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        yield listener


class Live:
    """A session that needs no model: its verdict is in the image."""

    generation = SimpleNamespace(name="000001-abc", variant="null-f32")

    def __init__(self):
        self.beats = 0

    def predict(self, data):
        if data == b"bug":
            raise MemoryError
        return SimpleNamespace(to_mapping=lambda: {"verdict": "OK", "score": float("nan") if data == b"nan" else 0.5})

    def heartbeat(self):
        self.beats += 1


class FullDisk(QuickDisk):
    """A disk that refuses so many writes below the folder of results."""

    def __init__(self, refused):
        self.refused = refused

    def _write(self, descriptor, path, data):
        if self.refused > 0:
            self.refused -= 1
            os.write(descriptor, data[:3])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        super()._write(descriptor, path, data)


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serve until no image waits or `stop` says so; return the lines of the log by image."""
    for name in ("RETRY_S", "IDLE_S"):
        monkeypatch.setattr(service, name, 0.0)
    images = tmp_path / "in"
    images.mkdir()

    def call(live, disk=None, stop=None):
        with Evidence(images, tmp_path / "out", disk=disk or QuickDisk()) as evidence:
            service.serve(live, evidence, stop=stop or (lambda: not any(images.iterdir())))
        log = tmp_path / "out/decisions.jsonl"
        lines = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        assert len({line["image"] for line in lines}) == len(lines)
        return {line["image"]: line for line in lines}

    return call


def test_serve_puts_every_image_in_one_place_and_tells_systemd(kit, device_at, systemd, tmp_path, monkeypatch):
    monkeypatch.setattr(service, "HEARTBEAT_S", 0.1)
    images, out = tmp_path / "in", tmp_path / "out"
    images.mkdir()
    with open_bundle(kit.bundles["old"]) as bundle:
        (images / "a.png").write_bytes(bundle.read("0.png"))
        (images / "b.png").write_bytes(bundle.read("1.png"))
    (images / "c.png").write_bytes(b"not an image")
    (images / "note.txt").write_text("left alone")
    words: list[str] = []
    done = threading.Event()

    def listen() -> None:
        while "STOPPING" not in "".join(words):
            words.append(systemd.recv(4096).decode())
            if len(words) > 5:  # ready, three images, two heartbeats
                done.set()

    listener = threading.Thread(target=listen)
    listener.start()
    with LiveSession(device_at("old")) as live, Evidence(images, out) as evidence:
        count = service.serve(live, evidence, stop=done.is_set)
    listener.join()
    assert count == 3
    assert words[0].startswith("READY=1\nSTATUS=generation 000001-")
    assert all(word.startswith("WATCHDOG=1") for word in words[1:5])
    entries = [json.loads(line) for line in (out / "decisions.jsonl").read_text().splitlines()]
    assert [entry["image"] for entry in entries] == ["a.png", "b.png", "c.png"]
    assert entries[2]["verdict"] == "FAULT"
    for entry in entries:
        assert (out / entry["verdict"] / entry["image"]).exists()
    assert [path.name for path in images.iterdir()] == ["note.txt"]


@pytest.mark.parametrize("data", [b"bug", b"nan"])
def test_what_is_no_decision_is_a_fault_and_the_next_image_is_decided(serve, tmp_path, data):
    (tmp_path / "in/a.png").write_bytes(data)
    (tmp_path / "in/b.png").write_bytes(b"good")
    lines = serve(Live())
    assert (lines["a.png"]["verdict"], lines["b.png"]["verdict"]) == ("FAULT", "OK")
    assert (tmp_path / "out/FAULT/a.png").read_bytes() == data


def test_a_session_that_is_lost_ends_the_service_and_its_image_waits(serve, tmp_path, monkeypatch):
    (tmp_path / "in/a.png").write_bytes(b"good")
    live = Live()

    def lost(_):
        raise InstallError("the service", "able to follow the device", "MemoryError", fix="start it again")

    monkeypatch.setattr(live, "predict", lost)
    for _ in range(4):
        with pytest.raises(InstallError):
            serve(live)
    assert serve(Live())["a.png"]["verdict"] == "OK"


@pytest.mark.parametrize("refused", range(1, 6))
def test_a_full_disk_is_waited_for_and_no_verdict_is_doubled(serve, tmp_path, monkeypatch, caplog, refused):
    monkeypatch.setattr(service, "HEARTBEAT_S", -1.0)
    for name in "ab":
        (tmp_path / f"in/{name}.png").write_bytes(b"good")
    live = Live()
    with caplog.at_level(logging.INFO):
        lines = serve(live, FullDisk(refused))
    assert sorted(lines) == ["a.png", "b.png"]
    assert sorted(path.name for path in (tmp_path / "out/OK").iterdir()) == ["a.png", "b.png"]
    assert live.beats >= refused  # the model is watched meanwhile
    first = next(record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    assert first.endswith("No space left on device")


class FullForFolders(QuickDisk):
    """No room for the folder of a verdict, at first."""

    refused = 3

    def make_folder(self, path, **options):
        if path.name == "OK" and self.refused:
            self.refused -= 1
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        super().make_folder(path, **options)


def test_a_disk_too_full_for_a_verdicts_folder_is_waited_for_and_no_image_is_blamed(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(service, "HEARTBEAT_S", -1.0)
    (tmp_path / "in/a.png").write_bytes(b"good")
    assert serve(Live(), FullForFolders())["a.png"]["file"] == "OK/a.png"


def test_a_stop_while_the_disk_is_full_counts_against_no_image(serve, tmp_path):
    (tmp_path / "in/a.png").write_bytes(b"good")
    for _ in range(4):
        disk = FullDisk(10**9)
        assert serve(Live(), disk, stop=lambda disk=disk: disk.refused < 10**9) == {}
        assert (tmp_path / "in/a.png").exists()
    assert serve(Live())["a.png"]["file"] == "OK/a.png"


def test_a_folder_that_is_away_is_waited_for(serve, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(service, "HEARTBEAT_S", -1.0)
    images, live, asked = tmp_path / "in", Live(), []

    def stop():
        asked.append(None)
        if len(asked) == 2:
            images.rmdir()
        elif len(asked) == 5:
            images.mkdir()
            (images / "a.png").write_bytes(b"good")
        return len(asked) > 5 and not any(images.iterdir())

    with caplog.at_level(logging.INFO):
        lines = serve(live, stop=stop)
    assert lines["a.png"]["verdict"] == "OK"
    said = [r.getMessage() for r in caplog.records if r.levelname == "ERROR"]
    assert said == [f"waiting: {images}: No such file or directory", "going on"]
    assert live.beats >= 3


def test_an_image_that_vanished_before_it_was_read_is_no_decision(serve, tmp_path, monkeypatch):
    monkeypatch.setattr(Evidence, "arrived", lambda self: ([self.images / "gone.png"], []))
    asked = []
    assert serve(Live(), stop=lambda: asked.append(None) or len(asked) > 3) == {}


def test_an_image_that_stays_is_decided_on_once(serve, tmp_path, monkeypatch):
    (tmp_path / "in/a.png").write_bytes(b"good")
    asked = []
    disk = QuickDisk()

    def refuse(path, *target):
        if path.parent == tmp_path / "in":
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        path.rename(*target)

    monkeypatch.setattr(disk, "_rename", refuse)
    monkeypatch.setattr(disk, "_unlink", refuse)
    lines = serve(Live(), disk, stop=lambda: asked.append(None) or len(asked) > 20)
    assert lines["a.png"]["file"] == "OK/a.png"
    assert (tmp_path / "out/OK/a.png").read_bytes() == b"good"


@pytest.mark.usefixtures("serve")
def test_a_place_taken_meanwhile_gets_the_image_another(tmp_path, monkeypatch):
    (tmp_path / "in/a.png").write_bytes(b"good")
    (tmp_path / "out/OK").mkdir(parents=True)
    (tmp_path / "out/OK/a.png").write_bytes(b"a stranger's")
    monkeypatch.setattr(Evidence, "place", lambda *_: "OK/a.png")
    with Evidence(tmp_path / "in", tmp_path / "out") as evidence:
        service.serve(Live(), evidence, stop=lambda: not any((tmp_path / "in").iterdir()))
    last = json.loads((tmp_path / "out/decisions.jsonl").read_text().splitlines()[-1])
    assert (tmp_path / "out" / last["file"]).read_bytes() == b"good"
    assert (tmp_path / "out/OK/a.png").read_bytes() == b"a stranger's"


def test_a_generation_that_changes_during_a_decision_is_not_named(serve, tmp_path):
    class Swapped(Live):
        def predict(self, data):
            self.generation = SimpleNamespace(name="000002-def", variant="null-f32")
            return super().predict(data)

    for name in "ab":
        (tmp_path / f"in/{name}.png").write_bytes(b"good")
    live = Swapped()
    lines = serve(live)
    assert lines["a.png"]["generation"] is None


def test_waiting_for_an_installation_ends_when_told_to_stop(device_at, monkeypatch):
    monkeypatch.setattr(service, "RETRY_S", 0.0)
    device, asked = device_at("old"), []
    with device.locked("SELF_TEST"):
        live = LiveSession(Device(device.root, disk=QuickDisk(), who="tests"))
        assert not service.opened(live, stop=lambda: asked.append(None) or len(asked) > 3)
    assert len(asked) == 4


def test_another_service_is_not_waited_for(device_at):
    device = device_at("old")
    with LiveSession(device), pytest.raises(BusyError, match="without a running service"):
        service.opened(LiveSession(device), stop=lambda: False)


def test_notify_without_systemd_says_so(monkeypatch, tmp_path):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not service.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    assert not service.notify("READY=1")
