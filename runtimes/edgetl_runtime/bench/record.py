"""Rounds and the records that keep them: every sample, with the conditions it was taken under."""

from __future__ import annotations

import dataclasses
import gzip
import itertools
import json
import statistics
import zlib
from typing import TYPE_CHECKING, Any, Literal

from edgetl_runtime import durable
from edgetl_runtime.errors import UsageError, unreadable
from edgetl_runtime.measure import percentile
from edgetl_runtime.schema import from_json, from_mapping, to_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MAX_RECORD_BYTES = 256 * 2**20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one fresh process measured; latencies in milliseconds.

    Attributes:
        side: Which bundle of a comparison; `A` where there is one.
        index: Place in the order of all rounds, repeated ones included.
        steady: The warm-up reached a steady state before it was cut off.
        decision_ms: Encoded image to decision, every timed iteration.
        network_ms: The network alone, back to back on prepared tensors.
        inside_ms: The network's part of each decision.
        turns: Decisions of each turn in order, where a pair of rounds took turns; one turn if empty.
        network_turns: The same of `network_ms`.
        start_ms: Process start to first decision.
        load_ms: Opening the bundle and loading the model.
        first_ms: The first decision, cold.
        memory_mb: Largest resident memory of the process.
        late: Open loop: decisions that ended after their deadline; None in a closed loop.
        outputs: Digest of every decision on every image.
        bundle_sha256: Of the bundle's file after the round.
        disturbed: Why the round does not count; empty if it does.
        conditions: What the machine did meanwhile.
    """

    side: str
    index: int
    steady: bool
    decision_ms: tuple[float, ...]
    network_ms: tuple[float, ...] = ()
    inside_ms: tuple[float, ...] = ()
    turns: tuple[int, ...] = ()
    network_turns: tuple[int, ...] = ()
    start_ms: float | None = None
    load_ms: float | None = None
    first_ms: float | None = None
    memory_mb: float | None = None
    late: int | None = None
    outputs: str = ""
    bundle_sha256: str = ""
    disturbed: tuple[str, ...] = ()
    conditions: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def p50_ms(self) -> float:
        """Return the median of the decisions."""
        return statistics.median(self.decision_ms)

    def metric(self, name: str) -> float:
        """Return the median of `decision` or `network`."""
        return statistics.median(self.network_ms if name == "network" else self.decision_ms)

    def turn_medians(self, name: str) -> list[float]:
        """Return the median of `decision` or `network` in each turn."""
        network = name == "network"
        samples, turns = (self.network_ms, self.network_turns) if network else (self.decision_ms, self.turns)
        ends = list(itertools.accumulate(turns or (len(samples),)))
        return [statistics.median(samples[start:end]) for start, end in zip([0, *ends], ends, strict=False)]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BundleFacts:
    """Which artifact was measured.

    Attributes:
        labels: Of its task, as in the manifest.
        classes: What folders of labelled images may be called.
    """

    name: str
    file_sha256: str
    manifest_sha256: str
    size_bytes: int
    line: str
    task: str
    labels: dict[str, Any]
    classes: tuple[str, ...]
    variant: str
    backend: str
    precision: str
    threads: int | None
    chosen: bool
    limits: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """Which images were decided on: how many, their digest, and whether they came from a folder or from the bundle."""

    n: int
    sha256: str
    source: Literal["folder", "bundle"]
    labelled: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One measurement of one bundle: `edgetl.bench/1`.

    Attributes:
        created: ISO date and time, UTC.
        bundle: What was measured.
        images: On which images.
        environment: What the machine is; `fingerprint` in it says whether latencies compare.
        protocol: How it was measured.
        summary: Percentiles over rounds with intervals; see `summarise`.
        accuracy: Of the exact artifact on the labelled images; None without labels.
        rounds: Those that count.
        discarded: Those that do not, with their reasons.
        verdict: `measured`; `disturbed` where disturbed rounds were counted on request.
    """

    schema: Literal["edgetl.bench/1"] = "edgetl.bench/1"
    created: str
    bundle: BundleFacts
    images: ImageFacts
    environment: dict[str, Any]
    protocol: dict[str, Any]
    summary: dict[str, Any]
    accuracy: dict[str, Any] | None
    rounds: tuple[Round, ...]
    discarded: tuple[Round, ...] = ()
    verdict: Literal["measured", "disturbed"] = "measured"


def pooled(rounds: Sequence[Round], name: str) -> list[float]:
    """Return the samples of all rounds of one kind: `decision`, `network` or `inside`."""
    return [sample for r in rounds for sample in getattr(r, f"{name}_ms")]


def summarise(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return medians over rounds with 95 % intervals, and percentiles of the pooled samples where n allows them.

    Args:
        rounds: At least one.
    """
    from edgetl_runtime.bench.statistics import bootstrap_interval

    found: dict[str, Any] = {"rounds": len(rounds), "unsteady": sum(not r.steady for r in rounds)}
    for name in ("decision", "network", "inside"):
        samples = pooled(rounds, name)
        if not samples:
            continue
        medians = [statistics.median(getattr(r, f"{name}_ms")) for r in rounds]
        found[f"{name}_ms"] = {
            "p50": statistics.median(medians),
            "interval": bootstrap_interval(medians),
            **{f"p{percent:g}": percentile(samples, percent) for percent in (90, 95, 99, 99.9)},
            "max": max(samples),
            "n": len(samples),
            "outliers": _outliers(samples),
        }
    for name in ("start_ms", "load_ms", "first_ms", "memory_mb"):
        values = [value for r in rounds if (value := getattr(r, name)) is not None]
        found[name] = (max if name == "memory_mb" else statistics.median)(values) if values else None
    late = [r.late for r in rounds if r.late is not None]
    found["late"] = sum(late) if late else None
    return found


def _outliers(samples: Sequence[float]) -> int:
    """Count samples more than three quartile distances above the upper quartile; they are counted and kept."""
    quartiles = statistics.quantiles(samples, n=4) if len(samples) > 1 else [samples[0]] * 3
    return sum(sample > quartiles[2] + 3 * (quartiles[2] - quartiles[0]) for sample in samples)


def write_record(path: Path, record: Record) -> None:
    """Write a record whole or not at all, compressed where the name ends in `.gz`."""
    data = json.dumps(to_mapping(record), allow_nan=False).encode()
    durable.write_whole(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_record(path: Path) -> Record:
    """Read a record.

    Raises:
        UsageError: The file cannot be read, or is none.
    """
    fix = "edgetl bench BUNDLE --out NAME.bench.json.gz"
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = _unpacked(data)
        mapping = from_json(data, where="", fix="")
    except OSError as error:
        raise unreadable(UsageError, f"record {path}", error, path=path) from error
    except (ValueError, EOFError, zlib.error) as error:
        got = error.got if isinstance(error, UsageError) else f"{error!s:.80}"
        raise UsageError(f"record {path}", "JSON, plain or gzip", got, fix=fix) from error
    if not isinstance(mapping, dict) or mapping.get("schema") != "edgetl.bench/1":
        raise UsageError(f"record {path}", "of schema edgetl.bench/1", "another file", fix=fix)
    return from_mapping(Record, mapping, where=path.name)


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    unpacked = unpacker.decompress(data, MAX_RECORD_BYTES)
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise ValueError("the gzip stream is cut short or too large")
    return unpacked
