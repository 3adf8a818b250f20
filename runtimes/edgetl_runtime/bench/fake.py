"""A station made of a clock: programmable latency, drift and spikes, to prove the error rates of the design.

It stands for hardware that misbehaves on demand, which no real machine does. Rounds run through the same measuring
loop as real ones; only time is invented. Nothing of it is ever a measurement.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from edgetl_runtime.bench.record import Round
from edgetl_runtime.bench.rounds import TURNS
from edgetl_runtime.measure import time_calls, warm_up

if TYPE_CHECKING:
    from numpy.typing import NDArray

ITERATIONS = 100
_CHUNK = 256


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What disturbs latencies; all as shares of the latency, standard deviations unless said otherwise.

    Attributes:
        drift: Of the machine from turn to turn; correlated, the last turn counts nine tenths.
        process: Between two processes of the same program: addresses, placement.
        jitter: Between iterations; correlated, the last iteration counts half.
        spike_rate: Probability of an iteration that is interrupted.
        spike: How much longer such an iteration takes, times an exponential variable.
        disturbed_rate: Probability of a turn beside other work that nobody noticed.
        disturbed: How much slower all of such a turn is, at most.
        cold: How much slower the first iteration of a process is; decays over 20 iterations.
    """

    drift: float = 0.005
    process: float = 0.008
    jitter: float = 0.01
    spike_rate: float = 0.005
    spike: float = 1.0
    disturbed_rate: float = 0.0
    disturbed: float = 0.0
    cold: float = 0.5


QUIET = Noise()
NOISY = Noise(drift=0.02, process=0.015, jitter=0.03, spike_rate=0.02, spike=2.0, disturbed_rate=0.05, disturbed=0.3)


class FakeStation:
    """Runs rounds of imaginary bundles on an imaginary clock.

    Args:
        latency_ms: Side → its true latency.
        noise: What disturbs it.
        seed: Equal seeds give equal rounds.

    Attributes:
        now_ns: What its clock shows.

    Example:
        >>> station = FakeStation({"A": 5.0}, noise=Noise(drift=0, process=0, jitter=0, spike_rate=0, cold=0))
        >>> station.round("A", 0).p50_ms
        5.0
    """

    def __init__(self, latency_ms: dict[str, float], *, noise: Noise = QUIET, seed: int = 0) -> None:
        self.latency_ms = latency_ms
        self.noise = noise
        self.now_ns = 1_000_000_000
        self._rng = np.random.default_rng(seed)
        self._drift = noise.drift * self._rng.normal()

    def round(self, side: str, index: int) -> Round:
        """Run one round of a side, as a fresh process would."""
        return self._rounds(side, index, turns=1)[side]

    def pair(self, order: str, index: int) -> tuple[Round, Round]:
        """Run a round of both sides in turns, as two fresh processes would."""
        found = self._rounds(order, index, turns=TURNS)
        return found["A"], found["B"]

    def _rounds(self, order: str, index: int, *, turns: int) -> dict[str, Round]:
        processes = {side: _Process(self, self.latency_ms[side]) for side in order}
        steady = {side: self._warm_up(process) for side, process in processes.items()}
        samples: dict[str, list[float]] = {side: [] for side in order}
        sides = list(order)
        for _ in range(turns):
            for side in sides:
                self._next_turn(processes[side])
                samples[side] += self._timed(processes[side], ITERATIONS // turns)
            sides.reverse()
        return {
            side: Round(
                side=side,
                index=index,
                steady=steady[side],
                decision_ms=tuple(samples[side]),
                turns=(ITERATIONS // turns,) * turns,
            )
            for side in order
        }

    def _next_turn(self, process: _Process) -> None:
        """Let the machine drift, and other work begin or end."""
        noise, rng = self.noise, self._rng
        self._drift = 0.9 * self._drift + noise.drift * np.sqrt(1 - 0.81) * rng.normal()
        disturbed = noise.disturbed * rng.random() if rng.random() < noise.disturbed_rate else 0.0
        process.slow_down(np.exp(self._drift) * (1 + disturbed))

    def _warm_up(self, process: _Process) -> bool:
        self._next_turn(process)
        return warm_up(process.decide, [0], max_seconds=30, clock_ns=lambda: self.now_ns)[0]

    def _timed(self, process: _Process, count: int) -> tuple[float, ...]:
        return time_calls(process.decide, [0], min_iterations=count, min_seconds=0, clock_ns=lambda: self.now_ns)


class _Process:
    """One process: its place in memory, and the durations of its iterations, invented in chunks."""

    def __init__(self, station: FakeStation, latency_ms: float) -> None:
        self.station, self.noise, self.rng = station, station.noise, station._rng
        self.own_ms = latency_ms * np.exp(self.noise.process * self.rng.normal())
        self.level_ms = self.own_ms
        self.done = 0
        self.last = 0.0
        self.left: list[float] = []

    def slow_down(self, factor: float) -> None:
        """Let everything from now on take this much longer than on the machine at its usual speed."""
        self.level_ms = self.own_ms * factor

    def decide(self, _: int) -> None:
        """Let the station's clock pass the duration of one iteration."""
        if not self.left:
            self.left = self.durations(_CHUNK)[::-1]
        self.station.now_ns += round(self.level_ms * 1e6 * self.left.pop())

    def durations(self, count: int) -> list[float]:
        """Return the next iterations' durations as multiples of the level."""
        noise, rng = self.noise, self.rng
        jitter = self._correlated(rng.normal(size=count) * noise.jitter * np.sqrt(0.75))
        spikes = (rng.random(count) < noise.spike_rate) * noise.spike * rng.exponential(size=count)
        cold = noise.cold * np.exp(-np.arange(self.done, self.done + count) / 20)
        self.done += count
        durations: list[float] = (np.exp(jitter) * (1 + spikes) * (1 + cold)).tolist()
        return durations

    def _correlated(self, innovations: NDArray[np.float64]) -> NDArray[np.float64]:
        values = np.empty_like(innovations)
        last = self.last
        for i, innovation in enumerate(innovations.tolist()):
            last = 0.5 * last + innovation
            values[i] = last
        self.last = last
        return values
