"""From judged and timed candidates of all networks to a front and a choice. Pure, on plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl.deploy.terms import measured_terms, missed, unproven
from edgetl.metrics import pareto_front

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgetl.deploy.contract import Contract

Point = dict[str, Any]


def point_of(
    network: str,
    candidate: Mapping[str, Any],
    *,
    latency: Mapping[str, Any] | None,
    best_accuracy: float,
    memory_mb: float | None = None,
) -> Point:
    """Return one candidate of the search, as `edgetl search --json` prints it.

    Args:
        network: Its network.
        candidate: `Candidate.to_mapping()`, judged on validation.
        latency: Figures of `edgetl.deploy.latency`; None where it was not measured.
        best_accuracy: Of the most accurate float network of the search, on validation, 0 to 1.
        memory_mb: Of a process that decides with it on the target; None where it was not measured.
    """
    figures = latency["decision_ms"] if latency else {"p50": None, "p99": None}
    kept = ("backend", "precision", "threads", "accuracy", "drop_pp", "flips", "escapes", "overkill", "n", "size_bytes")
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
        "why": candidate["why"],
    }


def settle(points: Sequence[Point], contract: Contract, *, max_gap_pp: float, target: str) -> list[Point]:
    """Say of every point whether it is accepted and on the front, and which one is chosen; best first.

    The front is that of all timed points, accuracy against p99, those included that break a term: it shows what the
    terms cost. Chosen is the fastest by p99 of those that keep everything, or, where nothing was timed, the first of
    the most accurate network's.
    """
    judged = [_judged(point, contract, max_gap_pp, target) for point in points]
    timed = [point for point in judged if point["p99_ms"] is not None]
    front = {timed[i]["id"] for i in pareto_front([(p["p99_ms"], p["accuracy"]) for p in timed])}
    accepted = [point for point in judged if point["accepted"]]
    best = min(accepted, key=_rank, default=None)
    ordered = sorted(judged, key=lambda p: (not p["accepted"], _rank(p)))
    return [p | {"on_front": p["id"] in front, "chosen": p is best} for p in ordered]


def _judged(point: Point, contract: Contract, max_gap_pp: float, target: str) -> Point:
    why = [point["why"]] if point["why"] else []
    # as with the drop, a single image is the resolution of the split
    if point["gap_pp"] > max(max_gap_pp, 100 / point["n"]) + 1e-9:
        why.append(f"{point['gap_pp']:.2f} pp below the most accurate float network > {max_gap_pp:.2f}")
    terms = measured_terms(contract, latency=point["latency"], memory_mb=point["memory_mb"], target=target)
    why += missed(terms)
    return point | {
        "why": "; ".join(why),
        "accepted": not why,
        "terms": [term.to_mapping() for term in terms],
        "unproven": [term.clause for term in unproven(terms)],
    }


def _rank(point: Point) -> tuple[int, float, float]:
    """Order points, best first: what is proven goes before what is faster."""
    return (
        len(point["unproven"]),
        point["p99_ms"] if point["p99_ms"] is not None else float("inf"),
        point["gap_pp"],
    )


def reason(points: Sequence[Point]) -> str:
    """Say why the chosen point was chosen, for people."""
    chosen = next((p for p in points if p["chosen"]), None)
    if chosen is None:
        return "no candidate keeps the contract"
    accepted = [p for p in points if p["accepted"]]
    if chosen["p99_ms"] is None:
        return "latency not measured on hardware: the most accurate network, in the order of the target's profile"
    said = f"the fastest of {len(accepted)} that keep the contract, p99 {chosen['p99_ms']:.2f} ms"
    faster = [p for p in points if p["p99_ms"] is not None and p["p99_ms"] < chosen["p99_ms"]]
    if faster:
        first = min(faster, key=lambda p: p["p99_ms"])
        said += f"; {first['id']} would take {first['p99_ms']:.2f} ms, but {first['why']}"
    return said
