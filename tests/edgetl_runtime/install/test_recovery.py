"""Power cuts after every step of every change, and what recovery makes of what they leave."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import faults
import pytest
from crash_model import digest, read_tree

from edgetl_runtime.errors import InstallError, OutdatedError
from edgetl_runtime.install.installer import Installer
from edgetl_runtime.install.state import encode

if TYPE_CHECKING:
    from pathlib import Path

SCENARIOS = {scenario.name: scenario for scenario in faults.SCENARIOS}
# of the many states of these, a part; `make test-faults` judges all of them
THINNED = {"refused install": 40, "crash loop": 20, "first install": 25, "install": 20, "rotate keys": 1}


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_power_cut_breaks_a_promise(name, kit, tmp_path):
    scenario = SCENARIOS[name]
    judged, broken = faults.explore(kit, scenario, tmp_path, every=THINNED.get(name, 10), retry_every=5)
    assert broken == []
    assert judged >= 3


@pytest.mark.parametrize("name", SCENARIOS)
def test_no_signal_at_any_step_breaks_a_promise(name, kit, tmp_path):
    """F73: SIGTERM, which is an interrupt then, before and after steps of the change and of its clean-up."""
    interrupted, broken = faults.interrupt(kit, SCENARIOS[name], tmp_path, every=3)
    assert broken == []
    assert interrupted >= 2


def _without(steps, index):
    return steps[:index] + steps[index + 1 :]


@pytest.mark.parametrize("name", ["install", "commit", "rotate keys"])
def test_every_removed_sync_is_noticed(name, kit, tmp_path):
    """F05: without any one fsync, and without the syncs of the root, a promise breaks."""
    scenario = SCENARIOS[name]
    steps = faults.record(kit, scenario, tmp_path)
    roots = [i for i, step in enumerate(steps) if step == ("sync", ".")]
    others = [i for i, step in enumerate(steps) if step[0] in ("fsync", "sync") and i not in roots]
    assert others
    mutants = {f"{index} {steps[index]}": _without(steps, index) for index in others}
    # the root is synced for the state and again for `current`: each covers for the other, so both are removed
    mutants["every sync of the root"] = [step for step in steps if step != ("sync", ".")]
    for words, mutant in mutants.items():
        _, broken = faults.explore(kit, scenario, tmp_path, steps=mutant, last_first=True, retry_every=1000)
        assert broken, f"nobody noticed that {words} is missing"


def test_a_rename_before_its_sync_is_noticed(kit, tmp_path):
    scenario = SCENARIOS["install"]
    steps = faults.record(kit, scenario, tmp_path)
    create = next(i for i, step in enumerate(steps) if step == ("create", "state.a.json.tmp"))
    assert [step[0] for step in steps[create : create + 5]] == ["create", "write", "fsync", "rename", "sync"]
    hasty = [*steps[: create + 1], steps[create + 3], steps[create + 4]]
    hasty += [(kind, "state.a.json", *rest[1:]) for kind, *rest in steps[create + 1 : create + 3]]
    _, broken = faults.explore(kit, scenario, tmp_path, steps=[*hasty, *steps[create + 5 :]], last_first=True)
    assert any("torn" in words or "I1" in words for words in broken)


def test_a_commit_before_the_self_test_is_noticed(kit, tmp_path):
    class Hasty(Installer):
        def _prove(self, generation, key, limits):
            self.device.state = dataclasses.replace(self.device.state, active=None, committed=generation)
            self.device.save(self.device.state)
            return super()._prove(generation, key, limits)

    def hasty(device, kit):
        with pytest.raises(faults.GoldenError):
            Hasty(device, self_test=faults.quick_self_test).install(kit.bundles["wrong"])

    scenario = dataclasses.replace(SCENARIOS["refused install"], run=hasty)
    _, broken = faults.explore(kit, scenario, tmp_path, last_first=True, retry_every=1000)
    assert any("P6" in words or "I1" in words for words in broken)


def test_recovery_may_itself_be_cut_off(kit, tmp_path):
    """I8, for a few different recoveries; `make test-faults` takes all of them."""
    scenario = SCENARIOS["end a trial"]
    count = 0
    for tree, steps in faults.recovery_steps(kit, scenario, tmp_path):
        kit.starts["cut"], kit.floors["cut"] = tree, kit.floors[scenario.start]
        again = dataclasses.replace(scenario, start="cut", at_end=None)
        for index, (_, left) in enumerate(faults.crash_states(tree, steps)):
            if index % 9 == 0:
                root = tmp_path / "left"
                faults.write_tree(left, root)
                assert list(faults.violations(kit, again, root, finished=False, retry=False)) == []
                faults.shutil.rmtree(root)
                count += 1
        if count > 25:
            break
    del kit.starts["cut"]
    assert count >= 5


def test_one_damaged_copy_of_the_state_is_mended(kit, device_at):
    for damage in (b"", b"\0" * 300, b"garbage", None):
        device = device_at("new")
        before = device.states.read()
        newest = next(p for p in device.states.paths if p.read_bytes().endswith(encode(before)[65:]))
        whole = newest.read_bytes()
        newest.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
        with device.locked("RECOVER") as state:
            assert state.committed == before.committed
            assert state.floor == 2
        assert not device.states.damaged
        faults.shutil.rmtree(device.root)


def test_both_copies_lost_are_derived_from_the_log(device_at):
    device = device_at("new")
    before = device.states.read()
    for path in device.states.paths:
        path.write_bytes(b"\0" * 100)
    with device.locked("RECOVER") as state:
        assert (state.committed, state.previous, state.floor) == (before.committed, before.previous, before.floor)
    assert device.points_to() == f"gen/{before.committed.name}"


def test_state_and_log_lost_are_derived_from_the_disk(device_at):
    device = device_at("new")
    before = device.states.read()
    for path in (*device.states.paths, device.log.path):
        path.unlink()
    with device.locked("RECOVER") as state:
        assert (state.committed.name, state.floor, state.line) == (before.committed.name, 2, "small")
    assert device.log.entries()[-1]["reason"] == "state and log were lost; derived from the disk"


def test_a_trial_of_unknown_outcome_is_over_when_the_state_is_lost(device_at):
    device = device_at("third trial")
    for path in device.states.paths:
        path.unlink()
    with device.locked("RECOVER") as state:
        assert state.trial is None
        assert state.committed.sequence == 2
    assert [e["result"] for e in device.log.entries()][-1] == "ROLLED_BACK"


@pytest.mark.parametrize("link", ["missing", "dangling", "a file", "elsewhere"])
def test_current_follows_the_state(link, device_at):
    device = device_at("new")
    device.current.unlink()
    if link == "a file":
        device.current.write_text("x")
    elif link != "missing":
        device.current.symlink_to("gen/nowhere" if link == "dangling" else "/etc")
    with device.locked("RECOVER") as state:
        assert device.points_to() == f"gen/{state.committed.name}"


def test_bit_rot_goes_back_to_the_generation_before_and_then_is_told(device_at):
    device = device_at("new")
    state = device.states.read()
    _rot(device.bundle_path(state.committed))
    with device.locked("RECOVER") as after:
        assert after.committed == state.previous
        assert (after.floor, after.phase) == (2, "ROLLED_BACK")
        assert "damaged" in after.events[-1].reason
    _rot(device.bundle_path(state.previous))
    with device.locked("RECOVER") as after:
        assert after.phase == "INCONSISTENT"
        assert after.committed is None
        assert after.floor == 2
        assert device.points_to() is None
    before = digest(read_tree(device.root))
    with device.locked("RECOVER"):
        pass
    assert digest(read_tree(device.root)) == before


def test_a_device_without_a_whole_generation_takes_a_bundle_again(kit, device_at):
    device = device_at("old")
    _rot(device.bundle_path(device.states.read().committed))
    Installer(device, self_test=faults.quick_self_test).install(kit.bundles["old"])
    assert device.commit().phase == "COMMITTED"
    assert [path.name[-1] for path in device.generations.iterdir()] == ["x"]  # the damaged one is gone


def test_a_downgraded_runtime_keeps_the_generation_that_it_cannot_run(kit, device_at, monkeypatch):
    device = device_at("new")
    with monkeypatch.context() as patched:
        patched.setattr("edgetl_runtime.bundle.__version__", "0.0.9")
        with device.locked("RECOVER") as state:
            assert (state.committed.sequence, state.previous.sequence, state.inconsistent) == (2, 1, None)
        with pytest.raises(OutdatedError, match=r"edgetl-runtime must be at least version 0\.1\.0"):
            device.open_generation(state.committed)
    assert device.fault(device.states.read().committed) is None


def test_a_newer_state_is_refused_and_nothing_changes(device_at):
    device = device_at("old")
    for path in device.states.paths:
        newer = json.loads(path.read_bytes().partition(b"\n")[2]) | {"schema_version": 2, "more": 1}
        body = (json.dumps(newer) + "\n").encode()
        path.write_bytes(_checksum(body) + b"\n" + body)
    before = digest(read_tree(device.root))
    with pytest.raises(InstallError, match="of version 1 or older; got 2"), device.locked("RECOVER"):
        pass
    assert digest(read_tree(device.root)) == before
    assert device.points_to() is not None
    assert encode(device.state)


def _checksum(body: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(body).hexdigest().encode()


def _rot(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
