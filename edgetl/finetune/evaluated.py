"""The last stages of a fine-tuning: decisions fitted on validation, one look at test, the run written."""

from __future__ import annotations

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetl.finetune.facts import conditions, data_facts
from edgetl.finetune.store import save_weights, write_predictions
from edgetl.run import Run
from edgetl.version import __version__
from edgetl.versions import versions
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from edgetl.finetune.baseline import Baseline
    from edgetl.finetune.loop import Examples
    from edgetl.finetune.prepared import Network, Prepared
    from edgetl.finetune.trained import Trained
    from edgetl.run import RunFolder

LOGITS = "logits"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """How the kept model decides, and how well both decide.

    Attributes:
        params: How the kept model decides: the task's own.
        val_logits: Of the kept model on validation, float32 (N, C).
        test_logits: Of the kept model on test, likewise.
        val: Figures of the kept model on validation.
        test: The same on test.
        baseline_val: Figures of the baseline on validation.
        baseline_test: The same on test.
        finetuned_val: Figures of the fine-tuned model on validation; None where there is none.
    """

    params: Any
    val_logits: NDArray[np.float32]
    test_logits: NDArray[np.float32]
    val: dict[str, Any]
    test: dict[str, Any]
    baseline_val: dict[str, Any]
    baseline_test: dict[str, Any]
    finetuned_val: dict[str, Any] | None


def evaluate(prepared: Prepared, baseline: Baseline, trained: Trained) -> Evaluated:
    """Fit on validation how each model decides; then look at test once."""
    task, labels, val, test = prepared.task, prepared.labels, prepared.val, prepared.test

    def fitted(logits: NDArray[np.float32]) -> Any:  # noqa: ANN401  (the task's)
        return task.fit({LOGITS: logits}, val.labels, labels, prepared.aims)

    def figures(logits: NDArray[np.float32], on: Examples, params: Any) -> dict[str, Any]:  # noqa: ANN401
        return task.decided({LOGITS: logits}, on.labels, labels, params, on.groups).figures

    val_logits, tuned = trained.val_logits(baseline), trained.finetuned_val
    params, base = fitted(val_logits), fitted(baseline.val_logits)
    test_logits = trained.test_logits(baseline, test)
    return Evaluated(
        params=params,
        val_logits=val_logits,
        test_logits=test_logits,
        val=figures(val_logits, val, params),
        test=figures(test_logits, test, params),
        baseline_val=figures(baseline.val_logits, val, base),
        baseline_test=figures(baseline.test_logits, test, base),
        finetuned_val=None if tuned is None else figures(tuned, val, fitted(tuned)),
    )


def write_run(
    folder: RunFolder,
    prepared: Prepared,
    network: Network,
    baseline: Baseline,
    trained: Trained,
    evaluated: Evaluated,
    *,
    split_sha256: str,
    seconds: float,
    load_before: float,
) -> Run:
    """Write weights, predictions and last of all `run.json`, which says that the run is finished.

    Args:
        folder: Of the run.
        prepared: What the run was computed from.
        network: Holds the kept weights.
        baseline: See there.
        trained: See there.
        evaluated: See there.
        split_sha256: Of split.csv.
        seconds: Wall time of everything before.
        load_before: Of the machine, before everything.
    """
    data, spec, config = prepared.data, prepared.spec, prepared.config
    files = {folder.split_csv.name: split_sha256, folder.weights.name: save_weights(folder.weights, network.model)}
    run = Run(
        edgetl_version=__version__,
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        backbone=spec.name,
        image_px=prepared.image_px,
        kept=trained.kept,
        task=prepared.task.name,
        labels=prepared.labels,
        preprocess=prepared.preprocess,
        mean=spec.mean,
        std=spec.std,
        params=evaluated.params,
        aims=to_mapping(prepared.aims),
        val=evaluated.val,
        test=evaluated.test,
        baseline_val=evaluated.baseline_val,
        baseline_test=evaluated.baseline_test,
        finetuned_val=evaluated.finetuned_val,
        seconds={**baseline.seconds, "finetune": trained.seconds, "total": seconds},
        weights=network.origin,
        data=data_facts(data, config),
        config=to_mapping(config),
        augment={"fitted": to_mapping(baseline.augment), "borne": [to_mapping(one) for one in baseline.borne]},
        versions=versions(),
        conditions=conditions(prepared.device, load_before),
        test_looks=prepared.earlier_looks + 1,
    )
    rows = [(data.split("val"), evaluated.val_logits), (data.split("test"), evaluated.test_logits)]
    files[folder.predictions.name] = write_predictions(folder.predictions, data, rows, run)
    run = dataclasses.replace(run, files=files)
    folder.write(run)
    return run
