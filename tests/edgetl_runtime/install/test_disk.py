"""Each durable change is written, synced, renamed, synced, in that order; on real storage that fails the old stays."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import faults
import pytest
from crash_model import Recorder, read_tree, write_tree

from edgetl_runtime.install.disk import Disk

if TYPE_CHECKING:
    from pathlib import Path

COMMAND = [sys.executable, "-m", "edgetl_runtime"]
NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]


def test_replace_syncs_before_and_after_the_rename(tmp_path: Path) -> None:
    disk = Recorder(tmp_path)
    disk.replace(tmp_path / "a", b"one")
    disk.replace(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two"
    assert [step[0] for step in disk.steps[:5]] == ["create", "write", "fsync", "rename", "sync"]


def test_point_never_leaves_a_moment_without_a_link(tmp_path: Path) -> None:
    disk = Recorder(tmp_path)
    disk.point(tmp_path / "current", "gen/a")
    disk.point(tmp_path / "current", "gen/b")
    assert str((tmp_path / "current").readlink()) == "gen/b"
    assert [step[0] for step in disk.steps] == ["symlink", "rename", "sync"] * 2


def test_create_refuses_what_exists_and_links(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("link", "there"):
        (tmp_path / "there").touch()
        with pytest.raises(FileExistsError):
            Disk().create(tmp_path / name, [b"x"])
    assert not (tmp_path / "elsewhere").exists()


def test_remove_takes_folders_and_links_but_not_what_links_point_to(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    inside = tmp_path / "inside"
    Disk().make_folder(inside / "deep")
    (inside / "deep" / "link").symlink_to(outside)
    (inside / "file").write_text("x")
    Disk().remove(inside)
    Disk().remove(inside)
    assert not inside.exists()
    assert (outside / "file").exists()


def test_append_and_truncate(tmp_path: Path) -> None:
    disk = Disk()
    disk.create(tmp_path / "log", [b"a", b"b"])
    disk.append(tmp_path / "log", b"cd")
    disk.truncate(tmp_path / "log", 3)
    assert (tmp_path / "log").read_bytes() == b"abc"


@pytest.fixture(scope="module")
def mounts():
    """Skip where this process may not mount in a namespace of its own."""
    if subprocess.run([*NAMESPACE, "mount -t tmpfs none /mnt"], capture_output=True, check=False).returncode:
        pytest.skip("mounting is refused here: sudo make test, outside of containers")


def on(filesystem, root, kit, *, then=":"):
    """Install the new bundle over the old generation on a tmpfs; give back the run and the tree it leaves."""
    source, kept = root / "source", root / "kept"
    write_tree(kit.starts["old"], source)
    (root / "device").mkdir()
    script = (
        f"mount -t tmpfs -o {filesystem} none {root}/device; cp -a {source}/. {root}/device/; {then}; code=0;"
        f'"$@" install {kit.bundles["new"]} --root {root}/device --variant null-f32 || code=$?;'
        f"cp -a {root}/device {kept}; exit $code"
    )
    done = subprocess.run([*NAMESPACE, script, "sh", *COMMAND], capture_output=True, text=True, check=False)
    return done, kept


def assert_the_old_one_stays(done, kept, kit, root):
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") <= 2
    left = root / "left"
    shutil.copytree(kept, left, symlinks=True)
    scenario = next(s for s in faults.SCENARIOS if s.name == "install")
    assert list(faults.violations(kit, scenario, left, finished=False, retry=True)) == []


@pytest.mark.usefixtures("mounts")
def test_a_full_file_system_is_refused_before_anything_is_written(kit, tmp_path):
    done, kept = on("size=400k", tmp_path, kit)
    assert "free space" in done.stderr
    assert_the_old_one_stays(done, kept, kit, tmp_path)


@pytest.mark.usefixtures("mounts")
def test_a_file_system_without_inodes_is_refused_before_anything_is_written(kit, tmp_path):
    inodes = len(kit.starts["old"]) + 5
    done, kept = on(f"size=40m,nr_inodes={inodes}", tmp_path, kit)
    assert "free inodes" in done.stderr
    assert_the_old_one_stays(done, kept, kit, tmp_path)


@pytest.mark.usefixtures("mounts")
def test_a_file_system_that_became_read_only_is_one_sentence(kit, tmp_path):
    done, kept = on("size=40m", tmp_path, kit, then=f"mount -o remount,ro {tmp_path}/device")
    assert "Read-only file system" in done.stderr
    assert_the_old_one_stays(done, kept, kit, tmp_path)


@pytest.mark.usefixtures("mounts")
def test_a_folder_that_may_not_be_written_is_one_sentence(kit, tmp_path):
    root = tmp_path / "device"
    write_tree(kit.starts["old"], root)
    before = read_tree(root)
    folders = [root, *(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
    for folder in folders:
        folder.chmod(0o500)
    try:  # in a namespace where this process, root or not, has no privilege over what it owns
        done = subprocess.run(
            ["unshare", "--user", *COMMAND, "install", str(kit.bundles["new"]), "--root", str(root)],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        for folder in folders:
            folder.chmod(0o700)
    assert done.returncode == 1
    assert "Permission denied" in done.stderr
    assert "Traceback" not in done.stderr
    assert read_tree(root) == before


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed: apt-get install strace")
def test_a_generation_that_the_disk_cannot_read_is_told(kit, tmp_path):
    root = tmp_path / "device"
    write_tree(kit.starts["new"], root)
    committed = (root / "current").resolve()
    (bundle,) = committed.rglob("*.edgetl")
    inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(bundle), "-e", "inject=read,pread64:error=EIO"]
    done = subprocess.run(
        [*inject, *COMMAND, "verify", "--installed", "--root", str(root)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Input/output error" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
