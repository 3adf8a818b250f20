"""Absolute limits of a bundle: the contract that it carries, and what the command line adds."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgetl_runtime import contract
from edgetl_runtime.contract import Contract, Figures, Latency
from edgetl_runtime.errors import UsageError
from edgetl_runtime.proof import Standing

if TYPE_CHECKING:
    from edgetl_runtime.bench.record import Record


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a measured bundle must keep; None leaves a term out.

    Attributes:
        p50_ms: Median from encoded image to decision.
        p99_ms: 99th percentile of it.
        max_memory_mb: Largest resident memory of the deciding process.
        max_start_ms: Process start to first decision.
        max_late_pct: Open loop: share of decisions after their deadline, in per cent.
        max_escapes: Defective parts passed.
        max_overkill: Good parts rejected.
        max_drop_pp: Loss of accuracy against the other bundle, in percentage points.
        max_flips_pct: Share of images decided differently from the other bundle, in per cent.
    """

    p50_ms: float | None = None
    p99_ms: float | None = None
    max_memory_mb: float | None = None
    max_start_ms: float | None = None
    max_late_pct: float | None = None
    max_escapes: int | None = None
    max_overkill: int | None = None
    max_drop_pp: float | None = None
    max_flips_pct: float | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value is not None and not value >= 0:
                option = "--" + field.name.replace("_", "-")
                raise UsageError(option, "0 or above", f"{value:g}", fix=f"{option} 10")


def of(record: Record, given: Limits | None) -> Limits:
    """Return the limits given; the others come from the bundle's contract if its chosen variant was measured."""
    given = given or Limits()
    if not record.bundle.chosen:
        return given
    own = {name: limit for name, limit in record.bundle.limits.items() if getattr(given, name) is None}
    return dataclasses.replace(given, **own)  # type: ignore[arg-type]  # all of them are numbers


def judge(
    limits: Limits, record: Record, decisions: dict[str, Any] | None = None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Hold a record to limits.

    Args:
        limits: What must be kept.
        record: What was measured.
        decisions: Of `decisions_compared`.

    Returns:
        Clauses of broken limits, and of limits the record cannot speak of.
    """
    own = Contract(p50_ms=limits.p50_ms, p99_ms=limits.p99_ms, max_memory_mb=limits.max_memory_mb)
    terms = {term.name: term for term in contract.judge(own, _figures(record))}
    broken, unknown = [], []
    for name, (value, why) in _measured(record, decisions).items():
        limit = getattr(limits, name)
        if limit is None:
            continue
        words = name.removeprefix("max_").replace("_", " ")
        standing = terms[name].standing if name in terms else contract.by_value(value, limit)
        if standing is Standing.UNPROVEN:
            unknown.append(f"{words} is not known: {why}")
        elif standing is Standing.MISSED:
            broken.append(f"{words} is {value:.4g}, above {limit:g}")
    return tuple(broken), tuple(unknown)


def _figures(record: Record) -> Figures:
    """Return what all rounds together measured; a round is no independent decision, so that nothing is counted."""
    summary, latency = record.summary, record.summary["decision_ms"]
    p50, p99 = (Latency(value_ms=latency[name], n=latency["n"]) for name in ("p50", "p99"))
    return Figures(p50=p50, p99=p99, memory_mb=summary["memory_mb"])


def _measured(record: Record, decisions: dict[str, Any] | None) -> dict[str, tuple[float | None, str]]:
    """Return limit → measured value, and why it may be missing."""
    summary, accuracy, decisions = record.summary, record.accuracy or {}, decisions or {}
    latency = summary["decision_ms"]
    late = None if summary["late"] is None else 100 * summary["late"] / latency["n"]
    labels = "this task does not count it" if accuracy else "no labelled images (--data)"
    both = "no images that both decided on"
    return {
        "p50_ms": (latency["p50"], "too few samples"),
        "p99_ms": (latency["p99"], f"{latency['n']} samples are too few, it needs 299"),
        "max_memory_mb": (summary["memory_mb"], "the kernel does not say"),
        "max_start_ms": (summary["start_ms"], "it was not measured"),
        "max_late_pct": (late, "not an open loop (--rate)"),
        "max_escapes": (accuracy.get("escapes"), labels),
        "max_overkill": (accuracy.get("overkill"), labels),
        "max_drop_pp": (decisions.get("drop_pp"), both),
        "max_flips_pct": (decisions.get("flips_pct"), both),
    }


def decisions_compared(a: Record, b: Record) -> dict[str, Any] | None:
    """Return accuracy and flips of B against A; None where they did not decide on the same labelled images."""
    one, other = a.accuracy, b.accuracy
    if one is None or other is None or a.images.sha256 != b.images.sha256:
        return None
    pairs = [list(zip(r["labels"], r["verdicts"], strict=True)) for r in (one, other)]
    flips = sum(x != y for x, y in zip(*pairs, strict=True))
    return {
        "n": one["n"],
        "accuracy": [one["accuracy"], other["accuracy"]],
        "drop_pp": 100 * (one["accuracy"] - other["accuracy"]),
        **{name: [one[name], other[name]] for name, count in one.items() if _is_count(name, count) and name in other},
        "flips": flips,
        "flips_pct": 100 * flips / one["n"],
    }


def _is_count(name: str, value: object) -> bool:
    """Say whether it counts decisions of one kind, and not images (`n`, `n_good`, …)."""
    return isinstance(value, int) and name.partition("_")[0] != "n"
