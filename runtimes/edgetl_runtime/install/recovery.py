"""After a kill or a power cut: from whatever lies on the disk to the old or the new generation, without a hand.

Running it twice changes nothing, and it may itself be cut off anywhere.
"""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

from edgetl_runtime.errors import EdgetlError, InstallError
from edgetl_runtime.install.state import Event, State, new_id
from edgetl_runtime.schema import from_mapping

if TYPE_CHECKING:
    from edgetl_runtime.install.device import Device

_log = logging.getLogger(__name__)


def recover(device: Device, *, service_runs: bool) -> State:
    """Finish or undo what was under way; the caller holds the lock.

    Args:
        device: To mend.
        service_runs: A service runs the current generation: its trial is its own affair.

    Returns:
        The state, which `current`, the log and the folders follow.

    Raises:
        InstallError: The state was written by a newer edgetl-runtime; nothing was changed.
    """
    before = device.states.read()
    state = before if before is not None and not _outdated(device, before) else _without_state(device)
    for path in sorted([*device.root.glob("*.tmp"), *device.root.glob("*.part")]):
        device.disk.remove(path)
    state = _finish(device, state, service_runs=service_runs)
    device.state = state
    changed = state != before and (before is not None or state != State())
    if changed or device.states.damaged:
        device.state = device.states.write(state)
    device.follow()
    device.sweep()
    return device.state


def _outdated(device: Device, state: State) -> bool:
    """Say whether the newer copy is lost: the log, which follows the state, knows of later events."""
    last = device.log.last() if device.states.damaged else None
    return last is not None and last["number"] > (state.events[-1].number if state.events else 0)


def _finish(device: Device, state: State, *, service_runs: bool) -> State:
    if state.active is not None:
        active = state.active
        state = dataclasses.replace(state, active=None)
        reason = "cut off before its trial; the generation before keeps running"
        state = device.event(state, active.deployment, "INTERRUPTED", reason, source=state.committed)
    if state.trial is not None and not service_runs:
        reason_or_none = _trial_fault(device, state)
        if reason_or_none is not None:
            state = device.ended_trial(state, reason_or_none)
    if state.trial is None and state.committed is not None:
        state = _with_whole_generation(device, state)
    return state


def _trial_fault(device: Device, state: State) -> str | None:
    trial = state.trial
    if trial is None:
        return None
    if trial.attempts_left <= 0:
        return "the service did not survive its starts: crash loop or watchdog"
    if not device.proof(trial.generation).get("passed"):
        return "its self-test is not on record"
    return device.fault(trial.generation)


def _with_whole_generation(device: Device, state: State) -> State:
    """Go back, or say INCONSISTENT, where the committed generation is damaged.

    One that needs a newer runtime than this is not: a runtime that was downgraded must not throw it away.
    """
    damaged = state.committed
    fault = device.fault(damaged) if damaged is not None else None
    if damaged is None or fault is None:
        return state
    if device.is_newer(damaged):
        _log.error("generation %s cannot run: %s", damaged.name, fault)
        return state
    _log.error("generation %s is damaged: %s", damaged.name, fault)
    if state.previous is not None and device.fault(state.previous) is None:
        back = dataclasses.replace(state, committed=state.previous, previous=None)
        reason = f"damaged: {fault}"
        return device.event(back, new_id(), "ROLLED_BACK", reason, source=damaged, target=state.previous)
    return dataclasses.replace(state, committed=None, previous=None, inconsistent=f"{damaged.name}: {fault}"[:300])


def _without_state(device: Device) -> State:
    """Derive the state from the log, else from the disk, where the newest copy is lost."""
    installed = device.installed()
    summary = device.log.last_summary()
    if not device.states.exists and summary is None and not installed:
        return State()
    _log.error("the newest copy of the state is damaged or lost; deriving it")
    if summary is not None:
        try:
            state = from_mapping(State, summary, where="the log", error=InstallError)
        except EdgetlError:
            return _from_disk(device)
        last = device.log.last()
        number = last["number"] if last else 0
        return _numbered(device, state, number)
    return _from_disk(device)


def _numbered(device: Device, state: State, number: int) -> State:
    """Go on numbering where the log ended; a trial of unknown outcome is over, as after any doubt."""
    marker = Event(
        number=number, deployment="", result="TRIAL", reason="", source=None, target=None, key_id=None,
        who="", time="", floor=state.floor,
    )  # fmt: skip
    state = dataclasses.replace(state, events=(marker,))
    return device.ended_trial(state, "the state was lost") if state.trial else state


def _from_disk(device: Device) -> State:
    """Take what `current` points to, else the newest whole generation; the floor is the highest sequence found."""
    installed = [g for g in device.installed() if device.proof(g).get("passed") and device.fault(g) is None]
    pointed = (device.points_to() or "").rpartition("/")[2]
    ordered = sorted(installed, key=lambda g: (g.name == pointed, g.sequence))
    if not ordered:
        return State(inconsistent="state, log and generations are damaged or lost")
    committed = ordered[-1]
    highest = max(installed, key=lambda g: g.sequence)
    state = State(
        line=committed.line,
        floor=highest.sequence,
        floor_sha256=highest.manifest_sha256,
        committed=committed,
        previous=ordered[-2] if len(ordered) > 1 else None,
    )
    return device.event(
        state, new_id(), "ROLLED_BACK", "state and log were lost; derived from the disk", target=committed
    )
