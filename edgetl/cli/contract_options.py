"""The contract on a command line: the same options, and the same file, for every command that takes one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.api.contracts import below_task, terms_of_tasks
from edgetl.cli.finetune import option_adder
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from edgetl_runtime.contract import Contract

EXAMPLE = (
    "TOML file with a [contract] table; keys are the options' names, p99_ms = 8 or max_escapes_of = { crack = 0 }; "
    "options win"
)
ALLOW_DISTURBED = "take the fastest even if a disturbed machine leaves it unclear, to within 3 %%, which one that is"


def add_contract_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the contract, and the file that may hold them."""
    group = parser.add_argument_group("contract")
    group.add_argument("--contract", type=Path, metavar="FILE", help=EXAMPLE)
    option = option_adder(group)
    option("--max-drop-pp", type=float, help="accuracy lost against the float model, percentage points; default 0.5")
    option("--max-flips-pct", type=float, help="decisions that differ from the float model's, per cent; default 2")
    for one in terms_of_tasks():
        option(one.name, **dict(one.keywords))
    option("--p50-ms", type=float, help="median from encoded image to decision; default unlimited")
    option("--p99-ms", type=float, help="99th percentile of the same; default unlimited")
    option("--max-memory-mb", type=float, help="resident memory of the deciding process; default unlimited")
    option("--max-size-mb", type=float, help="size of the model's file; default unlimited")
    option(
        "--allow-unproven",
        action="store_true",
        help="go on if a bound cannot be measured here; the device has to prove it when it installs",
    )


def read_contract(args: argparse.Namespace, *, config: Path | None) -> Contract:
    """Build the contract from the options, `--contract`, else the `[contract]` table of `--config`.

    Raises:
        UsageError: A file, a key or a value is wrong.
    """
    from edgetl.config import resolve
    from edgetl_runtime.contract import Contract

    options = dict(vars(args))
    for one in terms_of_tasks():
        if one.field in options and dict(one.keywords).get("nargs"):
            options[one.field] = _pairs(one.name, options[one.field])
    flat = below_task(options)
    given = {name: value for name, value in flat.items() if name in Contract.__dataclass_fields__}
    source: dict[str, Any] = {"section": "contract", "file": args.contract or config, "reshape": below_task}
    in_file = resolve(Contract, options={}, must_be_there=args.contract is not None, **source)
    if "of_task" in given:
        given["of_task"] = _merged(in_file.of_task, given["of_task"])
    return resolve(Contract, options=given, **source)


def _pairs(option: str, words: Sequence[str]) -> dict[str, int]:
    """Read the words of an option of the form NAME=N."""
    found = {}
    for word in words:
        name, equals, count = word.rpartition("=")
        if not name or not equals or not re.fullmatch(r"-?[0-9]{1,9}", count):
            raise UsageError(option, "of the form NAME=N", f"'{word}'", fix=f"{option} scratch=0")
        if name in found:
            raise UsageError(option, f"given once for {name}", "twice", fix=f"{option} {name}={count}")
        found[name] = int(count)
    return found


def _merged(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the terms of a file with those of the options, class by class."""
    both = {**before, **given}
    for name, value in given.items():
        if isinstance(value, Mapping) and isinstance(before.get(name), Mapping):
            both[name] = {**before[name], **value}
    return both
