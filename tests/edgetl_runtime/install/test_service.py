"""The service: ready when warm, alive by progress, every image in exactly one place."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.install import service
from edgetl_runtime.install.live import LiveSession


@pytest.fixture
def systemd(tmp_path, monkeypatch):
    """A socket that listens as systemd does."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(address))
        listener.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(address))
        yield listener


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
    with LiveSession(device_at("old")) as live:
        count = service.serve(live, images, out, stop=done.is_set)
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


def test_notify_without_systemd_says_so(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not service.notify("READY=1")


def test_unit_names_its_folders_and_passes_systemds_check(tmp_path):
    folders = {name: tmp_path / name for name in ("root", "images", "out")}
    for folder in folders.values():
        folder.mkdir()
    text = service.unit(**folders, memory_max="600M")
    assert f"ReadWritePaths={folders['root']} {folders['images']} {folders['out']}" in text
    for line in ("Type=notify", "WatchdogSec=30", "MemoryMax=600M", "TimeoutStopSec=5", "ProtectSystem=strict"):
        assert line in text
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here: the text was checked, not parsed by systemd")
    path = tmp_path / "edgetl.service"
    path.write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
    assert path.name not in done.stderr, done.stderr


def test_unit_quotes_for_systemd(tmp_path):
    text = service.unit(root=tmp_path / "a b%", images=Path("/i"), out=Path("/o"))
    assert f'--root "{tmp_path}/a b%%"' in text
