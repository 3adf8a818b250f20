"""What decides whether a candidate is accepted: its decisions on validation beside those of the float model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl import tasks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from edgetl.deploy.contract import Judge
    from edgetl.run import Run
    from edgetl.tasks.base import Decided, HostTask

    Outputs = Mapping[str, NDArray[np.float32]]


def judge(run: Run, against: Judge, reference: Decided, truth: NDArray[np.int64], outputs: Outputs) -> dict[str, Any]:
    """Choose on validation how a candidate decides, and hold it against the contract.

    The float model's own parameters come first: nothing of them was chosen on this candidate's scores, so that what
    they show on validation holds for other images. Further ones are tried where those miss the contract or nearly do.

    Args:
        run: Its task, labels and aims.
        against: The contract.
        reference: The float model on validation.
        truth: Labels of validation, int (N,).
        outputs: Of the candidate.

    Returns:
        The fields of `Candidate` that follow: params, val, drop_pp, flips, likely_flips, why, close.
    """
    if not all(np.isfinite(output).all() for output in outputs.values()):
        return _broken(run, reference, len(truth))
    task = tasks.get(run.task)
    options = []
    for params in task.refits(reference, outputs, truth, run.labels, task.aims(run.aims)):
        options.append(_judged_at(run, against, reference, truth, outputs, params))
        if not options[-1]["why"] and not options[-1]["close"]:
            break
    return min(options, key=lambda judged: (len(judged["why"]), bool(judged["close"]), judged["likely_flips"]))


def compared(task: HostTask[Any, Any, Any], labels: Any, reference: Decided, candidate: Decided) -> dict[str, Any]:  # noqa: ANN401
    """Return the figures of a candidate with its loss and its flips against the float model."""
    return {
        **candidate.figures,
        "drop_pp": 100 * (reference.figures["accuracy"] - candidate.figures["accuracy"]),
        "flips": int(reference.flips(candidate).sum()),
        "likely_flips": task.likely_flips(reference, candidate, labels),
    }


def _judged_at(
    run: Run,
    against: Judge,
    reference: Decided,
    truth: NDArray[np.int64],
    outputs: Outputs,
    params: Any,  # noqa: ANN401  (the task's)
) -> dict[str, Any]:
    task = tasks.get(run.task)
    candidate = task.decided(outputs, truth, run.labels, params)
    figures = compared(task, run.labels, reference, candidate)
    return {
        "params": params,
        "val": candidate.figures,
        **{key: figures[key] for key in ("drop_pp", "flips", "likely_flips")},
        "why": tuple(against.breaches(figures, reference.figures)),
        "close": tuple(against.close_calls(figures, reference.figures)),
    }


def _broken(run: Run, reference: Decided, n: int) -> dict[str, Any]:
    return {
        "params": reference.params,
        "val": {**reference.figures, **tasks.get(run.task).worst(reference.figures)},
        "drop_pp": 100 * reference.figures["accuracy"],
        "flips": n,
        "likely_flips": float(n),
        "why": ("scores are NaN or infinite",),
        "close": (),
    }
