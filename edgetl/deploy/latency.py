"""Time candidates against each other: interleaved rounds, encoded image to decision, every sample counted."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgetl.deploy.candidates import Candidate
from edgetl_runtime import backends
from edgetl_runtime.bench.alone import measuring_alone
from edgetl_runtime.decode import decode
from edgetl_runtime.measure import measure_latency, percentile
from edgetl_runtime.preprocess import preprocess
from edgetl_runtime.probe import facts
from edgetl_runtime.tasks.classification import decide

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgetl_runtime.backends.base import BackendSession
    from edgetl_runtime.preprocess import PreprocessSpec

SCREEN_ITERATIONS = 20
ROUNDS = 3
WARMUP_SECONDS = 0.5  # at most, of each round
ROUND_ITERATIONS = 100  # three rounds pool to the 299 samples that a p99 needs
SLOWEST = 32  # kept of each candidate: how many lie above any bound that it nearly keeps
_NS_PER_MS = 1e6


class Deciding(Protocol):
    """What a decision needs beside the candidate; a run has it."""

    @property
    def preprocess(self) -> PreprocessSpec:
        """From image to tensor."""

    @property
    def classes(self) -> tuple[str, ...]:
        """In the order of the logits."""

    @property
    def defect_classes(self) -> tuple[str, ...]:
        """Those of them that are defects."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One candidate with all that is needed to time its decisions.

    Attributes:
        run: The run it belongs to.
        candidate: What is timed.
        encoded: Images as the station reads them.
    """

    run: Deciding
    candidate: Candidate
    encoded: Sequence[bytes] = dataclasses.field(repr=False)


class _Timed:
    """One loaded candidate: decides on encoded images and keeps the time of the network apart."""

    def __init__(self, contestant: Contestant, session: BackendSession) -> None:
        self.run, self.candidate, self.session = contestant.run, contestant.candidate, session
        self.encoded = contestant.encoded
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

    def round(self, iterations: int) -> None:
        record = measure_latency(
            self.decide,
            self.encoded,
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
            "slowest_ms": sorted(self.decision_ms, reverse=True)[:SLOWEST],
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
    run: Deciding, candidates: Sequence[Candidate], encoded: Sequence[bytes], progress: Callable[[int, int], None]
) -> list[Candidate]:
    """Return the candidates with latencies; of those that differ only in threads, the faster one is kept.

    Args:
        run: Says how images are preprocessed and decided.
        candidates: Those this machine can run.
        encoded: Images as the station reads them.
        progress: Called with (rounds done, rounds in all).
    """
    contestants = [Contestant(run=run, candidate=c, encoded=encoded) for c in candidates]
    return [c.candidate for c in measure_together(contestants, progress)]


def measure_together(
    contestants: Sequence[Contestant],
    progress: Callable[[int, int], None],
    note: Callable[[str], None] = lambda _text: None,
) -> list[Contestant]:
    """Time candidates of any number of runs in the same interleaved rounds, so that all see the same machine.

    Args:
        contestants: Those this machine can run.
        progress: Called with (rounds done, rounds in all).
        note: Told of a wait for another process that measures.

    Returns:
        The contestants with latencies; of those that differ only in threads, the faster one.
    """
    with measuring_alone(note), contextlib.ExitStack() as stack:
        others = _OtherWork()
        timed = [_Timed(c, stack.enter_context(_session(c.candidate))) for c in contestants]
        for item in timed:
            item.round(SCREEN_ITERATIONS)
        chosen = _best_threads(timed)
        done = 0
        for item in chosen:
            item.forget()
        for _ in range(ROUNDS):
            for item in chosen:
                item.round(ROUND_ITERATIONS)
                done += 1
                progress(done, ROUNDS * len(chosen))
        busy = others.cores()
        return [
            Contestant(
                run=t.run, candidate=dataclasses.replace(t.candidate, latency=t.figures(busy)), encoded=t.encoded
            )
            for t in chosen
        ]


def screen(contestants: Sequence[Contestant], note: Callable[[str], None] = lambda _text: None) -> list[float]:
    """Return the median of one short round of each contestant, in milliseconds: enough to see what is far too slow."""
    with measuring_alone(note), contextlib.ExitStack() as stack:
        timed = [_Timed(c, stack.enter_context(_session(c.candidate))) for c in contestants]
        for item in timed:
            item.round(SCREEN_ITERATIONS)
        return [item.median_ms() for item in timed]


def _session(candidate: Candidate) -> BackendSession:
    engine = backends.get(candidate.backend)
    return engine.load(engine.compile(candidate.model, candidate.load_options), candidate.load_options)


def _best_threads(timed: Sequence[_Timed]) -> list[_Timed]:
    best: dict[tuple[int, str, str], _Timed] = {}
    for item in timed:
        key = (id(item.run), item.candidate.backend, item.candidate.precision)
        if key not in best or item.median_ms() < best[key].median_ms():
            best[key] = item
    return list(best.values())
