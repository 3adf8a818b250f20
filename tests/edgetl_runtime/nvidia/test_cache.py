"""Kept engines: what is loaded again, what never is, and what a full disk or a killed process leaves."""

import dataclasses
import errno
import json
import os
import subprocess

import pytest

from edgetl_runtime.errors import BackendError
from edgetl_runtime.nvidia import cache as room
from edgetl_runtime.nvidia.cache import KEPT_ENGINES, EngineCache, Fingerprint, default_folder

MARK = Fingerprint(
    model_sha256="a" * 64,
    compiler="TensorRT 10.3.0",
    gpu="Orin",
    compute_capability="8.7",
    driver="12.6",
    l4t="R36, REVISION: 4.0",
    options="{}",
)


@pytest.fixture
def kept(tmp_path):
    cache = EngineCache(tmp_path / "engines")
    cache.keep(MARK, b"plan" * 100, {"seconds": 3})
    return cache


def only(cache, pattern):
    (path,) = cache.folder.glob(pattern)
    return path


def test_an_engine_is_found_again_with_its_bytes(kept):
    assert kept.find(MARK).plan == b"plan" * 100
    assert EngineCache(kept.folder).find(MARK).plan == b"plan" * 100


def test_an_empty_cache_says_so_and_writes_nothing(tmp_path):
    assert EngineCache(tmp_path / "none").find(MARK).reason == "none was built yet"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"compiler": "TensorRT 10.7.0"}, "TensorRT changed from TensorRT 10.3.0 to TensorRT 10.7.0"),
        ({"gpu": "Thor", "compute_capability": "11.0"}, "the GPU changed from Orin to Thor"),
        ({"compute_capability": "8.9"}, "the compute capability changed from 8.7 to 8.9"),
        ({"driver": "12.8"}, "the driver changed from 12.6 to 12.8"),
        ({"l4t": "R38"}, "the L4T release changed from R36, REVISION: 4.0 to R38"),
        ({"model_sha256": "b" * 64}, "none was built yet"),
        ({"options": '{"batch": 2}'}, "none was built yet"),
    ],
)
def test_whatever_changed_is_the_reason_to_build_again(kept, change, reason):
    found = kept.find(dataclasses.replace(MARK, **change))
    assert (found.plan, found.reason) == (None, reason)


@pytest.mark.parametrize("part", ["plan", "record", "code", "other record", "secret"])
def test_a_tampered_or_foreign_engine_is_never_returned(kept, part, tmp_path):
    plan, record = only(kept, "*.plan"), only(kept, "*.json")
    mapping = json.loads(record.read_text())
    if part == "plan":
        data = bytearray(plan.read_bytes())
        data[7] ^= 1
        plan.write_bytes(data)
    elif part == "record":
        mapping["fingerprint"]["driver"] = "12.6 "
        record.write_text(json.dumps(mapping))
    elif part == "code":
        record.write_text(json.dumps(mapping | {"code": "0" * 64}))
    elif part == "other record":  # made by another machine for the same fingerprint
        other = EngineCache(tmp_path / "other")
        other.keep(MARK, b"plan" * 100, {})
        record.write_bytes(only(other, "*.json").read_bytes())
    else:
        (kept.folder / room.KEY_FILE).unlink()
    found = kept.find(MARK)
    assert (found.plan, found.reason) == (None, "the kept one was not made here, or was altered")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"fingerprint": 3}'])
def test_a_damaged_record_is_a_reason_to_build(kept, text):
    only(kept, "*.json").write_text(text)
    assert kept.find(MARK).plan is None
    assert kept.find(MARK).reason.startswith("the kept one")


def test_a_secret_that_others_may_read_is_refused(kept):
    path = kept.folder / room.KEY_FILE
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(BackendError, match=r"must be this user's own and private; got owner .* mode 644"):
        kept.find(MARK)


def test_only_the_engines_used_last_are_kept(kept):
    for number in range(KEPT_ENGINES + 2):
        for path in kept.folder.glob("*.json"):  # each was used an hour before the next
            os.utime(path, ns=(0, path.stat().st_mtime_ns - 3600 * 10**9))
        kept.keep(dataclasses.replace(MARK, options=str(number)), b"plan", {})
    assert len(list(kept.folder.glob("*.plan"))) == len(list(kept.folder.glob("*.json"))) == KEPT_ENGINES
    assert kept.find(MARK).plan is None


def test_a_build_removes_what_a_killed_one_left_and_excludes_others(kept):
    (kept.folder / "x.plan.1234.part").write_bytes(b"half")
    (kept.folder / "build-abc").mkdir()
    with kept.building(wait_s=1):
        assert not list(kept.folder.glob("*.part")) + list(kept.folder.glob("build-*"))
        with (
            pytest.raises(BackendError, match=r"must be free; got another build for 0\.05 s"),
            kept.building(wait_s=0.05),
        ):
            pass
    with kept.building(wait_s=0):
        assert kept.find(MARK).plan == b"plan" * 100


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting is refused here: sudo make test, outside of containers")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_is_one_sentence_and_what_was_kept_stays(small_disk):
    cache = EngineCache(small_disk)
    cache.keep(MARK, b"plan", {})
    before = {path.name: path.read_bytes() for path in small_disk.iterdir()}
    with pytest.raises(BackendError) as caught:
        cache.keep(dataclasses.replace(MARK, driver="13.0"), os.urandom(200_000), {})
    assert caught.value.sentence == (
        f"the folder of the engines {small_disk} must be writable and with room; got No space left on device."
    )
    assert {path.name: path.read_bytes() for path in small_disk.iterdir()} == before
    assert cache.find(MARK).plan == b"plan"


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_write_that_fails_at_any_point_leaves_the_old_engine_or_none(kept, monkeypatch, at):
    """The plan is written before its record, so a new plan with the old record is foreign, never half loaded."""
    real, calls = os.fsync, []

    def fsync(descriptor):
        calls.append(descriptor)
        if len(calls) == at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(BackendError, match="No space left on device"):
        kept.keep(dataclasses.replace(MARK, driver="13.0"), b"new", {})
    monkeypatch.undo()
    assert not list(kept.folder.glob("*.part"))
    assert kept.find(MARK).plan in (b"plan" * 100, None)
    assert kept.find(dataclasses.replace(MARK, driver="13.0")).plan in (b"new", None)


def test_the_default_folder_follows_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_folder("tensorrt") == tmp_path / "edgetl" / "tensorrt"
