"""What the functions return: typed, the answer first, as text and in a notebook."""

from __future__ import annotations

import dataclasses
import html
from typing import TYPE_CHECKING, Any

from edgetl import tasks
from edgetl_runtime.errors import ContractError, InstallError, UnfitError
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from edgetl.report.deployments import CandidateRow
    from edgetl.report.verdict import Answer
    from edgetl.run import Run


class Shown:
    """Shows a result as its command does: `repr` and notebooks begin with the answer."""

    __slots__ = ()

    def _text(self) -> str:
        raise NotImplementedError

    def __repr__(self) -> str:
        """Return what the command prints."""
        return self._text()

    def _repr_html_(self) -> str:
        """Return the same for a notebook: the first line as a heading, the rest as it stands."""
        first, _, rest = self._text().partition("\n")
        return f"<div><strong>{html.escape(first)}</strong><pre>{html.escape(rest)}</pre></div>"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class TrainedRun(Shown):
    """A finished run: what `edgetl.finetune` returns, and `edgetl.load_run` reads.

    Attributes:
        path: The run's folder.
        run: All that is known of it; metrics are shares from 0 to 1 and counts.
        answer: Whether it may be shipped, and what stands against it.
        statements: What the test split supports, in sentences.
        report: The report for people, an HTML file.
    """

    path: Path
    run: Run
    answer: Answer
    statements: tuple[str, ...]
    report: Path

    @property
    def kept(self) -> str:
        """Which model validation preferred: `baseline` or `finetuned`."""
        return self.run.kept

    @property
    def test(self) -> Mapping[str, Any]:
        """Metrics of the kept model on test."""
        return self.run.test

    @property
    def val(self) -> Mapping[str, Any]:
        """Metrics of the kept model on validation."""
        return self.run.val

    def to_mapping(self) -> dict[str, Any]:
        """Return what `edgetl finetune --json` prints."""
        run = self.run
        usual = ("verdict_accuracy", "accuracy", "balanced_accuracy", "macro_f1", "verdicts", "confusion", "n")
        counts = [count.key for count in tasks.get(run.task).counts]
        keys = dict.fromkeys([*usual, *counts, *(key for key in ("auroc", "unsure") if key in run.test)])
        metrics = {"val": run.val, "test": run.test, "baseline_test": run.baseline_test}
        return {
            "schema": "edgetl.finetune/1",
            "answer": to_mapping(self.answer),
            "statements": list(self.statements),
            "run": str(self.path),
            "backbone": run.backbone,
            "kept": run.kept,
            "task": run.task,
            "labels": to_mapping(run.labels),
            **{name: {key: values[key] for key in keys} for name, values in metrics.items()},
            "seconds": run.seconds,
            "report": str(self.report),
        }

    def _text(self) -> str:
        from edgetl.api.text import run_text

        return run_text(self.to_mapping())


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Outcome(Shown):
    """A result that is also the JSON of its command.

    Attributes:
        json: What the command prints with `--json`.
    """

    json: Mapping[str, Any]

    def to_mapping(self) -> dict[str, Any]:
        """Return what the command prints with `--json`."""
        return dict(self.json)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Delivered(Outcome):
    """What became of a bundle: signed, brought to a device, packed for a stick.

    Attributes:
        bundle: The file.
        signed_by: Ids of the keys that signed it now.
        delivery: `host`, `result` (STAGED, UNCHANGED, COMMITTED or ROLLED_BACK), `reason` and what the device measured
            as `proof`; None where no host was given.
        package: `folder` and `size_bytes` of the offline package; None where none was asked for.
    """

    bundle: Path
    signed_by: tuple[str, ...] = ()
    delivery: Mapping[str, Any] | None = None
    package: Mapping[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """False where the device went back to what it had before."""
        return self.delivery is None or self.delivery["result"] != "ROLLED_BACK"

    def require(self) -> Delivered:
        """Return itself, or raise where the device went back.

        Raises:
            InstallError: The trial failed, and the device runs what it had before.
        """
        _require_committed(self.delivery)
        return self

    def _text(self) -> str:
        from edgetl.api.text import delivery_lines

        return "\n".join(delivery_lines(self.json))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Deployed(Outcome):
    """What `edgetl.deploy` found and wrote.

    Attributes:
        bundle: The file.
        target: Name of the device profile.
        chosen: Id of the candidate that ships.
        answer: Whether it may be shipped, and what stands against it.
        candidates: All that were tried, the chosen one first; latencies in milliseconds, sizes in MB.
        confirmed: Figures of what ships on test.
        notes: What must be known of the choice, in words.
        unproven: Bounds of the contract that nobody could measure; the device proves them when it installs, or refuses.
        memory_mb: Peak resident memory of a fresh process that decided with it; None where this machine cannot run it.
        size_bytes: Of the bundle.
        delivery: As in `Delivered`; None where no host was given.
        package: Likewise.
    """

    bundle: Path
    target: str
    chosen: str
    answer: Answer
    candidates: tuple[CandidateRow, ...]
    confirmed: Mapping[str, Any]
    notes: tuple[str, ...]
    unproven: tuple[str, ...]
    memory_mb: float | None
    size_bytes: int
    delivery: Mapping[str, Any] | None = None
    package: Mapping[str, Any] | None = None

    @property
    def ok(self) -> bool:
        """True where the answer is yes, every bound is proven, and no device went back to what it had before."""
        committed = self.delivery is None or self.delivery["result"] != "ROLLED_BACK"
        return self.answer.level == "yes" and not self.unproven and committed

    def require(self) -> Deployed:
        """Return itself, or raise where it should not be shipped.

        Raises:
            UnfitError: The answer is not yes, or a bound is unproven.
            InstallError: The trial failed, and the device runs what it had before.
        """
        _require_committed(self.delivery)
        if self.unproven or self.answer.level != "yes":
            points = [p.text for p in self.answer.points if p.level != "note"]
            got = "; ".join([*points, *(f"unproven: {clause}" for clause in self.unproven)])
            raise UnfitError(str(self.bundle), "fit to be shipped", got, fix="settle what is named")
        return self

    def _text(self) -> str:
        from edgetl.api.text import deploy_text

        return deploy_text(self.json)

    def _repr_html_(self) -> str:
        """Return the answer, the table of candidates, and what must be known."""
        from edgetl.api.text import deploy_html

        return deploy_html(self.json)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Searched(Outcome):
    """What `edgetl.search` found.

    Attributes:
        out: Folder of the search.
        chosen: Id of the point that keeps the contract and is the fastest, `network/backend-precision`.
        why: Why it was chosen.
        points: Every candidate, best first, as `edgetl search --json` prints them.
        networks: What became of every network.
        run: Folder of the chosen network's run, to be deployed.
        deploy: The command that ships the chosen point.
        unproven: Bounds of the contract that nobody could measure.
        report: The report for people, an HTML file.
    """

    out: Path
    chosen: str
    why: str
    points: Sequence[Mapping[str, Any]]
    networks: Sequence[Mapping[str, Any]]
    run: Path
    deploy: str
    unproven: tuple[str, ...]
    report: Path

    def _text(self) -> str:
        from edgetl.api.text import search_text

        return search_text(self.json)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Measured(Outcome):
    """What `edgetl.bench` measured.

    Attributes:
        bundle: The file.
        variant: Id of what was measured.
        summary: Distributions of the record; times in milliseconds.
        accuracy: Accuracy, and what the task counts; None without labelled images.
        broken: Limits that it does not keep, one clause each.
        unknown: Limits that the record cannot speak of.
        record: The file with every sample; None where none was asked for.
        report: The report for people; None where none was asked for.
    """

    bundle: Path
    variant: str
    summary: Mapping[str, Any]
    accuracy: Mapping[str, Any] | None
    broken: tuple[str, ...]
    unknown: tuple[str, ...]
    record: Path | None
    report: Path | None

    @property
    def ok(self) -> bool:
        """Whether every limit is known to be kept."""
        return not (self.broken or self.unknown)

    def require(self) -> Measured:
        """Return itself, or raise where a limit is broken or not known to be kept.

        Raises:
            ContractError: A limit is broken.
            UnfitError: The record cannot speak of a limit.
        """
        if self.broken:
            must, fix = "within its limits", "a smaller network, or wider limits"
            raise ContractError(str(self.bundle), must, "; ".join(self.broken), fix=fix)
        if self.unknown:
            must, fix = "known to be within its limits", "measure what is named"
            raise UnfitError(str(self.bundle), must, "; ".join(self.unknown), fix=fix)
        return self

    def _text(self) -> str:
        from edgetl_runtime.cli.bench import show

        return show(self.json)


def _require_committed(delivery: Mapping[str, Any] | None) -> None:
    if delivery is not None and delivery["result"] == "ROLLED_BACK":
        what, fix = f"the trial on {delivery['host']}", "see the proof in delivery, and deploy again"
        raise InstallError(what, "passed", f"a device that went back: {delivery['reason']}", fix=fix)
