"""The service runs until it is stopped, in less than five seconds; its unit is printed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from edgetl.deploy.bundle_writer import write_bundle
from edgetl_runtime.install.device import Device
from edgetl_runtime.install.installer import Installer, InstallOptions


def test_print_needs_no_device(run, tmp_path):
    code, found = run("service", "print", "--images", "/in", "--out", "/out", "--root", str(tmp_path))
    assert code == 0
    assert f"ExecStart={sys.executable} -m edgetl_runtime service run --root {tmp_path}" in found["unit"]


def test_run_stops_cleanly_within_five_seconds(tiny_parts, tmp_path):
    fields, members = tiny_parts()
    write_bundle(tmp_path / "a.edgetl", fields, members)
    device = Device(tmp_path / "root")
    passed = {"passed": True, "reason": "", "breaches": []}
    options = InstallOptions(allow_unsigned=True, variant="null-f32")
    Installer(device, self_test=lambda *_: passed).install(tmp_path / "a.edgetl", options)
    device.commit()
    images = tmp_path / "in"
    images.mkdir()
    (images / "a.png").write_bytes(members["golden/000.png"])
    command = [sys.executable, "-m", "edgetl_runtime", "service", "run", "--root", str(device.root)]
    with subprocess.Popen([*command, "--images", str(images), "--out", str(tmp_path / "out")]) as process:
        deadline = time.monotonic() + 60
        while (images / "a.png").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGTERM)
        start = time.monotonic()
        process.wait(30)
        assert time.monotonic() - start < 5
    assert process.returncode == 0
    assert len(list((tmp_path / "out").glob("*/a.png"))) == 1
    assert not device.service_runs()
