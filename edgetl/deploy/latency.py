"""Time candidates against each other: interleaved rounds, encoded image to decision, every sample counted."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl_runtime import backends
from edgetl_runtime.measure import measure_latency, percentile
from edgetl_runtime.preprocess import decode, preprocess
from edgetl_runtime.probe import facts
from edgetl_runtime.tasks.classification import decide

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgetl.deploy.candidates import Candidate
    from edgetl.run import Run
    from edgetl_runtime.backends.base import BackendSession

SCREEN_ITERATIONS = 20
ROUNDS = 3
WARMUP_SECONDS = 0.5  # at most, of each round
ROUND_ITERATIONS = 100  # three rounds pool to the 299 samples that a p99 needs
_NS_PER_MS = 1e6


class _Timed:
    """One loaded candidate: decides on encoded images and keeps the time of the network apart."""

    def __init__(self, run: Run, candidate: Candidate, session: BackendSession) -> None:
        self.run, self.candidate, self.session = run, candidate, session
        self.infer_ms: list[float] = []
        self.decision_ms: list[float] = []
        self.steady = True

    def decide(self, encoded: bytes) -> None:
        spec = self.run.preprocess
        tensor = preprocess(decode(encoded, spec), spec, colour="rgb")
        begin = time.monotonic_ns()
        logits = self.session.infer(tensor[np.newaxis])
        self.infer_ms.append((time.monotonic_ns() - begin) / _NS_PER_MS)
        decide(
            logits,
            classes=self.run.classes,
            defect_classes=self.run.defect_classes,
            thresholds=self.candidate.thresholds,
            temperature=self.candidate.temperature,
        )

    def round(self, encoded: Sequence[bytes], iterations: int) -> None:
        record = measure_latency(
            self.decide,
            encoded,
            min_iterations=iterations,
            min_seconds=0.0,
            max_seconds=60.0,
            max_warmup_seconds=WARMUP_SECONDS,
        )
        del self.infer_ms[len(self.decision_ms) : -record.n]  # those of the warm-up
        self.decision_ms += record.samples_ms
        self.steady &= record.steady

    def median_ms(self) -> float:
        return float(np.median(self.decision_ms))

    def forget(self) -> None:
        self.decision_ms, self.infer_ms, self.steady = [], [], True

    def figures(self, other_work_cores: float) -> dict[str, Any]:
        return {
            "decision_ms": _summary(self.decision_ms),
            "infer_ms": _summary(self.infer_ms),
            "n": len(self.decision_ms),
            "steady": self.steady,
            "measured_on": facts().cpu,
            "fingerprint": facts().fingerprint,
            "threads": self.candidate.options.threads,
            "other_work_cores": other_work_cores,
            "protocol": f"{ROUNDS} interleaved rounds of {ROUND_ITERATIONS}, batch 1, closed loop, files in memory",
        }


class _OtherWork:
    """Counts the processor time that other processes took since it was made."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.busy_s, self.own_s = _busy_s(), time.process_time()

    def cores(self) -> float:
        """Return how many cores other work kept busy on average."""
        foreign_s = (_busy_s() - self.busy_s) - (time.process_time() - self.own_s)
        return round(max(0.0, foreign_s / (time.monotonic() - self.started)), 2)


def _busy_s() -> float:
    """Processor time of the whole machine that was neither idle nor waiting, stolen time included, in seconds."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = Path("/proc/stat").read_text().split()[1:9]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / os.sysconf("SC_CLK_TCK")


def _summary(samples_ms: Sequence[float]) -> dict[str, float | None]:
    return {"p50": percentile(samples_ms, 50), "p99": percentile(samples_ms, 99), "max": max(samples_ms)}


def measure_candidates(
    run: Run, candidates: Sequence[Candidate], encoded: Sequence[bytes], progress: Callable[[int, int], None]
) -> list[Candidate]:
    """Return the candidates with latencies; of those that differ only in threads, the faster one is kept.

    Args:
        run: Says how images are preprocessed and decided.
        candidates: Those this machine can run.
        encoded: Images as the station reads them.
        progress: Called with (rounds done, rounds in all).
    """
    others = _OtherWork()
    with contextlib.ExitStack() as stack:
        timed = [_Timed(run, c, stack.enter_context(_session(c))) for c in candidates]
        for item in timed:
            item.round(encoded, SCREEN_ITERATIONS)
        chosen = _best_threads(timed)
        done = 0
        for item in chosen:
            item.forget()
        for _ in range(ROUNDS):
            for item in chosen:
                item.round(encoded, ROUND_ITERATIONS)
                done += 1
                progress(done, ROUNDS * len(chosen))
        busy = others.cores()
        return [dataclasses.replace(t.candidate, latency=t.figures(busy)) for t in chosen]


def _session(candidate: Candidate) -> BackendSession:
    engine = backends.get(candidate.backend)
    return engine.load(engine.compile(candidate.model, candidate.load_options), candidate.load_options)


def _best_threads(timed: Sequence[_Timed]) -> list[_Timed]:
    best: dict[tuple[str, str], _Timed] = {}
    for item in timed:
        key = (item.candidate.backend, item.candidate.precision)
        if key not in best or item.median_ms() < best[key].median_ms():
            best[key] = item
    return list(best.values())
