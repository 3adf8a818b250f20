"""A machine made of a clock: programmable latency, drift and spikes, to prove the error rates of the design.

It stands for hardware that misbehaves on demand, which no real machine does. Rounds run through the same measuring
loop as real ones; only time is invented. Nothing of it is ever a measurement.
"""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import numpy as np

from edgetl_runtime.bench.record import Round
from edgetl_runtime.bench.rounds import TURNS
from edgetl_runtime.measure import time_calls, warm_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

ITERATIONS = 100
WARM = 300  # iterations of a process before it takes turns
_CHUNK = 256
_HALVES = 0.5 ** np.arange(50)  # what is left of an iteration in those that follow


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What disturbs latencies; all as shares of the latency, standard deviations unless said otherwise.

    Attributes:
        drift: Of the machine from turn to turn; correlated, the last turn counts nine tenths.
        process: Between two processes of the same program: addresses, placement.
        memory: How much of that the next process of the same side inherits, a correlation; 0 is none.
        jitter: Between iterations; correlated, the last iteration counts half.
        spike_rate: Probability of an iteration that is interrupted.
        spike: How much longer such an iteration takes, times an exponential variable.
        disturbed_rate: Probability of a turn beside other work that nobody noticed.
        disturbed: How much slower all of such a turn is, at most.
        cold: How much slower the first iteration of a process is; decays over 20 iterations.
    """

    drift: float = 0.005
    process: float = 0.008
    memory: float = 0.0
    jitter: float = 0.01
    spike_rate: float = 0.005
    spike: float = 1.0
    disturbed_rate: float = 0.0
    disturbed: float = 0.0
    cold: float = 0.5


QUIET = Noise()
NOISY = Noise(drift=0.02, process=0.015, jitter=0.03, spike_rate=0.02, spike=2.0, disturbed_rate=0.05, disturbed=0.3)
# what favours one side lasts for several pairs: their differences have a standard deviation of 5 %, correlation 0.7
REMEMBERING = Noise(process=0.05 / 2**0.5, memory=0.7)


class Harness:
    """Runs rounds of imaginary bundles on an imaginary clock.

    Args:
        latency_ms: Side → its true latency.
        noise: What disturbs it.
        seed: Equal seeds give equal rounds.

    Attributes:
        now_ns: What its clock shows.

    Example:
        >>> harness = Harness({"A": 5.0}, noise=Noise(drift=0, process=0, jitter=0, spike_rate=0, cold=0))
        >>> harness.round("A", 0).p50_ms
        5.0
    """

    def __init__(self, latency_ms: dict[str, float], *, noise: Noise = QUIET, seed: int = 0) -> None:
        self.latency_ms = latency_ms
        self.noise = noise
        self.now_ns = 1_000_000_000
        self._rng = np.random.default_rng(seed)
        self._drift = noise.drift * self._rng.normal()
        self._inherited: dict[str, float] = {}

    def round(self, side: str, index: int) -> Round:
        """Run one round of a side, as a fresh process would, through the real measuring loop."""
        process = self._start(side)
        self._next_turn(process)
        steady = warm_up(process.decide, [0], max_seconds=30, clock_ns=lambda: self.now_ns)[0]
        self._next_turn(process)
        timed = time_calls(process.decide, [0], min_iterations=ITERATIONS, min_seconds=0, clock_ns=lambda: self.now_ns)
        return Round(side=side, index=index, steady=steady, decision_ms=timed, turns=(ITERATIONS,))

    def pair(self, order: str, index: int) -> tuple[Round, Round]:
        """Run a round of both sides in turns, as two warm processes would; drawn at once, since many are needed."""
        processes = {side: self._start(side) for side in order}
        levels_ms: dict[str, list[float]] = {side: [] for side in order}
        for turn in range(TURNS):
            for side in order if turn % 2 == 0 else order[::-1]:
                self._next_turn(processes[side])
                levels_ms[side].append(processes[side].level_ms)
        samples = {}
        for side, process in processes.items():
            process.done = WARM
            durations = process.durations(ITERATIONS).reshape(TURNS, -1)
            samples[side] = (np.asarray(levels_ms[side])[:, np.newaxis] * durations).ravel().tolist()
        turns = (ITERATIONS // TURNS,) * TURNS
        a, b = (
            Round(side=side, index=index, steady=True, decision_ms=tuple(samples[side]), turns=turns) for side in "AB"
        )
        return a, b

    def _start(self, side: str) -> _Process:
        return _Process(self, self.latency_ms[side] * self._placement(side))

    def _placement(self, side: str) -> float:
        """Return by what factor the next process of a side differs from the program's own latency."""
        noise, drawn = self.noise, float(self._rng.normal())
        if side in self._inherited:
            drawn = noise.memory * self._inherited[side] + math.sqrt(1 - noise.memory**2) * drawn
        self._inherited[side] = drawn
        return math.exp(noise.process * drawn)

    def _next_turn(self, process: _Process) -> None:
        """Let the machine drift, and other work begin or end."""
        noise, rng = self.noise, self._rng
        self._drift = 0.9 * self._drift + noise.drift * math.sqrt(1 - 0.81) * rng.normal()
        disturbed = noise.disturbed * rng.random() if rng.random() < noise.disturbed_rate else 0.0
        process.slow_down(math.exp(self._drift) * (1 + disturbed))


class _Process:
    """One process: what an iteration of it takes, and the durations of its iterations, invented in chunks."""

    def __init__(self, harness: Harness, own_ms: float) -> None:
        self.harness, self.noise, self.rng = harness, harness.noise, harness._rng
        self.own_ms = self.level_ms = own_ms
        self.done = 0
        self.last = 0.0
        self.left: list[float] = []

    def slow_down(self, factor: float) -> None:
        """Let everything from now on take this much longer than on the machine at its usual speed."""
        self.level_ms = self.own_ms * factor

    def decide(self, _: int) -> None:
        """Let the harness's clock pass the duration of one iteration."""
        if not self.left:
            self.left = self.durations(_CHUNK)[::-1].tolist()
        self.harness.now_ns += round(self.level_ms * 1e6 * self.left.pop())

    def durations(self, count: int) -> NDArray[np.float64]:
        """Return the next iterations' durations as multiples of the level."""
        noise, rng = self.noise, self.rng
        jitter = self._correlated(rng.normal(size=count) * noise.jitter * np.sqrt(0.75))
        spikes = (rng.random(count) < noise.spike_rate) * noise.spike * rng.exponential(size=count)
        cold = noise.cold * np.exp(-np.arange(self.done, self.done + count) / 20)
        self.done += count
        durations: NDArray[np.float64] = np.exp(jitter) * (1 + spikes) * (1 + cold)
        return durations

    def _correlated(self, innovations: NDArray[np.float64]) -> NDArray[np.float64]:
        count = len(innovations)
        inherited = self.last * 0.5 ** np.arange(1, count + 1)
        values: NDArray[np.float64] = np.convolve(innovations, _HALVES)[:count] + inherited
        self.last = float(values[-1])
        return values
