"""What decides whether a candidate is accepted: its decisions on validation beside those of the float model."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetl.deploy.contract import Contract, breaches, close_calls
from edgetl.metrics import evaluate, flips, is_defective, refit_temperature
from edgetl.thresholds import carry_thresholds, likely_crossings, refit_thresholds
from edgetl_runtime.tasks.inspection import Thresholds, defect_scores, verdicts
from edgetl_runtime.tasks.softmax import probabilities

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl.run import Run

    Logits = NDArray[np.float32]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The float32 ONNX model at its own thresholds: what drops and flips are counted against.

    Attributes:
        val: Metrics on validation.
        scores: Defect scores of validation, float (N,).
        verdicts: Of validation, (N,).
        labels: Predicted on validation, int (N,).
        thresholds: Fitted on validation.
        temperature: Fitted on validation.
    """

    val: dict[str, Any]
    scores: NDArray[np.float64]
    verdicts: NDArray[np.str_]
    labels: NDArray[np.int64]
    thresholds: Thresholds
    temperature: float


def reference_of(run: Run, logits: Logits, labels: NDArray[np.int64]) -> Reference:
    """Judge the float model by the thresholds of the run."""
    words, predicted = decisions_of(run, logits, run.thresholds, run.temperature)
    return Reference(
        val=metrics_of(run, logits, labels, run.thresholds, run.temperature),
        scores=_scores_of(run, logits, run.temperature),
        verdicts=words,
        labels=predicted,
        thresholds=run.thresholds,
        temperature=run.temperature,
    )


def decisions_of(
    run: Run, logits: Logits, thresholds: Thresholds, temperature: float
) -> tuple[NDArray[np.str_], NDArray[np.int64]]:
    """Return the verdict and the predicted label of every row."""
    return verdicts(_scores_of(run, logits, temperature), thresholds), logits.argmax(axis=1)


def metrics_of(
    run: Run,
    logits: Logits,
    labels: NDArray[np.int64],
    thresholds: Thresholds,
    temperature: float,
    groups: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return the metrics of logits under the run's classes."""
    return evaluate(
        logits,
        labels,
        classes=run.classes,
        defect_classes=run.defect_classes,
        thresholds=thresholds,
        temperature=temperature,
        groups=groups,
    )


def judge(
    run: Run, contract: Contract, reference: Reference, labels: NDArray[np.int64], logits: Logits
) -> dict[str, Any]:
    """Re-fit temperature and thresholds of a candidate on validation and hold it against the contract.

    The float model's own thresholds come first: nothing of them was chosen on this candidate's scores, so that what
    they show on validation holds for other images. Fitted ones are tried where those miss the contract or nearly do.

    Returns:
        The fields of `Candidate` that follow: thresholds, temperature, val, drop_pp, flips, likely_flips, why, close.
    """
    if not np.isfinite(logits).all():
        return _broken(reference, len(labels))
    temperature = refit_temperature(logits, labels, near=reference.temperature)
    options = []
    for thresholds, scale in _threshold_options(run, reference, labels, logits, temperature):
        options.append(_judged_at(run, contract, reference, labels, logits, thresholds=thresholds, temperature=scale))
        if not options[-1]["why"] and not options[-1]["close"]:
            break
    return min(options, key=lambda judged: (len(judged["why"]), bool(judged["close"]), judged["likely_flips"]))


def _threshold_options(
    run: Run, reference: Reference, labels: NDArray[np.int64], logits: Logits, temperature: float
) -> Iterator[tuple[Thresholds, float]]:
    """Yield thresholds and temperatures in the order of preference: the float model's, carried over, least cost."""
    near = reference.thresholds
    yield near, reference.temperature
    scores = _scores_of(run, logits, temperature)
    yield carry_thresholds(scores, reference=reference.scores, near=near), temperature
    yield (
        refit_thresholds(
            scores,
            is_defective(labels, run.classes, run.defect_classes),
            near=near,
            reference=(reference.val["escapes"], reference.val["overkill"]),
            escape_cost=run.cost["escape"],
            max_escape_rate=run.cost["max_escape_rate"],
        ),
        temperature,
    )


def _judged_at(
    run: Run,
    contract: Contract,
    reference: Reference,
    labels: NDArray[np.int64],
    logits: Logits,
    *,
    thresholds: Thresholds,
    temperature: float,
) -> dict[str, Any]:
    val = metrics_of(run, logits, labels, thresholds, temperature)
    decisions = decisions_of(run, logits, thresholds, temperature)
    different = flips((reference.verdicts, reference.labels), decisions)
    drop_pp = 100 * (reference.val["accuracy"] - val["accuracy"])
    figures = {**val, "drop_pp": drop_pp, "flips": int(different.sum())}
    figures["likely_flips"] = float((different & (reference.verdicts == decisions[0])).sum()) + sum(
        likely_crossings(reference.scores, _scores_of(run, logits, temperature), cuts=cuts)
        for cuts in {
            (reference.thresholds.nok_at, thresholds.nok_at),
            (reference.thresholds.ok_below, thresholds.ok_below),
        }
    )
    return {
        "thresholds": thresholds,
        "temperature": temperature,
        "val": val,
        "drop_pp": drop_pp,
        "flips": figures["flips"],
        "likely_flips": figures["likely_flips"],
        "why": tuple(breaches(contract, figures, reference.val["escapes"])),
        "close": tuple(close_calls(contract, figures, reference.val["escapes"])),
    }


def _scores_of(run: Run, logits: Logits, temperature: float) -> NDArray[np.float64]:
    return defect_scores(probabilities(logits, temperature), run.classes, run.defect_classes)


def _broken(reference: Reference, n: int) -> dict[str, Any]:
    val = {**reference.val, "accuracy": 0.0, "escapes": reference.val["n_defect"], "overkill": 0}
    return {
        "thresholds": reference.thresholds,
        "temperature": reference.temperature,
        "val": val,
        "drop_pp": 100 * reference.val["accuracy"],
        "flips": n,
        "likely_flips": float(n),
        "why": ("scores are NaN or infinite",),
        "close": (),
    }
