"""The bundle keeps its budget, and is not slower than its baseline."""

import os

import pytest

TAKT_MS = 200.0
SLOWER_PCT = float(os.environ.get("SLOWER_PCT", "0"))


def test_within_the_takt_time(latency):
    found = latency("part.edgetl")
    assert found.p99_ms <= TAKT_MS
    assert found.memory_mb <= 512


def test_on_time_at_the_rate_of_the_line(latency):
    found = latency("part.edgetl", rate_hz=25, iterations=25)
    assert found.late == 0


def test_not_slower_than_the_baseline(baseline):
    baseline("part.edgetl", slower_pct=SLOWER_PCT)


@pytest.mark.edgetl_requires(board="Orin")
def test_within_the_takt_time_of_the_station(latency):
    assert latency("part.edgetl", backend="tensorrt").p99_ms <= 20
