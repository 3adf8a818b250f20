"""The quantization ladder: no rung is climbed that the accuracy terms do not ask for. Pure: no file, no engine.

A rung is a recipe. What a rung makes is judged on validation by a callback; the first that keeps every accuracy term
with room for chance ends the climb. Rungs that keep layers in float, or train, are climbed only where every rung before
misses a term. A rung that may keep layers in float starts from its own model with every layer
quantized and finds how few of the most sensitive layers are enough.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from edgetl.quantize.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Judge = Callable[[bytes, str], Mapping[str, Any]]

STRIDE = 3


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one rung cost and gave.

    Attributes:
        rung: Its place, from 0.
        name: Of its recipe.
        evaluations: Passes over the validation images.
        seconds: Wall time of making and judging.
        kept_float: Layers that were kept in float for it.
        accuracy: On validation, 0 to 1.
        drop_pp: Against the float model, percentage points.
        flips: Images whose decision differs from the float model's.
        likely_flips: As many as are to be expected of as many other images.
        counts: What the task counts on validation.
        why: Broken terms; empty if it keeps them all.
    """

    rung: int
    name: str
    evaluations: int
    seconds: float
    kept_float: tuple[str, ...]
    accuracy: float
    drop_pp: float
    flips: int
    likely_flips: float
    counts: Mapping[str, int]
    why: tuple[str, ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Climb:
    """Where a climb ended.

    Attributes:
        recipe: Of the rung that is taken: the first that keeps the terms, else the least bad.
        model: Bytes of its ONNX model.
        evidence: What the recipe says of it.
        judged: What the callback said of it.
        steps: Every rung that was tried, in order.
    """

    recipe: Recipe
    model: bytes
    evidence: dict[str, Any]
    judged: Mapping[str, Any]
    steps: tuple[Step, ...]

    @property
    def step(self) -> Step:
        """The step that is taken."""
        return next(step for step in self.steps if step.name == self.recipe.name)

    @property
    def evaluations(self) -> int:
        """Passes over the validation images, of all rungs together."""
        return sum(step.evaluations for step in self.steps)

    def record(self) -> dict[str, Any]:
        """Return the climb as evidence: the rung taken, evaluations spent, and every step."""
        return {
            "rung": self.step.rung,
            "evaluations": self.evaluations,
            "steps": [dataclasses.asdict(step) for step in self.steps],
        }


class Maker(Protocol):
    """Makes the models of the rungs."""

    def make(self, recipe: Recipe) -> tuple[bytes, dict[str, Any]]:
        """Return the model of a rung, every layer quantized, and what there is to say of it."""

    def ranked(self, recipe: Recipe, model: bytes) -> Sequence[str]:
        """Return the layers that the rung may keep in float, the most worthwhile first."""

    def restored(self, recipe: Recipe, model: bytes, layers: Sequence[str]) -> bytes:
        """Return the model with these layers in float."""


@dataclasses.dataclass(slots=True)
class _Attempt:
    recipe: Recipe
    model: bytes
    evidence: dict[str, Any]
    judged: Mapping[str, Any]
    kept_float: tuple[str, ...] = ()

    @property
    def clear(self) -> bool:
        """Whether every term is kept, and by more than chance may take away."""
        return not self.judged["why"] and not self.judged["close"]

    def badness(self) -> tuple[int, bool, float, float, int]:
        """Order attempts: broken terms, terms just kept, decisions likely to change, accuracy, layers in float."""
        judged = self.judged
        return len(judged["why"]), not self.clear, judged["likely_flips"], judged["drop_pp"], len(self.kept_float)


class _Judged:
    """Asks the callback once per model and counts."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._known: dict[str, Mapping[str, Any]] = {}

    def __call__(self, model: bytes, name: str) -> Mapping[str, Any]:
        key = hashlib.sha256(model).hexdigest()
        if key not in self._known:
            self._known[key] = self._judge(model, name)
        return self._known[key]

    @property
    def count(self) -> int:
        return len(self._known)


def climb(rungs: Sequence[Recipe], maker: Maker, judge: Judge) -> Climb:
    """Climb until a rung keeps every accuracy term, with room for what chance may change on other images.

    Args:
        rungs: At least one, in their order.
        maker: Makes the models.
        judge: Called with (model, a word for the progress); returns `val` with `accuracy`, `counts`, `drop_pp`,
            `flips`, `likely_flips`, `why`, the broken terms, and `close`, those kept by less than chance may take away.
            Equal models are judged once.

    Returns:
        The first rung that keeps the terms with room to spare; else the one that comes nearest.
    """
    ask = _Judged(judge)
    steps: list[Step] = []
    best: _Attempt | None = None
    for recipe in rungs:
        if (recipe.file.retrain or recipe.file.keep_float_share) and best is not None and not best.judged["why"]:
            break  # other weights, or a fifth of the speed, only where the terms are missed
        started, before = time.monotonic(), ask.count
        model, evidence = maker.make(recipe)
        attempt = _Attempt(recipe, model, evidence, ask(model, recipe.name))
        if attempt.judged["why"] and recipe.file.keep_float_share:
            attempt = _with_layers_in_float(attempt, maker, ask)
        steps.append(_step(attempt, evaluations=ask.count - before, seconds=time.monotonic() - started))
        if best is None or attempt.badness() < best.badness():
            best = attempt
        if attempt.clear:
            break
    if best is None:
        message = "a ladder without rungs"
        raise ValueError(message)
    return Climb(recipe=best.recipe, model=best.model, evidence=best.evidence, judged=best.judged, steps=tuple(steps))


def _with_layers_in_float(full: _Attempt, maker: Maker, ask: _Judged) -> _Attempt:
    """Find how few of the ranked layers must stay in float, by strides, then by halving; else give back the best."""
    ranked = maker.ranked(full.recipe, full.model)
    tried = [full]

    def attempt(count: int) -> bool:
        model = maker.restored(full.recipe, full.model, ranked[:count])
        name = f"{full.recipe.name}, {count} layers in float"
        tried.append(_Attempt(full.recipe, model, full.evidence, ask(model, name), tuple(ranked[:count])))
        return tried[-1].clear

    missing, enough = 0, min(1, len(ranked))  # the ranking is steep: a few layers are mostly enough
    while enough and not attempt(enough):
        missing, enough = enough, min(STRIDE * enough, len(ranked))
        if missing == enough:
            break
    while enough - missing > 1:
        middle = (missing + enough) // 2
        if attempt(middle):
            enough = middle
        else:
            missing = middle
    clear = [one for one in tried if one.clear]
    best = min(clear, key=lambda one: len(one.kept_float)) if clear else min(tried, key=_Attempt.badness)
    best.evidence = best.evidence | {"kept_float": list(best.kept_float)}
    return best


def _step(attempt: _Attempt, *, evaluations: int, seconds: float) -> Step:
    judged = attempt.judged
    return Step(
        rung=attempt.recipe.file.rung,
        name=attempt.recipe.name,
        evaluations=evaluations,
        seconds=round(seconds, 1),
        kept_float=attempt.kept_float,
        accuracy=judged["val"]["accuracy"],
        drop_pp=judged["drop_pp"],
        flips=judged["flips"],
        likely_flips=round(judged["likely_flips"], 2),
        counts=judged["counts"],
        why=tuple(judged["why"]),
    )
