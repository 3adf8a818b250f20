"""Locks between processes: private, seen without being taken, gone with their holder."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edgetl_runtime import locks
from edgetl_runtime.install.device import Device

NOBODY = 65534
# opens what it can of the files named on the command line, locks them in every way there is, says which, and waits
ATTACK = """
import fcntl, sys
held = []
for path in sys.argv[1:]:
    try:
        file = open(path)
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        held.append(file)
    except OSError:
        pass
print(" ".join(file.name for file in held), flush=True)
sys.stdin.readline()
"""
HOLD = """
import sys
from pathlib import Path
from edgetl_runtime import locks
descriptor = locks.open_lock(Path(sys.argv[1]))
assert locks.try_lock(descriptor)
print("held", flush=True)
sys.stdin.readline()
"""
LOOK = """
import sys
from pathlib import Path
from edgetl_runtime.install.device import Device
device = Device(Path(sys.argv[1]))
print("looking", flush=True)
while True:
    device.busy_phase()
"""
# the interpreter may lie where only root goes: the user changes when everything is imported
AS_NOBODY = """
import os, sys
from edgetl_runtime.__main__ import main
main(sys.argv[1:])
os.setgroups([]); os.setgid(65534); os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def open_folder():
    """A folder that every user may enter, as /var/lib is."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sudo make test")
@pytest.mark.skipif(not Path("/usr/bin/python3").exists(), reason="no interpreter that another user may start")
def test_another_user_can_neither_hold_the_device_nor_its_service(open_folder, run):
    root = open_folder / "edgetl"
    assert run("gc", "--root", str(root))[0] == 0
    for name in ("lock", "service.lock"):  # as an older release left them
        (root / name).touch()
        (root / name).chmod(0o644)
    service = ("service", "run", "--root", str(root), "--images", str(open_folder), "--out", str(open_folder / "out"))
    assert run("gc", "--root", str(root))[0] == 0
    assert run(*service)[1]["error"]["message"].endswith("with an installed generation; got none.")
    names = [str(root / name) for name in ("lock", "service.lock")]
    command = ["/usr/bin/python3", "-c", ATTACK, *names]
    with subprocess.Popen(
        command, user=NOBODY, group=NOBODY, extra_groups=(), cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as nobody:
        assert nobody.stdout.readline() == b"\n"  # holds nothing
        assert run("gc", "--root", str(root))[0] == 0
        assert run(*service)[1]["error"]["message"].endswith("with an installed generation; got none.")
        nobody.stdin.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sudo make test")
def test_status_of_another_user_claims_nothing_about_locks(open_folder, run):
    root = open_folder / "edgetl"
    assert run("gc", "--root", str(root))[0] == 0
    os.close(locks.open_lock(root / "service.lock"))
    seen = subprocess.run(
        [sys.executable, "-c", AS_NOBODY, "status", "--root", str(root), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    found = json.loads(seen.stdout.splitlines()[-1])
    assert (found["busy"], found["service"], found["recovery_needed"]) == (None, None, None)
    assert seen.returncode == 0
    assert found["unseen"].endswith("seen by its owner alone: sudo -u root edgetl-runtime status")


def test_looking_never_makes_another_attempt_fail(tmp_path):
    device = Device(tmp_path)
    with device.locked("GC"):
        pass
    with subprocess.Popen([sys.executable, "-c", LOOK, str(tmp_path)], stdout=subprocess.PIPE) as looker:
        try:
            assert looker.stdout.readline() == b"looking\n"
            for _ in range(300):
                with device.locked("GC"):
                    pass
        finally:
            looker.kill()


def test_a_lock_excludes_another_process_and_ends_with_it(tmp_path):
    path = tmp_path / "lock"
    mine = locks.open_lock(path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "held\n"
        os.pwrite(mine, b"AT WORK", 0)
        assert (locks.holder(path), locks.try_lock(mine)) == ("AT WORK", False)
        other.kill()
        locks.wait_lock(mine)  # hangs if a killed process leaves its lock behind
    second = locks.open_lock(path)
    assert not locks.try_lock(second)
    os.close(mine)
    assert locks.holder(path) is None
    os.close(second)


def test_a_lock_is_private_and_no_link(tmp_path):
    before = os.umask(0)
    try:
        os.close(locks.open_lock(tmp_path / "lock"))
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "lock").stat().st_mode) == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "lock")
    with pytest.raises(OSError, match="symbolic links"):
        locks.open_lock(tmp_path / "link")


def test_a_lock_that_does_not_exist_is_held_by_nobody(tmp_path):
    assert locks.holder(tmp_path / "none") is None


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: sudo make test")
def test_root_is_refused_in_another_users_device(open_folder, run):
    root = open_folder / "edgetl"
    root.mkdir()
    os.chown(root, NOBODY, NOBODY)
    code, found = run("gc", "--root", str(root))
    assert (code, list(root.iterdir())) == (1, [])
    assert "the owner of" in found["error"]["message"]
    assert found["error"]["try"].startswith("sudo -u nobody edgetl-runtime")


def test_a_lock_is_shared_by_those_who_ask_for_it_shared_and_taken_alone_when_they_are_gone(tmp_path):
    first, second, alone = (locks.open_lock(tmp_path / "lock") for _ in range(3))
    assert [locks.try_lock(descriptor, shared=True) for descriptor in (first, second)] == [True, True]
    assert not locks.try_lock(alone)
    os.close(first)
    assert not locks.try_lock(alone)
    assert locks.try_lock(second)  # the last one that shares it may have it alone
    assert not locks.try_lock(alone, shared=True)
    os.close(second)
    assert locks.try_lock(alone)
    os.close(alone)
