"""The report of a run: one self-contained HTML file that answers 'may I ship this?'."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from edgetl import tasks
from edgetl.files import write_whole
from edgetl.metrics import binomial_upper
from edgetl.report.deployments import newest, read_deployments
from edgetl.report.predictions import read_predictions, worst_errors
from edgetl.report.verdict import NON_COMMERCIAL, answer
from edgetl.tasks.base import plural

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgetl.report.deployments import Deployment
    from edgetl.report.predictions import Prediction
    from edgetl.report.verdict import Answer
    from edgetl.run import Run, RunFolder

MOST_ERRORS = 12
DASH = "\u2013"
SPLITS = {"train": "training", "val": "validation", "test": "test"}


def write_run_report(folder: RunFolder, run: Run) -> Answer:
    """Write RUN/report.html from the files of a run; what is missing is said in it.

    Args:
        folder: The run's folder; RUN/deployments/*.json are the deployments shown.
        run: Its content.

    Returns:
        What it answers.
    """
    content = page(folder, run)
    html = render(content)
    # names that are not UTF-8 on disk cannot be written as such
    write_whole(folder.report, html.encode("utf-8", "replace"))
    answered: Answer = content["answer"]
    return answered


def render(content: Mapping[str, Any], *, template: str = "report.html") -> str:
    """Fill a template; everything that is not in the template itself is escaped."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("edgetl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"pct": percent, "fixed": fixed, "plural": plural, "words": words}
    return environment.get_template(template).render(**content)


def percent(share: float | None, digits: int = 1) -> str:
    """Return a share as a percentage; a dash where there is none."""
    return DASH if share is None else f"{100 * share:.{digits}f}\u00a0%"


def fixed(value: float | None, digits: int = 2) -> str:
    """Return a number with a fixed number of digits; a dash where there is none."""
    return DASH if value is None else f"{value:.{digits}f}"


def words(value: object) -> str:
    """Return a value of the configuration as a person would write it."""
    if isinstance(value, (list, tuple)):
        return ", ".join(str(v) for v in value) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return {None: DASH, True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else str(value)


def page(folder: RunFolder, run: Run) -> dict[str, Any]:
    """Collect what the template shows."""
    from edgetl.report.pictures import lookalikes, previews, read_listing

    rows = read_predictions(folder.predictions, run)
    by_split = {name: [r for r in rows if r.split == name] for name in ("val", "test")}
    task = tasks.get(run.task)
    deployments, damaged = read_deployments(folder.path / "deployments", counts=[count.key for count in task.counts])
    listing = read_listing(folder.split_csv)
    alike = lookalikes(listing, run)
    epochs, baseline = read_epochs(folder.metrics)
    test = run.test
    return {
        "run": run,
        "name": folder.path.resolve().name,
        "path": folder.path,
        "answer": answer(run, newest(deployments), lookalikes=None if alike.unchecked else alike.test_images),
        "statement": " ".join(f"{said}." for said in task.statements(test)),
        "section": task.section(run, by_split),
        "counts_of": task.counts,
        "gravest": task.gravest,
        "right_bound": _lower_bound(round(test["verdict_accuracy"] * test["n"]), test["n"]),
        "verdicts": test["verdicts"],
        "right_verdict": {name: task.device.right_verdict(run.labels, name) for name in run.classes},
        "fastest": _fastest(newest(deployments)),
        "models": _models(run),
        "counts": _counts(run),
        "splits": SPLITS,
        "alike": alike,
        "previews": previews(listing, run),
        "stages": _stages(run),
        "epochs": len(epochs),
        "per_class": _per_class(run),
        "confusion": _confusion(run),
        "errors": _errors(by_split["test"], run),
        "plots": _plots(by_split["test"], epochs, baseline),
        "deployments": [(d, d in newest(deployments), _deployment_plot(d)) for d in deployments],
        "sensitivity": _sensitivity(folder.path / "quantized"),
        "damaged": damaged,
        "non_commercial": NON_COMMERCIAL,
    }


def read_epochs(path: Path) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    """Read `metrics.jsonl`: the epochs in order, and the baseline; a resumed epoch counts once, as it ended."""
    epochs: dict[tuple[str, int], dict[str, Any]] = {}
    baseline = None
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return [], None
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:  # the last line of a killed process
            continue
        if not isinstance(record, dict):
            continue
        if record.get("phase") == "baseline":
            baseline = record
        elif isinstance(record.get("epoch"), int):
            epochs[str(record.get("phase")), record["epoch"]] = record
    return list(epochs.values()), baseline


def _lower_bound(hits: int, n: int) -> float | None:
    bound = binomial_upper(n - hits, n)
    return None if bound is None else 1 - bound


def _fastest(deployments: list[Deployment]) -> Deployment | None:
    """The deployment whose latency the headline shows."""
    measured = [d for d in deployments if d.measured and d.shipped is not None]
    return min(measured, key=lambda d: (d.shipped and (d.shipped.p99_ms or d.shipped.p50_ms)) or 0.0, default=None)


def _models(run: Run) -> list[tuple[str, bool, Mapping[str, Any]]]:
    """Rows of the comparison: what, whether it is the kept model on test, metrics."""
    rows: list[tuple[str, bool, Mapping[str, Any]]] = [
        ("frozen baseline, test", run.kept == "baseline", run.baseline_test)
    ]
    if run.kept == "finetuned":
        rows.append(("fine-tuned, test", True, run.test))
    rows.append(("frozen baseline, validation", False, run.baseline_val))
    if run.finetuned_val is not None:
        rows.append(("fine-tuned, validation", False, run.finetuned_val))
    return rows


def _counts(run: Run) -> list[tuple[str, list[int]]]:
    counts = run.data.get("counts", {})
    return [(c, [counts.get(s, {}).get(c, 0) for s in SPLITS]) for c in run.classes]


def _stages(run: Run) -> list[tuple[str, float, float]]:
    """Rows of (stage, seconds, share of all)."""
    names = {
        "features": "features of the frozen backbone",
        "head": "fit the head",
        "finetune": "fit the augmentation, unfreeze",
    }
    seconds = run.seconds
    total = seconds.get("total") or sum(seconds.get(k, 0.0) for k in names) or 1.0
    rows = [(title, seconds.get(key, 0.0)) for key, title in names.items()]
    rows.append(("read and check images, decode", max(0.0, total - sum(s for _, s in rows))))
    return [(title, s, s / total) for title, s in rows]


def _per_class(run: Run) -> list[tuple[str, Mapping[str, Any], float | None]]:
    """Rows of (class, metrics on test, lower bound of the recall)."""
    return [(name, c, _lower_bound(round(c["recall"] * c["n"]), c["n"])) for name, c in run.test["per_class"].items()]


def _confusion(run: Run) -> list[tuple[str, list[tuple[int, float, bool]]]]:
    """Rows of (true class, cells of (count, share of the row, on the diagonal))."""
    table = []
    for i, (name, row) in enumerate(zip(run.classes, run.test["confusion"], strict=True)):
        total = sum(row) or 1
        table.append((name, [(count, count / total, i == j) for j, count in enumerate(row)]))
    return table


def _errors(rows: list[Prediction], run: Run) -> dict[str, Any]:
    from pathlib import Path

    from edgetl.report.pictures import thumbnail

    worst, total = worst_errors(rows, run, most=MOST_ERRORS)
    depth = run.preprocess.bit_depth
    return {
        "total": total,
        "known": bool(rows),
        "shown": [(r, Path(r.path).name, thumbnail(Path(r.path), depth)) for r in worst],
    }


def _plots(test: list[Prediction], epochs: list[dict[str, Any]], baseline: dict[str, Any] | None) -> dict[str, str]:
    """Return the plots that every task has and there is data for; empty where there is none."""
    from edgetl.report import plots

    return {
        "training": plots.training_curves(epochs, baseline) if epochs else "",
        "reliability": plots.reliability_diagram(test) if test else "",
    }


def _deployment_plot(deployment: Deployment) -> str:
    from edgetl.report.pareto import accuracy_latency

    return accuracy_latency(deployment) if deployment.candidates else ""


def _sensitivity(folder: Path) -> list[tuple[str, int, str]]:
    """Return (recipe, calibration images, picture) of every ranking of layers that a ladder measured."""
    from edgetl.report.sensitivity import read_rankings, sensitivity_picture

    return [(r.recipe, r.images, sensitivity_picture(r)) for r in read_rankings(folder)]
