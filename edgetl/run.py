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

from edgetl import tasks
from edgetl.errors import RunError
from edgetl.files import changing, clear, contents, sha256_of, write_whole
from edgetl_runtime.errors import UsageError
from edgetl_runtime.preprocess import PreprocessSpec
from edgetl_runtime.schema import from_mapping, to_mapping

if TYPE_CHECKING:
    from pathlib import Path


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What fine-tuning found; stored as `run.json`.

    Attributes:
        backbone: Name in the catalogue, or `timm/<name>`.
        image_px: Side of the square input.
        kept: Which of the two models validation preferred.
        task: What is decided.
        labels: What is decided about: the task's own.
        preprocess: From image to tensor.
        mean: Per-channel mean of the normalisation, for values 0 to 1.
        std: Per-channel standard deviation, likewise.
        params: How the float model decides, fitted on validation: the task's own.
        aims: What that was fitted for, name → value.
        val: Metrics of the kept model on validation.
        test: Metrics of the kept model on test.
        baseline_val: Metrics of the frozen backbone with its head on validation.
        baseline_test: The same on test.
        finetuned_val: Metrics of the fine-tuned model on validation, also where it was not kept; None for `fast`.
        seconds: Wall time of the stages.
        weights: Where the pretrained weights came from, and their licence.
        data: Path, digests, counts, licence and the images that were left out.
        config: The resolved configuration.
        augment: The augmentation that was trained with, and how much of each part suits the images.
        versions: Of the packages that computed the run.
        conditions: The machine and how busy it was.
        test_looks: How often the test split was evaluated so far.
        files: SHA-256 of the files it was written with, by name; whoever reads the run compares them.
    """

    schema: Literal["edgetl.run/2"] = "edgetl.run/2"
    edgetl_version: str
    created: str
    task: str
    backbone: str
    image_px: int
    kept: Literal["baseline", "finetuned"]
    labels: Any
    preprocess: PreprocessSpec
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    params: Any
    aims: dict[str, Any] = dataclasses.field(default_factory=dict)
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

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in the order of the outputs."""
        return tasks.get(self.task).device.classes(self.labels)

    @property
    def in_words(self) -> str:
        """What the set was taken for, as one line."""
        return tasks.get(self.task).in_words(self.labels)


class RunFolder:
    """Names the files of a run and reads and writes its JSON durably.

    Args:
        path: The folder.
        data: Where the run's images are now, if they were moved since: a folder, in place of the one it was made from.
    """

    def __init__(self, path: Path, *, data: Path | None = None) -> None:
        self.path = path
        self.data = data
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
            fix = "name a folder that edgetl finetune wrote by its --out"
            if self.config_json.is_file():
                fix = f"edgetl finetune DATA --out {self.path} --resume"
            raise RunError(f"run {self.path}", "a finished run", got, fix=fix)
        run = _typed(read_json(self.run_json), self.run_json)
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


def _typed(mapping: Any, path: Path) -> Run:  # noqa: ANN401  (JSON)
    """Return a run with labels and parameters of its task's own types."""
    if isinstance(mapping, dict) and mapping.get("schema") == "edgetl.run/1":
        fix = f"edgetl finetune DATA --out {path.parent} --force"
        raise RunError(f"run {path.parent}", "made by this edgetl", "one made by edgetl 0.1", fix=fix)
    plain = from_mapping(Run, mapping, where=str(path), error=RunError)
    try:
        device = tasks.get(plain.task).device
    except UsageError as error:
        raise RunError(f"the task of {path}", error.must, error.got, fix=error.fix) from error
    typed: dict[str, Any] = {
        name: from_mapping(kind, getattr(plain, name), where=f"{path}: {name} for {plain.task}", error=RunError)
        for name, kind in (("labels", device.labels_type), ("params", device.params_type))
    }
    return dataclasses.replace(plain, **typed)


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
