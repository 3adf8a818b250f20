"""`edgetl finetune DATA --out RUN`."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl import tasks
from edgetl.cli.settling import settle_task
from edgetl.config import FinetuneConfig, difference, resolve, with_aims
from edgetl.errors import RunError
from edgetl.files import taken
from edgetl.run import RunFolder, read_json
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import from_mapping, to_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgetl.report.verdict import Answer
    from edgetl.run import Run

_PRESET = "--preset best for longer training, --preset quick for shorter: the preset decides it"
# options that other tools have; a preset holds them, so that results can be compared
HINTS = dict.fromkeys(("--epochs", "--lr", "--learning-rate", "--batch-size", "--batch", "--optimizer"), _PRESET)
AUGMENTATIONS = ("flip_h", "flip_v", "rotate90", "affine", "photometric", "noise")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; those not given are left to `--config` and the defaults."""
    add = parser.add_argument
    add(
        "data",
        nargs="?",
        metavar="DATA",
        default=argparse.SUPPRESS,
        help="folder of class folders, or a CSV (path, label, …)",
    )
    add("--out", required=True, type=Path, metavar="RUN", help="folder to write the run into")
    add("--config", type=Path, metavar="FILE", help="TOML file with a [finetune] table; options win over it")
    add("--resume", action="store_true", help="continue an interrupted run")
    add("--force", action="store_true", help="replace an existing run")
    option = option_adder(parser.add_argument_group("the network"))
    option("--backbone", help="see 'edgetl backbones'; default tf_efficientnet_lite0")
    option("--image-size", type=int, metavar="PX", help="side of the square input; default the backbone's own")
    add_training_options(parser)


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Declare what is computed, whatever the network: data, splits, training and costs."""
    option = option_adder(parser.add_argument_group("what to compute"))
    option("--weights", metavar="auto|none|PATH", help="pretrained weights; default auto")
    option("--preset", help="fast, quick, balanced (default) or best; scratch for --weights none")
    option("--seed", type=int, help="default 0")
    option("--task", choices=tasks.names(), help="what to learn; default as the names of the classes tell")
    option("--device", choices=("auto", "cpu", "cuda"), help="default auto")
    option("--skip-bad", action="store_true", help="go on without unusable images and list them in the report")
    option("--bit-depth", type=int, choices=(8, 10, 12, 14, 16), help="bits per channel of the camera; default 8")
    option("--resize", choices=("stretch", "fit", "crop"), help="how images become square; default stretch")
    option("--roi-px", nargs=4, type=int, metavar=("X", "Y", "W", "H"), help="region of interest")
    option("--val-fraction", type=float, help="share of the training part, where DATA has no val split; default 0.15")
    option("--test-fraction", type=float, help="share of all, where DATA has no test split; default 0.25")
    option(
        "--split-from",
        metavar="RUN|none",
        help="keep the split of the images that this run knows, draw new ones only; default the run in --out, if any",
    )
    option("--no-augment", nargs="+", choices=AUGMENTATIONS, help="augmentations that would change the label")
    option("--data-licence", metavar="TEXT", help="licence of the images, carried into the bundle")
    for task in map(tasks.get, tasks.names()):
        group = option_adder(parser.add_argument_group(f"{task.name} (--task {task.name})"))
        for one in task.training_options:
            group(one.name, **dict(one.keywords))


def option_adder(group: argparse._ArgumentGroup) -> Any:  # noqa: ANN401  (add_argument's signature)
    """Return `add_argument` with nothing as default, so that only given options reach the configuration."""

    def option(name: str, **keywords: Any) -> None:  # noqa: ANN401
        group.add_argument(name, default=argparse.SUPPRESS, **keywords)

    return option


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Fine-tune; the result is the interface described in the README."""
    folder = RunFolder(args.out)
    config = None if args.resume else given_config(args)
    with taken(folder.path, "edgetl finetune"):
        if config is None:
            config = resumed_config(args, folder)
        else:
            folder.check_free(replace=args.force)
        result, answer = _finetune(config, folder, args)
    task = tasks.get(result.task)
    usual = ("verdict_accuracy", "accuracy", "balanced_accuracy", "macro_f1", "verdicts", "confusion", "n")
    keys = (*usual, *(count.key for count in task.counts))
    metrics = {"val": result.val, "test": result.test, "baseline_test": result.baseline_test}
    return {
        "schema": "edgetl.finetune/1",
        "answer": to_mapping(answer),
        "statements": list(task.statements(result.test)),
        "run": str(args.out),
        "backbone": result.backbone,
        "kept": result.kept,
        "task": result.task,
        "labels": to_mapping(result.labels),
        **{name: {key: values[key] for key in keys} for name, values in metrics.items()},
        "seconds": result.seconds,
        "report": str(folder.report),
    }


def _finetune(config: FinetuneConfig, folder: RunFolder, args: argparse.Namespace) -> tuple[Run, Answer]:
    from edgetl.progress import Progress

    progress = Progress()
    config = settle_task(config, progress, args)  # before anything slow is imported
    from edgetl.finetune.pipeline import finetune
    from edgetl.report.run_report import write_run_report

    run = finetune(config, folder, progress, resume=args.resume)
    shutil.rmtree(folder.checkpoints, ignore_errors=True)
    return run, write_run_report(folder, run)


def given_config(args: argparse.Namespace, *, base: Mapping[str, Any] | None = None) -> FinetuneConfig:
    """Build the configuration from options, `--config` and the defaults.

    Args:
        args: The parsed arguments.
        base: Stands where neither options nor the file say anything.

    Raises:
        UsageError: DATA is missing, or a key or value is wrong.
    """
    flat = with_aims(vars(args))
    given = {k: v for k, v in flat.items() if k in FinetuneConfig.__dataclass_fields__}
    config = resolve(
        FinetuneConfig,
        section="finetune",
        file=args.config,
        options=given,
        base=base or {"data": ""},
        reshape=with_aims,
    )
    if not config.data:
        fix = "edgetl finetune DATA --out RUN, or data = … below [finetune] in --config"
        raise UsageError("DATA", "a folder or a CSV file", "nothing", fix=fix)
    return _absolute(config)


def _absolute(config: FinetuneConfig) -> FinetuneConfig:
    """Return the configuration with whole paths: a run is resumed and read from any folder."""
    whole = {"data": str(Path(config.data).absolute())}
    for name, words in (("weights", ("auto", "none")), ("split_from", (None, "none"))):
        value = getattr(config, name)
        if value not in words:
            whole[name] = str(Path(value).absolute())
    return dataclasses.replace(config, **whole)  # type: ignore[arg-type]


def resumed_config(args: argparse.Namespace, folder: RunFolder) -> FinetuneConfig:
    """Return the configuration an interrupted run was started with; options given again must not differ from it.

    Raises:
        UsageError: There is no run to be resumed, or an option differs.
    """
    if not folder.config_json.is_file():
        fix = f"drop --resume, or check {folder.path}"
        raise UsageError("--resume", "used on a run that was started", f"no run in {folder.path}", fix=fix)
    if folder.run_json.is_file():
        raise UsageError("--resume", "used on an unfinished run", "a finished one", fix="--force to start again")
    stored = read_json(folder.config_json)
    old = from_mapping(FinetuneConfig, stored, where=str(folder.config_json), error=RunError)
    new = given_config(args, base=to_mapping(old))
    for name, (before, after) in difference(old, new).items():
        must = f"{before!r} as when the run was started"
        raise UsageError(f"{name} on --resume", must, repr(after), fix="the same options as before")
    return old


def show(result: Mapping[str, Any]) -> str:
    """Return the answer and a short table."""
    lines = [*answer_lines(result["answer"]), *result["statements"], ""]
    counts = tasks.get(result["task"]).counts
    titles = "".join(f"{count.key:>10}" for count in counts)
    lines += [f"{'':10}{'verdicts':>10}{'classes':>10}{titles}{'n':>7}"]
    for name, title in (("baseline_test", "baseline"), ("test", "kept"), ("val", "kept, val")):
        m = result[name]
        counted = "".join(f"{m[count.key]:>10}" for count in counts)
        lines.append(f"{title:10}{m['verdict_accuracy']:>10.4f}{m['accuracy']:>10.4f}{counted}{m['n']:>7}")
    total = result["seconds"]["total"]
    lines += ["", f"kept: {result['kept']} model of {result['backbone']}, {total:.0f} s; report: {result['report']}"]
    return "\n".join(lines)


def answer_lines(answer: Mapping[str, Any]) -> list[str]:
    """Return the report's answer, and what stands against shipping."""
    points = [f"  {point['level']}: {point['text']}" for point in answer["points"] if point["level"] != "note"]
    return [f"May I ship this? {answer['words']}", *points]
