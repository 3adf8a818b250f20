"""Real worker processes: killed, silent, failing, and ended with their block."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime.bench.processes import LostWorkerError, Worker
from edgetl_runtime.errors import BundleError, EdgetlError

if TYPE_CHECKING:
    from pathlib import Path


def neighbour(bundle: Path) -> dict[str, Any]:
    return {"kind": "neighbour", "bundle": str(bundle), "variant": "null-f32"}


def test_killed_worker_is_told_from_one_that_fails(tiny_path: Path) -> None:
    with Worker(neighbour(tiny_path), timeout_s=60) as worker:
        worker.wait_until("ready")
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(LostWorkerError, match="the round was killed by SIGKILL"):
            worker.answer()


def test_worker_without_an_answer_is_ended(tiny_path: Path) -> None:
    with Worker(neighbour(tiny_path), timeout_s=60) as worker:
        worker.wait_until("ready")
        worker._timeout_s = 0.1  # a neighbour never answers
        with pytest.raises(LostWorkerError, match=r"the round gave no answer within 0\.1 s"):
            worker.answer()


def test_error_of_a_worker_is_raised_as_its_class(tmp_path: Path) -> None:
    with Worker(neighbour(tmp_path / "absent.edgetl"), timeout_s=60) as worker, pytest.raises(BundleError):
        worker.wait_until("ready")


def test_crash_of_a_worker_says_its_last_words() -> None:
    with Worker({"kind": "round"}, timeout_s=60) as worker, pytest.raises(EdgetlError, match=r"exit 1: .*bundle"):
        worker.wait_until("ready")


def test_worker_that_is_told_nothing_more_ends(tiny_path: Path) -> None:
    job = {**neighbour(tiny_path), "kind": "round", "warmup_s": 0.05, "network": False}
    with Worker(job, timeout_s=60) as worker:
        worker.wait_until("ready")
        worker._process.stdin.close()
        with pytest.raises(EdgetlError, match="a round must be told to go on"):
            worker.answer()


def test_block_ends_the_process(tiny_path: Path) -> None:
    with Worker(neighbour(tiny_path), timeout_s=60) as worker:
        pass
    with pytest.raises(ProcessLookupError):
        os.kill(worker.pid, 0)
