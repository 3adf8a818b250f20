from __future__ import annotations

import os
import threading

import pytest

from edgetl.data import pool
from edgetl.data.pool import work_through


@pytest.fixture(autouse=True)
def _two_threads(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


def test_work_through_keeps_the_order():
    last = threading.Event()

    def slow_first(value):
        if value == 0:
            assert last.wait(timeout=60)
        elif value == 19:
            last.set()
        return value * 2

    assert work_through(slow_first, range(20)) == [value * 2 for value in range(20)]


def test_work_through_stops_at_the_first_failure(monkeypatch):
    """What is at work is finished, nothing else is begun."""
    begun, cancelled = [], threading.Event()
    before = threading.active_count()  # libraries keep threads of their own
    shutdown = pool.ThreadPoolExecutor.shutdown

    def cancel_then_wait(self, *, wait, cancel_futures):
        shutdown(self, wait=False, cancel_futures=cancel_futures)
        cancelled.set()
        shutdown(self, wait=wait)

    def fail_early(value):
        begun.append(value)
        if value == 1:
            raise ValueError("bad")
        if value > 1:
            assert cancelled.wait(timeout=60)

    monkeypatch.setattr(pool.ThreadPoolExecutor, "shutdown", cancel_then_wait)
    with pytest.raises(ValueError, match="bad"):
        work_through(fail_early, range(500))
    assert len(begun) <= 4
    assert threading.active_count() == before


def test_work_through_reports_from_the_calling_thread():
    threads = []
    work_through(str, range(3), progress=lambda *_: threads.append(threading.current_thread()))
    assert threads == [threading.main_thread()] * 3
