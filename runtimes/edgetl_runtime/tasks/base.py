"""What a task is on the device: labels and parameters of its own, from a model's outputs to decisions.

A task is one file here, found by its name. Nothing else knows what a label, a threshold or a class is: sessions, golden
vectors, trials and benchmarks ask the task.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

import numpy as np

from edgetl_runtime.errors import BackendError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    Outputs = Mapping[str, NDArray[np.float32]]

LabelsT = TypeVar("LabelsT")
MAX_NAME_BYTES = 120
LARGEST = 1e12  # of a bound: more is a slip of the pen
ParamsT = TypeVar("ParamsT")
BoundsT = TypeVar("BoundsT")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OutputSpec:
    """One output of a model, as the manifest declares it.

    Attributes:
        name: In the graph.
        shape: Sizes; a word stands for a size that is free, `N` for the batch.
        dtype: Of its elements.
        meaning: One clause for people.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: Literal["float32"] = "float32"
    meaning: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What is decided on one part; tasks add what is theirs.

    Attributes:
        verdict: One of the task's verdicts.
        label: What the part was taken for.
        score: How sure that is, 0 to 1.
        timings_ms: Wall time of decode, preprocess, infer, postprocess and total, in milliseconds.
    """

    verdict: str
    label: str
    score: float
    timings_ms: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def to_mapping(self) -> dict[str, Any]:
        """Return the decision as `predict --json` prints it."""
        found = {"class": self.label, "score": self.score, **self._detail(), "verdict": self.verdict}
        return found | {"timings_ms": dict(self.timings_ms)}

    def details(self) -> dict[str, float]:
        """Return further scores of the task, name → value: what tables show beside the score."""
        return {}

    def apart(self, other: Decision) -> float:
        """Return how far the scores of two decisions on one image are apart, 0 to 1."""
        return abs(self.score - other.score)

    def _detail(self) -> dict[str, Any]:
        """Return what the task adds."""
        return {}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """One term that a task adds to the contract, and what was counted.

    Attributes:
        name: In words, for instance `escapes of crack`.
        value: What was counted.
        most: The bound.
        unit: With a space before it; empty for counts.
    """

    name: str
    value: float
    most: float
    unit: str = ""

    @property
    def broken(self) -> bool:
        """Whether the bound is exceeded, or what was counted is not a number."""
        return not self.value <= self.most + 1e-9

    @property
    def clause(self) -> str:
        """Return the term in words, with what speaks against it.

        Example:
            >>> Bound(name="escapes", value=2, most=1).clause
            'escapes 2 > 1'
        """
        sign = ">" if self.broken else "<="
        if isinstance(self.value, int) and isinstance(self.most, int):
            return f"{self.name} {self.value}{self.unit} {sign} {self.most}"
        return f"{self.name} {self.value:.2f}{self.unit} {sign} {self.most:.2f}"


class Task(abc.ABC, Generic[LabelsT, ParamsT, BoundsT]):
    """From a model's outputs to decisions; stateless, and so safe to use from several threads.

    Attributes:
        name: Of the file, and in runs and manifests.
        labels_type: What all variants of a bundle decide about; a frozen dataclass that checks itself.
        params_type: How one variant decides; likewise.
        bounds_type: Terms that the task adds to a contract; likewise, every field with a default.
    """

    name: ClassVar[str]
    labels_type: ClassVar[type]
    params_type: ClassVar[type]
    bounds_type: ClassVar[type]

    @abc.abstractmethod
    def verdicts(self, labels: LabelsT) -> tuple[str, ...]:
        """Return what a decision may be, UNSURE last."""

    @abc.abstractmethod
    def classes(self, labels: LabelsT) -> tuple[str, ...]:
        """Return the names that folders of labelled images may have."""

    @abc.abstractmethod
    def right_verdict(self, labels: LabelsT, truth: str) -> str:
        """Return the verdict that a part of a class should get."""

    @abc.abstractmethod
    def outputs(self, labels: LabelsT) -> tuple[OutputSpec, ...]:
        """Return the outputs that a model of this task must have, and that sessions are compiled for."""

    @abc.abstractmethod
    def score_names(self, labels: LabelsT) -> tuple[str, ...]:
        """Return what each column of `scores` stands for, S of them."""

    @abc.abstractmethod
    def scores(self, outputs: Outputs, labels: LabelsT, params: ParamsT) -> NDArray[np.float64]:
        """Return what golden vectors hold of each image, float64 (N, S), 0 to 1.

        Raises:
            BackendError: An output is missing, of another shape, or not finite.
        """

    @abc.abstractmethod
    def decided(self, scores: NDArray[np.float64], labels: LabelsT, params: ParamsT) -> Sequence[Decision]:
        """Return one decision, without timings, for each row of scores."""

    @abc.abstractmethod
    def near_border(
        self, scores: NDArray[np.float64], labels: LabelsT, params: ParamsT, *, tolerance: float
    ) -> NDArray[np.bool_]:
        """Return where scores that are off by the tolerance may change label or verdict, bool (N,)."""

    @abc.abstractmethod
    def describe(self, labels: LabelsT, params: ParamsT) -> list[str]:
        """Return what `info` prints, a line each."""

    @abc.abstractmethod
    def count(self, labels: LabelsT, *, truth: Sequence[str], found: Sequence[Decision]) -> dict[str, Any]:
        """Count right and wrong decisions on labelled images.

        Returns:
            `n`, `accuracy` (0 to 1, of the labels), and how often each kind of mistake happened.
        """

    @abc.abstractmethod
    def tell(self, counts: Mapping[str, Any]) -> str:
        """Return the mistakes of `count`, with what they are counted of, as one clause."""

    @abc.abstractmethod
    def check_bounds(self, bounds: BoundsT, labels: LabelsT) -> None:
        """Refuse bounds that do not fit the labels.

        Raises:
            UsageError: A class is unknown, or the bound cannot be broken there.
        """

    @abc.abstractmethod
    def held(
        self, bounds: BoundsT, counts: Mapping[str, Any], reference: Mapping[str, Any] | None = None
    ) -> Iterator[Bound]:
        """Yield every bound with what was counted.

        Args:
            bounds: Of a contract.
            counts: What `count` found, or more.
            reference: The same of the model that a candidate was made from; None where nothing is compared.
        """

    def decide(self, outputs: Outputs, labels: LabelsT, params: ParamsT) -> Sequence[Decision]:
        """Return one decision, without timings, for each row of the outputs.

        Raises:
            BackendError: As `scores`.
        """
        return self.decided(self.scores(outputs, labels, params), labels, params)


def is_folder_name(verdict: str) -> bool:
    """Say whether a folder can be called like a verdict, on every file system and inside its parent.

    Example:
        >>> [is_folder_name(name) for name in ("OK", "m3 x 8", "..", "a/b", "")]
        [True, True, False, False, False]
    """
    plain = verdict.isprintable() and not set(verdict) & set('/\\:*?"<>|')
    return plain and 0 < len(verdict.encode()) <= MAX_NAME_BYTES and verdict[0] != "." and verdict[-1] not in ". "


def check_bound(name: str, most: object, *, needed: bool = False) -> None:
    """Refuse a bound that nothing can keep; None leaves it out, unless it is needed.

    Raises:
        UsageError: It is negative, no number, or too large to be meant.
    """
    number = isinstance(most, (int, float)) and not isinstance(most, bool) and 0 <= most <= LARGEST
    if not number and (most is not None or needed):
        option = "--" + name.replace("_", "-")
        raise UsageError(option, "0 or above", f"{most!r:.40}", fix=f"{option} 1")


def finite_output(outputs: Outputs, name: str, sizes: tuple[int, ...]) -> NDArray[np.float32]:
    """Return one output of a batch, of these sizes for each image and without NaN.

    Raises:
        BackendError: It is missing, of another shape, or not finite: the model is broken, not the image.
    """
    found = outputs.get(name)
    fix = "use another variant; this one is broken"
    if found is None:
        raise BackendError("the model's outputs", f"with {name}", ", ".join(outputs) or "none", fix=fix)
    if found.ndim != len(sizes) + 1 or found.shape[1:] != sizes:
        raise BackendError(name, f"of shape (N, {', '.join(map(str, sizes))})", f"shape {found.shape}", fix=fix)
    if not np.isfinite(found).all():
        raise BackendError(name, "finite", "NaN or infinity", fix=fix)
    return found
