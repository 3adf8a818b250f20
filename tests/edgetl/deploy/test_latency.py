"""Timing of candidates: every sample counted, the warm-up not, the better thread count kept."""

from __future__ import annotations

import pytest

from edgetl.deploy import latency
from edgetl.deploy.candidates import Candidate
from edgetl_runtime.manifest import Requires, VariantOptions


@pytest.fixture
def measured(tiny_parts, tiny_onnx, monkeypatch):
    import types

    monkeypatch.setattr(latency, "ROUND_ITERATIONS", 10)
    monkeypatch.setattr(latency, "SCREEN_ITERATIONS", 5)
    monkeypatch.setattr(latency, "WARMUP_SECONDS", 0.1)
    manifest, members = tiny_parts()
    run = types.SimpleNamespace(
        preprocess=manifest.preprocess, classes=manifest.classes, defect_classes=manifest.defect_classes
    )
    made = [
        Candidate(
            id=f"{backend}-t{threads}", backend=backend, precision="f32", model=tiny_onnx(), evidence={}, val={},
            options=VariantOptions(threads=threads), requires=Requires(), drop_pp=0.0, flips=0,
            thresholds=manifest.variants[0].thresholds, temperature=1.0,
        )
        for backend, threads in (("onnxruntime", 1), ("onnxruntime", 2), ("openvino", 1))
    ]  # fmt: skip
    steps = []
    encoded = [members[name] for name in manifest.golden.images]
    return latency.measure_candidates(run, made, encoded, lambda *step: steps.append(step)), steps


def test_measure_candidates_keeps_one_thread_count_and_every_sample(measured):
    found, steps = measured
    assert [c.backend for c in found] == ["onnxruntime", "openvino"]
    assert steps == [(done, 6) for done in range(1, 7)]
    for c in found:
        figures = c.latency
        assert figures["n"] == 3 * 10
        assert 0 < figures["infer_ms"]["p50"] < figures["decision_ms"]["p50"] <= figures["decision_ms"]["max"]
        assert figures["decision_ms"]["p99"] is None  # 30 timings cannot say
        assert figures["threads"] == c.options.threads
        assert figures["slowest_ms"][0] == figures["decision_ms"]["max"]
        assert len(figures["slowest_ms"]) == 30
        assert figures["other_work_cores"] >= 0
