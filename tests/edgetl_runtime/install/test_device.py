"""Attempts of a trial, sweeping, and what a device says of itself."""

from __future__ import annotations

import dataclasses
import os

import faults
import pytest

from edgetl.deploy.bundle_writer import write_bundle
from edgetl_runtime import backends
from edgetl_runtime.backends.base import Artifact
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import BusyError, InstallError
from edgetl_runtime.install import selftest
from edgetl_runtime.install.device import Device, default_root
from edgetl_runtime.install.installer import Installer
from edgetl_runtime.install.live_session import LiveSession


def test_begin_attempt_rolls_back_after_three_starts(device_at):
    device = device_at("trial")
    sequences = [device.begin_attempt().desired.sequence for _ in range(5)]
    assert sequences == [2, 2, 2, 1, 1]
    assert device.log.entries()[-1]["reason"].startswith("the service did not survive its starts")
    assert device.states.read().floor == 1


def test_a_service_ends_only_the_trial_that_it_means(kit, device_at):
    device = device_at("trial")
    trial = device.states.read().trial
    device.commit()
    Installer(device, self_test=faults.quick_self_test).install(kit.bundles["third"])
    before = device.states.read()
    for change in (device.commit, device.rollback):
        with pytest.raises(InstallError, match=f"the trial must be that of deployment {trial.deployment}"):
            change(deployment=trial.deployment)
    assert device.states.read() == before
    device.rollback(deployment=before.trial.deployment)
    with pytest.raises(InstallError, match="got none"):
        device.rollback(deployment=before.trial.deployment)
    assert device.states.read().committed.sequence == 2


def test_a_damaged_trial_is_not_committed_whoever_runs_it(device_at):
    device = device_at("trial")
    with LiveSession(device, poll_s=3600):
        device.bundle_path(device.states.read().trial.generation).write_bytes(b"rot")
        with pytest.raises(InstallError, match="whole"):
            Device(device.root).commit()
        state = device.states.read()
        assert (state.trial, state.committed.sequence, state.floor) == (None, 1, 1)


def test_a_device_without_a_whole_generation_starts_a_trial(kit, device_at):
    device = device_at("old")
    device.bundle_path(device.states.read().committed).write_bytes(b"")
    with device.locked("RECOVER") as state:
        assert state.inconsistent
    Installer(device, self_test=faults.quick_self_test).install(kit.bundles["new"])
    assert device.begin_attempt().desired.sequence == 2


def test_begin_attempt_of_a_committed_generation_changes_nothing(device_at):
    device = device_at("new")
    serial = device.states.read().serial
    assert device.begin_attempt().desired.sequence == 2
    assert device.states.read().serial == serial


def test_begin_attempt_says_that_nothing_is_whole(device_at):
    device = device_at("old")
    device.bundle_path(device.states.read().committed).write_bytes(b"")
    with pytest.raises(InstallError, match="must be whole"):
        device.begin_attempt()


def test_sweep_keeps_two_generations_and_removes_what_nobody_needs(kit, device_at):
    device = device_at("new")
    for name in ("gen/000009-aaaaaaaaaaaa", "staging/x", "cache/unknown"):
        (device.root / name).mkdir()
        (device.root / name / "file").write_text("x")
    for name in "abcd":
        (device.root / "incoming" / name).write_text("x")
    with device.locked("GC"):
        pass
    assert len(list(device.generations.iterdir())) == 2
    assert not list((device.root / "cache").iterdir())
    assert not list((device.root / "staging").iterdir())
    assert len(list((device.root / "incoming").iterdir())) == 2
    Installer(device, self_test=faults.quick_self_test).install(kit.bundles["third"])
    device.commit()
    assert sorted(int(path.name[:6]) for path in device.generations.iterdir()) == [2, 3]


def test_engines_that_no_generation_needs_stay_until_gc(device_at):
    device = device_at("new")
    for number in range(4):
        folder = device.root / "cache" / f"engines-{number}"
        folder.mkdir()
        os.utime(folder, ns=(number, number))
    with device.locked("GC"):
        assert sorted(path.name for path in (device.root / "cache").glob("engines-*")) == ["engines-2", "engines-3"]
        assert device.sweep() == []
        assert device.sweep(engines=True) == ["cache/engines-2", "cache/engines-3"]


@pytest.fixture
def with_engine(kit, device_at, tmp_path):
    """A device on trial with a signed bundle that brings an engine, which answers with the golden scores as well."""
    with open_bundle(kit.bundles["new"]) as bundle:
        members = {entry.name: bundle.read(entry.name) for entry in bundle.manifest.files}
        (variant,) = bundle.manifest.variants
        variant = dataclasses.replace(variant, files={**variant.files, "engine": "engine.plan"})
        described = dataclasses.replace(bundle.manifest, variants=(variant,))
    path = tmp_path / "engine.edgetl"
    write_bundle(path, described, {**members, "engine.plan": members["model.json"]}, keys=(kit.key,))
    return device_at("old"), path


@pytest.fixture
def taken(monkeypatch):
    """The engines that were adopted."""
    found = []

    def adopt(engine, about):
        found.append(engine)
        return Artifact(data=engine)

    monkeypatch.setattr(backends.get("null"), "adopt", adopt)
    return found


def test_an_engine_of_a_verified_bundle_is_proven_and_served(with_engine, taken):
    device, path = with_engine

    Installer(device, self_test=selftest.prove).install(path)
    assert len(taken) == 1  # what is proven is what runs
    with LiveSession(device) as live:
        live.heartbeat()
    assert len(taken) == 2


def test_an_engine_whose_key_was_revoked_is_not_loaded_and_the_model_goes_on(kit, with_engine, taken):
    device, path = with_engine
    Installer(device, self_test=faults.quick_self_test).install(path)
    device.commit()
    with device.locked("TRUST"):
        device.trust.revoke(kit.key.id[:12])
    with LiveSession(device) as live:
        live.heartbeat()
    assert taken == []


def test_a_rollback_to_a_damaged_generation_is_refused(device_at):
    device = device_at("new")
    device.bundle_path(device.states.read().previous).write_bytes(b"x")
    with pytest.raises(InstallError, match="must be whole"):
        device.rollback()
    assert device.states.read().committed.sequence == 2


def test_signature_fault_tells_of_a_revoked_key(kit, device_at):
    device = device_at("new")
    committed = device.states.read().committed
    assert device.signature_fault(committed) is None
    with device.locked("TRUST"):
        device.trust.revoke(kit.key.id[:12])
    assert "not revoked" in device.signature_fault(committed)
    assert device.fault(committed) is None


def test_the_lock_is_free_when_its_holder_is_gone(device_at):
    device = device_at("old")
    with device.locked("GC"), pytest.raises(BusyError), Device(device.root).locked("GC"):
        pass
    with Device(device.root).locked("GC"):
        pass


def test_default_root_is_the_environments(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGETL_ROOT", str(tmp_path))
    assert default_root() == tmp_path
    monkeypatch.delenv("EDGETL_ROOT")
    assert str(default_root()) == "/var/lib/edgetl"
