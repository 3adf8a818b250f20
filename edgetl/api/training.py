"""Train: `edgetl.finetune`, `edgetl.load_run`, and what the command does with a whole configuration."""

from __future__ import annotations

import dataclasses
import inspect
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

from edgetl import tasks
from edgetl.api.calls import AnyPath, Ask, calling, options_of, plain
from edgetl.api.progress import ProgressOption, progress_of
from edgetl.api.results import TrainedRun
from edgetl.api.settling import settle_task
from edgetl.config import FinetuneConfig, difference, resolve
from edgetl.errors import RunError
from edgetl.files import reading, taken
from edgetl.run import RunFolder, read_json
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import from_mapping, nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from edgetl.progress import Progress
    from edgetl.report.verdict import Answer
    from edgetl.run import Run

Augmentation = Literal["flip_h", "flip_v", "rotate90", "affine", "photometric", "noise"]
WHO = "edgetl finetune"


P = ParamSpec("P")
R = TypeVar("R")


def aims_of_tasks() -> dict[str, dataclasses.Field[Any]]:
    """Return what only a task can be asked for, by name."""
    found = [dataclasses.fields(tasks.get(name).aims_type) for name in tasks.names()]
    return {field.name: field for fields in found for field in fields}


def showing_aims(function: Callable[P, R]) -> Callable[P, R]:
    """Let `help` and notebooks list what tasks may be asked for among the keywords of a function."""
    signature, only = inspect.signature(function), inspect.Parameter.KEYWORD_ONLY
    own = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    more = [
        inspect.Parameter(name, only, default=field.default, annotation=field.type)
        for name, field in aims_of_tasks().items()
    ]
    setattr(function, "__signature__", signature.replace(parameters=[*own, *more]))  # noqa: B010  (unknown to mypy)
    return function


@showing_aims
def finetune(
    data: AnyPath,
    *,
    out: AnyPath,
    resume: bool = False,
    force: bool = False,
    backbone: str = "tf_efficientnet_lite0",
    weights: AnyPath = "auto",
    image_size: int | None = None,
    preset: str = "balanced",
    seed: int = 0,
    task: str | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    skip_bad: bool = False,
    bit_depth: Literal[8, 10, 12, 14, 16] = 8,
    resize: Literal["stretch", "fit", "crop"] = "stretch",
    roi_px: tuple[int, int, int, int] | None = None,
    val_fraction: float = 0.15,
    test_fraction: float = 0.25,
    split_from: AnyPath | None = None,
    no_augment: Augmentation | Sequence[Augmentation] = (),
    data_licence: str = "not stated",
    progress: ProgressOption = "bars",
    **aims: Any,  # noqa: ANN401  (the task's)
) -> TrainedRun:
    """Adapt a backbone to a folder of part images.

    The keys of a table [finetune] in a TOML file are the keywords: `finetune(**table, out="runs/screws")`.

    Args:
        data: Folder of class folders, or a CSV file (path, label, …).
        out: Folder to write the run into.
        resume: Continue an interrupted run in `out`; the options must be those it was started with.
        force: Replace an existing run.
        backbone: Name in the catalogue (`edgetl backbones`), or `timm/<name>`.
        weights: `auto`, `none` or a path.
        image_size: Side of the square input in pixels; None takes the backbone's own, times the preset's factor.
        preset: `quick`, `fast`, `balanced` or `best`; `scratch` for weights `none`.
        seed: Of splits, order, augmentation, dropout and the new classifier; 0 or above.
        task: What to learn; None leaves it to the aims, else to the names of the classes.
        device: Where the trainable part runs.
        skip_bad: Leave out unusable images and list them in the report.
        bit_depth: Bits per channel that carry the picture; declared, never guessed.
        resize: How images become square.
        roi_px: Region of interest (x, y, width, height) in pixels.
        val_fraction: Share of the training part for validation, 0 to 1, where the data gives no split.
        test_fraction: Share of all for the test, 0 to 1, where the data gives no split.
        split_from: Run, or its split.csv, whose split is kept for every image it knows; `none` draws anew.
        no_augment: Augmentations that would change the label of these parts.
        data_licence: Licence of the images, carried into the bundle.
        progress: `"bars"`; a callable that is told (stage, done, total), total 0 while unknown; None is silent.
        aims: What only the task knows, each under its own name, as `edgetl finetune --help` lists them.

    Returns:
        The run, which is also on disk in `out`.

    Raises:
        UsageError: An option or a value is wrong.
        DataError: Images, labels or splits cannot be used.
        InUseError: Another call or process is at work.
        StoppedError: A signal asked for a stop; `resume=True` goes on.

    Example:
        >>> run = edgetl.finetune("parts/", out="runs/screws", preset="fast")  # doctest: +SKIP
        >>> run.test["escapes"], run.test["n_defect"]  # doctest: +SKIP
        (0, 60)
    """
    given = locals()
    with calling("edgetl.finetune"):
        return train(config_of(given), Path(out), resume=resume, force=force, progress=progress_of(progress))


def load_run(path: AnyPath) -> TrainedRun:
    """Read a finished run; nothing is changed.

    Args:
        path: The folder that `edgetl.finetune` or `edgetl finetune` wrote.

    Raises:
        RunError: It holds no finished run, one of another version, or files of several runs.
        InUseError: Another process is writing it.

    Example:
        >>> edgetl.load_run("runs/screws").answer.words  # doctest: +SKIP
        'Yes, as far as the test can tell'
    """
    from edgetl.report.deployments import newest, read_deployments
    from edgetl.report.pictures import lookalikes, read_listing
    from edgetl.report.verdict import answer

    with calling("edgetl.load_run", alone=False):
        folder = RunFolder(Path(path).absolute())
        with reading(folder.path, "edgetl.load_run"):
            run = folder.read()
            alike = lookalikes(read_listing(folder.split_csv), run)
            counts = [count.key for count in tasks.get(run.task).counts]
            deployments, _ = read_deployments(folder.path / "deployments", counts=counts)
        found = answer(run, newest(deployments), lookalikes=None if alike.unchecked else alike.test_images)
        return _result(folder, run, found)


def train(
    config: FinetuneConfig,
    out: Path,
    *,
    resume: bool = False,
    force: bool = False,
    progress: Progress,
    ask: Ask | None = None,
) -> TrainedRun:
    """Fine-tune as configured into a folder, and write its report.

    Args:
        config: What to compute.
        out: The run's folder.
        resume: Continue the run in it.
        force: Replace the run in it.
        progress: Shows the stages.
        ask: Asks a person which classes are defects, where their names do not tell.
    """
    if not config.data:
        raise UsageError("data", "a folder or a CSV file", "nothing", fix="give the folder of class folders")
    folder, config = RunFolder(out), absolute(config)
    with taken(folder.path, WHO):
        if resume:
            config = _unchanged(config, _stored(folder))
        else:
            folder.check_free(replace=force)
        config = settle_task(config, progress, ask)  # before anything slow is imported
        from edgetl.finetune.pipeline import finetune as compute
        from edgetl.report.run_report import write_run_report

        run = compute(config, folder, progress, resume=resume)
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
        return _result(folder, run, write_run_report(folder, run))


def stored_config(folder: RunFolder) -> FinetuneConfig:
    """Return the configuration that an interrupted run was started with.

    Raises:
        UsageError: There is no run to be resumed.
        InUseError: Another process works in it.
    """
    with taken(folder.path, WHO):
        return _stored(folder)


def _stored(folder: RunFolder) -> FinetuneConfig:
    if not folder.config_json.is_file():
        fix = f"drop --resume, or check {folder.path}"
        raise UsageError("--resume", "used on a run that was started", f"no run in {folder.path}", fix=fix)
    if folder.run_json.is_file():
        raise UsageError("--resume", "used on an unfinished run", "a finished one", fix="--force to start again")
    stored = read_json(folder.config_json)
    return from_mapping(FinetuneConfig, stored, where=str(folder.config_json), error=RunError)


def _unchanged(new: FinetuneConfig, old: FinetuneConfig) -> FinetuneConfig:
    """Return what a run was started with; options given again must not differ from it."""
    # what was settled when the run was started need not be said again
    new = dataclasses.replace(new, task=new.task or old.task, aims={**old.aims, **new.aims})
    for name, (before, after) in difference(old, new).items():
        must = f"{before!r} as when the run was started"
        raise UsageError(f"{name} on --resume", must, repr(after), fix="the same options as before")
    return old


def config_of(given: Mapping[str, Any]) -> FinetuneConfig:
    """Return the configuration in a function's arguments, its task's own below `aims`.

    Raises:
        TypeError: No task knows one of them.
        UsageError: A value is wrong.
    """
    known = aims_of_tasks()
    unknown = next((name for name in given["aims"] if name not in known), None)
    if unknown is not None:
        message = f"got an unexpected keyword argument '{unknown}'; {nearest(unknown, [*given, *known])}"
        raise TypeError(message)
    # as a person writes a file: what is left at None is not asked for
    aims = {name: plain(value, str(known[name].type)) for name, value in given["aims"].items() if value is not None}
    options = options_of(FinetuneConfig, given) | {"aims": aims}
    return resolve(FinetuneConfig, section="finetune", file=None, options=options)


def absolute(config: FinetuneConfig) -> FinetuneConfig:
    """Return the configuration with whole paths: a run is resumed and read from any folder."""
    whole = {"data": str(Path(config.data).absolute())}
    for name, words in (("weights", ("auto", "none")), ("split_from", (None, "none"))):
        value = getattr(config, name)
        if value not in words:
            whole[name] = str(Path(value).absolute())
    return dataclasses.replace(config, **whole)  # type: ignore[arg-type]


def _result(folder: RunFolder, run: Run, answer: Answer) -> TrainedRun:
    statements = tasks.get(run.task).statements(run.test)
    path = folder.path.absolute()  # whoever goes to another folder meanwhile still means this run
    report = path / folder.report.name
    return TrainedRun(path=path, run=run, answer=answer, statements=statements, report=report)
