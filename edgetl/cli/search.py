"""`edgetl search DATA|RUN… --target T --out DIR`: the fastest network that keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.api.grid_search import SearchRequest, is_run, look_for
from edgetl.api.text import search_text
from edgetl.cli.asking import asking
from edgetl.cli.contract_options import ALLOW_DISTURBED, add_contract_options, read_contract
from edgetl.cli.finetune import HINTS as HINTS
from edgetl.cli.finetune import add_training_options, given_config, option_adder
from edgetl.progress import Progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from edgetl.search.grid import SearchConfig

ALLOWANCES = ("allow_unproven", "allow_disturbed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; those not given are left to `--config` and the defaults."""
    add = parser.add_argument
    add("sources", nargs="+", type=Path, metavar="DATA|RUN", help="one data set, or runs that 'edgetl finetune' wrote")
    add("--out", required=True, type=Path, metavar="DIR", help="folder for runs, report and the state of the search")
    add("--config", type=Path, metavar="FILE", help="TOML file with tables [search], [finetune], [contract]")
    add("--resume", action="store_true", help="continue a search that was stopped")
    add("--force", action="store_true", help="replace an earlier search")
    option = option_adder(parser.add_argument_group("where it will run"))
    option("--target", help="device profile, see 'edgetl devices list'; default local")
    option("--threads", type=numbers, metavar="N,…", help="default one, and all that the target may use")
    option("--allow-disturbed", action="store_true", help=ALLOW_DISTURBED)
    add_grid_options(parser)
    add_training_options(parser)
    add_contract_options(parser)


def add_grid_options(parser: argparse.ArgumentParser) -> None:
    """Declare the grid; every option takes values with commas between them."""
    option = option_adder(parser.add_argument_group("the grid, values with commas between them"))
    option("--backbones", type=names, metavar="NAME,…", help="see 'edgetl backbones'; default that of the training")
    option("--image-sizes", type=numbers, metavar="PX,…", help="sides of the square input; default the backbone's own")
    option("--precisions", type=names, metavar="NAME,…", help="default all of the target")
    option("--backends", type=names, metavar="NAME,…", help="default all of the target")
    option("--slice-images", type=int, help="training images to rank networks on before fine-tuning; default 300")
    option(
        "--slice-margin-pp", type=float, help="percentage points below the best that a network may be there; default 10"
    )
    option("--max-gap-pp", type=float, help="percentage points below the most accurate float network; default 2")


def names(text: str) -> tuple[str, ...]:
    """Read words with commas between them."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers with commas between them."""
    return tuple(int(word) for word in names(text))


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Search; the result is described in docs/json.md."""
    grid, contract, progress = read_grid(args), read_contract(args, config=args.config), Progress()
    sources = tuple(args.sources)
    training = None if all(map(is_run, sources)) else given_config(args, base={"data": str(sources[0])})
    request = SearchRequest(
        sources=sources,
        out=args.out,
        grid=grid,
        training=training,
        contract=contract,
        resume=args.resume,
        force=args.force,
        **{name: getattr(args, name, False) for name in ALLOWANCES},
    )
    return look_for(request, progress, asking(args, progress)).to_mapping()


def read_grid(args: argparse.Namespace, *, without: Sequence[str] = ()) -> SearchConfig:
    """Build the grid from the options and the `[search]` table of `--config`.

    Args:
        args: The parsed arguments.
        without: Options of the command that are not the grid's, though they have the name of one.
    """
    from edgetl.config import resolve
    from edgetl.search.grid import SearchConfig

    given = {name: value for name, value in vars(args).items() if name in SearchConfig.__dataclass_fields__}
    given = {name: value for name, value in given.items() if name not in without}
    return resolve(SearchConfig, section="search", file=args.config, options=given)


def show(result: Mapping[str, Any]) -> str:
    """Return the points, what was rejected early, and the choice."""
    return search_text(result)
