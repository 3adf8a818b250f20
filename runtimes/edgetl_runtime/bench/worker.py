"""One round in a process of its own: `python -m edgetl_runtime.bench.worker`, a job on stdin, one JSON line on stdout.

The first decision comes before everything that only measuring needs, so that its time is that of a station.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Literal

from edgetl_runtime.errors import EdgetlError, GoldenError
from edgetl_runtime.schema import from_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgetl_runtime.session import Session
    from edgetl_runtime.tasks.classification import Decision

_NS_PER_MS = 1e6


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker does.

    Attributes:
        kind: `round` measures; `accuracy` decides once on every image; `neighbour` works until it is ended.
        bundle: Path.
        variant: Id; None takes the chosen one.
        images: Paths of encoded images; none takes the bundle's golden images.
        spawned_ns: Monotonic time at which the process was started.
        iterations: Timed at least.
        seconds: Timed at least.
        warmup_s: At most.
        rate_hz: Open loop at this rate; None is a closed loop.
        deadline_ms: Of the open loop; None is the time between two parts.
        network: Time the network alone as well.
        slower_pct: Spin after every decision by this share of its time: proves that a gate can fail.
        neighbours: Processes that work beside it on purpose.
        cache_dir: Where the backend keeps compiled code.
    """

    kind: Literal["round", "accuracy", "neighbour"]
    bundle: str
    variant: str | None = None
    images: tuple[str, ...] = ()
    spawned_ns: int = 0
    iterations: int = 100
    seconds: float = 1.0
    warmup_s: float = 5.0
    rate_hz: float | None = None
    deadline_ms: float | None = None
    network: bool = True
    slower_pct: float = 0.0
    neighbours: tuple[int, ...] = ()
    cache_dir: str | None = None


def main() -> int:
    """Do the job on stdin; the exit code is that of the error, if any."""
    job = from_mapping(Job, json.loads(sys.stdin.readline()), where="the job")
    try:
        result = KINDS[job.kind](job)
    except EdgetlError as error:
        result = {"error": error.to_mapping(), "words": [error.what, error.must, error.got, error.fix]}
        sys.stdout.write(json.dumps(result) + "\n")
        return error.exit_code
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def run_round(job: Job) -> dict[str, Any]:
    """Load, decide cold, warm up, time, then check that the answers are right; return the fields of a `Round`."""
    begin = time.monotonic_ns()
    session = _open(job)
    loaded = time.monotonic_ns()
    with session:
        images = _images(job, session)
        ready = time.monotonic_ns()
        first = session.predict(images[0])
        decided = time.monotonic_ns()
        timed = _Timed(session, images, job)
        found = timed.run()
        from edgetl_runtime.cli.verify import peak_memory_mb

        memory_mb = peak_memory_mb()
        outputs = _check_answers(session, images, [(0, first), *timed.decisions])
    return {
        **found,
        "start_ms": (decided - job.spawned_ns - (ready - loaded)) / _NS_PER_MS if job.spawned_ns else None,
        "load_ms": (loaded - begin) / _NS_PER_MS,
        "first_ms": (decided - ready) / _NS_PER_MS,
        "memory_mb": memory_mb,
        "outputs": outputs,
        "bundle_sha256": file_sha256(job.bundle),
    }


def run_accuracy(job: Job) -> dict[str, Any]:
    """Decide once on every image; return label, verdict and defect score of each."""
    with _open(job) as session:
        decisions = [session.predict(path) for path in job.images]
    return {
        "labels": [d.label for d in decisions],
        "verdicts": [d.verdict for d in decisions],
        "scores": [d.defect_score for d in decisions],
        "bundle_sha256": file_sha256(job.bundle),
    }


def run_neighbour(job: Job) -> dict[str, Any]:
    """Decide again and again, as another station on the same machine does, until the process is ended."""
    with _open(job) as session:
        images = _images(job, session)
        session.predict(images[0])
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            for image in images:
                session.predict(image)


KINDS: dict[str, Callable[[Job], dict[str, Any]]] = {
    "round": run_round,
    "accuracy": run_accuracy,
    "neighbour": run_neighbour,
}


class _Timed:
    """The timed part of a round."""

    def __init__(self, session: Session, images: Sequence[bytes], job: Job) -> None:
        self.session, self.images, self.job = session, images, job
        self.decisions: list[tuple[int, Decision]] = []

    def run(self) -> dict[str, Any]:
        """Time decisions, then the network; say what disturbed them."""
        from edgetl_runtime.bench.conditions import disturbances, sample, sample_faults
        from edgetl_runtime.measure import measure_latency

        job, inputs = self.job, list(range(len(self.images)))
        before = sample(neighbours=job.neighbours)
        late = None
        warm = measure_latency(
            self.decide,
            inputs,
            min_iterations=1 if job.rate_hz else job.iterations,
            min_seconds=0 if job.rate_hz else job.seconds,
            max_seconds=max(30.0, job.seconds),
            max_warmup_seconds=job.warmup_s,
        )
        samples = warm.samples_ms
        if job.rate_hz:
            samples, late = self._open_loop(job.rate_hz)
        inside = [decision.timings_ms["infer"] for _, decision in self.decisions[-len(samples) :]]
        network = self._network()
        after = sample(neighbours=job.neighbours)
        wall_ms = (after.monotonic_ns - before.monotonic_ns) / _NS_PER_MS
        faults = sample_faults(samples, wall_ms) if late is None else ()  # arrivals of an open loop overlap
        return {
            "steady": warm.steady,
            "decision_ms": samples,
            "inside_ms": inside,
            "network_ms": network,
            "late": late,
            "disturbed": list(dict.fromkeys((*disturbances(before, after), *faults))),
            "conditions": {
                "before": dataclasses.asdict(before),
                "after": dataclasses.asdict(after),
                "warmup_iterations": warm.conditions["warmup_iterations"],
            },
        }

    def decide(self, index: int) -> None:
        begin = time.monotonic_ns()
        decision = self.session.predict(self.images[index])
        self.decisions.append((index, decision))
        if self.job.slower_pct:
            until = begin + (time.monotonic_ns() - begin) * (1 + self.job.slower_pct / 100)
            while time.monotonic_ns() < until:
                pass

    def _open_loop(self, rate_hz: float) -> tuple[tuple[float, ...], int]:
        from edgetl_runtime.bench.loops import open_loop

        found = open_loop(
            self.decide,
            list(range(len(self.images))),
            rate_hz=rate_hz,
            iterations=max(self.job.iterations, round(self.job.seconds * rate_hz)),
            deadline_ms=self.job.deadline_ms,
        )
        return found.samples_ms, found.late

    def _network(self) -> tuple[float, ...]:
        """Time the network back to back on prepared tensors: what other tools call latency."""
        if not self.job.network:
            return ()
        from edgetl_runtime.measure import measure_latency

        tensors = [self.session.tensor(image)[None] for image in self.images]
        call = self.session.infer
        if self.job.slower_pct:
            call = self._slower_infer  # type: ignore[assignment]
        job = self.job
        return measure_latency(
            call,
            tensors,
            min_iterations=job.iterations,
            min_seconds=job.seconds / 2,
            max_warmup_seconds=job.warmup_s,
        ).samples_ms

    def _slower_infer(self, tensor: Any) -> None:  # noqa: ANN401  (an array)
        begin = time.monotonic_ns()
        self.session.infer(tensor)
        until = begin + (time.monotonic_ns() - begin) * (1 + self.job.slower_pct / 100)
        while time.monotonic_ns() < until:
            pass


def _open(job: Job) -> Session:
    from pathlib import Path

    from edgetl_runtime import session

    return session.open(job.bundle, variant=job.variant, cache_dir=Path(job.cache_dir) if job.cache_dir else None)


def _images(job: Job, session: Session) -> list[bytes]:
    if not job.images:
        return [session.bundle.read(name) for name in session.manifest.golden.images]
    from pathlib import Path

    return [Path(path).read_bytes() for path in job.images]


def _check_answers(session: Session, images: Sequence[bytes], timed: Sequence[tuple[int, Decision]]) -> str:
    """Reproduce the golden vectors, and compare every timed decision with the same image decided at leisure.

    Returns:
        The digest of label and verdict of every image.

    Raises:
        GoldenError: The answers are wrong, or were while it mattered.
    """
    import hashlib

    from edgetl_runtime import golden

    golden.check(session, session.bundle)
    expected = [session.predict(image) for image in images]
    tolerance = session.variant.golden_tolerance.max_abs
    for index, decision in timed:
        at_leisure = expected[index]
        same = (decision.label, decision.verdict) == (at_leisure.label, at_leisure.verdict)
        if not same and abs(decision.defect_score - at_leisure.defect_score) > tolerance:
            what = f"decision on image {index} while it was timed"
            must = f"{at_leisure.label} {at_leisure.verdict}, as without hurry"
            got = f"{decision.label} {decision.verdict}"
            raise GoldenError(what, must, got, fix="another variant: this one is fast and wrong")
    words = "\n".join(f"{d.label}\t{d.verdict}" for d in expected)
    return hashlib.sha256(words.encode()).hexdigest()


def file_sha256(path: str) -> str:
    """Return the SHA-256 of a file."""
    import hashlib
    from pathlib import Path

    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


if __name__ == "__main__":
    sys.exit(main())
