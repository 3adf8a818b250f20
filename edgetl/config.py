"""Configuration: frozen dataclasses, filled from `edgetl.toml` and from options; options win."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from edgetl import toml
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import from_mapping, nearest, to_mapping

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")
SECTIONS = ("finetune", "search", "deploy", "contract")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FinetuneConfig:
    """Everything that decides what `edgetl finetune` computes; stored in the run.

    Attributes:
        data: Folder of class folders, or a CSV file.
        backbone: Name in the catalogue, or `timm/<name>`.
        weights: `auto`, `none` or a path.
        image_size: Side of the square input in pixels; None takes the backbone's own, times the preset's factor.
        preset: Name of a preset.
        seed: Of splits, order, augmentation, dropout and the new classifier.
        task: What is learned; None leaves it to the aims, else to the names of the classes.
        device: Where the trainable part runs.
        skip_bad: Go on without unusable images.
        bit_depth: Bits per channel that carry the picture; declared, never guessed.
        resize: How an image is brought to the model's shape.
        roi_px: Region of interest (x, y, width, height).
        val_fraction: Share of the training part used for validation where the data gives no split.
        test_fraction: Share used for the test where the data gives no split.
        split_from: Run, or its split.csv, whose split is kept for every image it knows; `none` draws anew. None takes
            the run that is replaced.
        no_augment: Augmentations that would change the label of these parts.
        data_licence: Licence of the images, carried into the bundle with the golden vectors.
        aims: What is asked of the task, name → value; the task checks them.
    """

    data: str
    backbone: str = "tf_efficientnet_lite0"
    weights: str = "auto"
    image_size: int | None = None
    preset: str = "balanced"
    seed: int = 0
    task: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    skip_bad: bool = False
    bit_depth: Literal[8, 10, 12, 14, 16] = 8
    resize: Literal["stretch", "fit", "crop"] = "stretch"
    roi_px: tuple[int, int, int, int] | None = None
    val_fraction: float = 0.15
    test_fraction: float = 0.25
    split_from: str | None = None
    no_augment: tuple[Literal["flip_h", "flip_v", "rotate90", "affine", "photometric", "noise"], ...] = ()
    data_licence: str = "not stated"
    aims: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UsageError("--seed", "0 or above", str(self.seed), fix="--seed 0")


def with_aims(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as a person writes them, with what is a task's own below `aims`.

    Example:
        >>> with_aims({"seed": 1, "unsure_band": 0.1})
        {'seed': 1, 'aims': {'unsure_band': 0.1}}
    """
    from edgetl import tasks

    known = {name for task in tasks.names() for name in tasks.get(task).aim_names()}
    own = {name: value for name, value in values.items() if name in known}
    given = values.get("aims", {})
    if not isinstance(given, Mapping):
        raise UsageError("aims", "a table", f"{given!r:.40}", fix="unsure_band = 0.1, without aims")
    aims = {**given, **own}
    rest = {name: value for name, value in values.items() if name not in known and name != "aims"}
    return rest | ({"aims": aims} if aims else {})


def resolve(
    cls: type[T],
    *,
    section: str,
    file: Path | None,
    options: Mapping[str, Any],
    base: Mapping[str, Any] | None = None,
    must_be_there: bool = False,
    reshape: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> T:
    """Build the configuration `cls` from a section of a TOML file and from options; options win.

    Args:
        cls: A configuration dataclass.
        section: Table of the file, for instance `finetune`.
        file: `edgetl.toml`, or None.
        options: Only those that were given.
        base: Values that stand where neither the file nor the options say anything.
        must_be_there: Refuse a file without that section.
        reshape: Turns keys as a person writes them into those of `cls`.

    Raises:
        UsageError: The file is missing or not TOML, or a key or value is wrong.
    """
    where = "the options"
    values: dict[str, Any] = {**(base or {})}
    if file is not None:
        values |= reshape(read_section(file, section, must_be_there=must_be_there))
        where = f"{file} [{section}]"
        from_mapping(cls, values, where=where)  # what is wrong in the file is said of the file
    return from_mapping(cls, {**values, **options}, where="the options" if options else where)


def difference(old: object, new: object) -> dict[str, tuple[Any, Any]]:
    """Return the fields in which two configurations of one class differ, name → (old, new)."""
    before, after = to_mapping(old), to_mapping(new)
    return {key: (before[key], after[key]) for key in before if before[key] != after[key]}


def read_section(file: Path, section: str, *, must_be_there: bool = False) -> dict[str, Any]:
    """Return the plain content of a table of a TOML file.

    Raises:
        UsageError: The file is missing or not TOML, holds an unknown table, or lacks this one though it must not.
    """
    content = toml.read(file, where=f"configuration {file}")
    for key in content:
        if key not in SECTIONS:
            got = "an unknown one"
            raise UsageError(f"table [{key}] in {file}", "a known table", got, fix=nearest(key, SECTIONS))
    if must_be_there and section not in content:
        raise UsageError(f"configuration {file}", f"with a table [{section}]", "none", fix=f"write [{section}]")
    values = content.get(section, {})
    if not isinstance(values, dict):
        raise UsageError(f"[{section}] in {file}", "a table", type(values).__name__, fix=f"write [{section}]")
    return values
