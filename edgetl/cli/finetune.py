"""`edgetl finetune DATA --out RUN`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl import tasks
from edgetl.api.text import run_text
from edgetl.api.training import absolute, stored_config, train
from edgetl.cli.asking import asking
from edgetl.config import FinetuneConfig, resolve, with_aims
from edgetl.progress import Progress
from edgetl.run import RunFolder
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Mapping

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
    option("--skip-bad", action="store_true", help="leave out unusable images and list them in the report")
    option("--bit-depth", type=int, choices=(8, 10, 12, 14, 16), help="bits per channel of the camera; default 8")
    option("--resize", choices=("stretch", "fit", "crop"), help="how images become square; default stretch")
    option(
        "--roi-px",
        nargs=4,
        type=int,
        metavar=("X", "Y", "W", "H"),
        help="region of interest; the rest of the image is not looked at",
    )
    option(
        "--val-fraction",
        type=float,
        help="share of training images to validate on, if DATA has no val split; default 0.15",
    )
    option(
        "--test-fraction", type=float, help="share of all images to test on, if DATA has no test split; default 0.25"
    )
    option(
        "--split-from",
        metavar="RUN|none",
        help="keep the split of images that this run knows; default the run in --out, if any; none draws all anew",
    )
    option(
        "--no-augment",
        nargs="+",
        choices=AUGMENTATIONS,
        help="augmentations to leave out because they would change the label",
    )
    option("--data-licence", metavar="TEXT", help="licence of the images, carried into the bundle")
    for task in map(tasks.get, tasks.names()):
        group = option_adder(parser.add_argument_group(f"{task.name} (--task {task.name})"))
        for one in task.training_options:
            group(one.name, **dict(one.keywords))


def option_adder(group: argparse._ArgumentGroup) -> Any:  # noqa: ANN401  (add_argument's signature)
    """Return `add_argument` with nothing as default, so that only given options reach the configuration."""

    def option(name: str, **keywords: Any) -> None:  # noqa: ANN401
        if keywords.get("nargs") == "+":  # given twice, both count: the first must not be forgotten
            keywords["action"] = "extend"
        group.add_argument(name, default=argparse.SUPPRESS, **keywords)

    return option


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Fine-tune; the result is described in docs/json.md."""
    progress = Progress()
    base = to_mapping(stored_config(RunFolder(args.out))) if args.resume else None
    config = given_config(args, base=base)
    done = train(config, args.out, resume=args.resume, force=args.force, progress=progress, ask=asking(args, progress))
    return done.to_mapping()


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
    return absolute(config)


def show(result: Mapping[str, Any]) -> str:
    """Return the answer and a short table."""
    return run_text(result)
