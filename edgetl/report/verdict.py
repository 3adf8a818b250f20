"""The answer to 'may I ship this?': what speaks against it, from the run's own figures. Pure."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Literal

from edgetl.metrics import binomial_upper, counted, overkill_statement
from edgetl.metrics import escape_statement as statement_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgetl.report.deployments import Deployment
    from edgetl.run import Run

Level = Literal["stop", "care", "note"]

# judgements of this report, stated in it; a plant's own bound is --max-escape-rate
UNUSABLE_SHARE = 0.2  # of defects passed, or of good parts rejected: no line runs like that
BEARABLE_SHARE = 0.05  # of good parts rejected: more must be somebody's decision
TELLING_RATE = 0.05  # a test that cannot rule out this escape rate is small, where no other rate was asked for
LOOKALIKE_SHARE = 0.05  # of test images with a near-duplicate elsewhere
WEAK_RECALL = 0.5
CHANCE_AUROC = 0.6
MANY_LOOKS = 4
# reasons of a deployment's notes → what to do
CARE = {
    "disturbed": "other work disturbed the latency measurement. Deploy again on a quiet machine.",
    "undecided": "it was not clear which candidate is fastest. Deploy again on a quiet machine.",
}
NON_COMMERCIAL = re.compile(r"\bNC\b|non[- ]?commercial", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One thing to know before shipping.

    Attributes:
        level: `stop` forbids, `care` must be settled, `note` is for information.
        text: One or two sentences.
    """

    level: Level
    text: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The headline of the report.

    Attributes:
        level: The gravest point; `yes` where none is graver than a note.
        words: The answer.
        points: Gravest first.
    """

    level: Literal["stop", "care", "yes"]
    words: str
    points: tuple[Point, ...]


def answer(run: Run, deployments: Sequence[Deployment], *, lookalikes: int | None) -> Answer:
    """Judge a run.

    Args:
        run: The run.
        deployments: Its bundles.
        lookalikes: Test images with a near-duplicate in another split; None where it was not checked.
    """
    points = [
        *_on_verdicts(run.test, run.cost.get("max_escape_rate")),
        *_on_classes(run),
        *_on_data(run, lookalikes),
        *_on_training(run),
        *_on_deployments(run, deployments),
    ]
    points.sort(key=lambda p: ("stop", "care", "note").index(p.level))
    stops, cares = (sum(p.level == level for p in points) for level in ("stop", "care"))
    if stops:
        return Answer(level="stop", words="No, not as it is", points=tuple(points))
    if cares:
        words = f"Not before {cares} point{'s are' if cares > 1 else ' is'} settled"
        return Answer(level="care", words=words, points=tuple(points))
    return Answer(level="yes", words="Yes, as far as the test can tell", points=tuple(points))


def escape_statement(metrics: Mapping[str, Any]) -> str:
    """Say what the number of defects on test supports."""
    return f"{statement_of(metrics)}."


def plural(count: int, noun: str) -> str:
    """Return '1 escape', '2 escapes'.

    Example:
        >>> plural(1, "class"), plural(3, "defect")
        ('1 class', '3 defects')
    """
    return f"{count} {noun}" + ("" if count == 1 else "es" if noun.endswith("s") else "s")


def _on_verdicts(test: Mapping[str, Any], wanted: float | None) -> list[Point]:
    escapes, overkill, n_defect, n_good = (test[k] for k in ("escapes", "overkill", "n_defect", "n_good"))
    points = []
    if not n_defect:
        points.append(Point(level="stop", text=escape_statement(test)))
    if not n_good:
        points.append(Point(level="stop", text="The test split holds no good parts: overkill is unknown."))
    if n_good and overkill > UNUSABLE_SHARE * n_good:
        text = f"{overkill} of {n_good} good test parts ({100 * overkill / n_good:.0f} %) are rejected."
        points.append(Point(level="stop", text=text))
    elif n_good and (overkill > BEARABLE_SHARE * n_good or _bound(test, "overkill") > UNUSABLE_SHARE):
        points.append(Point(level="care", text=f"{overkill_statement(test)}. Can the line bear that?"))
    if n_defect:
        points += _on_escapes(test, escapes, n_defect, wanted)
    return points


def _bound(test: Mapping[str, Any], event: Literal["escape", "overkill"]) -> float:
    bound = binomial_upper(*counted(test, event))
    return 1.0 if bound is None else bound


def _on_escapes(test: Mapping[str, Any], escapes: int, n_defect: int, wanted: float | None) -> list[Point]:
    from edgetl.data.audit import defects_needed

    rate, bound = escapes / n_defect, _bound(test, "escape")
    events, units = counted(test, "escape")
    if wanted is not None and rate > wanted:
        text = f"{escapes} of {n_defect} defects pass ({100 * rate:.1f} %); asked for was {100 * wanted:g} % at most."
        return [Point(level="stop", text=text)]
    if rate > UNUSABLE_SHARE:
        return [Point(level="stop", text=f"{escapes} of {n_defect} defects ({100 * rate:.0f} %) pass unseen.")]
    points = []
    if escapes:
        text = f"{plural(escapes, 'escape')} among {n_defect} defects of test: see the worst errors, and decide."
        points.append(Point(level="care", text=text))
    claim = wanted or TELLING_RATE
    if bound > claim:
        apart = f", in {plural(units, 'group')}," if units != n_defect else ""
        needed = " and ".join(
            f"{defects_needed(rate, escapes=events)}{' groups' if apart else ''} for {100 * rate:g} %"
            for rate in sorted({claim, 0.01}, reverse=True)
        )
        text = (
            f"{plural(n_defect, 'defect')} on test{apart} cannot show an escape rate below {100 * claim:g} %: "
            f"that takes {needed}, with no {'further ' if escapes else ''}escape."
        )
        points.append(Point(level="care", text=text))
    return points


def _on_classes(run: Run) -> list[Point]:
    points, test = [], run.test
    largest = max((c["n"] for c in test["per_class"].values()), default=0)
    if test["n"] and test["accuracy"] <= largest / test["n"]:
        name = next(k for k, c in test["per_class"].items() if c["n"] == largest)
        text = f"Always answering '{name}' would be right as often ({100 * largest / test['n']:.0f} %)."
        points.append(Point(level="care", text=text))
    if test["auroc"] is not None and test["auroc"] < CHANCE_AUROC:
        text = f"The defect score hardly tells defects from good parts (AUROC {test['auroc']:.2f}; chance is 0.5)."
        points.append(Point(level="stop", text=text))
    weak = {k: c for k, c in test["per_class"].items() if c["n"] and c["recall"] < WEAK_RECALL}
    if weak:
        figures = ", ".join(f"{k} {100 * c['recall']:.0f} %" for k, c in weak.items())
        points.append(Point(level="care", text=f"Less than half of the parts of a class are named rightly: {figures}."))
    empty = [k for k, c in test["per_class"].items() if not c["n"]]
    if empty:
        points.append(Point(level="care", text=f"No test image of {', '.join(empty)}: these classes are untested."))
    return points


def _on_data(run: Run, lookalikes: int | None) -> list[Point]:
    points, n = [], run.test["n"]
    if lookalikes:
        text = (
            f"{lookalikes} of {n} test images look nearly the same as an image of another split: if they show the same "
            "part, the test flatters the model. Give parts, lots or sessions as 'group'."
        )
        points.append(Point(level="care" if lookalikes > LOOKALIKE_SHARE * n else "note", text=text))
    for what, licence in (("images", run.data.get("licence", "")), ("weights", run.weights.get("licence", ""))):
        if NON_COMMERCIAL.search(str(licence)):
            text = f"The licence of the {what} forbids commercial use: {licence}."
            points.append(Point(level="care", text=text))
    if run.data.get("licence") in (None, "", "not stated"):
        text = "The licence of the images is not stated; the bundle carries some of them (--data-licence)."
        points.append(Point(level="note", text=text))
    if run.data.get("bad"):
        points.append(Point(level="note", text=f"{plural(len(run.data['bad']), 'unusable image')} left out, see Data."))
    return points


def _on_training(run: Run) -> list[Point]:
    points = []
    if run.kept == "baseline":
        if run.finetuned_val is not None:
            text = (
                "Negative transfer: on validation the fine-tuned model was worse than the frozen backbone with a "
                "fitted head, so that baseline was kept."
            )
        else:
            text = f"Preset '{run.config.get('preset')}' does not fine-tune: 'balanced' or 'best' may reach more."
        points.append(Point(level="note", text=text))
    if run.weights.get("kind") == "none":
        points.append(Point(level="care", text="The backbone started from random weights (--weights none)."))
    if run.test_looks >= MANY_LOOKS:
        text = f"The test split was evaluated {run.test_looks} times; every choice made after a look flatters it."
        points.append(Point(level="note", text=text))
    return points


def _on_deployments(run: Run, deployments: Sequence[Deployment]) -> list[Point]:
    if not deployments:
        text = "No bundle yet: these are figures of the float model, and latency is unknown. Run edgetl deploy."
        return [Point(level="note", text=text)]
    points = []
    for d in deployments:
        if not d.measured:
            text = f"{d.target}: latency was not measured on hardware. Measure there before release."
            points.append(Point(level="care", text=text))
        for reason, words in CARE.items():
            if reason in d.reasons:
                points.append(Point(level="care", text=f"{d.target}: {words}"))
        overkill, n_good = d.confirmed.get("overkill"), d.confirmed.get("n_good")
        if isinstance(overkill, int) and isinstance(n_good, int) and overkill > UNUSABLE_SHARE * n_good:
            text = f"{d.target}: {overkill} of {n_good} good test parts ({100 * overkill / n_good:.0f} %) are rejected."
            points.append(Point(level="stop", text=text))
        escapes = d.confirmed.get("escapes")
        if isinstance(escapes, int) and escapes > run.test["escapes"]:
            text = f"{d.target}: {plural(escapes, 'escape')} on test after optimisation, {run.test['escapes']} before."
            points.append(Point(level="care", text=text))
    return points
