"""Sorting: every part is of one of several classes, none of them a defect; what is not sure is UNSURE."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl_runtime.errors import UsageError
from edgetl_runtime.tasks import base, softmax

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

UNSURE = "UNSURE"
# verdicts and files of the service's folder, and what some file systems reserve; compared without case
RESERVED = (UNSURE, "FAULT", "decisions.jsonl", "con", "prn", "aux", "nul")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """What parts are sorted into.

    Attributes:
        classes: In the order of the logits.
    """

    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        softmax.check_class_names(self.classes, reserved=RESERVED)
        for name in self.classes:
            if not base.is_folder_name(name):  # the service puts a part into the folder of its verdict
                must = "names that a folder can have: printable, with no / : * ? or the like, no dot first"
                raise UsageError("classes", must, f"'{name}'", fix=f"rename the class '{name}'")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """When a part is sorted.

    Attributes:
        unsure_below: UNSURE below this probability of the most probable class, 0 to 1; 0 sorts every part.
        temperature: Of the softmax, above 0.
    """

    unsure_below: float
    temperature: float

    def __post_init__(self) -> None:
        if not 0 <= self.unsure_below <= 1:  # not a number is refused too
            raise UsageError("unsure_below", "from 0 to 1", str(self.unsure_below), fix="unsure_below = 0.5")
        softmax.check_temperature(self.temperature)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a contract may bound; None leaves a term out.

    Attributes:
        max_errors: Largest number of parts sorted into a wrong class; None allows one more than the float model has.
        max_unsure_pct: Largest share of the parts that are UNSURE, in per cent.
        max_confused: Class pair `truth:answer` → largest number of parts of the first sorted into the second.

    Example:
        >>> Bounds(max_confused={"m3:m4": 0}).max_confused["m3:m4"]
        0
    """

    max_errors: int | None = None
    max_unsure_pct: float | None = None
    max_confused: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("max_errors", "max_unsure_pct"):
            base.check_bound(name, getattr(self, name))
        for pair, most in self.max_confused.items():
            base.check_bound(f"max_confused {pair}", most)


def pair_of(pair: str, classes: Sequence[str]) -> tuple[str, str]:
    """Return truth and answer of `truth:answer`; names hold no colon.

    Raises:
        UsageError: It names no two different classes.

    Example:
        >>> pair_of("m3:m4", ["m3", "m4"])
        ('m3', 'm4')
    """
    truth, _, answer = pair.partition(":")
    if truth in classes and answer in classes and truth != answer:
        return truth, answer
    must = f"TRUTH:ANSWER=N, of two different classes of {', '.join(classes)}"
    raise UsageError("--max-confused", must, f"'{pair}'", fix=f"--max-confused {classes[0]}:{classes[1]}=0")


class Sorting(base.Task[Labels, Params, Bounds]):
    """The most probable class, where it is probable enough."""

    name = "sorting"
    labels_type = Labels
    params_type = Params
    bounds_type = Bounds

    def verdicts(self, labels: Labels) -> tuple[str, ...]:
        """Return the classes, and UNSURE."""
        return (*labels.classes, UNSURE)

    def classes(self, labels: Labels) -> tuple[str, ...]:
        """Return the classes."""
        return labels.classes

    def right_verdict(self, labels: Labels, truth: str) -> str:
        """Return the class itself."""
        return truth

    def outputs(self, labels: Labels) -> tuple[base.OutputSpec, ...]:
        """Return the logits."""
        return (softmax.logits_spec(labels.classes),)

    def score_names(self, labels: Labels) -> tuple[str, ...]:
        """Return the classes."""
        return labels.classes

    def scores(self, outputs: Mapping[str, NDArray[np.float32]], labels: Labels, params: Params) -> NDArray[np.float64]:
        """Return the probability of every class, float64 (N, C)."""
        return softmax.probabilities_of(outputs, labels.classes, params.temperature)

    def decided(self, scores: NDArray[np.float64], labels: Labels, params: Params) -> list[softmax.Decision]:
        """Return the most probable class of each row, or UNSURE.

        Example:
            >>> labels = Labels(classes=("m3", "m4"))
            >>> params = Params(unsure_below=0.6, temperature=1.0)
            >>> found = TASK.decided(np.array([[0.1, 0.9], [0.45, 0.55]]), labels, params)
            >>> [(one.verdict, one.label) for one in found]
            [('m4', 'm4'), ('UNSURE', 'm4')]
        """
        decisions = []
        for row in scores:
            label, score = labels.classes[int(row.argmax())], float(row.max())
            verdict = label if score >= params.unsure_below else UNSURE
            by_class = dict(zip(labels.classes, row.tolist(), strict=True))
            decisions.append(softmax.Decision(verdict=verdict, label=label, score=score, scores=by_class))
        return decisions

    def near_border(
        self, scores: NDArray[np.float64], labels: Labels, params: Params, *, tolerance: float
    ) -> NDArray[np.bool_]:
        """Return where the two best classes, or the best one and the bound, are within reach of each other."""
        at_bound = np.abs(scores.max(axis=1) - params.unsure_below) <= tolerance
        return np.asarray(at_bound | softmax.tied(scores, tolerance=tolerance))

    def describe(self, labels: Labels, params: Params) -> list[str]:
        """Return classes and bound."""
        bound = f"UNSURE below a probability of {params.unsure_below:.4g}" if params.unsure_below else "never UNSURE"
        return [f"classes     {', '.join(labels.classes)}; {bound}"]

    def count(self, labels: Labels, *, truth: Sequence[str], found: Sequence[base.Decision]) -> dict[str, Any]:
        """Count parts sorted wrongly, by pairs too, and those not sorted."""
        pairs = list(zip(truth, found, strict=True))
        wrong = collections.Counter(f"{t}:{d.verdict}" for t, d in pairs if d.verdict not in (t, UNSURE))
        return {
            "n": len(pairs),
            "accuracy": sum(d.label == t for t, d in pairs) / len(pairs),
            "errors": wrong.total(),
            "unsure": sum(d.verdict == UNSURE for _, d in pairs),
            "confused": dict(wrong),
        }

    def tell(self, counts: Mapping[str, Any]) -> str:
        """Return errors and unsure parts."""
        return f"{counts['errors']} of {counts['n']} sorted wrongly, {counts['unsure']} unsure"

    def check_bounds(self, bounds: Bounds, labels: Labels) -> None:
        """Refuse pairs of unknown classes."""
        for pair in bounds.max_confused:
            pair_of(pair, labels.classes)

    def held(
        self, bounds: Bounds, counts: Mapping[str, Any], reference: Mapping[str, Any] | None = None
    ) -> Iterator[base.Bound]:
        """Yield errors, the share of UNSURE and single pairs; a candidate may have one error more by default."""
        errors = bounds.max_errors
        if errors is None and reference is not None:
            errors = reference["errors"] + 1
        if errors is not None:
            yield base.Bound(name="errors", value=counts["errors"], most=errors)
        if bounds.max_unsure_pct is not None:
            share = 100 * counts["unsure"] / counts["n"]
            yield base.Bound(name="unsure", value=share, most=float(bounds.max_unsure_pct), unit=" %")
        for pair, most in bounds.max_confused.items():
            # names that hold colons themselves cannot be told apart without the labels
            name = pair.replace(":", " sorted as ") if pair.count(":") == 1 else f"confused {pair}"
            yield base.Bound(name=name, value=counts["confused"].get(pair, 0), most=most)


TASK = Sorting()
