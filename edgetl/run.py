"""The run: the folder that `finetune` writes and every later command reads.

RUN/run.json              this module's `Run`
RUN/config.json           the resolved configuration, written first: what `--resume` continues
RUN/split.csv             every image with its split and content digest
RUN/weights.safetensors   the whole network
RUN/metrics.jsonl         one line per epoch and stage, written while running
RUN/predictions.csv       every validation and test image with its scores
RUN/report.html           for people
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, Literal

from edgetl.errors import RunError
from edgetl.files import changing, clear, contents, sha256_of, write_whole
from edgetl_runtime.errors import UsageError
from edgetl_runtime.preprocess import PreprocessSpec
from edgetl_runtime.schema import from_mapping, to_mapping
from edgetl_runtime.tasks.inspection import Labels, Params, Thresholds
from edgetl_runtime.tasks.softmax import check_temperature

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What fine-tuning found; stored as `run.json`.

    Attributes:
        backbone: Name in the catalogue, or `timm/<name>`.
        image_px: Side of the square input.
        kept: Which of the two models validation preferred.
        classes: In the order of the logits.
        defect_classes: Those of them that are defects.
        preprocess: From image to tensor.
        mean: Per-channel mean of the normalisation, for values 0 to 1.
        std: Per-channel standard deviation, likewise.
        thresholds: Fitted on validation.
        temperature: Fitted on validation.
        cost: How the thresholds were chosen.
        val: Metrics of the kept model on validation.
        test: Metrics of the kept model on test.
        baseline_val: Metrics of the frozen backbone with its head on validation.
        baseline_test: The same on test.
        finetuned_val: Metrics of the fine-tuned model on validation, also where it was not kept; None for `fast`.
        seconds: Wall time of the stages.
        weights: Where the pretrained weights came from, and their licence.
        data: Path, digests, counts, licence and the images that were left out.
        config: The resolved configuration.
        augment: The augmentation that was trained with, and how much of each part the images bear.
        versions: Of the packages that computed the run.
        conditions: The machine and how busy it was.
        test_looks: How often the test split was evaluated so far.
        files: SHA-256 of the files it was written with, by name; whoever reads the run compares them.
    """

    schema: Literal["edgetl.run/1"] = "edgetl.run/1"
    edgetl_version: str
    created: str
    task: Literal["inspection"] = "inspection"
    backbone: str
    image_px: int
    kept: Literal["baseline", "finetuned"]
    classes: tuple[str, ...]
    defect_classes: tuple[str, ...]
    preprocess: PreprocessSpec
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    thresholds: Thresholds
    temperature: float
    cost: dict[str, Any]
    val: dict[str, Any]
    test: dict[str, Any]
    baseline_val: dict[str, Any]
    baseline_test: dict[str, Any]
    finetuned_val: dict[str, Any] | None = None
    seconds: dict[str, float]
    weights: dict[str, Any]
    data: dict[str, Any]
    config: dict[str, Any]
    augment: dict[str, Any] = dataclasses.field(default_factory=dict)
    versions: dict[str, str]
    conditions: dict[str, Any]
    test_looks: int = 1
    files: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_temperature(self.temperature)

    @property
    def good_classes(self) -> tuple[str, ...]:
        """The classes of good parts."""
        return tuple(name for name in self.classes if name not in self.defect_classes)

    @property
    def in_words(self) -> str:
        """Which classes are good parts and which are defects, as one line."""
        return classes_in_words(self.classes, self.defect_classes)

    @property
    def labels(self) -> Labels:
        """What is decided about, as the device's task wants it."""
        return Labels(classes=self.classes, defect_classes=self.defect_classes)

    @property
    def params(self) -> Params:
        """How the float model decides, likewise."""
        return Params(thresholds=self.thresholds, temperature=self.temperature)


def classes_in_words(classes: Sequence[str], defects: Sequence[str]) -> str:
    """Return which classes are good parts and which are defects, as every command that trains says first.

    Example:
        >>> classes_in_words(["OK", "dent", "scratch"], ["dent", "scratch"])
        'good: OK; defects: dent, scratch'
    """
    good = [name for name in classes if name not in defects]
    return f"good: {', '.join(good)}; defects: {', '.join(defects)}"


class RunFolder:
    """Names the files of a run and reads and writes its JSON durably."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run_json = path / "run.json"
        self.config_json = path / "config.json"
        self.split_csv = path / "split.csv"
        self.weights = path / "weights.safetensors"
        self.metrics = path / "metrics.jsonl"
        self.predictions = path / "predictions.csv"
        self.report = path / "report.html"
        self.checkpoints = path / "checkpoints"

    def check_free(self, *, replace: bool) -> None:
        """Refuse to write a new run over something else.

        Raises:
            UsageError: The path exists and may not be replaced, or is not a run.
        """
        out = self.path
        if not out.exists() or (out.is_dir() and not contents(out)):
            return
        if not replace:
            fix = "--force to replace it, or --resume"
            raise UsageError(f"--out {out}", "a new folder", "an existing one", fix=fix)
        if not self.config_json.is_file():
            fix = "choose another folder"
            raise UsageError(f"--out {out}", "a run, to be replaced by --force", "something else", fix=fix)

    def begin(self, config: dict[str, Any]) -> None:
        """Make the folder with its `config.json`; a run that is there is removed first.

        The caller holds the folder.

        Raises:
            UsageError: The path exists and is not a run.
        """
        self.check_free(replace=True)
        self.path.mkdir(parents=True, exist_ok=True)
        self.run_json.unlink(missing_ok=True)  # first: what is half removed must not look finished
        clear(self.path, keep=self.config_json.name)
        write_json(self.config_json, config)

    def read(self) -> Run:
        """Read `run.json`, and make sure that the split, the weights and the predictions are those it speaks of.

        A file that is not there is left to whoever needs it.

        Raises:
            RunError: The folder holds no finished run, one of another version, or files of several runs.
        """
        if not self.run_json.is_file():
            got = "an unfinished one" if self.config_json.is_file() else "no run.json"
            fix = f"edgetl finetune DATA --out {self.path}" + (" --resume" if self.config_json.is_file() else "")
            raise RunError(f"run {self.path}", "a finished run", got, fix=fix)
        mapping = read_json(self.run_json)
        if isinstance(mapping, dict) and mapping.get("task") == "classification":  # what edgetl 0.1 called it
            mapping["task"] = "inspection"
        run = from_mapping(Run, mapping, where=str(self.run_json), error=RunError)
        for path in (self.split_csv, self.weights, self.predictions):
            _check_file(path, run.files.get(path.name), self.run_json)
        return run

    def write(self, run: Run) -> None:
        """Write `run.json`; its presence says that the run is finished."""
        write_json(self.run_json, to_mapping(run))

    def count_look(self) -> None:
        """Count one more look at test in `run.json`, whoever else counts at the same time."""
        with changing(self.path):
            run = self.read()
            self.write(dataclasses.replace(run, test_looks=run.test_looks + 1))

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append one line to `metrics.jsonl`."""
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")


def read_json(path: Path) -> Any:  # noqa: ANN401  (JSON)
    """Read a JSON file of a run.

    Raises:
        RunError: It cannot be read or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(
            str(path), "readable JSON", f"{error!s:.80}", fix="run edgetl finetune again with --force"
        ) from error


def write_json(path: Path, value: Any) -> None:  # noqa: ANN401  (JSON)
    """Write a JSON file durably: temporary file, fsync, rename."""
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False).encode())


def _check_file(path: Path, expected: str | None, run_json: Path) -> None:
    fix = "restore the folder from a backup, or run edgetl finetune again with --force --split-from none"
    if expected is None:
        raise RunError(f"{path.name} of {run_json}", "recorded with its digest", "none", fix=fix)
    try:
        found = sha256_of(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(str(path), "a readable file", error.strerror or type(error).__name__, fix=fix) from error
    if found != expected:
        got = f"another one (SHA-256 {found[:16]}, not {expected[:16]})"
        raise RunError(str(path), f"the one that {run_json.name} was written with", got, fix=fix)
