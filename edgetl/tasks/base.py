"""What a task is on the host: from labels and outputs to parameters, figures, bounds and words."""

from __future__ import annotations

import abc
import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgetl_runtime import tasks as device_tasks
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import from_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgetl_runtime.tasks.base import Decision, Task

    Outputs = Mapping[str, NDArray[np.float32]]
    Truth = NDArray[np.int64]

LabelsT = TypeVar("LabelsT")
ParamsT = TypeVar("ParamsT")
AimsT = TypeVar("AimsT")
Level = Literal["stop", "care", "note"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """An option of the command line that only a task understands.

    Attributes:
        name: With its dashes.
        keywords: For `argparse`, as (name, value).
    """

    name: str
    keywords: tuple[tuple[str, Any], ...] = ()

    @property
    def field(self) -> str:
        """The name of its value, in files and in Python."""
        return self.name.removeprefix("--").replace("-", "_")


def option(name: str, **keywords: Any) -> Option:  # noqa: ANN401  (argparse)
    """Return an option as `argparse` would take it."""
    return Option(name=name, keywords=tuple(keywords.items()))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """What a task counts, as tables show it.

    Attributes:
        key: In the figures.
        of: Key of what it is counted of, if not of all images.
    """

    key: str
    of: str = "n"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One thing to know before shipping.

    Attributes:
        level: `stop` forbids, `care` must be settled, `note` is for information.
        text: One or two sentences.
    """

    level: Level
    text: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Decided:
    """What one model decides on one split.

    Attributes:
        params: How it decides.
        figures: What `HostTask.evaluate` found.
        scores: Of the device's task, float64 (N, S).
        verdicts: (N,).
        answers: What each part was taken for, (N,).
    """

    params: Any
    figures: dict[str, Any]
    scores: NDArray[np.float64]
    verdicts: NDArray[np.str_]
    answers: NDArray[np.str_]

    def flips(self, other: Decided) -> NDArray[np.bool_]:
        """Return on which images another model decides otherwise, bool (N,)."""
        return np.asarray((self.verdicts != other.verdicts) | (self.answers != other.answers))


class HostTask(abc.ABC, Generic[LabelsT, ParamsT, AimsT]):
    """The host's half of a task; stateless.

    Attributes:
        name: Of the folder, and of the device's half.
        aims_type: What is asked for when training; a frozen dataclass that checks itself, every field with a default.
        training_options: Options of `finetune` for those fields.
        contract_options: Options of `deploy` for the bounds of the device's half.
        counts: What tables show beside accuracy.
        gravest: What the worst errors of a report are sorted by, in words.
        question: What a person is asked where the names of the classes do not tell; `{}` becomes their names.
        answer: Which of the aims the answer is.
    """

    name: ClassVar[str]
    aims_type: ClassVar[type]
    training_options: ClassVar[tuple[Option, ...]] = ()
    contract_options: ClassVar[tuple[Option, ...]] = ()
    counts: ClassVar[tuple[Count, ...]]
    gravest: ClassVar[str]
    question: ClassVar[str] = ""
    answer: ClassVar[str] = ""

    @property
    def device(self) -> Task[Any, Any, Any]:
        """The device's half."""
        return device_tasks.get(self.name)

    def aim_names(self) -> set[str]:
        """Return the names of what may be asked for."""
        return {field.name for field in dataclasses.fields(self.aims_type)}

    def aims(self, values: Mapping[str, Any]) -> AimsT:
        """Return what was asked for, typed.

        Raises:
            UsageError: A name is another task's or nobody's, or a value is wrong.
        """
        found: AimsT = from_mapping(self.aims_type, values, where=f"the options of --task {self.name}")
        return found

    @abc.abstractmethod
    def claims(self, classes: Sequence[str]) -> int:
        """Say how likely classes of these names are meant for this task; 0 is never."""

    @abc.abstractmethod
    def labels_for(self, classes: Sequence[str], aims: AimsT) -> LabelsT:
        """Return what is decided about.

        Raises:
            DataError: The classes cannot be used so.
            UsageError: What was asked for does not fit them.
        """

    @abc.abstractmethod
    def in_words(self, labels: LabelsT) -> str:
        """Return what the set is taken for, as one line."""

    def instead(self) -> str:
        """Return how to say otherwise, where the task was not asked for; empty where the names left no doubt."""
        return ""

    @abc.abstractmethod
    def fit(self, outputs: Outputs, truth: Truth, labels: LabelsT, aims: AimsT) -> ParamsT:
        """Choose how the float model decides.

        Args:
            outputs: Of validation.
            truth: Indices into the device's `classes`, int64 (N,).
            labels: What is decided about.
            aims: What was asked for.
        """

    @abc.abstractmethod
    def refits(
        self, reference: Decided, outputs: Outputs, truth: Truth, labels: LabelsT, aims: AimsT
    ) -> Iterator[ParamsT]:
        """Yield how a candidate may decide, in the order of preference; the float model's own parameters come first.

        Args:
            reference: The float model on the same images.
            outputs: Of the candidate.
            truth: As in `fit`.
            labels: What is decided about.
            aims: What was asked for.
        """

    @abc.abstractmethod
    def evaluate(
        self,
        scores: NDArray[np.float64],
        decisions: Sequence[Decision],
        truth: Truth,
        labels: LabelsT,
        groups: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Return the figures of decisions on labelled images, as plain values.

        Args:
            scores: Float64 (N, S).
            decisions: N of them.
            truth: As in `fit`.
            labels: What is decided about.
            groups: What each image belongs to, (N,); bounds count groups. Empty where every image is by itself.

        Returns:
            `n`, `accuracy` (of the labels) and `verdict_accuracy`, 0 to 1, `verdicts` (class → verdict → images), and
            what the device's `held` and this task's words need.
        """

    @abc.abstractmethod
    def likely_flips(self, reference: Decided, candidate: Decided, labels: LabelsT) -> float:
        """Return how many flips are to be expected of as many other images."""

    @abc.abstractmethod
    def worst(self, figures: Mapping[str, Any]) -> dict[str, Any]:
        """Return the figures of a model that gets everything wrong, on images with these figures."""

    @abc.abstractmethod
    def untested(
        self,
        bounds: Any,  # noqa: ANN401  (the device's)
        counts: Mapping[str, int],
        labels: LabelsT,
    ) -> Iterator[tuple[str, float, str]]:
        """Yield (name, bound, kind of part) of bounds that a split without such parts cannot tell."""

    @abc.abstractmethod
    def statements(self, figures: Mapping[str, Any], *, split: str = "test") -> tuple[str, ...]:
        """Say what a split can support, a sentence each, without the full stop."""

    @abc.abstractmethod
    def points(self, figures: Mapping[str, Any], aims: AimsT) -> list[Point]:
        """Say what the figures of test mean for shipping."""

    @abc.abstractmethod
    def deployed_points(self, target: str, confirmed: Mapping[str, Any], figures: Mapping[str, Any]) -> list[Point]:
        """Say what the figures of a bundle on test mean beside those of the float model."""

    @abc.abstractmethod
    def mistake(self, labels: LabelsT, *, truth: str, answer: str, verdict: str) -> str:
        """Return what kind of mistake a decision is; empty for a right one."""

    @abc.abstractmethod
    def gravity(self, mistake: str, score: float, details: Mapping[str, float]) -> tuple[int, float]:
        """Return a key that sorts mistakes, the gravest first."""

    @abc.abstractmethod
    def section(self, run: Any, rows: Mapping[str, Sequence[Any]]) -> dict[str, Any]:  # noqa: ANN401  (edgetl.run.Run)
        """Return what the task's own part of the report shows.

        Args:
            run: The run.
            rows: `val` and `test` → predictions.

        Returns:
            `tiles`: (label, value, of what, words below); `how`: sentences on how it decides; `columns`: (title,
            format of a mapping of figures); `plots`: (title, data URI, caption); `facts`: (name, value); `classes`:
            (class, tag); `claim`: what the answer rests on.
        """

    def decided(
        self, outputs: Outputs, truth: Truth, labels: LabelsT, params: ParamsT, groups: Sequence[str] = ()
    ) -> Decided:
        """Decide on labelled images and evaluate that.

        Raises:
            BackendError: An output is missing, of another shape, or not finite.
        """
        device = self.device
        scores = device.scores(outputs, labels, params)
        decisions = device.decided(scores, labels, params)
        return Decided(
            params=params,
            figures=self.evaluate(scores, decisions, truth, labels, groups),
            scores=scores,
            verdicts=np.array([d.verdict for d in decisions], np.str_),
            answers=np.array([d.label for d in decisions], np.str_),
        )

    def verdict_counts(
        self, decisions: Sequence[Decision], truth: Truth, labels: LabelsT
    ) -> tuple[dict[str, dict[str, int]], float]:
        """Return class → verdict → images, and the share of right verdicts, 0 to 1; UNSURE is not right."""
        classes, verdicts = self.device.classes(labels), self.device.verdicts(labels)
        table = {name: dict.fromkeys(verdicts, 0) for name in classes}
        for decision, index in zip(decisions, truth.tolist(), strict=True):
            table[classes[index]][decision.verdict] += 1
        right = sum(row[self.device.right_verdict(labels, name)] for name, row in table.items())
        return table, right / len(truth) if len(truth) else 0.0


def check_cost_or_rate(cost: tuple[str, float | None], rate: tuple[str, float | None]) -> None:
    """Refuse a cost and a rate of the same mistake beside each other, and values that mean nothing.

    Args:
        cost: Option and value: above 0.
        rate: Option and value: from 0 to below 1.

    Raises:
        UsageError: Says which.
    """
    (by_cost, price), (by_rate, most) = cost, rate
    if price is not None and most is not None:
        fix = f"one of the two: {by_cost} 5 or {by_rate} 0.01"
        raise UsageError(by_cost, f"given without {by_rate}", "both", fix=fix)
    if price is not None and not price > 0:
        raise UsageError(by_cost, "above 0", str(price), fix=f"{by_cost} 5")
    if most is not None and not 0 <= most < 1:
        raise UsageError(by_rate, "from 0 to below 1", str(most), fix=f"{by_rate} 0.01")


def plural(count: int, noun: str) -> str:
    """Return '1 escape', '2 escapes'.

    Example:
        >>> plural(1, "class"), plural(3, "defect")
        ('1 class', '3 defects')
    """
    return f"{count} {noun}" + ("" if count == 1 else "es" if noun.endswith("s") else "s")


def weak_classes(per_class: Mapping[str, Mapping[str, Any]], *, weak_recall: float = 0.5) -> list[Point]:
    """Say which classes are named rightly less than half of the time, and which were not tested."""
    points = []
    weak = {k: c for k, c in per_class.items() if c["n"] and c["recall"] < weak_recall}
    if weak:
        figures = ", ".join(f"{k} {100 * c['recall']:.0f} %" for k, c in weak.items())
        points.append(Point(level="care", text=f"Less than half of the parts of a class are named rightly: {figures}."))
    empty = [k for k, c in per_class.items() if not c["n"]]
    if empty:
        points.append(Point(level="care", text=f"No test image of {', '.join(empty)}: these classes are untested."))
    return points


def no_better_than_one_answer(figures: Mapping[str, Any]) -> list[Point]:
    """Say where always answering the largest class would be right as often."""
    largest = max((c["n"] for c in figures["per_class"].values()), default=0)
    if not figures["n"] or figures["accuracy"] > largest / figures["n"]:
        return []
    name = next(k for k, c in figures["per_class"].items() if c["n"] == largest)
    share = 100 * largest / figures["n"]
    return [Point(level="care", text=f"Always answering '{name}' would be right as often ({share:.0f} %).")]
