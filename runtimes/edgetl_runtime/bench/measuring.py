"""Measure one bundle, or one against another: the whole of `bench` and `compare`, without their command lines."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.bench import conditions, floors, images, limits
from edgetl_runtime.bench.compare import compare_rounds
from edgetl_runtime.bench.exclusion import measuring_alone
from edgetl_runtime.bench.record import Record, pooled, summarise
from edgetl_runtime.bench.rounds import Rig, Settings, Target, collect
from edgetl_runtime.bench.statistics import Design, Judgement, Ruling, judge_unpaired
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import UnfitError, UsageError
from edgetl_runtime.measure import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgetl_runtime.bench.images import Images
    from edgetl_runtime.bench.limits import Limits
    from edgetl_runtime.bench.record import BundleFacts, Round

    Progress = Callable[[int, int], None]

ROUNDS = 10
BETWEEN_DAYS = 0.05
TAIL_MARGIN = 0.15


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The tails of both bundles.

    Attributes:
        p99_ms: Of A and of B.
        ratio: B over A.
        above_margin: B's is longer by more than tails differ by chance.
    """

    p99_ms: tuple[float, float]
    ratio: float
    above_margin: bool


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What comparing B with A found.

    Attributes:
        verdict: Of the gated latencies; REGRESSED too where a limit is broken.
        metrics: Gated metric → judgement.
        how: `interleaved`, or `stored` where A is a record of another time.
        a: Record of A.
        b: Record of B.
        breaches: Limits that B does not keep, one clause each.
        unknown: Limits that the data cannot speak of.
        tail: p99 of B against that of A, advisory.
        decisions: Accuracy and flips beside the latency; None without common images.
        design: Looks, error and margins that were used.
        notes: What a reader must know.
        differences: Metric → ln(B / A) of each pair.
    """

    verdict: Ruling
    metrics: dict[str, Judgement]
    how: str
    a: Record
    b: Record
    breaches: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    tail: Tail | None = None
    decisions: dict[str, Any] | None = None
    design: Design
    notes: tuple[str, ...] = ()
    differences: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """Return 0 for PASS and IMPROVED, 3 for REGRESSED, 4 for INCONCLUSIVE."""
        return {"PASS": 0, "IMPROVED": 0, "REGRESSED": 3, "INCONCLUSIVE": UnfitError.exit_code}[self.verdict]


def bench(
    item: Target,
    *,
    data: Path | None = None,
    rounds: int = ROUNDS,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Record:
    """Measure one bundle.

    Args:
        item: From `rounds.target`.
        data: Folder of images, one subfolder per class for accuracy; None takes the bundle's golden images.
        rounds: Fresh processes.
        settings: Of every round.
        progress: Called with (rounds done, rounds in all).

    Raises:
        UnfitError: The machine was disturbed too often.
        UsageError: There are too few images.
    """
    if rounds < 1:
        raise UsageError("--rounds", "1 or above", str(rounds), fix=f"--rounds {ROUNDS}")
    chosen = _images(item, data)
    settings = settings or Settings()
    with measuring_alone(), Rig({"A": item}, chosen, settings, planned=rounds) as rig:
        found = collect(rig, "A", rounds, progress)
        decided = _accuracy(rig, "A", chosen)
    return _record(item, chosen, settings, found, rig=rig, accuracy=decided)


def compare(
    a: Target,
    b: Target,
    *,
    data: Path | None = None,
    design: Design | None = None,
    gate: Sequence[str] = ("decision",),
    settings: Settings | None = None,
    bounds: Limits | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Compare B with A on this machine, now, in pairs of fresh processes that take turns.

    Args:
        a: The bundle that is trusted.
        b: The one that wants to replace it.
        data: Folder of images; None takes A's golden images for both.
        design: Looks and margins; the default takes this machine's noise floor into account.
        gate: Latencies that decide: `decision`, `network`.
        settings: Of every round.
        bounds: Absolute limits of B.
        seed: Of who is first in each pair.
        progress: Called with (pairs done, pairs at the next look).

    Raises:
        UsageError: The two decide about different classes, or there are too few images.
        UnfitError: The machine was disturbed too often.
    """
    _comparable(a.facts, b.facts)
    settings = settings or Settings()
    design = design or default_design()
    with tempfile.TemporaryDirectory(prefix="edgetl-bench-") as folder:
        chosen = _images(a, data)
        if data is None:
            chosen = _golden_files(a, chosen, Path(folder))
        rig = Rig({"A": a, "B": b}, chosen, settings, planned=2 * design.looks[0])
        with measuring_alone(), rig:
            outcome = compare_rounds(rig.pair, design=design, gate=gate, seed=seed, progress=progress)
            accuracies = [_accuracy(rig, side, chosen) for side in "AB"]
    one, other = (
        _record(
            item,
            chosen,
            settings,
            [r for r in outcome.rounds if r.side == side],
            rig=rig,
            accuracy=accuracy,
        )
        for item, side, accuracy in zip((a, b), "AB", accuracies, strict=True)
    )
    return _judged(outcome.verdict, outcome.metrics, one, other, bounds, design, outcome.differences)


def compare_with_record(
    stored: Record,
    b: Target,
    *,
    data: Path | None = None,
    rounds: int = ROUNDS,
    settings: Settings | None = None,
    bounds: Limits | None = None,
    gate: Sequence[str] = ("decision",),
    progress: Progress | None = None,
) -> Comparison:
    """Compare B, measured now, with a record of another time on an equal machine.

    The margin is 5 %, or three times what this machine was seen to differ from one day to another.

    Raises:
        UnfitError: The record is of another machine or of disturbed rounds: A must be run again.
        UsageError: The record is of other classes or images.
    """
    _comparable(stored.bundle, b.facts)
    fix = "edgetl compare OLD.edgetl NEW.edgetl, which runs both now"
    apart = conditions.differences(stored.environment, conditions.environment())
    if apart:
        raise UnfitError("the record's machine", "this one, as it is now", "; ".join(apart[:3]), fix=fix)
    if stored.verdict != "measured":
        raise UnfitError("the record", "of undisturbed rounds", "disturbed ones", fix=fix)
    chosen = _images(b, data)
    if chosen.facts.sha256 != stored.images.sha256:
        got = f"{chosen.facts.n} others" if data else "the golden images of the new bundle"
        raise UsageError("images", f"the record's {stored.images.n}", got, fix="the same --data as for the record")
    settings = settings or Settings()
    if settings.rate_hz != (rate_hz := stored.protocol.get("rate_hz")):
        raise UsageError("--rate", f"the record's ({rate_hz})", str(settings.rate_hz), fix="the same --rate")
    measured = bench(b, data=data, rounds=rounds, settings=settings, progress=progress)
    threshold = max(BETWEEN_DAYS, 3 * floors.read().between_days)
    metrics = {
        name: judge_unpaired(
            [r.metric(name) for r in stored.rounds], [r.metric(name) for r in measured.rounds], threshold=threshold
        )
        for name in gate
    }
    order: tuple[Ruling, ...] = ("REGRESSED", "INCONCLUSIVE", "IMPROVED", "PASS")
    verdict = next(v for v in order if v in {m.verdict for m in metrics.values()})
    design = Design(margin=threshold)
    if stored.bundle.file_sha256 == measured.bundle.file_sha256:  # the same bundle: what differs is the day
        floors.write(between_days=max(abs(m.estimate) for m in metrics.values()))
    return _judged(verdict, metrics, stored, measured, bounds, design, {})


def default_design() -> Design:
    """Return the design for this machine: what matters is at least its own noise floor, if that is known.

    Raises:
        UnfitError: The floor is above the margin: this machine cannot tell.
    """
    plain, floor = Design(), floors.read().aa
    if floor is None or floor <= plain.min_effect:
        return plain
    if floor >= plain.margin:
        fix = "a quieter machine, then edgetl compare A.edgetl --aa"
        raise UnfitError("the noise floor of this machine", f"below {plain.margin:.0%}", f"{floor:.1%}", fix=fix)
    return dataclasses.replace(plain, min_effect=floor)


def _images(item: Target, data: Path | None) -> Images:
    if data is not None:
        return images.of_folder(data, item.facts.classes)
    with open_bundle(item.path) as bundle:
        return images.of_bundle(bundle)


def _golden_files(item: Target, chosen: Images, folder: Path) -> Images:
    """Write the golden images of A out, so that B decides on the same ones."""
    paths = []
    with open_bundle(item.path) as bundle:
        for index, name in enumerate(bundle.manifest.golden.images):
            path = folder / f"{index:03}{Path(name).suffix}"
            path.write_bytes(bundle.read(name))
            paths.append(str(path))
    return dataclasses.replace(chosen, timed=tuple(paths))


def _accuracy(rig: Rig, side: str, chosen: Images) -> dict[str, Any] | None:
    """Return the figures of the exact artifact on the labelled images, and each decision for flips."""
    if not chosen.labelled:
        return None
    answer = rig.accuracy(side)
    return {**answer["counts"], "labels": answer["labels"], "verdicts": answer["verdicts"]}


def _record(
    item: Target,
    chosen: Images,
    settings: Settings,
    found: Sequence[Round],
    *,
    rig: Rig,
    accuracy: dict[str, Any] | None,
) -> Record:
    side = found[0].side
    return Record(
        created=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        bundle=item.facts,
        images=chosen.facts,
        environment=conditions.environment(),
        protocol={**dataclasses.asdict(settings), "slower_pct": item.slower_pct, "batch": 1, "floor": floors.read().aa},
        summary=summarise(found),
        accuracy=accuracy,
        rounds=tuple(found),
        discarded=tuple(r for r in rig.discarded if r.side == side),
        verdict="disturbed" if any(r.disturbed for r in found) else "measured",
    )


def _comparable(one: BundleFacts, other: BundleFacts) -> None:
    if (one.task, one.labels) != (other.task, other.labels):
        must, got = (f"{facts.task} of {json.dumps(facts.labels, ensure_ascii=False)}" for facts in (one, other))
        what = "task and labels of the second bundle"
        raise UsageError(what, f"those of the first, {must}", got, fix="compare bundles of the same task")


def _judged(
    verdict: Ruling,
    metrics: dict[str, Judgement],
    a: Record,
    b: Record,
    bounds: Limits | None,
    design: Design,
    differences: dict[str, tuple[float, ...]],
) -> Comparison:
    how = "interleaved" if differences else "stored"
    decisions = limits.decisions_compared(a, b)
    broken, unknown = limits.judge(limits.of(b, bounds), b, decisions)
    if broken:
        verdict = "REGRESSED"
    elif unknown and verdict in ("PASS", "IMPROVED"):
        verdict = "INCONCLUSIVE"
    notes = ["disturbed rounds were counted on request"] if "disturbed" in (a.verdict, b.verdict) else []
    notes += [
        f"{r.bundle.name}: {r.summary['unsteady']} rounds never became steady" for r in (a, b) if r.summary["unsteady"]
    ]
    if how == "stored":
        notes.append(f"A is a record of {a.created}; a change below {design.margin:.1%} is the difference between days")
    return Comparison(
        verdict=verdict,
        metrics=metrics,
        how=how,
        a=a,
        b=b,
        breaches=broken,
        unknown=unknown,
        tail=_tail(a, b),
        decisions=decisions,
        design=design,
        notes=tuple(notes),
        differences=differences,
    )


def _tail(a: Record, b: Record) -> Tail | None:
    """Compare the p99; advisory, because tails of 299 samples are wide."""
    before, after = (percentile(pooled(r.rounds, "decision"), 99) for r in (a, b))
    if before is None or after is None:
        return None
    ratio = after / before
    return Tail(p99_ms=(before, after), ratio=ratio, above_margin=ratio > 1 + TAIL_MARGIN)
