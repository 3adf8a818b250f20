"""Time candidates against each other in short turns, encoded image to decision, until it is clear which is fastest."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import math
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgetl.deploy.candidates import Candidate
from edgetl.deploy.ranking import rank
from edgetl_runtime import backends
from edgetl_runtime.backends.base import BackendSession
from edgetl_runtime.bench.exclusion import measuring_alone
from edgetl_runtime.measure import percentile, time_calls, warm_up
from edgetl_runtime.probe import facts
from edgetl_runtime.proof import Standing
from edgetl_runtime.session import Decider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl_runtime.preprocess import PreprocessSpec

TURN_S = 0.1  # what disturbs a machine mostly lasts longer, and then hits the neighbouring turns of the others too
TURN_IMAGES = 10
TURNS = 30  # of every candidate; they pool to the 299 samples that a p99 needs
SETTLE = 3  # calls before a turn that are not timed
SETTLE_S = 60.0  # at most, for further turns of those of which it is not clear which is fastest
SCREEN_TURNS = 5
WARMUP_S = 3.0  # at most, of each candidate
SCREEN_WARMUP_S = 0.5
SLOWEST = 32  # kept of each candidate, or 2 %: how many lie above any bound on a p99 that it nearly keeps
SLOWEST_SHARE = 0.02
_NS_PER_MS = 1e6


class Deciding(Protocol):
    """What a decision needs beside the candidate; a run has it."""

    @property
    def preprocess(self) -> PreprocessSpec:
        """From image to tensor."""

    @property
    def task(self) -> str:
        """Its name."""

    @property
    def labels(self) -> Any:  # noqa: ANN401  (the task's)
        """What is decided about."""


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


def open_session(candidate: Candidate) -> BackendSession:
    """Load a candidate."""
    engine = backends.get(candidate.backend)
    return engine.load(engine.compile(candidate.model, candidate.load_options), candidate.load_options)


def foreign_s() -> float:
    """Return the processor time of the machine that others than this process took, stolen time included, in seconds."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = Path("/proc/stat").read_text().split()[1:9]
    busy = sum(map(int, (user, nice, system, irq, softirq, steal))) / os.sysconf("SC_CLK_TCK")
    return busy - time.process_time()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What timing asks of the machine; tests give their own.

    Attributes:
        open: Loads a candidate.
        clock_ns: Monotonic clock.
        foreign_s: Processor time that others took, in seconds.
    """

    open: Callable[[Candidate], BackendSession] = open_session
    clock_ns: Callable[[], int] = time.monotonic_ns
    foreign_s: Callable[[], float] = foreign_s


class _Timed:
    """One loaded candidate: decides as a station does, in turns, and keeps the time of the network apart."""

    def __init__(self, contestant: Contestant, session: BackendSession, clock_ns: Callable[[], int]) -> None:
        self.contestant, self.session, self.clock_ns = contestant, session, clock_ns
        self.turns_ms: list[tuple[float, ...] | None] = []  # None where it sat out
        run = contestant.run
        self._decider = Decider(
            session,
            spec=run.preprocess,
            task=run.task,
            labels=run.labels,
            params=contestant.candidate.params,
            clock_ns=clock_ns,
        )
        self.infer_ms: list[float] = []
        self.steady = False
        self._inferring: list[float] = []

    def decide(self, encoded: bytes) -> None:
        self._inferring.append(self._decider.predict(encoded).timings_ms["infer"])

    def warm_up(self, max_seconds: float) -> None:
        images = self.contestant.encoded
        self.steady, _ = warm_up(self.decide, images, max_seconds=max_seconds, clock_ns=self.clock_ns)

    def take_turn(self, cycle: int) -> None:
        """Decide on the images of a cycle, which are the same for all, so often that it takes the time of a turn."""
        images = self.contestant.encoded
        batch = [images[i % len(images)] for i in range(cycle * TURN_IMAGES, (cycle + 1) * TURN_IMAGES)]
        for encoded in batch[:SETTLE]:
            self.decide(encoded)
        self._inferring.clear()
        until_ns, samples = self.clock_ns() + round(TURN_S * 1e9), list[float]()
        while not samples or self.clock_ns() < until_ns:  # whole passes: their medians are of the same images
            samples += time_calls(self.decide, batch, min_iterations=len(batch), min_seconds=0, clock_ns=self.clock_ns)
        self.turns_ms += [None] * (cycle - len(self.turns_ms))
        self.turns_ms.append(tuple(samples))
        self.infer_ms += self._inferring

    def medians_ms(self) -> list[float | None]:
        return [None if turn is None else float(np.median(turn)) for turn in self.turns_ms]

    def timed(self, other_work_cores: float) -> Contestant:
        """Return the contestant with its figures so far."""
        taken = [turn for turn in self.turns_ms if turn is not None]
        together = [ms for turn in taken[:TURNS] for ms in turn]  # the turns that all took, beside each other
        samples = [ms for turn in taken for ms in turn]
        kept = max(SLOWEST, math.ceil(SLOWEST_SHARE * len(samples)))
        figures = {
            "decision_ms": {**_summary(samples), "p50": percentile(together, 50)},
            "infer_ms": _summary(self.infer_ms),
            "n": len(samples),
            "slowest_ms": sorted(samples, reverse=True)[:kept],
            "turns_ms": [None if ms is None else round(ms, 4) for ms in self.medians_ms()],
            "steady": self.steady,
            "measured_on": facts().cpu,
            "fingerprint": facts().fingerprint,
            "threads": self.contestant.candidate.options.threads,
            "other_work_cores": other_work_cores,
            "protocol": f"{len(taken)} turns of {TURN_S:g} s or more beside the other candidates, {TURN_IMAGES} images "
            "each, batch 1, closed loop, files in memory",
        }
        candidate = dataclasses.replace(self.contestant.candidate, latency=figures)
        return dataclasses.replace(self.contestant, candidate=candidate)


def _summary(samples_ms: Sequence[float]) -> dict[str, float | None]:
    return {"p50": percentile(samples_ms, 50), "p99": percentile(samples_ms, 99), "max": max(samples_ms)}


class _Course:
    """All candidates in memory, and what others did meanwhile."""

    def __init__(self, timed: Sequence[_Timed], machine: Machine, progress: Callable[[int, int], None]) -> None:
        self.timed, self.machine, self.progress = timed, machine, progress
        self.cycles = self.done = 0
        self._began_ns, self._foreign_s = machine.clock_ns(), machine.foreign_s()

    def run(self, runners: Sequence[_Timed], cycles: int, *, until_ns: int | None = None) -> None:
        """Let candidates take turns, every other cycle in reverse order, but none begins after `until_ns`."""
        in_all = self.done + cycles * len(runners)
        for cycle in range(self.cycles, self.cycles + cycles):
            if until_ns is not None and self.machine.clock_ns() >= until_ns:
                break
            for runner in runners if cycle % 2 == 0 else reversed(runners):
                runner.take_turn(cycle)
                self.done += 1
                self.progress(self.done, in_all)
        self.cycles = max(len(t.turns_ms) for t in self.timed)

    def other_work_cores(self) -> float:
        """Return how many cores other work kept busy on average."""
        seconds = (self.machine.clock_ns() - self._began_ns) / 1e9
        return round(max(0.0, self.machine.foreign_s() - self._foreign_s) / seconds, 2) if seconds > 0 else 0.0


def measure_candidates(
    run: Deciding,
    candidates: Sequence[Candidate],
    encoded: Sequence[bytes],
    progress: Callable[[int, int], None],
    standing: Callable[[Candidate], Standing] = lambda _: Standing.KEPT,
) -> list[Candidate]:
    """Return the candidates with latencies; see `measure_together`.

    Args:
        run: Says how images are preprocessed and decided.
        candidates: Those this machine can run.
        encoded: Images as the station reads them.
        progress: Called with (turns done, turns in all as far as is known).
        standing: How the contract ends for a candidate with these latencies.
    """
    contestants = [Contestant(run=run, candidate=c, encoded=encoded) for c in candidates]
    timed = measure_together(contestants, progress, standing=lambda c: standing(c.candidate))
    return [c.candidate for c in timed]


def measure_together(
    contestants: Sequence[Contestant],
    progress: Callable[[int, int], None],
    note: Callable[[str], None] = lambda _text: None,
    *,
    standing: Callable[[Contestant], Standing] = lambda _: Standing.KEPT,
    machine: Machine | None = None,
) -> list[Contestant]:
    """Time candidates of any number of runs in the same turns, so that all see the same machine.

    Those of which it is not clear which is fastest, and a fastest one whose p99 is not proven, take further turns until
    that is clear or a minute is over.

    Args:
        contestants: Those this machine can run.
        progress: Called with (turns done, turns in all as far as is known).
        note: Told of a wait for another process that measures.
        standing: How the contract ends for one with these latencies; what misses it is not waited for.
        machine: Tests give their own.

    Returns:
        The contestants with latencies; of those that differ only in threads the better one, both where it is not clear
        and it matters.
    """
    machine = machine or Machine()
    with measuring_alone(note), _collected(), contextlib.ExitStack() as stack:
        timed = _loaded(contestants, machine, stack, warmup_s=WARMUP_S)
        course = _Course(timed, machine, progress)
        course.run(timed, TURNS)
        until_ns = machine.clock_ns() + round(SETTLE_S * 1e9)
        while True:
            found = [t.timed(course.other_work_cores()) for t in timed]
            contest = _Contest(found, standing)
            if not contest.unclear or machine.clock_ns() >= until_ns:
                return contest.survivors()
            course.run([timed[i] for i in contest.unclear], max(10, course.cycles // 2), until_ns=until_ns)


class _Contest:
    """Who may still be chosen of those that were timed so far."""

    def __init__(self, found: Sequence[Contestant], standing: Callable[[Contestant], Standing]) -> None:
        self.found = found
        standings = [standing(c) for c in found]
        self.able = [i for i, s in enumerate(standings) if s is not Standing.MISSED]
        ranking = rank([turns_of(found[i].candidate) for i in self.able])
        self.rivals = {self.able[at] for at in ranking.rivals}
        self.unclear = sorted(self.able[at] for at in ranking.unclear)
        first = self.able[ranking.tied[0]] if self.able else None
        if first is not None and (self.unclear or standings[first] is Standing.UNPROVEN):
            self.unclear = sorted((first, *self.unclear))

    def survivors(self) -> list[Contestant]:
        """Leave of those that differ only in threads the faster one, fewer threads where they tie, and every rival."""
        groups: dict[tuple[int, str, str], list[int]] = {}
        for i, c in enumerate(self.found):
            groups.setdefault((id(c.run), c.candidate.backend, c.candidate.precision), []).append(i)
        kept = self.rivals | {self._best([i for i in g if i in self.able] or g) for g in groups.values()}
        return [self.found[i] for i in sorted(kept)]

    def _best(self, members: list[int]) -> int:
        threads = [self.found[i].candidate.options.threads or 0 for i in members]
        turns = [turns_of(self.found[i].candidate) for i in members]
        return members[rank(turns, lambda tied: min(tied, key=threads.__getitem__)).order[0]]


def turns_of(candidate: Candidate) -> Sequence[float | None]:
    """Return the medians of a candidate's turns in milliseconds; empty where it was not timed."""
    return candidate.latency["turns_ms"] if candidate.latency else ()


def _loaded(
    contestants: Sequence[Contestant], machine: Machine, stack: contextlib.ExitStack, *, warmup_s: float
) -> list[_Timed]:
    timed = [_Timed(c, stack.enter_context(machine.open(c.candidate)), machine.clock_ns) for c in contestants]
    for item in timed:
        item.warm_up(warmup_s)
    return timed


def screen(
    contestants: Sequence[Contestant],
    note: Callable[[str], None] = lambda _text: None,
    machine: Machine | None = None,
) -> list[float]:
    """Return the median of the best of a few turns of each contestant, in milliseconds.

    It is enough to see what is far too slow, and what disturbs single turns makes nothing too slow.
    """
    machine = machine or Machine()
    with measuring_alone(note), _collected(), contextlib.ExitStack() as stack:
        timed = _loaded(contestants, machine, stack, warmup_s=SCREEN_WARMUP_S)
        _Course(timed, machine, lambda _done, _all: None).run(timed, SCREEN_TURNS)
        return [min(ms for ms in item.medians_ms() if ms is not None) for item in timed]


@contextlib.contextmanager
def _collected() -> Iterator[None]:
    """Leave what lives now out of the garbage collections before every turn: torch alone would take longer than it."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
