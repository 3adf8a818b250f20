"""One round in a process of its own, started by `processes`: a job on stdin, one JSON line on stdout.

A round says `ready` when it is warm, and `timed` after each turn; before each turn, and before its end, it waits for a
line `go`, with the ids of the processes that work beside it. The first decision comes before everything that only
measuring needs, so that its time is that of a station.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
from typing import TYPE_CHECKING, Any, Literal

from edgetl_runtime import children
from edgetl_runtime.errors import EdgetlError, GoldenError
from edgetl_runtime.schema import from_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgetl_runtime.session import Session
    from edgetl_runtime.tasks.base import Decision

_NS_PER_MS = 1e6
SETTLE = 3  # calls before a turn that are not timed


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What a worker does.

    Attributes:
        kind: `round` measures; `accuracy` decides once on every image; `neighbour` works until it is ended.
        bundle: Path.
        variant: Id; None takes the chosen one.
        images: Paths of encoded images; none takes the bundle's golden images.
        truth: What the images show, where they are labelled.
        spawned_ns: Monotonic time at which the process was started.
        iterations: Timed at least.
        seconds: Timed at least.
        warmup_s: At most.
        rate_hz: Open loop at this rate; None is a closed loop.
        deadline_ms: Of the open loop; None is the time between two parts.
        network: Time the network alone as well.
        slower_pct: Spin after every decision by this share of its time: proves that a gate can fail.
        turns: Parts in which the round is timed.
        cache_dir: Where the backend keeps compiled code.
    """

    kind: Literal["round", "accuracy", "neighbour"]
    bundle: str
    variant: str | None = None
    images: tuple[str, ...] = ()
    truth: tuple[str, ...] = ()
    spawned_ns: int = 0
    iterations: int = 100
    seconds: float = 1.0
    warmup_s: float = 5.0
    rate_hz: float | None = None
    deadline_ms: float | None = None
    network: bool = True
    slower_pct: float = 0.0
    turns: int = 1
    cache_dir: str | None = None


def main() -> int:
    """Do the job on stdin; the exit code is that of the error, if any."""
    job = from_mapping(Job, json.loads(sys.stdin.readline()), where="the job")
    try:
        result = KINDS[job.kind](job)
    except EdgetlError as error:
        result = {"error": error.to_mapping()}
        sys.stdout.write(json.dumps(result) + "\n")
        return error.exit_code
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


def run_round(job: Job) -> dict[str, Any]:
    """Load, decide cold, warm up, time, then check that the answers are right; return the fields of a `Round`."""
    from edgetl_runtime.memory import Meter

    meter = Meter()
    begin = time.monotonic_ns()
    session = _open(job)
    loaded = time.monotonic_ns()
    with session:
        images = _images(job, session)
        ready = time.monotonic_ns()
        first = session.predict(images[0])
        decided = time.monotonic_ns()
        timed = _Timed(session, images, job)
        timed.warm_up()
        timed.take_turns()
        _wait("timed")
        memory_mb = meter.read(unseen_mb=session.unseen_mb).peak_mb
        outputs = _check_answers(session, images, [(0, first), *timed.decisions])
    return {
        **timed.fields(),
        "start_ms": (decided - job.spawned_ns - (ready - loaded)) / _NS_PER_MS if job.spawned_ns else None,
        "load_ms": (loaded - begin) / _NS_PER_MS,
        "first_ms": (decided - ready) / _NS_PER_MS,
        "memory_mb": memory_mb,
        "outputs": outputs,
        "bundle_sha256": file_sha256(job.bundle),
    }


def run_accuracy(job: Job) -> dict[str, Any]:
    """Decide once on every image; return what is right and wrong of it, and label and verdict of each."""
    with _open(job) as session:
        decisions = [session.predict(path) for path in job.images]
        counts = session.task.count(session.manifest.labels, truth=job.truth, found=decisions)
    return {
        "counts": counts,
        "labels": [d.label for d in decisions],
        "verdicts": [d.verdict for d in decisions],
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
        self.steady, self.warmed = False, 0
        self.tensors: list[Any] = []
        self.samples: dict[str, list[float]] = {"decision_ms": [], "network_ms": [], "inside_ms": []}
        self.turns: dict[str, list[int]] = {"turns": [], "network_turns": []}
        self.late: int | None = None
        self.disturbed: dict[str, None] = {}
        self.conditions: dict[str, Any] = {}

    def warm_up(self) -> None:
        """Decide, and infer, until both are steady."""
        from edgetl_runtime.measure import warm_up

        job = self.job
        self.steady, self.warmed = warm_up(self.decide, range(len(self.images)), max_seconds=job.warmup_s)
        if job.network:
            self.tensors = [self.session.tensor(image)[None] for image in self.images]
            warm_up(self.infer, self.tensors, max_seconds=job.warmup_s)

    def take_turns(self) -> None:
        """Time every turn when it is this round's; note what disturbed them."""
        from edgetl_runtime.bench.conditions import disturbances, sample

        beside = _wait("ready")
        before = sample(neighbours=beside)
        for turn in range(self.job.turns):
            if turn:
                beside = _wait("timed")
            self._decisions()
            self._networks()
        after = sample(neighbours=beside)
        self.disturbed |= dict.fromkeys(disturbances(before, after))
        self.conditions = {"before": dataclasses.asdict(before), "after": dataclasses.asdict(after)}

    def fields(self) -> dict[str, Any]:
        """Return the fields of a `Round` that were timed."""
        return {
            "steady": self.steady,
            **self.samples,
            **self.turns,
            "late": self.late,
            "disturbed": list(self.disturbed),
            "conditions": {**self.conditions, "warmup_iterations": self.warmed},
        }

    def _decisions(self) -> None:
        from edgetl_runtime.bench.conditions import sample_faults

        done = len(self.samples["decision_ms"])
        inputs = _from(range(len(self.images)), done)
        self._settle(self.decide, inputs)
        begin = time.monotonic_ns()
        if self.job.rate_hz:
            samples, late = self._open_loop(self.job.rate_hz, inputs)
            self.late = (self.late or 0) + late
        else:
            samples = self._closed_loop(self.decide, inputs, self.job.seconds)
            wall_ms = (time.monotonic_ns() - begin) / _NS_PER_MS  # arrivals of an open loop overlap
            self.disturbed |= dict.fromkeys(sample_faults(samples, wall_ms))
        self.samples["decision_ms"] += samples
        self.samples["inside_ms"] += [d.timings_ms["infer"] for _, d in self.decisions[-len(samples) :]]
        self.turns["turns"].append(len(samples))

    def _networks(self) -> None:
        """Time the network back to back on prepared tensors: what other tools call latency."""
        if self.job.network:
            inputs = _from(self.tensors, len(self.samples["network_ms"]))
            self._settle(self.infer, inputs)
            samples = self._closed_loop(self.infer, inputs, self.job.seconds / 2)
            self.samples["network_ms"] += samples
            self.turns["network_turns"].append(len(samples))

    def _settle(self, call: Callable[[Any], None], inputs: Sequence[Any]) -> None:
        """Bring back the caches that another process has used since the last turn."""
        if self.job.turns > 1:
            for item in inputs[:SETTLE]:
                call(item)

    def _closed_loop(self, call: Callable[[Any], None], inputs: Sequence[Any], seconds: float) -> tuple[float, ...]:
        from edgetl_runtime.measure import time_calls

        turns = self.job.turns
        return time_calls(
            call,
            inputs,
            min_iterations=-(-self.job.iterations // turns),
            min_seconds=seconds / turns,
            max_seconds=max(30.0, self.job.seconds) / turns,
        )

    def decide(self, index: int) -> None:
        """Decide on one image and keep the decision."""
        begin = time.monotonic_ns()
        decision = self.session.predict(self.images[index])
        self.decisions.append((index, decision))
        self._slow_down(begin)

    def infer(self, tensor: Any) -> None:  # noqa: ANN401  (an array)
        """Run the network alone, slowed where that was asked for."""
        begin = time.monotonic_ns()
        self.session.infer(tensor)
        self._slow_down(begin)

    def _slow_down(self, begin: int) -> None:
        if self.job.slower_pct:
            until = begin + (time.monotonic_ns() - begin) * (1 + self.job.slower_pct / 100)
            while time.monotonic_ns() < until:
                pass

    def _open_loop(self, rate_hz: float, inputs: Sequence[int]) -> tuple[tuple[float, ...], int]:
        from edgetl_runtime.bench.loops import open_loop

        found = open_loop(
            self.decide,
            inputs,
            rate_hz=rate_hz,
            iterations=math.ceil(max(self.job.iterations, self.job.seconds * rate_hz) / self.job.turns),
            deadline_ms=self.job.deadline_ms,
        )
        return found.samples_ms, found.late


def _from(inputs: Sequence[Any], done: int) -> list[Any]:
    """Return the inputs in turn after `done` of them."""
    start = done % len(inputs)
    return [*inputs[start:], *inputs[:start]]


def _wait(word: str) -> tuple[int, ...]:
    """Say how far the round is and wait for `go`; return the ids of the processes beside it."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()
    words = sys.stdin.readline().split()
    if words[:1] != ["go"]:
        raise EdgetlError("a round", "told to go on", "no word", fix="measure again")
    return tuple(int(pid) for pid in words[1:])


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
        if not same and decision.apart(at_leisure) > tolerance:
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
    sys.stdout = children.own_stdout()
    sys.exit(main())
