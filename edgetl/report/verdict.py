"""The answer to 'may I ship this?': what speaks against it, from the run's own figures. Pure."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Literal

from edgetl import tasks
from edgetl.tasks.base import Point, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.report.deployments import Deployment
    from edgetl.run import Run

# judgements of this report
LOOKALIKE_SHARE = 0.05  # of test images with a near-duplicate elsewhere
MANY_LOOKS = 4
# reasons of a deployment's notes → what to do
CARE = {
    "disturbed": "other work disturbed the latency measurement. Deploy again on a quiet machine.",
    "undecided": "it was not clear which candidate is fastest. Deploy again on a quiet machine.",
}
NON_COMMERCIAL = re.compile(r"\bNC\b|non[- ]?commercial", re.IGNORECASE)


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
    task = tasks.get(run.task)
    points = [
        *task.points(run.test, task.aims(run.aims)),
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
        points += tasks.get(run.task).deployed_points(d.target, d.confirmed, run.test)
    return points
