"""A session that follows its device: swaps under load, trials that end by themselves, nothing that fails meanwhile."""

from __future__ import annotations

import contextlib
import errno
import itertools
import threading
import time

import faults
import numpy as np
import pytest

from edgetl_runtime.backends import null
from edgetl_runtime.errors import BackendError, BusyError, ImageError, InstallError
from edgetl_runtime.install import live_session as lives
from edgetl_runtime.install import service, slot
from edgetl_runtime.install.device import Device
from edgetl_runtime.install.evidence import Evidence
from edgetl_runtime.install.installer import Installer, InstallOptions
from edgetl_runtime.install.live_session import LiveSession

IMAGE = np.zeros((8, 8, 3), np.uint8)


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def live_of(device, **changes):
    return LiveSession(device, **{"trial_seconds": 0.0, "trial_inferences": 20, "poll_s": 0.02, **changes})


def install(device, path, **options):
    passed = {"passed": True, "reason": "", "breaches": []}
    Installer(Device(device.root), self_test=lambda *_: passed).install(path, InstallOptions(**options))


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
        real = slot.sessions.load

        def refuse(bundle, *rest, **named):
            if bundle.manifest.sequence == 2:
                raise BackendError("the model", "loadable", "no memory", fix="x")
            return real(bundle, *rest, **named)

        monkeypatch.setattr(slot.sessions, "load", refuse)
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


class Reason(Exception):  # noqa: N818  (not of our tree, as a vendor's library may raise)
    pass


def ask_until(live, condition):
    """Decide on images until something has happened; what fails is the watch's to count."""

    def asked():
        with contextlib.suppress(Exception):
            live.predict(IMAGE)
        return condition()

    until(asked)


def last(device):
    return device.log.entries()[-1]


def test_logits_that_are_not_finite_are_failures_of_the_model(device_at, monkeypatch):
    device = device_at("trial")
    with live_of(device) as live:
        real, count = null.NullSession._infer, itertools.count()

        def mostly_broken(self, batch):
            logits = real(self, batch)
            return logits if next(count) % 10 == 0 else np.full_like(logits, np.nan)

        monkeypatch.setattr(null.NullSession, "_infer", mostly_broken)
        ask_until(live, lambda: last(device)["result"] != "TRIAL")
    assert (last(device)["result"], last(device)["reason"]) == ("ROLLED_BACK", "3 decisions in a row failed")
    assert device.states.read().floor == 1


@pytest.mark.parametrize("failure", [MemoryError, Reason, ValueError, BackendError("a", "b", "c", fix="d")])
def test_whatever_a_decision_raises_counts_against_the_trial(device_at, monkeypatch, failure):
    device = device_at("trial")
    with live_of(device) as live:

        def broken(_: object) -> None:
            raise failure

        monkeypatch.setattr(live._slot.session, "predict", broken)
        ask_until(live, lambda: last(device)["result"] != "TRIAL")
    assert last(device)["reason"] == "3 decisions in a row failed"


def test_images_that_cannot_be_read_are_no_failure_but_nothing_is_proved_by_them(device_at):
    device = device_at("trial")
    with live_of(device, trial_inferences=20, poll_s=3600) as live:
        for image in [IMAGE] * 10 + [b"no image"] * 20:
            assert last(device)["result"] == "TRIAL"
            with contextlib.suppress(ImageError):
                live.predict(image)
            live.look()
    assert last(device)["reason"].startswith("20 of 30 images could not be read")


def test_too_few_decisions_for_a_p99_never_commit(bounded, device_at):
    for p99_ms, result in ((1e-6, "ROLLED_BACK"), (1e6, "COMMITTED")):
        device = device_at("old")
        with live_of(device) as live:
            install(device, bounded("new", p99_ms=p99_ms))
            until(lambda live=live: sequence(live) == 2)
            ask_until(live, lambda device=device: last(device)["result"] != "TRIAL")
        assert last(device)["result"] == result
        if result == "COMMITTED":
            assert int(last(device)["reason"].split()[0]) >= 299
        faults.shutil.rmtree(device.root)


def test_unproven_terms_that_were_allowed_commit_and_are_said(bounded, device_at):
    device = device_at("old")
    with live_of(device, poll_s=3600) as live:
        install(device, bounded("new", p99_ms=1e6), allow_unproven=True)
        live.look()
        for _ in range(20):
            live.predict(IMAGE)
        live.look()
    assert last(device)["result"] == "COMMITTED"
    assert "p99 of at most 1000000 ms (0 of 20 decisions took longer" in last(device)["reason"]


def test_the_decisions_of_one_trial_never_commit_the_next(kit, device_at):
    device = device_at("trial")
    with live_of(device, poll_s=3600) as live:
        for _ in range(50):  # more than the trial needs
            live.predict(IMAGE)
        Device(device.root).commit()
        install(device, kit.bundles["third"])
        live.look()
        assert (sequence(live), device.states.read().trial.generation.sequence) == (3, 3)
        for _ in range(19):
            live.predict(IMAGE)
            live.look()
        assert device.states.read().trial is not None
        live.predict(IMAGE)
        live.look()
        assert device.states.read().committed.sequence == 3


def test_the_same_bundle_again_is_another_trial(kit, device_at):
    device = device_at("trial")
    with live_of(device, poll_s=3600) as live:
        for _ in range(50):
            live.predict(IMAGE)
        Device(device.root).rollback()
        install(device, kit.bundles["new"])
        live.look()
        live.look()
        assert (sequence(live), device.states.read().trial.generation.sequence) == (2, 2)
        for _ in range(20):
            live.predict(IMAGE)
        live.look()
        assert device.states.read().committed.sequence == 2


def test_the_failures_of_a_trial_that_was_committed_by_hand_roll_nothing_back(device_at):
    device = device_at("trial")
    with live_of(device, poll_s=3600) as live:
        for _ in range(3):
            live._slot.watch.record(None)
        Device(device.root).commit()
        live.look()
    assert (device.states.read().committed.sequence, last(device)["result"]) == (2, "COMMITTED")


def test_a_commit_and_a_rollback_by_hand_are_followed_though_a_trial_was_watched(device_at):
    device = device_at("trial")
    with live_of(device, poll_s=3600) as live:
        for _ in range(50):
            live.predict(IMAGE)
        Device(device.root).commit()
        Device(device.root).rollback()
        live.look()
        assert sequence(live) == 1
        assert live.predict(IMAGE).verdict in ("OK", "NOK")


def test_a_rollback_by_hand_does_not_wait_for_the_next_installation(device_at):
    device = device_at("trial")
    with live_of(device, poll_s=3600) as live:
        Device(device.root).rollback()
        with Device(device.root).locked("SELF_TEST"):
            live.look()
            assert sequence(live) == 1


def test_a_rollback_that_is_cut_short_after_the_state_was_written_is_followed(device_at, monkeypatch):
    device = device_at("trial")
    with live_of(device, poll_s=3600) as live:

        def fail(state):
            if state.trial is None:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(device.log, "follow", fail)
        for _ in range(3):
            live._slot.watch.record(None)
        live.look()
        assert sequence(live) == 1
    assert device.states.read().trial is None


def test_a_trial_that_needed_its_last_start_can_still_be_committed(device_at):
    device = device_at("trial")
    for _ in range(2):
        device.begin_attempt()
    with live_of(device) as live:
        ask_until(live, lambda: last(device)["result"] != "TRIAL")
    assert last(device)["result"] == "COMMITTED"


def test_a_first_generation_that_was_rolled_back_decides_no_more(device_at):
    device = device_at("first trial")
    with live_of(device, trial_inferences=10**9) as live:
        live.predict(IMAGE)
        Device(device.root).rollback()
        with pytest.raises(InstallError, match="with an installed generation"):
            ask_until_raised(live)
        with pytest.raises(InstallError, match="with an installed generation"):
            live.check()


@pytest.mark.parametrize("how", ["beside", "stop-load-start"])
@pytest.mark.parametrize("failure", [MemoryError, Reason, SystemExit, KeyboardInterrupt])
def test_whatever_stops_a_load_ends_the_trial_and_no_image_waits_for_ever(kit, device_at, monkeypatch, how, failure):
    device = device_at("old")
    monkeypatch.setattr(lives, "plan", lambda _: how)
    with live_of(device) as live:
        real = slot.sessions.load

        def refuse(bundle, *rest, **named):
            if bundle.manifest.sequence == 2:
                raise failure
            return real(bundle, *rest, **named)

        monkeypatch.setattr(slot.sessions, "load", refuse)
        install(device, kit.bundles["new"])
        ask_until(live, lambda: last(device)["result"] != "TRIAL")
        assert live.predict(IMAGE).verdict in ("OK", "NOK")
        assert sequence(live) == 1
    assert last(device)["result"] == "ROLLED_BACK"
    assert failure.__name__ in last(device)["reason"]


def test_a_rollback_that_fails_ends_the_service_with_an_error(kit, device_at, monkeypatch, tmp_path):
    device = device_at("old")
    monkeypatch.setattr(lives, "plan", lambda _: "stop-load-start")
    with live_of(device) as live:

        def fail(*_: object, **__: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(slot.sessions, "load", fail)
        monkeypatch.setattr(device, "rollback", fail)
        install(device, kit.bundles["new"])
        with pytest.raises(InstallError, match="Read-only file system"):
            ask_until_raised(live)
        (tmp_path / "in").mkdir()
        (tmp_path / "in/a.png").write_bytes(b"waits for the next start")
        end = time.monotonic() + 60
        with (
            Evidence(tmp_path / "in", tmp_path / "out") as evidence,
            pytest.raises(InstallError, match="Read-only file system"),
        ):
            service.serve(live, evidence, stop=lambda: time.monotonic() > end)
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["a.png"]
    assert device.states.read().trial is not None  # as it is, not as it should be


def ask_until_raised(live):
    end = time.monotonic() + 60
    while time.monotonic() < end:
        live.predict(IMAGE)


def test_a_keeper_that_dies_is_seen_and_the_trial_is_rolled_back(device_at, monkeypatch):
    device = device_at("trial")
    with live_of(device) as live:
        monkeypatch.setattr(live, "look", lambda: (_ for _ in ()).throw(MemoryError))
        with pytest.raises(InstallError, match="MemoryError"):
            ask_until_raised(live)
    assert last(device)["result"] == "ROLLED_BACK"
    assert "MemoryError" in last(device)["reason"]
