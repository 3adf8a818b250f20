"""Work through files with a few threads; OpenCV, hashing and reading leave the interpreter lock."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgetl.data.samples import Progress

T = TypeVar("T")
R = TypeVar("R")

MOST_THREADS = 8


def work_through(function: Callable[[T], R], items: Sequence[T], *, progress: Progress | None = None) -> list[R]:
    """Return `function` of every item, in order.

    The first exception, Ctrl-C included, stops the rest before it is raised.
    """
    pool = ThreadPoolExecutor(max_workers=min(MOST_THREADS, len(os.sched_getaffinity(0))))
    try:
        results: list[R] = []
        for result in pool.map(function, items):
            results.append(result)
            if progress is not None:
                progress(len(results), len(items))
        return results
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
