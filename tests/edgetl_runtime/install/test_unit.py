"""The printed unit: as systemd reads it, confined, and refused where it would hide what it starts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl_runtime.errors import UsageError
from edgetl_runtime.install import unit as units
from edgetl_runtime.install.unit import UnitOptions, make_unit

FOLDERS = {"root": Path("/srv/edgetl"), "images": Path("/srv/in"), "out": Path("/srv/out")}
no_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None,
    reason="the unit's text was checked, not by systemd: apt-get install systemd",
)


def made(options=None, **folders):
    return make_unit(**(FOLDERS | folders), options=options or UnitOptions(gpu=False))


@pytest.fixture
def on_a_station(monkeypatch):
    """An interpreter where a station has it."""
    monkeypatch.setattr(units, "_interpreter", lambda: [Path("/opt/edgetl/bin/python")])


@pytest.fixture
def analyze(tmp_path):
    """Call systemd-analyze on a unit; return its exit code and words."""

    def call(text, *arguments):
        path = tmp_path / "edgetl.service"
        path.write_text(text)
        done = subprocess.run(["systemd-analyze", *arguments, path], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    return call


@no_systemd
@pytest.mark.usefixtures("on_a_station")
@pytest.mark.parametrize(
    "options",
    [
        UnitOptions(gpu=False),
        UnitOptions(gpu=True, network=True, memory_max="600M", user="root"),
        UnitOptions(gpu=False, allow_home=True),
    ],
)
def test_systemd_accepts_every_line(analyze, options):
    text = made(options, images=Path('/srv/a b%"$c')).text
    code, words = analyze(text, "verify")
    assert (code, "edgetl.service" in words) == (0, False), words


@no_systemd
@pytest.mark.usefixtures("on_a_station")
def test_the_service_is_confined(analyze):
    judge, text = ("security", "--offline=yes", "--threshold=15"), made().text
    code, words = analyze(text, *judge)
    assert code == 0, words
    assert analyze(text.replace("CapabilityBoundingSet=\n", ""), *judge)[0] != 0


@pytest.mark.usefixtures("on_a_station")
def test_a_network_and_a_gpu_are_given_only_when_asked_for():
    alone = made().text
    assert "\nPrivateNetwork=yes\n" in alone
    assert "\nRestrictAddressFamilies=AF_UNIX\n" in alone
    assert "\nPrivateDevices=yes\n" in alone
    assert "SupplementaryGroups" not in alone
    more = made(UnitOptions(network=True, gpu=True))
    assert "PrivateNetwork" not in more.text
    assert "PrivateDevices=yes" not in more.text
    assert any("not yet tried on a board" in note for note in more.notes)


@pytest.mark.usefixtures("on_a_station")
def test_a_gpu_is_seen_by_its_device_files(monkeypatch, tmp_path):
    monkeypatch.setattr(units, "_GPU_NODES", (str(tmp_path / "nvmap"),))
    assert "PrivateDevices=yes" in made(UnitOptions()).text
    (tmp_path / "nvmap").touch()
    assert "PrivateDevices=yes" not in made(UnitOptions()).text


@pytest.mark.usefixtures("on_a_station")
@pytest.mark.parametrize(
    ("folder", "line"),
    [("/home/in", "ProtectHome=yes"), ("/root", "ProtectHome=yes"), ("/var/tmp/in", "PrivateTmp=yes")],
)
def test_a_folder_that_the_unit_would_hide_is_refused(folder, line):
    with pytest.raises(UsageError) as refused:
        made(images=Path(folder))
    assert line in refused.value.sentence
    assert refused.value.fix.startswith("--images /srv/station/images")
    assert "ProtectHome=no\nPrivateTmp=no\n" in made(UnitOptions(gpu=False, allow_home=True), images=Path(folder)).text


def test_an_environment_whose_interpreter_lies_in_a_home_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(units, "HIDDEN", {str(tmp_path): "ProtectHome=yes"})
    (tmp_path / "python3").symlink_to(sys.executable)
    assert "ExecStart" in made().text  # nothing of this interpreter lies there
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "versions/3.10"))
    with pytest.raises(UsageError, match=r"the interpreter must be outside .* which the unit hides"):
        made()


@pytest.mark.usefixtures("on_a_station")
def test_names_are_quoted_as_systemd_reads_them():
    text = made(root=Path("/srv/a b%$")).text
    assert '--root "/srv/a b%%$$" --images' in text
    assert '\nReadWritePaths="/srv/a b%%$" /srv/in /srv/out\n' in text
    with pytest.raises(UsageError, match="--images must be printable"):
        made(images=Path("/srv/in\nExecStartPre=/bin/sh"))
    for wrong in ("a b", "x\nExecStartPre=/bin/sh", "-x"):
        with pytest.raises(UsageError, match="--user must be the name of a user"):
            UnitOptions(user=wrong)
    with pytest.raises(UsageError, match="--memory-max must be"):
        UnitOptions(memory_max="1\nUser=root")


@pytest.mark.usefixtures("on_a_station")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sudo make test")
def test_the_user_is_the_owner_of_the_root(tmp_path):
    folder = tmp_path / "edgetl"
    folder.mkdir()
    options = UnitOptions(gpu=False, allow_home=True)
    assert "\nUser=edgetl\n" in made(options, root=folder).text
    os.chown(folder, 65534, 65534)
    assert "\nUser=nobody\n" in made(options, root=folder).text
    assert "\nUser=edgetl\n" in made(options).text
