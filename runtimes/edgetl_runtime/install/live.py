"""A running session that follows the device's generation: swapped between two images, watched while on trial.

The new generation is loaded and warmed beside the old one, in a thread of its own; the next image goes to the new one
and the old one is kept warm until the trial is over. Where memory does not suffice, the old one is closed first and
images wait meanwhile; `plan` says so before it happens.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Literal

from edgetl_runtime import locks
from edgetl_runtime import session as sessions
from edgetl_runtime.errors import BusyError, EdgetlError, InstallError
from edgetl_runtime.install import engine_cache
from edgetl_runtime.install.selftest import available_mb
from edgetl_runtime.install.trial import TrialWatch, limits_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from typing_extensions import Self

    from edgetl_runtime.install.device import Device
    from edgetl_runtime.install.state import Generation
    from edgetl_runtime.session import Session
    from edgetl_runtime.tasks.classification import Decision

Plan = Literal["beside", "stop-load-start"]
MEMORY_MARGIN = 1.2
POLL_S = 0.2
WARM_IMAGES = 8
_SWITCH_INTERVAL_S = 0.0005  # the loading thread gives way ten times sooner than usual
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One change of generation while images kept coming.

    Attributes:
        source: Generation before.
        target: Generation after.
        plan: How it was done.
        load_ms: Time to load and warm the new one.
        done_s: Monotonic time of the change.
    """

    source: str | None
    target: str
    plan: Plan
    load_ms: float
    done_s: float


def plan(proof: dict[str, Any], *, free_mb: float | None = None) -> Plan:
    """Say how a generation would be swapped in now.

    Args:
        proof: Of its self-test, which measured its memory.
        free_mb: Memory that is available; None asks the machine.

    Example:
        >>> plan({"memory_mb": 150.0}, free_mb=100.0)
        'stop-load-start'
    """
    memory_mb = proof.get("memory_mb")
    free_mb = available_mb() if free_mb is None else free_mb
    fits = not isinstance(memory_mb, (int, float)) or MEMORY_MARGIN * memory_mb <= free_mb
    return "beside" if fits else "stop-load-start"


class _Slot:
    """One loaded generation, and how many decisions are being made with it."""

    def __init__(self, generation: Generation, opened: Session) -> None:
        self.generation = generation
        self.session = opened
        self.users = 0
        self.retired = False


class LiveSession:
    """Decides on images with the device's current generation; a context manager.

    Args:
        device: Whose generation to follow.
        trial_seconds: A trial lasts at least so long.
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
        self._trial = {"seconds": trial_seconds, "inferences": trial_inferences}
        self._poll_s = poll_s
        self._change = threading.Condition()
        self._slot: _Slot | None = None
        self._warm: _Slot | None = None  # the one before, until the trial is over
        self._watch: TrialWatch | None = None
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
            self._enter(self._load(self._first()))
        except BaseException:
            os.close(self._service_lock)
            self._service_lock = -1
            raise
        self._keeper.start()
        return self

    def _first(self) -> Generation:
        generation = self.device.begin_attempt()
        if generation is None:
            fix = "edgetl-runtime install BUNDLE"
            raise InstallError(f"{self.device.root}", "with an installed generation", "none", fix=fix)
        return generation

    def predict(self, image: Any) -> Decision:  # noqa: ANN401  (as Session.predict)
        """Decide on one image with one generation, whichever is current when it comes.

        Raises:
            ImageError: The image cannot be read; counts as no failure of the model.
            BackendError: The model failed.
        """
        start = time.perf_counter_ns()
        with self._using() as slot:
            watch = self._watch
            try:
                decision = slot.session.predict(image)
            except EdgetlError as error:
                if watch is not None and not isinstance(error, ValueError):
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

    @contextlib.contextmanager
    def _using(self) -> Iterator[_Slot]:
        with self._change:
            while self._slot is None:  # stop-load-start: images wait, none fails
                if self._stop.is_set():
                    raise InstallError("the session", "open", "a closed one", fix="open it again")
                self._change.wait(0.1)
            slot = self._slot
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

    def _load(self, generation: Generation) -> _Slot:
        """Load and warm a generation; nothing else is touched."""
        device = self.device
        interval = sys.getswitchinterval()
        sys.setswitchinterval(_SWITCH_INTERVAL_S)
        try:
            bundle = device.open_generation(generation)
            try:
                variant = bundle.manifest.variant(generation.variant)
                key = device.proof(generation).get("cache")
                sealed = isinstance(key, str) and engine_cache.is_sealed(device.root, key)
                cache = device.root / "cache" / str(key) if sealed else None
                opened = sessions.Session(bundle, variant, sessions.load(bundle, variant, cache_dir=cache))
            except BaseException:
                bundle.close()
                raise
            for name in bundle.manifest.golden.images[:WARM_IMAGES]:
                opened.predict(bundle.read(name))
            return _Slot(generation, opened)
        finally:
            sys.setswitchinterval(interval)

    def _enter(self, slot: _Slot) -> None:
        """Let the next image go to `slot`."""
        trial = self.device.state.trial
        on_trial = trial is not None and trial.generation == slot.generation
        limits = limits_of(slot.session.manifest.contract, **self._trial)  # type: ignore[arg-type]
        with self._change:
            before, self._slot = self._slot, slot
            self._watch = TrialWatch(limits, time.monotonic()) if on_trial else None
            self._change.notify_all()
        if before is not None and on_trial:
            self._retire(self._warm)
            self._warm = before
        elif before is not None:
            self._retire(before)

    def _retire(self, slot: _Slot | None) -> None:
        if slot is None:
            return
        with self._change:
            slot.retired = True
            free = slot.users == 0
        if free:
            slot.session.close()

    def _keep(self) -> None:
        """Follow the device and decide the trial, beside the images."""
        while not self._stop.wait(self._poll_s):
            self._step()

    def _step(self) -> None:
        try:
            self._settle()
            self._follow()
        except BusyError:  # an installation is at work: look again later
            return
        except (EdgetlError, OSError) as error:
            _log.error("the generation could not be changed: %s", error)

    def _settle(self) -> None:
        watch = self._watch
        verdict = watch.verdict(time.monotonic()) if watch is not None else None
        if verdict is None:
            return
        action, reason = verdict
        if action == "commit":
            self.device.commit(reason=reason, as_service=True)
            self._watch = None
            self._retire(self._warm)
            self._warm = None
        else:
            self.device.rollback(reason=reason, as_service=True)
            _log.error("rolled back: %s", reason)

    def _follow(self) -> None:
        pointed = (self.device.points_to() or "").rpartition("/")[2]
        now = self.generation
        if not pointed or (now is not None and pointed == now.name):
            return
        generation = self.device.begin_attempt()
        if generation is None or (now is not None and generation.name == now.name):
            return
        start = time.monotonic()
        how = plan(self.device.proof(generation))
        _log.info("swapping %s for %s, %s", now.name if now else None, generation.name, how)
        try:
            slot = self._prepared(generation, how)
        except EdgetlError as error:
            self.device.rollback(reason=f"it does not load in the service: {error.sentence}", as_service=True)
            self._reopen()
            return
        self._enter(slot)
        done_s = time.monotonic()
        self.swaps.append(
            Swap(
                source=now.name if now else None,
                target=generation.name,
                plan=how,
                load_ms=1000 * (done_s - start),
                done_s=done_s,
            )
        )

    def _prepared(self, generation: Generation, how: Plan) -> _Slot:
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
        return self._load(generation)

    def _reopen(self) -> None:
        """After a failed stop-load-start: load what the device went back to."""
        if self._slot is None and (generation := self.device.begin_attempt()) is not None:
            self._enter(self._load(generation))

    def close(self) -> None:
        """Stop following and free everything; calling twice is harmless."""
        self._stop.set()
        if self._keeper.is_alive():
            self._keeper.join()
        with self._change:
            slots, self._slot, self._watch = (self._slot, self._warm), None, None
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


def _take(device: Device) -> int:
    descriptor = locks.open_lock(device.root / "service.lock")
    if not locks.try_lock(descriptor):
        os.close(descriptor)
        fix = "stop it first: systemctl stop edgetl"
        raise BusyError(f"{device.root}", "without a running service", "one", fix=fix)
    return descriptor
