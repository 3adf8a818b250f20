"""From judged and timed candidates of all networks to a front and a choice. Pure, on plain values."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from edgetl.deploy.choice import Choice, Timed, choose
from edgetl.deploy.notes import Reason
from edgetl.deploy.terms import measured_terms, standing_of
from edgetl.metrics import pareto_front
from edgetl_runtime.contract import of_standing
from edgetl_runtime.proof import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from edgetl_runtime.contract import Contract

Point = dict[str, Any]


def best_accuracy(records: Iterable[Mapping[str, Any]]) -> float:
    """Return the accuracy of the most accurate float network on validation, 0 to 1.

    Args:
        records: Of the networks, from the state of the search.
    """
    return max((r["float_accuracy"] for r in records if "float_accuracy" in r), default=0.0)


def point_of(
    network: str,
    candidate: Mapping[str, Any],
    *,
    latency: Mapping[str, Any] | None,
    best_accuracy: float,
    counts: Sequence[str],
    memory_mb: float | None = None,
) -> Point:
    """Return one candidate of the search, as `edgetl search --json` prints it.

    Args:
        network: Its network.
        candidate: `Candidate.to_mapping()`, judged on validation.
        latency: Figures of `edgetl.deploy.latency`; None where it was not measured.
        best_accuracy: Of the most accurate float network of the search, on validation, 0 to 1.
        counts: Keys of what the task counts.
        memory_mb: Of a process that decides with it on the target; None where it was not measured.
    """
    figures = latency["decision_ms"] if latency else {"p50": None, "p99": None}
    kept = ("backend", "precision", "threads", "accuracy", "drop_pp", "flips", "n", "size_bytes", *counts)
    return {
        "id": f"{network}/{candidate['id']}",
        "network": network,
        "candidate": candidate["id"],
        **{key: candidate[key] for key in kept},
        "gap_pp": 100 * (best_accuracy - candidate["accuracy"]),
        "p50_ms": figures["p50"],
        "p99_ms": figures["p99"],
        "measured_on": latency["measured_on"] if latency else "not measured on hardware",
        "latency": latency,
        "memory_mb": memory_mb,
        "broken": int(candidate.get("broken", bool(candidate["why"]))),  # a search of before does not count them
        "why": candidate["why"],
    }


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The points of a search, judged.

    Attributes:
        points: Each with `accepted`, `on_front`, `chosen` and `why`, best first.
        choice: How one was chosen of those that keep everything; None where none does, or nothing was timed.
    """

    points: list[Point]
    choice: Choice | None = None


def settle(points: Sequence[Point], contract: Contract, *, max_gap_pp: float, target: str) -> Settled:
    """Say of every point whether it is accepted and on the front, and which one is chosen.

    The front is that of all timed points, accuracy against p50, those included that break a term: it shows what the
    terms cost. Chosen is the fastest of those that keep everything by the turns that they took beside each other, what
    is proven before what is not; or, where nothing was timed, the first of the most accurate network's.
    """
    judged = [_judged(point, contract, max_gap_pp, target) for point in points]
    timed = [point for point in judged if point["latency"]]
    front = {timed[i]["id"] for i in pareto_front([(_p50(p), p["accuracy"]) for p in timed])}
    accepted = [point for point in judged if point["accepted"]]
    field = [p for p in accepted if len(p["unproven"]) == min(len(other["unproven"]) for other in accepted)]
    choice = choose([_timed(p) for p in field]) if field and all(p["latency"] for p in field) else None
    best = field[choice.place] if choice else min(field, key=_order, default=None)
    ordered = sorted(judged, key=lambda p: (p is not best, not p["accepted"], _order(p)))
    return Settled(points=[p | {"on_front": p["id"] in front, "chosen": p is best} for p in ordered], choice=choice)


def standing(point: Point, contract: Contract, *, max_gap_pp: float, target: str) -> Standing:
    """Say whether a timed point may be chosen, and whether further turns could prove that."""
    judged = _judged(point, contract, max_gap_pp, target)
    terms = measured_terms(contract, latency=point["latency"], memory_mb=point["memory_mb"], target=target)
    return standing_of(terms) if judged["accepted"] else Standing.MISSED


def _timed(point: Point) -> Timed:
    return Timed(
        name=point["id"],
        precision=point["precision"],
        latency=point["latency"],
        memory_mb=lambda: point["memory_mb"],
    )


def _judged(point: Point, contract: Contract, max_gap_pp: float, target: str) -> Point:
    why = [point["why"]] if point["why"] else []
    # as with the drop, a single image is the resolution of the split
    if point["gap_pp"] > max(max_gap_pp, 100 / point["n"]) + 1e-9:
        why.append(f"{point['gap_pp']:.2f} pp below the most accurate float network > {max_gap_pp:.2f}")
    terms = measured_terms(contract, latency=point["latency"], memory_mb=point["memory_mb"], target=target)
    why += of_standing(terms, Standing.MISSED)
    first = 1 if point["why"] else 0  # all of a candidate's own clauses, which it counted
    return point | {
        "broken": point["broken"] + len(why) - first,
        "why": "; ".join(why),
        "accepted": not why,
        "terms": [term.to_mapping() for term in terms],
        "unproven": of_standing(terms, Standing.UNPROVEN),
    }


def _order(point: Point) -> tuple[int, float, float]:
    """Order points for people, best first: what is proven goes before what is faster."""
    return (len(point["unproven"]), _p50(point), point["gap_pp"])


def _p50(point: Point) -> float:
    return math.inf if point["p50_ms"] is None else float(point["p50_ms"])


def reason(settled: Settled) -> str:
    """Say why the chosen point was chosen, for people."""
    points = settled.points
    chosen = next((p for p in points if p["chosen"]), None)
    if chosen is None:
        return "no candidate keeps the contract"
    accepted = [p for p in points if p["accepted"]]
    if settled.choice is None:
        return "latency not measured on hardware: the most accurate network, in the order of the target's profile"
    how = settled.choice.note
    said = f"the fastest of {len(accepted)} that keep the contract, p50 {_p50(chosen):.2f} ms"
    if how.reason is not Reason.FASTEST:
        said = f"{how.text}; p50 {_p50(chosen):.2f} ms"
    refused = [p for p in points if not p["accepted"] and _p50(p) < _p50(chosen)]
    if refused:
        first = min(refused, key=_p50)
        said += f"; {first['id']} would take {_p50(first):.2f} ms, but {first['why']}"
    return said
