"""A session that follows its device: swaps under load, trials that end by themselves, nothing that fails meanwhile."""

from __future__ import annotations

import itertools
import threading
import time

import faults
import numpy as np
import pytest

from edgetl_runtime.errors import BackendError, BusyError, InstallError
from edgetl_runtime.install import live as lives
from edgetl_runtime.install.device import Device
from edgetl_runtime.install.installer import Installer
from edgetl_runtime.install.live import LiveSession

IMAGE = np.zeros((8, 8, 3), np.uint8)


def until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def live_of(device, **changes):
    return LiveSession(device, **{"trial_seconds": 0.0, "trial_inferences": 20, "poll_s": 0.02, **changes})


def sequence(live):
    return live.generation.sequence if live.generation else None


def test_a_swap_under_load_fails_no_request_and_the_trial_commits(kit, device_at):
    device = device_at("old")
    answers, failed = [], []
    stop = threading.Event()

    def ask(live):
        while not stop.is_set():
            try:
                answers.append(next(iter(live.predict(IMAGE).scores.values())))
            except Exception as error:
                failed.append(error)

    with live_of(device) as live:
        thread = threading.Thread(target=ask, args=(live,))
        thread.start()
        Installer(Device(device.root), self_test=faults.quick_self_test).install(kit.bundles["new"])
        until(lambda: sequence(live) == 2 and device.states.read().committed.sequence == 2)
        stop.set()
        thread.join()
        swap = live.swaps[0]
    assert failed == []
    assert len(set(answers)) == 2  # the old one's answer, then the new one's, never a third
    changes = sum(a != b for a, b in itertools.pairwise(answers))
    assert changes == 1
    assert (swap.plan, swap.target[:6]) == ("beside", "000002")


def test_a_generation_that_fails_in_service_is_rolled_back_by_itself(device_at, monkeypatch):
    device = device_at("trial")
    with live_of(device) as live:
        assert sequence(live) == 2

        def broken(_: object) -> None:
            raise BackendError("the model", "able to decide", "a crash", fix="x")

        monkeypatch.setattr(live._slot.session, "predict", broken)
        for _ in range(3):
            with pytest.raises(BackendError):
                live.predict(IMAGE)
        until(lambda: sequence(live) == 1)
        assert live.predict(IMAGE).verdict in ("OK", "NOK")
    assert device.log.entries()[-1]["reason"] == "3 decisions in a row failed"
    assert device.states.read().floor == 1


def test_one_that_does_not_load_beside_is_rolled_back_and_the_old_one_goes_on(kit, device_at, monkeypatch):
    device = device_at("old")
    with live_of(device) as live:
        real = lives.sessions.load

        def refuse(bundle, *rest, **named):
            if bundle.manifest.sequence == 2:
                raise BackendError("the model", "loadable", "no memory", fix="x")
            return real(bundle, *rest, **named)

        monkeypatch.setattr(lives.sessions, "load", refuse)
        passed = {"passed": True, "reason": "", "breaches": []}
        Installer(Device(device.root), self_test=lambda *_: passed).install(kit.bundles["new"])
        until(lambda: device.log.entries()[-1]["result"] == "ROLLED_BACK")
        assert sequence(live) == 1
        assert live.predict(IMAGE).verdict in ("OK", "NOK")
    assert "does not load in the service" in device.log.entries()[-1]["reason"]


def test_a_device_without_memory_stops_first_and_images_wait(kit, device_at, monkeypatch):
    device = device_at("old")
    monkeypatch.setattr(lives, "plan", lambda _: "stop-load-start")
    with live_of(device) as live:
        Installer(Device(device.root), self_test=faults.quick_self_test).install(kit.bundles["new"])
        until(lambda: live.predict(IMAGE) is not None and sequence(live) == 2)
        assert live.swaps[0].plan == "stop-load-start"


def test_a_rollback_by_hand_is_followed(device_at):
    device = device_at("new")
    with live_of(device) as live:
        assert sequence(live) == 2
        Device(device.root).rollback()
        until(lambda: sequence(live) == 1)


def test_only_one_service_runs_and_nothing_installed_is_said(device_at):
    device = device_at("old")
    with live_of(device):
        assert device.service_runs()
        with pytest.raises(BusyError, match="without a running service"):
            live_of(Device(device.root)).open()
    assert not device.service_runs()
    with pytest.raises(InstallError, match="with an installed generation"):
        live_of(device_at("empty")).open()


def test_plan_asks_for_a_margin():
    assert lives.plan({"memory_mb": 100.0}, free_mb=119.0) == "stop-load-start"
    assert lives.plan({"memory_mb": 100.0}, free_mb=121.0) == "beside"
    assert lives.plan({}, free_mb=1.0) == "beside"
