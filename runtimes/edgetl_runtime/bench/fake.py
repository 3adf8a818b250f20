"""A station made of a clock: programmable latency, drift and spikes, to prove the error rates of the design.

It stands for hardware that misbehaves on demand, which no real machine does. Rounds run through the same measuring
loop as real ones; only time is invented. Nothing of it is ever a measurement.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from edgetl_runtime.bench.record import Round
from edgetl_runtime.measure import measure_latency

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

ITERATIONS = 100
_CHUNK = 256


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What disturbs latencies; all as shares of the latency, standard deviations unless said otherwise.

    Attributes:
        drift: Of the machine from round to round; correlated, the last round counts nine tenths.
        process: Between two processes of the same program: addresses, placement.
        jitter: Between iterations; correlated, the last iteration counts half.
        spike_rate: Probability of an iteration that is interrupted.
        spike: How much longer such an iteration takes, times an exponential variable.
        disturbed_rate: Probability of a round beside other work that nobody noticed.
        disturbed: How much slower all of such a round is, at most.
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
        self._durations_ns: Sequence[int] = ()
        self._next = 0

    def round(self, side: str, index: int) -> Round:
        """Run one round of a side, as a fresh process would."""
        noise, rng = self.noise, self._rng
        self._drift = 0.9 * self._drift + noise.drift * np.sqrt(1 - 0.81) * rng.normal()
        disturbed = noise.disturbed * rng.random() if rng.random() < noise.disturbed_rate else 0.0
        level = self.latency_ms[side] * np.exp(self._drift + noise.process * rng.normal()) * (1 + disturbed)
        self._process = _Process(level, noise, rng)
        self._durations_ns, self._next = (), 0
        record = measure_latency(
            self._call,
            [0],
            min_iterations=ITERATIONS,
            min_seconds=0,
            max_warmup_seconds=30,
            clock_ns=lambda: self.now_ns,
        )
        return Round(side=side, index=index, steady=record.steady, decision_ms=record.samples_ms)

    def _call(self, _: int) -> None:
        if self._next == len(self._durations_ns):
            self._durations_ns, self._next = self._process.durations_ns(_CHUNK), 0
        self.now_ns += self._durations_ns[self._next]
        self._next += 1


class _Process:
    """Invents the durations of one process's iterations, in chunks."""

    def __init__(self, level_ms: float, noise: Noise, rng: np.random.Generator) -> None:
        self.level_ms, self.noise, self.rng = level_ms, noise, rng
        self.done = 0
        self.last = 0.0

    def durations_ns(self, count: int) -> list[int]:
        noise, rng = self.noise, self.rng
        jitter = self._correlated(rng.normal(size=count) * noise.jitter * np.sqrt(0.75))
        spikes = (rng.random(count) < noise.spike_rate) * noise.spike * rng.exponential(size=count)
        cold = noise.cold * np.exp(-np.arange(self.done, self.done + count) / 20)
        self.done += count
        durations: list[int] = (
            np.rint(self.level_ms * 1e6 * np.exp(jitter) * (1 + spikes) * (1 + cold)).astype(int).tolist()
        )
        return durations

    def _correlated(self, innovations: NDArray[np.float64]) -> NDArray[np.float64]:
        values = np.empty_like(innovations)
        last = self.last
        for i, innovation in enumerate(innovations.tolist()):
            last = 0.5 * last + innovation
            values[i] = last
        self.last = last
        return values
