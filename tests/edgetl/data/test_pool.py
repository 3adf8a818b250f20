from __future__ import annotations

import threading
import time

import pytest

from edgetl.data.pool import work_through


def test_work_through_keeps_the_order():
    def slow_first(value):
        time.sleep(0.02 if value == 0 else 0)
        return value * 2

    assert work_through(slow_first, range(20)) == [value * 2 for value in range(20)]


def test_work_through_stops_at_the_first_failure():
    done = []
    before = threading.active_count()  # libraries keep threads of their own

    def fail_early(value):
        if value == 1:
            raise ValueError("bad")
        time.sleep(0.002)
        done.append(value)

    with pytest.raises(ValueError, match="bad"):
        work_through(fail_early, range(500))
    assert len(done) < 450
    assert threading.active_count() == before


def test_work_through_reports_from_the_calling_thread():
    threads = []
    work_through(str, range(3), progress=lambda *_: threads.append(threading.current_thread()))
    assert threads == [threading.main_thread()] * 3
