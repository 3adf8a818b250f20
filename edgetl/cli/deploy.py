"""`edgetl deploy RUN --target T --out FILE.edgetl`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.api.deployment import DeployRequest, ship
from edgetl.api.text import deploy_text
from edgetl.cli.contract_options import ALLOW_DISTURBED, add_contract_options, read_contract
from edgetl.cli.deliver import add_delivery_options, delivery_request
from edgetl.cli.finetune import option_adder
from edgetl.cli.search import add_grid_options, read_grid
from edgetl.config import resolve
from edgetl.progress import Progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; those not given are left to `--config`, `--contract` and the defaults."""
    add = parser.add_argument
    add("run_folder", metavar="RUN", type=Path, help="folder that 'edgetl finetune' wrote")
    add("--out", required=True, type=Path, metavar="FILE.edgetl", help="the bundle to write")
    add("--force", action="store_true", help="replace an existing bundle")
    add("--config", type=Path, metavar="FILE", help="TOML file with tables [deploy] and [contract]; options win")
    option = option_adder(parser.add_argument_group("what to deploy"))
    option("--target", help="device profile, see 'edgetl devices list'; default local")
    option("--precision", choices=("f32", "bf16", "f16", "int8"), help="ship this one or nothing (exit code 3)")
    option("--backend", help="use only this one of the target's backends")
    option("--threads", type=int, help="try only this many; default one, and all that the target may use")
    option("--rungs", type=int, help="climb the INT8 ladder no further than this rung; default as far as needed")
    option(
        "--retrain",
        action="store_true",
        help="if every rung of INT8 misses the contract, train against rounding, taught by the float model (minutes)",
    )
    option("--allow-disturbed", action="store_true", help=ALLOW_DISTURBED)
    option("--line", help="product line of the bundle; default the run's name")
    option(
        "--embed-engine",
        action="store_true",
        help="add an engine compiled ahead of time for an RTX card; it is loaded from signed bundles only",
    )
    option("--data", metavar="FOLDER", help="where the run's images are now, if they were moved since")
    option(
        "--golden",
        metavar="DIR",
        help="folder of images, 16 of which become the golden vectors; default validation images",
    )
    add_contract_options(parser)
    add_delivery_options(parser)
    group = parser.add_argument_group("search")
    group.add_argument(
        "--search",
        action="store_true",
        help="choose among further networks too, fine-tuned as RUN was; kept in RUN/search/TARGET and continued there",
    )
    add_grid_options(parser)


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Deploy; the result is described in docs/json.md."""
    from edgetl.deploy.request import DeployConfig

    given = {name: value for name, value in vars(args).items() if name in DeployConfig.__dataclass_fields__}
    request = DeployRequest(
        run=args.run_folder,
        out=args.out,
        config=resolve(DeployConfig, section="deploy", file=args.config, options=given),
        contract=read_contract(args, config=args.config),
        delivery=delivery_request(args),
        grid=read_grid(args, without=("target", "threads")) if args.search else None,
        force=args.force,
    )
    return ship(request, Progress()).to_mapping()


def show(result: Mapping[str, Any]) -> str:
    """Return a table of the candidates and what shipped."""
    return deploy_text(result)
