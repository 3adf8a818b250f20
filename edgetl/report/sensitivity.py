"""The ranking of layers by the damage of quantizing them, as RUN/quantized/sensitivity-<key>.json keeps it."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

import numpy as np

from edgetl.plotting import GOOD, WARM, new_figure, plain, plot_style, uri

if TYPE_CHECKING:
    from pathlib import Path

MOST_LAYERS = 30
PER_CENT = 100


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """The layers of one quantized model, the most worthwhile to keep in float first.

    Attributes:
        recipe: That made the model.
        images: Calibration images it was measured on.
        layers: (name, damage, share of the labels that change, share of the float network's time) each.
    """

    recipe: str
    images: int
    layers: tuple[tuple[str, float, float, float], ...]


def read_rankings(folder: Path) -> list[Ranking]:
    """Read every ranking of a run, by recipe; damaged files are measured again by the next deployment, not shown."""
    found = []
    for path in sorted(folder.glob("sensitivity-*.json")):
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            layers = tuple(
                (str(x["layer"]), float(x["damage"]), float(x["decisions"]), float(x["time_share"]))
                for x in data["layers"]
            )
            found.append(Ranking(recipe=str(data["recipe"]), images=int(data["images"]), layers=layers))
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return sorted((r for r in found if r.layers), key=lambda r: r.recipe)


def sensitivity_picture(ranking: Ranking) -> str:
    """Plot damage and computing time of the layers that hurt most, worst on top.

    Returns:
        An SVG as a data URI.
    """
    layers = ranking.layers[:MOST_LAYERS][::-1]
    with plot_style():
        height = max(1.6, 0.22 * len(layers) + 0.9)
        figure, (left, right) = new_figure((10.4, height), ncols=2, sharey=True, width_ratios=(2, 1))
        at = np.arange(len(layers))
        left.barh(at, [damage for _, damage, _, _ in layers], color=WARM, height=0.65)
        for y, (_, damage, decisions, _) in zip(at, layers, strict=True):
            if decisions:
                words = f"{PER_CENT * decisions:.0f} % of labels change"
                left.annotate(words, (damage, y), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
        right.barh(at, [PER_CENT * share for *_, share in layers], color=GOOD, height=0.65)
        left.set_yticks(at, [plain(name, 40) for name, *_ in layers], fontsize=8)
        left.margins(x=0.25)
        left.set(xlabel="damage: error of the logits when this layer alone is INT8")
        right.set(xlabel="share of the float network's time, %")
        for axes in (left, right):
            axes.grid(visible=False, axis="y")
        return uri(figure)
