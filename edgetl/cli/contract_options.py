"""The contract on a command line: the same options, and the same file, for every command that takes one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.cli.finetune import option_adder
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from edgetl.deploy.contract import Contract

EXAMPLE = (
    "TOML file with a [contract] table; keys are the options' names, p99_ms = 8 or max_escapes_of = { crack = 0 }; "
    "options win"
)
ALLOW_DISTURBED = "take the fastest although, on a disturbed machine, it is not clear to within 3 %% which one that is"
PER_CLASS = {"max_escapes_of": "max_escapes", "max_overkill_of": "max_overkill"}


def add_contract_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of the contract, and the file that may hold them."""
    group = parser.add_argument_group("contract")
    group.add_argument("--contract", type=Path, metavar="FILE", help=EXAMPLE)
    option = option_adder(group)
    option("--max-drop-pp", type=float, help="accuracy loss against float, percentage points; default 0.5")
    option("--max-flips-pct", type=float, help="share of changed decisions, per cent; default 2")
    option("--max-escapes", type=int, help="default one more than the float model")
    option("--max-overkill", type=int, help="default unlimited")
    option("--max-escapes-of", nargs="+", metavar="CLASS=N", help="escapes of single defect classes")
    option("--max-overkill-of", nargs="+", metavar="CLASS=N", help="overkill of single classes of good parts")
    option("--p50-ms", type=float, help="median from encoded image to decision; default unlimited")
    option("--p99-ms", type=float, help="99th percentile of the same; default unlimited")
    option("--max-memory-mb", type=float, help="resident memory of the deciding process; default unlimited")
    option("--max-size-mb", type=float, help="file of the model; default unlimited")
    option(
        "--allow-unproven",
        action="store_true",
        help="go on although a bound could not be measured here; the device proves it when it installs",
    )


def read_contract(args: argparse.Namespace, *, config: Path | None) -> Contract:
    """Build the contract from the options, `--contract`, else the `[contract]` table of `--config`.

    Raises:
        UsageError: A file, a key or a value is wrong.
    """
    from edgetl.config import resolve
    from edgetl.deploy.contract import Contract

    given = {name: value for name, value in vars(args).items() if name in Contract.__dataclass_fields__}
    source: dict[str, Any] = {"section": "contract", "file": args.contract or config, "reshape": _by_class}
    in_file = resolve(Contract, options={}, must_be_there=args.contract is not None, **source)
    bounds = _per_class(args)
    if bounds:
        names = {*in_file.per_class, *bounds}
        given["per_class"] = {name: _merged(in_file.per_class.get(name), bounds.get(name, {})) for name in names}
    return resolve(Contract, options=given, **source)


def _by_class(table: dict[str, Any]) -> dict[str, Any]:
    """Turn `max_escapes_of = { crack = 0 }`, written like the option, into bounds by class."""
    values = dict(table)
    bounds: dict[str, Any] = dict(values.get("per_class") or {})
    for key, bound in PER_CLASS.items():
        counts = values.pop(key, {})
        if not isinstance(counts, dict):
            fix = f"{key} = {{ crack = 0 }}"
            raise UsageError(f"{key} of the contract's file", "a table of classes", f"{counts!r:.40}", fix=fix)
        for name, count in counts.items():
            bounds[name] = {**bounds.get(name, {}), bound: count}
    return values | ({"per_class": bounds} if bounds else {})


def contract_words(contract: Contract) -> list[str]:
    """Return the options that say what a contract says; none of what stands by default."""
    found: list[str] = []
    for field in dataclasses.fields(contract):
        value = getattr(contract, field.name)
        if field.name != "per_class" and value != field.default:
            found += ["--" + field.name.replace("_", "-"), f"{value:g}" if isinstance(value, float) else str(value)]
    for option, key in PER_CLASS.items():
        bounds = [f"{name}={n}" for name, b in contract.per_class.items() if (n := getattr(b, key)) is not None]
        found += ["--" + option.replace("_", "-"), *bounds] if bounds else []
    return found


def _per_class(args: argparse.Namespace) -> dict[str, dict[str, int]]:
    """Read the options of the form CLASS=N into class → bounds."""
    found: dict[str, dict[str, int]] = {}
    for option, key in PER_CLASS.items():
        for word in getattr(args, option, []):
            name, equals, count = word.rpartition("=")
            if not name or not equals or not count.lstrip("-").isdecimal():
                what = "--" + option.replace("_", "-")
                raise UsageError(what, "of the form CLASS=N", f"'{word}'", fix=f"{what} scratch=0")
            found.setdefault(name, {})[key] = int(count)
    return found


def _merged(before: Any, given: dict[str, int]) -> dict[str, Any]:  # noqa: ANN401  (ClassBounds or None)
    from edgetl_runtime.schema import to_mapping

    return (to_mapping(before) if before is not None else {}) | given
