"""The paired design: quartets ABBA or BAAB of fresh rounds, looked at three times, three-way verdict."""

from __future__ import annotations

import dataclasses
import math
import random
from typing import TYPE_CHECKING

from edgetl_runtime.bench.record import Round
from edgetl_runtime.bench.statistics import Design, Judgement, Verdict, judge_together
from edgetl_runtime.errors import EdgetlError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a comparison found.

    Attributes:
        verdict: Of the gated metrics together.
        metrics: Gated metric → its judgement at the last look.
        looks: Verdict-so-far at each look, the last one included; None asked for more pairs.
        differences: Gated metric → ln(B / A) of each pair.
        rounds: All rounds that counted, in the order they ran.
    """

    verdict: Verdict
    metrics: dict[str, Judgement]
    looks: tuple[Judgement, ...]
    differences: dict[str, tuple[float, ...]]
    rounds: tuple[Round, ...]


def compare_rounds(
    run_round: Callable[[str, int], Round],
    *,
    design: Design | None = None,
    gate: Sequence[str] = ("decision",),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Outcome:
    """Run pairs until the design decides.

    Args:
        run_round: Side `A` or `B` and place in the order → a round of a fresh process that counts.
        design: Looks, error and margins.
        gate: Metrics that decide: `decision`, `network`.
        seed: Of the order within each quartet.
        progress: Called after every quartet with (pairs done, pairs at the next look).

    Example:
        >>> from edgetl_runtime.bench.fake import FakeStation
        >>> compare_rounds(FakeStation({"A": 5.0, "B": 5.5}).round).verdict
        'REGRESSED'
        >>> compare_rounds(FakeStation({"A": 5.0, "B": 5.0}).round).verdict
        'PASS'
    """
    design = design or Design()
    order = random.Random(seed)  # noqa: S311  (an order, not a secret)
    rounds: list[Round] = []
    differences: dict[str, list[float]] = {name: [] for name in gate}
    looks: list[Judgement] = []
    for look in design.looks:
        while len(differences[gate[0]]) < look:
            quartet = [run_round(side, len(rounds) + i) for i, side in enumerate(_quartet(order))]
            rounds += quartet
            for name in gate:
                differences[name] += _pairs(quartet, name)
            if progress is not None:
                progress(len(differences[gate[0]]), look)
        verdict, metrics = judge_together(dict(differences), design)
        looks.append(metrics[gate[0]])
        if verdict is not None:
            return Outcome(
                verdict=verdict,
                metrics=metrics,
                looks=tuple(looks),
                differences={name: tuple(values) for name, values in differences.items()},
                rounds=tuple(rounds),
            )
    raise EdgetlError("a comparison", "decided at its last look", "no verdict", fix="report this")


def _quartet(order: random.Random) -> str:
    """Return ABBA or BAAB: what drifts along a line cancels within each."""
    return order.choice(("ABBA", "BAAB"))


def _pairs(quartet: Sequence[Round], name: str) -> list[float]:
    """Return ln(B / A) of the first two and of the last two rounds."""
    logs = {True: 1.0, False: -1.0}
    return [sum(logs[r.side == "B"] * math.log(r.metric(name)) for r in quartet[start : start + 2]) for start in (0, 2)]
