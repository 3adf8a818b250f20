"""`edgetl deploy RUN --target T --out FILE.edgetl`."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.cli.contract_options import ALLOW_DISTURBED, add_contract_options, read_contract
from edgetl.cli.deliver import add_delivery_options, check_delivery, delivery_lines, hand_over
from edgetl.cli.finetune import option_adder
from edgetl.cli.search import add_grid_options, chosen_by_search
from edgetl.files import changing, file_taken, reading
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from edgetl.run import RunFolder

WHO = "edgetl deploy"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; those not given are left to `--config`, `--contract` and the defaults."""
    add = parser.add_argument
    add("run_folder", metavar="RUN", type=Path, help="folder that 'edgetl finetune' wrote")
    add("--out", required=True, type=Path, metavar="FILE.edgetl", help="the bundle to write")
    add("--force", action="store_true", help="replace an existing bundle")
    add("--config", type=Path, metavar="FILE", help="TOML file with tables [deploy] and [contract]; options win")
    option = option_adder(parser.add_argument_group("what to deploy"))
    option("--target", help="device profile, see 'edgetl devices list'; default local")
    option("--precision", choices=("f32", "bf16", "f16", "int8"), help="only this one; missing the contract is exit 3")
    option("--backend", help="only this one of the target's")
    option("--threads", type=int, help="only this many instead of one and all that the target may use")
    option("--rungs", type=int, help="climb the INT8 ladder this far at most; default to its end where it must")
    option(
        "--retrain",
        action="store_true",
        help="where INT8 misses the contract, train it at last to bear rounding, the float model its teacher: minutes",
    )
    option("--allow-disturbed", action="store_true", help=ALLOW_DISTURBED)
    option("--line", help="product line of the bundle; default the run's name")
    option(
        "--embed-engine",
        action="store_true",
        help="add an engine compiled ahead of time for an RTX card; it is loaded from signed bundles alone",
    )
    option("--golden", metavar="DIR", help="images for the golden vectors; default validation images of the run")
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
    """Deploy; the result is the interface described in the README."""
    with contextlib.ExitStack() as held:
        held.enter_context(new_file(args.out, force=args.force, who=WHO))
        held.enter_context(reading(args.run_folder, WHO))
        return _deploy(args, held)


def _deploy(args: argparse.Namespace, held: contextlib.ExitStack) -> Mapping[str, Any]:
    from edgetl import profiles
    from edgetl.config import resolve
    from edgetl.deploy.contract import UnmetContractError
    from edgetl.deploy.notes import joined
    from edgetl.deploy.pipeline import Deploying
    from edgetl.deploy.request import DeployConfig
    from edgetl.deploy.terms import unproven
    from edgetl.progress import Progress
    from edgetl.run import RunFolder

    config = resolve(DeployConfig, section="deploy", file=args.config, options=_given(args, DeployConfig))
    contract = read_contract(args, config=args.config)
    profile = profiles.get(config.target)
    keys = check_delivery(args)
    folder, progress = RunFolder(args.run_folder), Progress()
    if args.search:
        folder, config = chosen_by_search(args, config, contract, progress, held)
    deploying = Deploying(folder, folder.read(), profile, config, contract, progress)
    try:
        done = deploying.deploy(args.out, replace=args.force)
    except UnmetContractError as error:
        progress.note("\n".join(["", *table(error.candidates, chosen=None), ""]))
        raise
    result = {
        "schema": "edgetl.deploy/1",
        "bundle": str(args.out),
        "target": profile.name,
        "chosen": done.chosen,
        "confirmed": done.confirmed,
        "candidates": [c.to_mapping() | {"made_by": c.evidence} for c in done.candidates],
        "float": done.reference,
        "contract": to_mapping(contract),
        "note": joined(done.notes),
        "notes": [note.to_mapping() for note in done.notes],
        "memory_mb": done.memory_mb,
        "terms": [term.to_mapping() for term in done.terms],
        "unproven": [term.clause for term in unproven(done.terms)],
        "size_bytes": args.out.stat().st_size,
        "parity": done.parity,
    }
    record(folder, result)
    if keys or args.host or args.offline_package:
        result |= hand_over(args.out, keys, args, progress)
        record(folder, result)  # with what the device measured
    return result


def record(folder: RunFolder, result: Mapping[str, Any]) -> None:
    """Keep what a deployment found in the run, and show it in the run's report."""
    from edgetl.report.run_report import write_run_report
    from edgetl.run import write_json

    deployments = folder.path / "deployments"
    with changing(folder.path):  # the report shows what others record at the same time
        deployments.mkdir(exist_ok=True)
        write_json(deployments / f"{result['target']}.json", result)
        write_run_report(folder, folder.read())


@contextlib.contextmanager
def new_file(out: Path, *, force: bool, who: str) -> Iterator[None]:
    """Hold the name of a file while it is made; refuse one that cannot be written, before any work is done.

    Raises:
        UsageError: It exists and `--force` was not given, or its folder does not exist.
        InUseError: Another process is making it.
    """
    if not out.resolve().parent.is_dir():
        raise UsageError(f"--out {out}", "in an existing folder", "a missing one", fix=f"mkdir -p {out.parent}")
    with file_taken(out, who):
        if out.is_dir() or (out.exists() and not force):
            fix = "--force to replace it, or another name"
            raise UsageError(f"--out {out}", "a new file", "an existing one", fix=fix)
        yield


def _given(args: argparse.Namespace, cls: type[Any]) -> dict[str, Any]:
    return {name: value for name, value in vars(args).items() if name in cls.__dataclass_fields__}


def table(candidates: Sequence[Mapping[str, Any]], *, chosen: str | None) -> list[str]:
    """Return the rows that compare candidates, the header first.

    Args:
        candidates: As `deploy --json` prints them.
        chosen: Id of the one that ships; None where none does.
    """
    header = (
        f"{'candidate':22}{'accuracy':>9}{'drop pp':>9}{'flips':>7}{'escapes':>9}{'p50 ms':>8}{'p99 ms':>8}  verdict"
    )
    lines = [header]
    for c in candidates:
        latency = c["latency_ms"] or {}
        p50, p99 = (f"{latency[k]:.2f}" if latency.get(k) is not None else "-" for k in ("p50", "p99"))
        verdict = "chosen" if c["id"] == chosen else "kept the contract" if c["accepted"] else c["why"]
        verdict += f", unproven: {c['unproven']}" if c["accepted"] and c.get("unproven") else ""
        verdict += f", narrowly: {c['close']} is within chance" if c.get("close") else ""
        figures = f"{c['accuracy']:>9.4f}{c['drop_pp']:>9.2f}{c['flips']:>7}{c['escapes']:>9}"
        lines.append(f"{c['id']:22}{figures}{p50:>8}{p99:>8}  {verdict}")
    return lines


def show(result: Mapping[str, Any]) -> str:
    """Return a table of the candidates and what shipped."""
    lines = table(result["candidates"], chosen=result["chosen"])
    t = result["confirmed"]
    lines += ["", f"validation n = {result['candidates'][0]['n']}"]
    lines += [note["text"] for note in result["notes"]]
    lines += [
        f"confirmed on test (n = {t['n']}): accuracy {t['accuracy']:.4f} (float {t['float_accuracy']:.4f}), "
        f"escapes {t['escapes']}, overkill {t['overkill']}, flips {t['flips']}",
        t["statement"],
        f"{result['bundle']}: {result['size_bytes'] / 1e6:.1f} MB for {result['target']}, proven in a fresh process",
    ]
    lines += delivery_lines(result) if "delivery" in result else []
    if not result.get("signed_by"):
        lines.append("unsigned: devices ask for a signature; edgetl keys new, then --key or edgetl keys sign")
    if result["unproven"]:
        lines.append(f"UNPROVEN: {'; '.join(result['unproven'])}; the device proves it when it installs, or refuses")
    return "\n".join(lines)
