"""The log follows the state's events, mends a torn line, and is bounded."""

from __future__ import annotations

import pytest
from crash_model import QuickDisk

from edgetl_runtime.install import log as logs
from edgetl_runtime.install.log import DeploymentLog
from edgetl_runtime.install.state import State

EVENT = {
    "deployment": "d", "result": "TRIAL", "reason": "ünïcødé", "source": None, "target": None, "key_id": None,
    "who": "w", "time": "t",
}  # fmt: skip


@pytest.fixture
def log(tmp_path):
    return DeploymentLog(tmp_path, QuickDisk())


def test_follow_appends_each_event_once(log):
    state = State(floor=7)
    log.follow(state)
    assert not log.path.exists()
    for number in range(1, 4):
        state = state.with_event(**EVENT)
        log.follow(state)
        log.follow(state)
        assert [entry["number"] for entry in log.entries()] == list(range(1, number + 1))
    assert log.last()["reason"] == "ünïcødé"
    assert log.last_summary()["floor"] == 7


@pytest.mark.parametrize(
    "tear", [lambda d: d[:-5], lambda d: d[:-1], lambda d: d + b"half a li", lambda d: d + bytes(9)]
)
def test_a_torn_line_is_mended(tear, log):
    state = State().with_event(**EVENT).with_event(**EVENT)
    log.follow(state)
    log.path.write_bytes(tear(log.path.read_bytes()))
    log.follow(state)
    assert [entry["number"] for entry in log.entries()] == [1, 2]
    assert log.path.read_bytes().endswith(b"\n")
    assert log.path.read_bytes().count(b"\n") == 2


def test_an_altered_line_is_not_believed(log):
    log.follow(State().with_event(**EVENT).with_event(**{**EVENT, "result": "COMMITTED"}))
    log.path.write_bytes(log.path.read_bytes().replace(b"COMMITTED", b"committed"))
    assert [entry["number"] for entry in log.entries()] == [1]


def test_a_long_log_begins_anew_and_goes_on_counting(log, monkeypatch):
    monkeypatch.setattr(logs, "MAX_BYTES", 2000)
    state = State()
    for _ in range(12):
        state = state.with_event(**EVENT)
        log.follow(state)
    assert log.older.exists()
    assert log.last()["number"] == 12
    assert log.path.stat().st_size + log.older.stat().st_size < 6000 if log.path.exists() else True
