"""`edgetl deploy RUN --target T --out FILE.edgetl`."""

from __future__ import annotations

import contextlib
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl import tasks
from edgetl.cli.contract_options import ALLOW_DISTURBED, add_contract_options, read_contract
from edgetl.cli.deliver import add_delivery_options, check_delivery, delivery_lines, hand_over
from edgetl.cli.finetune import answer_lines, option_adder
from edgetl.cli.search import add_grid_options, chosen_by_search
from edgetl.files import changing, file_taken, reading
from edgetl_runtime.cli.lines import columns, wrapped
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from edgetl.report.verdict import Answer
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
    from edgetl_runtime.bundle import open_bundle

    config = resolve(DeployConfig, section="deploy", file=args.config, options=_given(args, DeployConfig))
    contract = read_contract(args, config=args.config)
    profile = profiles.get(config.target)
    keys = check_delivery(args, arch=profile.arch)
    folder, progress = RunFolder(args.run_folder), Progress()
    if args.search:
        folder, config = chosen_by_search(args, config, contract, progress, held)
    run = folder.read()
    deploying = Deploying(folder, run, profile, config, contract, progress)
    try:
        done = deploying.deploy(args.out, replace=args.force)
    except UnmetContractError as error:
        progress.note("\n".join(["", *table(error.candidates, task=run.task, chosen=None), ""]))
        raise
    with open_bundle(args.out) as bundle:
        digest = bundle.manifest_sha256
    result = {
        "schema": "edgetl.deploy/1",
        "bundle": str(args.out),
        "deployed_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "manifest_sha256": digest,
        "target": profile.name,
        "task": run.task,
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
    answer = record(folder, result)
    if keys or args.host or args.offline_package:
        result |= hand_over(args.out, keys, args, progress)
        answer = record(folder, result)  # with what the device measured
    return result | {"answer": to_mapping(answer)}


def record(folder: RunFolder, result: Mapping[str, Any]) -> Answer:
    """Keep what a deployment found in the run, beside those before it; return what the run's report answers now."""
    from edgetl.report.run_report import write_run_report
    from edgetl.run import write_json

    deployments = folder.path / "deployments"
    with changing(folder.path):  # the report shows what others record at the same time
        deployments.mkdir(exist_ok=True)
        name = f"{result['deployed_at'][:19].replace(':', '')}-{result['target']}-{result['manifest_sha256'][:8]}.json"
        write_json(deployments / name, result)
        return write_run_report(folder, folder.read())


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


def table(
    candidates: Sequence[Mapping[str, Any]], *, task: str, chosen: str | None, width: int | None = None
) -> list[str]:
    """Return the rows that compare candidates, the header first; none is wider than the terminal.

    Args:
        candidates: As `deploy --json` prints them.
        task: Whose counts are shown.
        chosen: Id of the one that ships; None where none does.
        width: Columns; None takes those of the terminal.
    """
    width = width or columns()
    first = max([len("candidate"), *(len(c["id"]) for c in candidates)])
    keys = [count.key for count in tasks.get(task).counts]
    counts = "".join(f"{key:>9}" for key in keys)
    titles = f"{'accuracy':>9}{'drop pp':>8}{'flips':>6}{counts}{'p50 ms':>8}{'p99 ms':>8} verdict"
    lines = [f"{'candidate':{first}}{titles}"]
    for c in candidates:
        latency = c["latency_ms"] or {}
        p50, p99 = (f"{latency[k]:.2f}" if latency.get(k) is not None else "-" for k in ("p50", "p99"))
        counted = "".join(f"{c[key]:>9}" for key in keys)
        figures = f"{c['accuracy']:>9.4f}{c['drop_pp']:>8.2f}{c['flips']:>6}{counted}"
        row = f"{c['id']:{first}}{figures}{p50:>8}{p99:>8} "
        word = "chosen" if c["id"] == chosen else "kept" if c["accepted"] else "refused"
        more = [] if c["accepted"] else [c["why"]]
        if c["accepted"] and c.get("unproven"):
            more.append(f"UNPROVEN: {c['unproven']}")
        if c.get("close"):
            more.append(f"narrowly: {c['close']} is within chance")
        whole = row + ", ".join([word, *more] if c["accepted"] else more or [word])
        if len(whole) <= width:
            lines.append(whole)
        else:  # what the verdict rests on stands below its row, whole
            lines += [row + word, *(line for words in more for line in wrapped(f"    {words}", width, indent=2))]
    return lines


def show(result: Mapping[str, Any]) -> str:
    """Return a table of the candidates and what shipped."""
    t = result["confirmed"]
    lines = [*answer_lines(result["answer"]), *t["statements"], ""]
    lines += table(result["candidates"], task=result["task"], chosen=result["chosen"])
    lines += ["", f"validation n = {result['candidates'][0]['n']}"]
    lines += [note["text"] for note in result["notes"]]
    lines += [
        f"confirmed on test (n = {t['n']}): right verdicts {t['verdict_accuracy']:.4f}, "
        f"right classes {t['accuracy']:.4f} (float {t['float_accuracy']:.4f}), "
        f"{''.join(f'{count.key} {t[count.key]}, ' for count in tasks.get(result['task']).counts)}flips {t['flips']}",
        f"{result['bundle']}: {result['size_bytes'] / 1e6:.1f} MB for {result['target']}, proven in a fresh process",
    ]
    lines += delivery_lines(result) if "delivery" in result else []
    if not result.get("signed_by"):
        lines.append("unsigned: devices ask for a signature; edgetl keys new, then --key or edgetl keys sign")
    if result["unproven"]:
        lines.append(f"UNPROVEN: {'; '.join(result['unproven'])}; the device proves it when it installs, or refuses")
    return "\n".join(part for line in lines for part in wrapped(line, columns()) or [""])
