"""A trial without a service: decided by the contract, on this machine; not beside a running service."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from edgetl.deploy.bundle_writer import write_bundle
from edgetl_runtime.backends import null
from edgetl_runtime.contract import Contract
from edgetl_runtime.install import slot
from edgetl_runtime.install.device import Device
from edgetl_runtime.install.installer import Installer, InstallOptions
from edgetl_runtime.install.live_session import LiveSession


@pytest.fixture
def device(tiny_parts, tmp_path):
    """A device with a generation on trial that no machine is fast enough for."""
    fields, members = tiny_parts()
    write_bundle(tmp_path / "a.edgetl", dataclasses.replace(fields, contract=Contract(p99_ms=1e-6)), members)
    made = Device(tmp_path / "root")
    passed = {"passed": True, "reason": "", "breaches": []}
    options = InstallOptions(allow_unsigned=True, variant="null-f32")
    Installer(made, self_test=lambda *_: passed).install(tmp_path / "a.edgetl", options)
    return made


def test_a_trial_that_breaks_the_contract_is_rolled_back_with_exit_1(device, run):
    code, found = run("trial", "--root", str(device.root), "--seconds", "0", "--inferences", "300")
    assert (code, found["result"], found["committed"], found["floor"]) == (1, "ROLLED_BACK", None, 0)
    assert found["reason"].startswith("p99 of ")
    assert device.points_to() is None


def test_a_model_that_fails_is_rolled_back_not_an_error_of_the_command(device, run, monkeypatch):
    real, count = null.NullSession._infer, itertools.count()

    def broken(self, batch):
        if next(count) >= slot.WARM_IMAGES:
            raise RuntimeError("a vendor's library, after a while")
        return real(self, batch)

    monkeypatch.setattr(null.NullSession, "_infer", broken)
    code, found = run("trial", "--root", str(device.root), "--seconds", "0", "--inferences", "300")
    assert (code, found["result"], found["reason"]) == (1, "ROLLED_BACK", "3 decisions in a row failed")


def test_a_keeper_that_fails_is_an_error_of_the_command(device, run, monkeypatch):
    def dead(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(LiveSession, "look", dead)
    monkeypatch.setattr(Device, "rollback", dead)
    code, found = run("trial", "--root", str(device.root), "--seconds", "0", "--inferences", "300")
    assert (code, found["error"]["type"]) == (1, "InstallError")
    assert device.states.read().trial is not None


def test_a_trial_is_the_services_where_one_runs(device, run):
    with LiveSession(device):
        code, found = run("trial", "--root", str(device.root))
    assert (code, found["error"]["type"]) == (1, "BusyError")
