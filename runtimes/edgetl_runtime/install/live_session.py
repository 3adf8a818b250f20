"""A running session that follows the device's generation: swapped between two images, watched while on trial.

The new generation is loaded and warmed beside the old one, in a thread of its own; the next image goes to the new one
and the old one is kept warm until the trial is over. Where memory does not suffice, the old one is closed first and
images wait meanwhile; `plan` says so before it happens.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from edgetl_runtime import locks
from edgetl_runtime.errors import BusyError, EdgetlError, ImageError, InstallError
from edgetl_runtime.install.slot import Slot, Swap, load, plan
from edgetl_runtime.install.trial import TrialLimits, TrialWatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from edgetl_runtime.install.device import Device
    from edgetl_runtime.install.slot import Plan
    from edgetl_runtime.install.state import Generation, State
    from edgetl_runtime.tasks.base import Decision

POLL_S = 0.2
_log = logging.getLogger(__name__)


class LiveSession:
    """Decides on images with the device's current generation; a context manager.

    Args:
        device: Whose generation to follow.
        trial_seconds: Shortest duration of a trial.
        trial_inferences: And at least so many decisions.
        poll_s: How often the device is looked at.

    Attributes:
        swaps: Changes of generation so far.
    """

    def __init__(
        self, device: Device, *, trial_seconds: float = 60.0, trial_inferences: int = 200, poll_s: float = POLL_S
    ) -> None:
        self.device = device
        self.swaps: list[Swap] = []
        self._seconds, self._inferences = trial_seconds, trial_inferences
        self._poll_s = poll_s
        self._change = threading.Condition()
        self._slot: Slot | None = None
        self._warm: Slot | None = None  # the committed one, while another is on trial
        self._seen: tuple[object, State | None] = (None, None)
        self._failed: tuple[str, str] | None = None  # a deployment that did not load, and why, until it is rolled back
        self._fault: BaseException | None = None  # what ended the keeper
        self._stop = threading.Event()
        self._service_lock = -1
        self._keeper = threading.Thread(target=self._keep, name="edgetl-keeper", daemon=True)

    @property
    def generation(self) -> Generation | None:
        """Return the generation that the next image goes to."""
        slot = self._slot
        return slot.generation if slot else None

    def open(self) -> Self:
        """Take the service's place, count the start, load the generation.

        Raises:
            BusyError: Another service runs on this root.
            InstallError: Nothing is installed, or nothing that is whole.
        """
        self.device.require_owner()
        self.device.disk.make_folder(self.device.root)
        self._service_lock = _take(self.device)
        try:
            state, generation = self._begin()
            self._enter(load(self.device, generation), state)
            self._keeper.start()
        except BaseException:
            slot, self._slot = self._slot, None
            self._retire(slot)
            os.close(self._service_lock)
            self._service_lock = -1
            raise
        return self

    def _begin(self) -> tuple[State, Generation]:
        """Count a start; return the state, and the generation to run."""
        state = self.device.begin_attempt()
        return state, self._desired(state)

    def _desired(self, state: State) -> Generation:
        if state.desired is None:
            fix = "edgetl-runtime install BUNDLE"
            raise InstallError(f"{self.device.root}", "with an installed generation", "none", fix=fix)
        return state.desired

    def predict(self, image: Any) -> Decision:  # noqa: ANN401  (as Session.predict)
        """Decide on one image with one generation, whichever is current when it comes.

        Raises:
            ImageError: The image cannot be read; counts as no failure of the model, as everything else does.
            BackendError: The model failed.
            InstallError: The session was closed, or can follow the device no more.
        """
        with self._using() as slot:
            watch = slot.watch
            start = time.perf_counter_ns()
            try:
                decision = slot.session.predict(image)
            except ImageError:
                if watch is not None:
                    watch.refuse()
                raise
            except Exception:
                if watch is not None:
                    watch.record(None)
                raise
            if watch is not None:
                watch.record((time.perf_counter_ns() - start) / 1e6)
        return decision

    def heartbeat(self) -> None:
        """Decide on a golden image: progress of a station that has no parts, for its watchdog."""
        with self._using() as slot:
            name = slot.session.manifest.golden.images[0]
            slot.session.predict(slot.session.bundle.read(name))

    @property
    def lost(self) -> bool:
        """Say whether what follows the device has failed: nothing is decided any more."""
        return self._fault is not None

    def check(self) -> None:
        """Refuse to go on where nobody follows the device any more.

        Raises:
            InstallError: The session was closed, or what follows the device has failed.
        """
        if self._fault is not None:
            fix = "start the service again; systemd does"
            raise InstallError("the service", "able to follow the device", _words(self._fault), fix=fix)
        if self._stop.is_set():
            raise InstallError("the session", "open", "a closed one", fix="open it again")

    @contextlib.contextmanager
    def _using(self) -> Iterator[Slot]:
        with self._change:
            self.check()
            while (slot := self._slot) is None:  # stop-load-start: images wait, none fails
                self._change.wait(0.1)
                self.check()
            slot.users += 1
        try:
            yield slot
        finally:
            with self._change:
                slot.users -= 1
                free = slot.retired and slot.users == 0
                self._change.notify_all()
            if free:
                slot.session.close()

    def _enter(self, slot: Slot, state: State) -> None:
        """Let the next image go to `slot`; what its trial may go back to stays warm."""
        trial = state.trial
        if trial is not None:
            limits = TrialLimits(
                contract=slot.session.manifest.contract,
                seconds=self._seconds,
                inferences=self._inferences,
                allow_unproven=trial.allow_unproven,
            )
            slot.deployment, slot.watch = trial.deployment, TrialWatch(limits, time.monotonic())
        with self._change:
            before, self._slot = self._slot, slot
            self._change.notify_all()
        self._keep_warm(state, before)

    def _keep_warm(self, state: State, before: Slot | None = None) -> None:
        """Keep the committed generation warm while another is on trial, and close what nobody needs."""
        spare = [slot for slot in (before, self._warm) if slot is not None and slot is not self._slot]
        back = state.committed if state.trial is not None else None
        self._warm = next((slot for slot in spare if slot.generation == back), None)
        for slot in spare:
            if slot is not self._warm:
                self._retire(slot)

    def _retire(self, slot: Slot | None) -> None:
        if slot is None:
            return
        with self._change:
            slot.retired = True
            free = slot.users == 0
        if free:
            slot.session.close()

    def _keep(self) -> None:
        """Follow the device and decide the trial, beside the images; whatever ends this ends the session."""
        try:
            while not self._stop.wait(self._poll_s):
                self.look()
        except BaseException as error:
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        """Let every caller know, and end the trial if that is still possible: the state says what became of it."""
        with self._change:
            self._fault = error
            self._change.notify_all()
        _log.critical("the service cannot go on: %s", _words(error))
        slot = self._slot
        watched = slot.deployment if slot is not None and slot.watch is not None else None
        deployment = self._failed[0] if self._failed else watched
        if deployment is not None:
            try:
                self.device.rollback(reason=f"the service failed: {_words(error)}", deployment=deployment)
            except BaseException as second:
                _log.critical("the trial stays as it is: %s", _words(second))

    def look(self) -> None:
        """Look at the device once: settle the trial, go where the state has gone. The keeper does it again and again.

        Raises:
            InstallError: Neither the generation that the state names nor one before it can be run.
            OSError: A trial that failed cannot be ended.
        """
        try:
            self._settle()
            self._follow()
        except BusyError:  # an installation is at work: look again later
            return

    def _state(self) -> State | None:
        """Read the state if it has changed; parsing it ten times a second would be felt by the decisions."""
        mark = self.device.states.mark()
        if mark != self._seen[0]:
            try:
                self._seen = (mark, self.device.states.read())
            except InstallError as error:  # of a newer edgetl-runtime: what runs goes on
                _log.error("the state cannot be followed: %s", error)
                self._seen = (mark, None)
        return self._seen[1]

    def _settle(self) -> None:
        """End a trial that did not load or whose decisions say so; one that ended otherwise is watched no more."""
        state = self._state()
        if state is None:
            return
        on_trial = state.trial.deployment if state.trial else None
        if self._failed is not None:
            deployment, reason = self._failed
            if deployment == on_trial:
                self._end_trial(deployment, reason)
            self._failed = None
        slot = self._slot
        if slot is None or slot.watch is None or slot.deployment is None:
            return
        verdict = slot.watch.verdict(time.monotonic()) if slot.deployment == on_trial else ("", "")
        if verdict is None:
            return
        action, reason = verdict
        if action == "commit":
            try:
                self.device.commit(reason=reason, deployment=slot.deployment)
            except BusyError:
                raise
            except (EdgetlError, OSError) as error:  # it stays on trial, or its trial is over: the next look says
                _log.error("the trial could not be committed: %s", error)
                return
        elif action == "rollback":
            self._end_trial(slot.deployment, reason)
        slot.watch = None

    def _end_trial(self, deployment: str, reason: str) -> None:
        """Roll back; a generation that failed must not go on where that is impossible."""
        try:
            self.device.rollback(reason=reason, deployment=deployment)
        except BusyError:
            raise
        except (EdgetlError, OSError):
            state = self._state()
            if state is None or (state.trial is not None and state.trial.deployment == deployment):
                raise
            return  # somebody was faster, or only what follows the state was not written
        _log.error("rolled back: %s", reason)

    def _is_followed(self, state: State) -> bool:
        """Say whether the next image goes where the state says, under the trial that the state says."""
        slot, trial = self._slot, state.trial
        if slot is None or slot.generation != state.desired:
            return False
        return trial is None or trial.deployment == slot.deployment

    def _follow(self) -> None:
        state, now = self._state(), self.generation
        if state is not None and self._is_followed(state):
            self._keep_warm(state)
            return
        nothing = state is None or (state.desired is None and state.inconsistent)
        if nothing and now is not None:  # what was whole when it was loaded goes on
            return
        try:
            state, generation = self._begin()
        except (EdgetlError, OSError) as error:
            busy = isinstance(error, BusyError)
            if state is not None and state.trial is None and (busy or isinstance(error, OSError)):
                generation = self._desired(state)  # no start to count: going back waits for nobody, and for no disk
            elif not busy and now is not None and state is not None and now == state.committed:
                _log.error("the generation could not be changed: %s", error)
                return
            else:
                raise
        if not self._is_followed(state):
            self._swap(now, generation, state)

    def _swap(self, now: Generation | None, generation: Generation, state: State) -> None:
        """Load a generation and let images go to it; one on trial that does not load is rolled back."""
        start = time.monotonic()
        source = now.name if now else None
        try:
            how = plan(self.device.proof(generation))
            _log.info("swapping %s for %s, %s", source, generation.name, how)
            slot = self._prepared(generation, how)
            self._enter(slot, state)
        except BaseException as error:  # of whatever class: the model's library runs in here
            if state.trial is None:
                raise
            self._failed = (state.trial.deployment, f"it does not load in the service: {_words(error)}")
            self._settle()
            return
        done_s = time.monotonic()
        load_ms = 1000 * (done_s - start)
        self.swaps.append(Swap(source=source, target=generation.name, plan=how, load_ms=load_ms, done_s=done_s))

    def _prepared(self, generation: Generation, how: Plan) -> Slot:
        warm = self._warm
        if warm is not None and warm.generation == generation:  # back to the one kept warm
            self._warm = None
            return warm
        if how == "stop-load-start":
            with self._change:
                old, self._slot = self._slot, None
                while old is not None and old.users:
                    self._change.wait(0.1)
            for slot in (old, warm):
                self._retire(slot)
            self._warm = None
        return load(self.device, generation)

    def close(self) -> None:
        """Stop following and free everything; calling twice is harmless."""
        self._stop.set()
        if self._keeper.is_alive():
            self._keeper.join()
        with self._change:
            slots, self._slot = (self._slot, self._warm), None
            self._change.notify_all()
        self._warm = None
        for slot in slots:
            self._retire(slot)
        if self._service_lock >= 0:
            os.close(self._service_lock)
            self._service_lock = -1

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _words(error: BaseException) -> str:
    return error.sentence if isinstance(error, EdgetlError) else f"{type(error).__name__}: {error!s:.200}"


def _take(device: Device) -> int:
    descriptor = locks.open_lock(device.root / "service.lock")
    if not locks.try_lock(descriptor):
        os.close(descriptor)
        fix = "stop it first: systemctl stop edgetl"
        raise BusyError(f"{device.root}", "without a running service", "one", fix=fix)
    return descriptor
