"""The deployments of a run: what `edgetl deploy --json` printed, one file each in RUN/deployments."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

NOT_MEASURED = "not measured on hardware"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One rung of a quantization ladder, as shown; None where the deployment does not say.

    Attributes:
        name: Of its recipe.
        accuracy: On validation, 0 to 1.
        flips: Changed decisions on validation.
        counts: What the task counts on validation, key → number.
        kept_float: How many layers stayed in float for it.
        evaluations: Passes over validation it took.
        seconds: Wall time of making and judging.
        taken: Whether this is the one.
        why: Broken terms.
    """

    name: str
    accuracy: float
    flips: int | None
    counts: Mapping[str, int | None]
    kept_float: int
    evaluations: int | None
    seconds: float | None
    taken: bool
    why: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CandidateRow:
    """One candidate, as shown; None where the deployment does not say.

    Attributes:
        id: Unique within the deployment.
        backend: What executes it.
        precision: Arithmetic.
        threads: None leaves it to the backend.
        accuracy: On validation, 0 to 1.
        drop_pp: Against float, percentage points.
        flips: Changed decisions on validation.
        counts: What the task counts on validation, key → number.
        n: Images of validation.
        size_mb: Of the model file.
        p50_ms: From encoded image to decision.
        p99_ms: Likewise.
        measured_on: The machine.
        accepted: Whether it keeps the contract.
        chosen: Whether it ships.
        why: Broken terms of the contract.
        rungs: Of the ladder, in the order they were tried; empty where the model is the float one.
        evaluations: Passes over validation that the ladder took.
    """

    id: str
    backend: str
    precision: str
    threads: int | None
    accuracy: float
    drop_pp: float | None
    flips: int | None
    counts: Mapping[str, int | None]
    n: int | None
    size_mb: float | None
    p50_ms: float | None
    p99_ms: float | None
    measured_on: str
    accepted: bool
    chosen: bool
    why: str
    rungs: tuple[Rung, ...] = ()
    evaluations: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One bundle that was written for one target.

    Attributes:
        target: Name of the device profile.
        bundle: The file.
        chosen: The id of the candidate that ships.
        candidates: All that were tried, the chosen one first.
        confirmed: Metrics of the chosen candidate on test.
        note: Why it was chosen, and what else must be known of it.
        reasons: What the notes are about, in the words that programs read.
        memory_mb: Peak resident memory of the fresh process that decided with it.
        size_mb: Of the bundle.
        p99_bound_ms: Of the contract, if it has one.
        deployed_at: ISO time with its zone; empty where the file does not say.
        unproven: Bounds of the contract that nobody could measure.
    """

    target: str
    bundle: str
    chosen: str
    candidates: tuple[CandidateRow, ...]
    confirmed: Mapping[str, Any]
    note: str
    reasons: frozenset[str]
    memory_mb: float | None
    size_mb: float | None
    p99_bound_ms: float | None = None
    deployed_at: str = ""
    unproven: tuple[str, ...] = ()

    @property
    def laddered(self) -> tuple[CandidateRow, ...]:
        """Candidates whose ladder is known, one of each model."""
        first: dict[tuple[str, str], CandidateRow] = {}
        for c in self.candidates:
            if c.rungs:
                first.setdefault((c.backend, c.precision), c)
        return tuple(first.values())

    @property
    def shipped(self) -> CandidateRow | None:
        """The candidate that ships."""
        return next((c for c in self.candidates if c.chosen), None)

    @property
    def measured(self) -> bool:
        """Whether the latency of what ships was measured on the target."""
        return self.shipped is not None and (self.shipped.p99_ms or self.shipped.p50_ms) is not None


def read_deployments(folder: Path, *, counts: Sequence[str] = ()) -> tuple[list[Deployment], list[str]]:
    """Read every deployment of a run.

    Args:
        folder: RUN/deployments; need not exist.
        counts: Keys of what the run's task counts.

    Returns:
        The deployments, newest first, those without a time last by file name; and the names of files that are none.
    """
    found: list[Deployment] = []
    damaged: list[str] = []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(deployment_from_json(json.loads(path.read_text(encoding="utf-8")), counts=counts))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            damaged.append(path.name)
    return sorted(found, key=lambda d: d.deployed_at, reverse=True), damaged


def newest(deployments: Sequence[Deployment]) -> list[Deployment]:
    """Return the newest deployment for each target, of deployments that are newest first."""
    first: dict[str, Deployment] = {}
    for deployment in deployments:
        first.setdefault(deployment.target, deployment)
    return list(first.values())


def deployment_from_json(data: Mapping[str, Any], *, counts: Sequence[str] = ()) -> Deployment:
    """Read what `edgetl deploy --json` printed; keys that were added later are passed over.

    Args:
        data: The mapping.
        counts: Keys of what the run's task counts.

    Raises:
        KeyError: A key of the interface is missing.
        ValueError: A value is of another kind.
        TypeError: Likewise.
    """
    chosen = str(data["chosen"])
    rows = [_candidate(c, chosen, counts) for c in data["candidates"]]
    size = _number(data.get("size_bytes"))
    return Deployment(
        target=str(data["target"]),
        bundle=str(data["bundle"]),
        chosen=chosen,
        candidates=tuple(sorted(rows, key=lambda c: (not c.chosen, not c.accepted))),
        confirmed=dict(data["confirmed"]),
        note=str(data.get("note") or ""),
        reasons=frozenset(str(note["reason"]) for note in data.get("notes") or ()),
        memory_mb=_number(data.get("memory_mb")),
        size_mb=None if size is None else size / 1e6,
        p99_bound_ms=_number((data.get("contract") or {}).get("p99_ms")),
        deployed_at=str(data.get("deployed_at") or ""),
        unproven=tuple(map(str, data.get("unproven") or ())),
    )


def _candidate(data: Mapping[str, Any], chosen: str, counts: Sequence[str]) -> CandidateRow:
    latency = data.get("latency_ms") or {}
    size = _number(data.get("size_bytes"))
    return CandidateRow(
        id=str(data["id"]),
        backend=str(data["backend"]),
        precision=str(data["precision"]),
        threads=_count(data.get("threads")),
        accuracy=float(data["accuracy"]),
        drop_pp=_number(data.get("drop_pp")),
        flips=_count(data.get("flips")),
        counts={key: _count(data.get(key)) for key in counts},
        n=_count(data.get("n")),
        size_mb=None if size is None else size / 1e6,
        p50_ms=_number(latency.get("p50")),
        p99_ms=_number(latency.get("p99")),
        measured_on=str(data.get("measured_on") or NOT_MEASURED),
        accepted=bool(data["accepted"]),
        chosen=str(data["id"]) == chosen,
        why=str(data.get("why") or ""),
        rungs=_rungs(data.get("made_by") or {}, counts),
        evaluations=_count((data.get("made_by") or {}).get("evaluations")),
    )


def _rungs(made_by: Mapping[str, Any], counts: Sequence[str]) -> tuple[Rung, ...]:
    return tuple(
        Rung(
            name=str(step["name"]),
            accuracy=float(step["accuracy"]),
            flips=_count(step.get("flips")),
            counts={key: _count((step.get("counts") or {}).get(key)) for key in counts},
            kept_float=len(step.get("kept_float") or ()),
            evaluations=_count(step.get("evaluations")),
            seconds=_number(step.get("seconds")),
            taken=str(step["name"]) == str(made_by.get("recipe")),
            why="; ".join(map(str, step.get("why") or ())),
        )
        for step in made_by.get("steps") or ()
    )


def _number(value: object) -> float | None:
    good = isinstance(value, (int, float)) and math.isfinite(value)
    return float(value) if good else None  # type: ignore[arg-type]


def _count(value: object) -> int | None:
    return value if isinstance(value, int) else None
