"""Rounds in fresh processes: started one at a time, repeated where disturbed, refused where the machine is unfit."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.bench.processes import LostWorkerError, Worker
from edgetl_runtime.bench.record import BundleFacts, Round
from edgetl_runtime.bench.worker import file_sha256
from edgetl_runtime.errors import BundleError, EdgetlError, GoldenError, UnfitError, UsageError
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from typing_extensions import Self

    from edgetl_runtime.bench.images import Images

LIMITS = ("p50_ms", "p99_ms", "max_memory_mb")  # of the contract in the bundle: those that one bundle can be held to
EXTRA_SHARE = 0.5
MIN_EXTRA = 4
TURNS = 10  # of a pair; even, so that each side is first as often as the other


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How rounds are run; see `worker.Job` for the fields of the same name.

    Attributes:
        neighbours: Processes that decide beside the measured one on purpose.
        allow_disturbed: Count disturbed rounds; the record says so.
        timeout_s: A round without an answer is ended after this.
    """

    iterations: int = 100
    seconds: float = 1.0
    warmup_s: float = 5.0
    rate_hz: float | None = None
    deadline_ms: float | None = None
    network: bool = True
    cache_dir: str | None = None
    neighbours: int = 0
    allow_disturbed: bool = False
    timeout_s: float = 300.0

    def __post_init__(self) -> None:
        for name, least in (("iterations", 5), ("seconds", 0), ("warmup_s", 0), ("neighbours", 0), ("timeout_s", 1)):
            if not getattr(self, name) >= least:
                option = "--" + name.removesuffix("_s").replace("_", "-")
                raise UsageError(option, f"{least} or above", str(getattr(self, name)), fix=f"{option} {max(1, least)}")
        for name, option in (("rate_hz", "--rate"), ("deadline_ms", "--deadline-ms")):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(option, "above 0", f"{value:g}", fix=f"{option} 10")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A bundle to measure: its path, what it is, and by how much it is slowed on purpose."""

    path: Path
    facts: BundleFacts
    slower_pct: float = 0.0


def target(path: Path, *, variant: str | None = None, backend: str | None = None, slower_pct: float = 0.0) -> Target:
    """Read which artifact will be measured.

    Raises:
        BundleError: It is damaged.
        UsageError: It has no such variant.
        BackendMissingError: This machine cannot run it.
    """
    from edgetl_runtime import tasks
    from edgetl_runtime.bundle import open_bundle
    from edgetl_runtime.session import pick

    with open_bundle(path) as bundle:
        manifest = bundle.manifest
        picked = pick(manifest, variant=variant, backend=backend)
        limits = {name: getattr(manifest.contract, name) for name in LIMITS}
        facts = BundleFacts(
            name=path.name,
            file_sha256=file_sha256(str(path)),
            manifest_sha256=bundle.manifest_sha256,
            size_bytes=path.stat().st_size,
            line=manifest.line,
            task=manifest.task,
            labels=to_mapping(manifest.labels),
            classes=tasks.get(manifest.task).classes(manifest.labels),
            variant=picked.id,
            backend=picked.backend,
            precision=picked.precision,
            threads=picked.options.threads,
            chosen=picked.id == manifest.chosen,
            limits={name: float(limit) for name, limit in limits.items() if limit is not None},
        )
    return Target(path=path, facts=facts, slower_pct=slower_pct)


class Rig:
    """Runs rounds of one or two bundles on this machine; a context manager that ends the neighbours.

    Args:
        targets: Side → bundle.
        images: The same for all sides.
        settings: Of every round.
        planned: Rounds that will be asked for at least; half as many may be repeated.

    Attributes:
        discarded: Rounds that did not count, with their reasons.
    """

    def __init__(self, targets: Mapping[str, Target], images: Images, settings: Settings, *, planned: int) -> None:
        self.targets = dict(targets)
        self.images = images
        self.settings = settings
        self.planned = planned
        self.discarded: list[Round] = []
        self.disturbed = 0
        self._counted = 0
        self._outputs: dict[str, str] = {}
        self._neighbours: list[Worker] = []

    def __enter__(self) -> Self:
        first = next(iter(self.targets.values()))
        try:
            for _ in range(self.settings.neighbours):
                self.join(self._start(first, "neighbour"))
        except BaseException:  # whatever stops us, no process stays behind
            self._end_neighbours()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end_neighbours()

    def join(self, neighbour: Worker) -> None:
        """Count a worker's load as part of what is measured, once it works; it is ended with the rig."""
        self._neighbours.append(neighbour)
        try:
            neighbour.wait_until("ready")
        except LostWorkerError as error:
            raise EdgetlError("a neighbour", "ready to work", str(error), fix="fewer --neighbours") from error

    def round(self, side: str, index: int) -> Round:
        """Run a round of a side until one counts.

        Raises:
            UnfitError: Too many did not.
            BundleError: The bundle's file is not the one that was measured first.
            GoldenError: Its answers are wrong, or not the same in every round.
        """
        return self._until_it_counts(side, index, turns=1)[0]

    def pair(self, order: str, index: int) -> tuple[Round, Round]:
        """Run a round of both sides at the same time, timed in short turns, until one counts; raises as `round`.

        What the machine does lasts longer than a turn, so both see the same of it; what is left between them is the
        bundles and their processes. Both models are in memory at once.

        Args:
            order: `AB` or `BA`: who is started first and has the first turn; every next turn is in reverse order.
            index: Place in the order of all pairs.

        Returns:
            The rounds of A and of B.
        """
        found = {r.side: r for r in self._until_it_counts(order, index, turns=TURNS)}
        return found["A"], found["B"]

    def accuracy(self, side: str) -> dict[str, Any]:
        """Decide once on every labelled image, in a process of its own."""
        item = self.targets[side]
        images, truth = zip(*self.images.labelled, strict=True)
        job = {**self._job(item, "accuracy"), "images": images, "truth": truth}
        try:
            with Worker(job, timeout_s=max(self.settings.timeout_s, len(images))) as worker:
                answer = worker.answer()
        except LostWorkerError as error:
            raise EdgetlError(
                "deciding on every image", "possible", str(error), fix="fewer images, or more memory"
            ) from error
        self._check_file(item, answer["bundle_sha256"])
        return answer

    def _until_it_counts(self, order: str, index: int, *, turns: int) -> list[Round]:
        while True:
            found = self._attempt(order, index, turns)
            disturbed = sum(bool(r.disturbed) for r in found)
            if not disturbed or (self.settings.allow_disturbed and all(r.decision_ms for r in found)):
                self._counted += len(found)
                self.disturbed += disturbed
                return found
            self.discarded += found
            if len(self.discarded) > max(MIN_EXTRA, EXTRA_SHARE * max(self.planned, self._counted)):
                raise self._unfit()

    def _attempt(self, order: str, index: int, turns: int) -> list[Round]:
        with contextlib.ExitStack() as stack:
            workers = {}
            try:
                for side in order:  # one after the other: each start is timed
                    workers[side] = stack.enter_context(self._start(self.targets[side], "round", turns=turns))
                    workers[side].wait_until("ready")
                answers = self._take_turns(workers, turns)
            except LostWorkerError as error:
                return [
                    Round(side=s, index=index, steady=False, decision_ms=(), disturbed=(str(error),)) for s in order
                ]
        return [self._checked(side, index, answer) for side, answer in answers.items()]

    def _take_turns(self, workers: dict[str, Worker], turns: int) -> dict[str, dict[str, Any]]:
        """Let the workers time their turns, ABBA…, and then check their answers."""
        pids = [worker.pid for worker in (*workers.values(), *self._neighbours)]
        order = list(workers.values())
        for _ in range(turns):
            for worker in order:
                worker.go(pid for pid in pids if pid != worker.pid)
                worker.wait_until("timed")
            order.reverse()
        answers = {}
        for side, worker in workers.items():
            worker.go()
            answers[side] = worker.answer()
        return answers

    def _checked(self, side: str, index: int, answer: dict[str, Any]) -> Round:
        item = self.targets[side]
        self._check_file(item, answer["bundle_sha256"])
        lists = {key: tuple(value) for key, value in answer.items() if isinstance(value, list)}
        found = Round(side=side, index=index, **{**answer, **lists})
        before = self._outputs.setdefault(side, found.outputs)
        if found.outputs != before:
            got = f"{found.outputs[:12]} after {before[:12]}"
            what = f"the decisions of {item.facts.name} on the same images"
            raise GoldenError(what, "the same in every round", got, fix=f"edgetl-runtime verify {item.facts.name}")
        return found

    def _check_file(self, item: Target, found_sha256: str) -> None:
        if found_sha256 != item.facts.file_sha256:
            got = f"{found_sha256[:12]} after {item.facts.file_sha256[:12]}"
            what = f"the SHA-256 of {item.facts.name}"
            raise BundleError(what, "the same in every round", got, fix="measure a copy that nobody replaces")

    def _start(self, item: Target, kind: str, *, turns: int = 1) -> Worker:
        return Worker({**self._job(item, kind), "turns": turns}, timeout_s=self.settings.timeout_s)

    def _job(self, item: Target, kind: str) -> dict[str, Any]:
        settings = dataclasses.asdict(self.settings)
        for name in ("neighbours", "allow_disturbed", "timeout_s"):
            del settings[name]
        images = self.images.timed if kind != "accuracy" else ()
        return {
            **settings,
            "kind": kind,
            "bundle": str(item.path),
            "variant": item.facts.variant,
            "images": list(images),
            "slower_pct": item.slower_pct,
        }

    def _unfit(self) -> UnfitError:
        reasons: dict[str, list[str]] = collections.defaultdict(list)
        for reason in (reason for r in self.discarded for reason in r.disturbed):
            reasons[re.sub(r"\d+", "", reason)].append(reason)  # the figures differ from round to round
        often = sorted(reasons.values(), key=len, reverse=True)
        got = f"{len(self.discarded)} disturbed rounds beside {self._counted} that count: "
        got += "; ".join(f"{len(words)} times such as '{words[0]}'" for words in often[:4])
        fix = "stop other work on this machine; --allow-disturbed counts such rounds and says so"
        return UnfitError("the environment", "fit to measure in", got, fix=fix)

    def _end_neighbours(self) -> None:
        for neighbour in self._neighbours:
            neighbour.close()
        self._neighbours.clear()


def collect(rig: Rig, side: str, rounds: int, progress: Callable[[int, int], None] | None = None) -> list[Round]:
    """Return as many rounds of one side that count.

    Args:
        rig: Runs them.
        side: Which bundle.
        rounds: How many.
        progress: Called with (rounds done, rounds in all).
    """
    found = []
    for index in range(rounds):
        found.append(rig.round(side, index))
        if progress is not None:
            progress(index + 1, rounds)
    return found
