"""Many records: which are comparable, which are on the Pareto front, and where a series changes its level."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from edgetl.metrics import pareto_front
from edgetl_runtime.bench.record import Record, read_record
from edgetl_runtime.bench.statistics import change_points
from edgetl_runtime.bench.text import number
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SUFFIXES = (".bench.json", ".bench.json.gz")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Comparable records of one line and variant, oldest first.

    Attributes:
        line: Product line.
        variant: Of the bundles.
        cpu: Of the machine.
        created: Of every record.
        p50_ms: Image to decision of every record.
        changes: Indices of the first record after each change of level.
    """

    line: str
    variant: str
    cpu: str
    created: tuple[str, ...]
    p50_ms: tuple[float, ...]
    changes: tuple[int, ...]


def read_all(paths: Sequence[Path]) -> list[Record]:
    """Read records, and those in folders by their names `*.bench.json` and `*.bench.json.gz`; oldest first.

    Raises:
        UsageError: A folder holds none, or a file is none.
    """
    found = []
    for path in paths:
        files = [path]
        if path.is_dir():
            files = sorted(p for p in path.rglob("*.bench.json*") if p.name.endswith(SUFFIXES))
            if not files:
                fix = "edgetl bench BUNDLE --out NAME.bench.json.gz"
                raise UsageError(f"folder {path}", "one with records", "none", fix=fix)
        found += [read_record(file) for file in files]
    return sorted(found, key=lambda record: record.created)


def series(records: Sequence[Record]) -> list[Series]:
    """Group records that compare: same line, variant, images, protocol and machine; disturbed ones are left out."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        if record.verdict == "measured":
            rate = str(record.protocol.get("rate_hz"))
            key = (record.bundle.line, record.bundle.variant, record.images.sha256, rate)
            groups.setdefault((*key, record.environment["fingerprint"]), []).append(record)
    return [_series(group) for group in groups.values()]


def _series(group: Sequence[Record]) -> Series:
    values = [float(record.summary["decision_ms"]["p50"]) for record in group]
    return Series(
        line=group[0].bundle.line,
        variant=group[0].bundle.variant,
        cpu=group[0].environment["cpu"],
        created=tuple(record.created for record in group),
        p50_ms=tuple(values),
        changes=tuple(change_points(values)),
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A record in one line; None where it holds no such figure.

    Attributes:
        front: No other of the records is both faster and more accurate.
        verdict: `measured` or `disturbed`.
        machine: The first digits of its fingerprint.
    """

    created: str
    bundle: str
    variant: str
    p50_ms: float
    p99_ms: float | None
    network_p50_ms: float | None
    memory_mb: float | None
    start_ms: float | None
    accuracy: float | None
    escapes: int | None
    front: bool | None
    verdict: str
    machine: str


def rows(records: Sequence[Record]) -> list[Row]:
    """Return one row for each record."""
    rated = [r for r in records if r.accuracy is not None]
    front = pareto_front([(r.summary["decision_ms"]["p50"], (r.accuracy or {})["accuracy"]) for r in rated])
    on_front = {id(record): place in front for place, record in enumerate(rated)}
    return [
        Row(
            created=r.created,
            bundle=r.bundle.name,
            variant=r.bundle.variant,
            p50_ms=r.summary["decision_ms"]["p50"],
            p99_ms=r.summary["decision_ms"]["p99"],
            network_p50_ms=r.summary.get("network_ms", {}).get("p50"),
            memory_mb=r.summary["memory_mb"],
            start_ms=r.summary["start_ms"],
            accuracy=None if r.accuracy is None else r.accuracy["accuracy"],
            escapes=None if r.accuracy is None else r.accuracy.get("escapes"),
            front=on_front.get(id(r)),
            verdict=r.verdict,
            machine=r.environment["fingerprint"][:8],
        )
        for r in records
    ]


HEADER = ("created", "bundle", "variant", "p50 ms", "p99 ms", "network ms", "memory MB", "start ms", "accuracy", "")


def _cells(row: Row) -> list[str]:
    mark = "disturbed" if row.verdict == "disturbed" else "Pareto" if row.front else ""
    return [
        row.created[:16],
        row.bundle,
        row.variant,
        *(number(value) for value in (row.p50_ms, row.p99_ms, row.network_p50_ms)),
        *(number(value, 0) for value in (row.memory_mb, row.start_ms)),
        number(row.accuracy, 4),
        mark,
    ]


def cells(records: Sequence[Record]) -> list[list[str]]:
    """Return the rows of the table under `HEADER`."""
    return [_cells(row) for row in rows(records)]


def text(records: Sequence[Record]) -> str:
    """Return a table of the records for the terminal, and the changes of their series."""
    table = [list(HEADER), *cells(records)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    return "\n".join([*lines, *changes(series(records))])


def markdown(records: Sequence[Record]) -> str:
    """Return the table as Markdown."""
    table = [list(HEADER), ["---"] * len(HEADER), *cells(records)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table]
    return "\n".join([*lines, "", *(f"- {words}" for words in changes(series(records)))]) + "\n"


def changes(found: Sequence[Series]) -> list[str]:
    """Return one sentence for each change of level."""
    sentences = []
    for one in found:
        edges = [0, *one.changes, len(one.p50_ms)]
        for left, at, right in zip(edges, edges[1:], edges[2:], strict=False):
            before, after = (sorted(one.p50_ms[a:b])[(b - a) // 2] for a, b in ((left, at), (at, right)))
            words = f"{one.line} {one.variant}: from {one.created[at][:16]} on {before:.3f} → {after:.3f} ms"
            sentences.append(f"{words} ({after / before - 1:+.1%})")
    return sentences
