"""The self-test's child: what it proves, and what it survives for us."""

from __future__ import annotations

import dataclasses
import json

import pytest

from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.install import selftest
from edgetl_runtime.install.selftest import Limits


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def test_run_proves_and_measures_in_a_child(kit, cache):
    found = selftest.run(kit.bundles["old"], "null-f32", cache, Limits())
    assert found["passed"]
    assert found["golden"]["count"] == 2
    assert 0 < found["latency_ms"]["p50"] < 1000
    assert 10 < found["memory_mb"] < 1000


def test_run_tells_a_wrong_answer_a_hang_and_a_runaway(kit, cache):
    found = selftest.run(kit.bundles["wrong"], "null-f32", cache, Limits())
    assert not found["passed"]
    assert "golden scores" in found["reason"]
    hang = selftest.run(kit.bundles["old"], "null-f32", cache, Limits(timeout_s=0.05))
    assert (hang["passed"], hang["reason"]) == (False, "no answer within 0 s")
    greedy = selftest.run(kit.bundles["old"], "null-f32", cache, Limits(memory_mb=5.0))
    assert not greedy["passed"]
    assert "MB, more than 5 MB" in greedy["reason"] or "memory" in greedy["reason"]


def test_prove_holds_latency_and_memory_against_the_contract(kit, cache, monkeypatch):
    monkeypatch.setattr(selftest, "ITERATIONS", 20)
    found = selftest.prove(kit.bundles["old"], "null-f32", cache, Limits(p50_ms=1e-6, max_memory_mb=1.0))
    assert not found["passed"]
    assert found["latency_ms"]["rounds"] == 3
    assert [breach.split()[0] for breach in found["breaches"]] == ["p50", "peak"]
    found = selftest.prove(kit.bundles["old"], "null-f32", cache, Limits(p50_ms=1e6))
    assert (found["passed"], found["latency_ms"]["rounds"]) == (True, 1)


def test_limits_of_reads_the_contract(kit):
    with open_bundle(kit.bundles["old"]) as bundle:
        terms = {"p99_ms": 5, "max_memory_mb": 300, "p50_ms": None, "max_escapes": 1}
        limits = selftest.limits_of(dataclasses.replace(bundle.manifest, contract=terms))
    assert (limits.p50_ms, limits.p99_ms, limits.max_memory_mb) == (None, 5.0, 300.0)
    assert json.loads(json.dumps(dataclasses.asdict(limits))) == dataclasses.asdict(limits)


def test_available_mb_reads_the_kernel(tmp_path):
    assert selftest.available_mb() > 10
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n")
    assert selftest.available_mb(tmp_path) == 2.0
