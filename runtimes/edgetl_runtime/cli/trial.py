"""`edgetl-runtime trial`: where no service runs, try the generation on its golden images, then commit or roll back."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import BusyError, InstallError
from edgetl_runtime.install.options import add_root, clean_stop, device_of, summary, words

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edgetl_runtime.install.device import Device
    from edgetl_runtime.install.live_session import LiveSession
    from edgetl_runtime.install.state import Trial

MAX_PAUSE_S = 0.2
_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_root(parser)
    parser.add_argument("--seconds", type=float, default=60.0, help="shortest duration; default 60")
    parser.add_argument("--inferences", type=int, default=200, help="fewest decisions; default 200")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Decide on golden images until the trial is over."""
    from edgetl_runtime.install.live_session import LiveSession

    device = device_of(args)
    found = device.states.read()
    if found is None or found.trial is None:
        fix = "edgetl-runtime install BUNDLE"
        raise InstallError("a trial", "of an installed generation", "nothing on trial", fix=fix)
    if device.service_runs():
        raise BusyError("the trial", "nobody else's", "the service's", fix="edgetl-runtime status")
    trial = found.trial
    with (
        clean_stop(),
        LiveSession(device, trial_seconds=args.seconds, trial_inferences=args.inferences, poll_s=0.05) as live,
    ):
        if _is_on(device, trial):
            with device.open_generation(trial.generation) as bundle:
                images = [bundle.read(name) for name in bundle.manifest.golden.images]
            _decide(live, images, trial, pause_s=args.seconds / args.inferences, seconds=args.seconds)
    state = device.states.read() or found
    result = next(e for e in reversed(state.events) if e.deployment == trial.deployment)
    return {
        "schema": "edgetl.trial/1",
        "exit": 0 if result.result == "COMMITTED" else 1,
        "deployment": trial.deployment,
        "result": result.result,
        "reason": result.reason,
        **summary(device, state),
    }


def _decide(live: LiveSession, images: list[bytes], trial: Trial, *, pause_s: float, seconds: float) -> None:
    """Decide on images in turn, spread over the trial's shortest time, until its end."""
    import itertools
    import time

    end = time.monotonic() + seconds
    for image in itertools.cycle(images):
        lost = live.lost  # asked before the state: a trial that has ended comes first
        if not _is_on(live.device, trial):
            return
        if lost:
            live.check()
        try:
            live.predict(image)
        except Exception as error:
            _log.info("a decision failed: %s", error)
        time.sleep(min(pause_s, MAX_PAUSE_S, max(0.0, end - time.monotonic())))


def _is_on(device: Device, trial: Trial) -> bool:
    state = device.states.read()
    return state is not None and state.trial is not None and state.trial.deployment == trial.deployment


def show(result: Mapping[str, Any]) -> str:
    """Return the outcome."""
    return f"{result['result']}: {result['reason']}\n{words(dict(result))}"
