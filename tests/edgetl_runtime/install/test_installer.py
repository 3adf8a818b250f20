"""What may be installed: signed, whole, of this line, not older, proven here. Everything else leaves the old one."""

from __future__ import annotations

import dataclasses
import datetime as dt
import errno
import multiprocessing
import os
import random
import signal
from typing import TYPE_CHECKING, Any

import faults
import onnx
import pytest
from crash_model import QuickDisk

from edgetl.deploy import signing
from edgetl.deploy.bundle_writer import write_bundle
from edgetl_runtime import onnx_walk, session
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import (
    BundleError,
    BusyError,
    EdgetlError,
    GoldenError,
    InstallError,
    SignatureError,
    UnfitError,
)
from edgetl_runtime.install.device import Device
from edgetl_runtime.install.installer import Installer, InstallOptions
from edgetl_runtime.manifest import Requires

if TYPE_CHECKING:
    from pathlib import Path


def install(device: Device, path: Path, **options: Any) -> Any:
    return Installer(device, self_test=faults.quick_self_test).install(path, InstallOptions(**options))


def assert_refused(device: Device, path: Path, error: type[EdgetlError], words: str, **options: Any) -> None:
    before = device.states.read()
    with pytest.raises(error, match=words):
        install(device, path, **options)
    after = device.states.read()
    assert (after.committed, after.trial, after.floor) == (before.committed, before.trial, before.floor)
    assert after.events[-1].result == "REFUSED"
    assert list((device.root / "staging").iterdir()) == []
    assert len(list(device.generations.iterdir())) == len(after.kept)


def test_install_commit_rollback_and_the_log(kit, device_at):
    device = device_at("empty")
    first = install(device, kit.bundles["old"])
    assert (first.result, first.generation.sequence, first.generation.key_id) == ("TRIAL", 1, kit.key.id)
    assert device.states.read().floor == 0
    assert device.commit().floor == 1
    install(device, kit.bundles["new"])
    state = device.commit(reason="looked good")
    assert (state.committed.sequence, state.previous.sequence, state.floor) == (2, 1, 2)
    state = device.rollback()
    assert (state.committed.sequence, state.previous, state.floor, state.phase) == (1, None, 2, "ROLLED_BACK")
    results = [(e["result"], e["source"], e["target"], e["reason"]) for e in device.log.entries()]
    old, new = first.generation.name, results[2][2]
    assert results == [
        ("TRIAL", None, old, "self-test passed"),
        ("COMMITTED", None, old, "by hand"),
        ("TRIAL", old, new, "self-test passed"),
        ("COMMITTED", old, new, "looked good"),
        ("ROLLED_BACK", new, old, "by hand"),
    ]
    with pytest.raises(InstallError, match="committed before"):
        device.rollback()
    with pytest.raises(InstallError, match="on trial"):
        device.commit()


def test_the_same_bundle_again_is_no_error_and_another_waits_for_the_trial(kit, device_at):
    device = device_at("old")
    assert install(device, kit.bundles["old"]).result == "UNCHANGED"
    first = install(device, kit.bundles["new"])
    assert install(device, kit.bundles["new"]).deployment == first.deployment
    with pytest.raises(InstallError, match="without a trial"):
        install(device, kit.bundles["third"])


def test_a_bundle_that_decides_otherwise_here_is_refused(kit, device_at):
    assert_refused(device_at("old"), kit.bundles["wrong"], GoldenError, "proven by its self-test")


def test_signatures_and_lines(kit, device_at, tmp_path):
    device = device_at("old")
    other = signing.new_key(tmp_path / "other.key")
    path = faults.small_bundle(tmp_path / "a.edgetl", sequence=9, seed=9, key=other)
    assert_refused(device, path, SignatureError, "trusted by this machine")
    assert_refused(device, path, SignatureError, "trusted by this machine", allow_unsigned=True)
    with device.locked("TRUST"):
        device.trust.add(faults.TrustedKey(pem=other.pem, lines=("else",)))
    assert_refused(device, path, SignatureError, "for product line else")
    assert_refused(device, kit.bundles["new"], InstallError, "of product line 'b'", line="b")


def test_unsigned_bundles_need_the_option_and_are_recorded(tiny_bundle, device_at):
    device = device_at("empty")
    path = tiny_bundle(sequence=1)
    with pytest.raises(SignatureError, match="no signature"):
        install(device, path)
    done = install(device, path, allow_unsigned=True, variant="null-f32")
    assert done.generation.key_id is None
    assert "unsigned" in device.log.entries()[-1]["reason"]


def test_the_floor_only_rises_and_a_permit_is_good_once(kit, device_at, tmp_path):
    device = device_at("new")
    assert_refused(device, kit.bundles["old"], InstallError, "at or above the floor 2; got sequence 1")
    with open_bundle(kit.bundles["old"]) as bundle:
        permit = signing.rollback_permit(kit.key, bundle, floor=2)
        late = signing.rollback_permit(kit.key, bundle, floor=3)
    with open_bundle(kit.bundles["third"]) as bundle:
        other = signing.rollback_permit(kit.key, bundle, floor=2)
    assert_refused(device, kit.bundles["old"], InstallError, "for the floor 2; got 3", permit=late)
    assert_refused(device, kit.bundles["old"], InstallError, "for this bundle", permit=other)
    with open_bundle(kit.bundles["old"]) as bundle:
        envelope = bundle.signatures[0]
    assert_refused(device, kit.bundles["old"], SignatureError, "about https://edgetl", permit=envelope)
    install(device, kit.bundles["old"], permit=permit)
    device.rollback()  # a trial that ended does not use the permit up
    install(device, kit.bundles["old"], permit=permit)
    assert device.commit().floor == 2
    install(device, kit.bundles["new"])
    device.commit()
    assert_refused(device, kit.bundles["old"], InstallError, "not used before", permit=permit)


def test_sequences_that_repeat_or_leap_are_refused(kit, device_at, tmp_path):
    device = device_at("old")
    twin = faults.small_bundle(tmp_path / "twin.edgetl", sequence=1, seed=7, key=kit.key)
    assert_refused(device, twin, InstallError, "newer than the floor 1")
    far = faults.small_bundle(tmp_path / "far.edgetl", sequence=2**63 - 1, seed=7, key=kit.key)
    assert_refused(device, far, InstallError, "at most 10000 above the floor 1")
    none = faults.small_bundle(tmp_path / "none.edgetl", sequence=0, seed=7, key=kit.key)
    assert_refused(device, none, InstallError, "1 or above")
    assert install(device, far, allow_jump=True).result == "TRIAL"


def test_truncated_and_altered_bundles_never_install(kit, device_at, tmp_path):
    """A sample; `make test-faults` takes every bit of manifest and envelope, and every 4 KiB of a large bundle."""
    device = device_at("old")
    whole = kit.bundles["new"].read_bytes()
    rng = random.Random(0)
    damaged = [whole[:size] for size in range(0, len(whole), 409)]
    for position in rng.sample(range(8 * len(whole)), 40):
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << position % 8
        damaged.append(bytes(flipped))
    for data in damaged:
        path = tmp_path / "damaged.edgetl"
        path.write_bytes(data)
        try:
            opened = open_bundle(path, trust=[faults.TrustedKey(pem=kit.key.pem)])
        except BundleError:
            continue
        with opened, pytest.raises(BundleError):
            opened.verify()
    path.write_bytes(whole[:-1])
    assert_refused(device, path, BundleError, "ZIP")


def test_a_bundle_changed_after_it_was_verified_does_not_matter(kit, device_at, tmp_path):
    """F43: only the device's own copy is looked at, and every byte of it before it runs."""
    device = device_at("old")
    source = tmp_path / "source.edgetl"
    source.write_bytes(kit.bundles["new"].read_bytes())

    def swap(bundle: Path, *rest: Any) -> dict[str, Any]:
        source.write_bytes(b"something else")
        return faults.quick_self_test(bundle, *rest)

    done = Installer(device, self_test=swap).install(source)
    assert device.fault(done.generation) is None


def test_a_second_install_is_busy_at_once(kit, device_at):
    device = device_at("old")
    other = Device(device.root, disk=QuickDisk())
    with device.locked("SELF_TEST"):
        assert other.busy_phase() == "SELF_TEST"
        with pytest.raises(BusyError, match="got SELF_TEST at work"):  # it does not wait: the lock is held meanwhile
            install(other, kit.bundles["new"])
    assert other.busy_phase() is None
    assert install(other, kit.bundles["new"]).result == "TRIAL"


def _compete(root: str, bundle: str, results: Any, go_on: Any) -> None:
    import faults
    from crash_model import QuickDisk

    def slow(*arguments: Any) -> dict[str, Any]:
        go_on.wait()
        return faults.quick_self_test(*arguments)

    try:
        outcome = Installer(Device(root, disk=QuickDisk()), self_test=slow).install(bundle)
        results.put(outcome.deployment)
    except BusyError:
        results.put("busy")


def test_of_twenty_installs_at_once_one_wins_the_others_are_busy_and_a_later_one_agrees(kit, device_at):
    device = device_at("old")
    context = multiprocessing.get_context("fork")
    results, go_on = context.SimpleQueue(), context.Event()
    arguments = (str(device.root), str(kit.bundles["new"]), results, go_on)
    jobs = [context.Process(target=_compete, args=arguments, daemon=True) for _ in range(20)]
    for job in jobs:
        job.start()
    assert [results.get() for _ in jobs[1:]] == ["busy"] * 19  # the winner works until they have said so
    go_on.set()
    won = results.get()
    for job in jobs:
        job.join()
    _compete(*arguments)
    assert results.get() == won  # it finds the trial of its own bundle
    assert [e["result"] for e in device.log.entries()].count("TRIAL") == 2  # the old one's and this


class _FullDisk(QuickDisk):
    """No room from the n-th write on, until `room` is set."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.room = False

    def _write(self, descriptor: int, path: Path, data: bytes) -> None:
        self.left -= 1
        if self.left < 0 and not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        super()._write(descriptor, path, data)


@pytest.mark.parametrize("left", range(5))
def test_a_full_disk_leaves_the_old_generation_and_a_retry_succeeds(left, kit, device_at):
    root = device_at("old").root
    disk = _FullDisk(left)
    device = Device(root, disk=disk)
    with pytest.raises(OSError, match="No space"):
        install(device, kit.bundles["new"])
    disk.room = True
    with device.locked("RECOVER") as state:
        assert state.committed.sequence == 1
        assert state.floor == 1
    if state.trial is None:
        assert install(device, kit.bundles["new"]).result == "TRIAL"
    assert device.commit().committed.sequence == 2


class _DyingDisk(QuickDisk):
    """Kills its process before the n-th step."""

    def __init__(self, left: int, number: int = signal.SIGKILL) -> None:
        self.left, self.number = left, number

    def __getattribute__(self, name: str) -> Any:
        if name in ("_create", "_write", "_truncate", "_fsync", "_fsync_folder", "_mkdir", "_rename", "_unlink"):
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.number)
        return super().__getattribute__(name)


@pytest.mark.parametrize("scenario", [faults.SCENARIOS[1], faults.SCENARIOS[3]], ids=lambda scenario: scenario.name)
def test_a_killed_process_leaves_nothing_to_clean(scenario, kit, tmp_path):
    """F01, F02 with real processes: killed before each of its steps."""
    steps = len(faults.record(kit, scenario, tmp_path))
    for left in range(1, steps + 1, 3):
        root = tmp_path / f"killed{left}"
        faults.write_tree(kit.starts[scenario.start], root)
        child = os.fork()
        if child == 0:
            try:
                scenario.run(Device(root, disk=_DyingDisk(left), who="tests"), kit)
            finally:
                os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or left > steps - 3
        assert list(faults.violations(kit, scenario, root, finished=False, retry=left % 9 == 1)) == []
        faults.shutil.rmtree(root)


def test_a_bundle_that_does_not_fit_on_the_disk_is_refused_before_anything_is_written(kit, device_at, monkeypatch):
    device = device_at("old")

    def small(_: object) -> Any:
        return os.statvfs_result((512, 512, 100, 100, 100, 100, 100, 100, 0, 255))

    monkeypatch.setattr("edgetl_runtime.install.installer.os.statvfs", small)
    before = device.log.entries()
    with pytest.raises(InstallError, match="free space"):
        install(device, kit.bundles["new"])
    assert device.log.entries() == before


def test_too_little_memory_is_said_before_anything_runs(kit, device_at, monkeypatch):
    monkeypatch.setattr("edgetl_runtime.install.selftest.available_mb", lambda: 10.0)
    assert_refused(device_at("old"), kit.bundles["new"], InstallError, "free memory")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"requires": Requires(arch=("riscv64",))}, "it needs riscv64, this is "),
        ({"requires": Requires(cpu_flags=("no_such_flag",))}, "the CPU lacks no_such_flag"),
        ({"backend": "from_the_future"}, "this edgetl-runtime has no backend from_the_future"),
    ],
    ids=["other machine", "other CPU", "no such backend"],
)
def test_a_bundle_that_cannot_run_here_is_refused(changes, words, tiny_parts, kit, device_at, tmp_path):
    fields, members = tiny_parts()
    variants = tuple(dataclasses.replace(variant, **changes) for variant in fields.variants)
    path = tmp_path / "other.edgetl"
    write_bundle(
        path, dataclasses.replace(fields, line="small", sequence=2, variants=variants), members, keys=(kit.key,)
    )
    assert_refused(device_at("old"), path, EdgetlError, words)


def test_a_bundle_for_a_newer_runtime_is_refused(kit, device_at, monkeypatch):
    monkeypatch.setattr("edgetl_runtime.bundle.__version__", "0.0.9")
    words = "edgetl-runtime must be at least version 0.1.0 for this bundle; got 0.0.9"
    assert_refused(device_at("old"), kit.bundles["new"], BundleError, words)


@pytest.mark.parametrize("years", [(1970, 1970), (2036, 2036), (2036, 1970), (1970, 2036)])
def test_the_clock_decides_nothing(years, kit, device_at, monkeypatch):
    class Clock(dt.datetime):
        year_now = years[0]

        @classmethod
        def now(cls, tz=None):
            return dt.datetime(cls.year_now, 1, 1, tzinfo=tz)

    monkeypatch.setattr("edgetl_runtime.install.device.dt.datetime", Clock)
    device = device_at("old")
    install(device, kit.bundles["new"])
    Clock.year_now = years[1]  # jumps during the trial
    assert device.commit().committed.sequence == 2
    assert device.rollback().committed.sequence == 1
    assert [entry["time"][:4] for entry in device.log.entries()[-3:]] == [str(y) for y in (years[0], *2 * years[1:])]


def test_a_power_mode_below_the_contracts_is_refused(tiny_parts, kit, device_at, tmp_path, monkeypatch):
    """As nvpmodel's files say it on a Jetson; what is committed stays."""
    for name, text in (("etc/nvpmodel.conf", "< POWER_MODEL ID=3 NAME=25W >"), ("var/lib/nvpmodel/status", "pmode:0")):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text + "\n< POWER_MODEL ID=0 NAME=15W >")
    monkeypatch.setattr("edgetl_runtime.doctor.contract.ROOT", tmp_path)
    fields, members = tiny_parts()
    path = tmp_path / "hungry.edgetl"
    target = {"contract_power_mode": "25W"}
    with open_bundle(kit.bundles["new"]) as new:
        line = new.manifest.line
    write_bundle(path, dataclasses.replace(fields, line=line, sequence=2, target=target), members, keys=(kit.key,))
    words = "the power mode must be 25W or higher, as the contract assumes; got 15W"
    assert_refused(device_at("old"), path, UnfitError, words)


def _external(model: bytes, where: str) -> bytes:
    """Let the weights of a model lie outside of it."""
    made = onnx.load_from_string(model)
    tensor = made.graph.initializer[2]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": where, "offset": "-1", "length": str(10**15)}.items():
        tensor.external_data.add(key=key, value=value)
    return bytes(made.SerializeToString())


@pytest.mark.parametrize("where", ["../../etc/passwd", "/etc/passwd", "*/_ORT_MEM_ADDR_/*", "weights.bin", "pickle"])
def test_hostile_models_are_refused_before_a_runtime_sees_them(
    where, tiny_parts, tiny_onnx, kit, device_at, tmp_path, monkeypatch
):
    """Even from a trusted hand: signed, every digest right."""
    fields, members = tiny_parts()
    hostile = b"\x80\x04\x95pickle" if where == "pickle" else _external(tiny_onnx(), where)
    with monkeypatch.context() as careless:
        careless.setattr(onnx_walk, "check", lambda *_, **__: None)
        path = tmp_path / "hostile.edgetl"
        signed = {**members, "models/float/model.onnx": hostile}
        write_bundle(path, dataclasses.replace(fields, line="small", sequence=2), signed, keys=(kit.key,))
    opened: list[str] = []
    monkeypatch.setattr(session, "load", lambda *_, **__: opened.append("a runtime"))
    assert_refused(device_at("old"), path, BundleError, r"model 'models/float/model\.onnx'")
    assert opened == []
