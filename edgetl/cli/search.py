"""`edgetl search DATA|RUN… --target T --out DIR`: the fastest network that keeps the contract."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.cli.contract_options import ALLOW_DISTURBED, add_contract_options, contract_words, read_contract
from edgetl.cli.finetune import HINTS as HINTS
from edgetl.cli.finetune import add_training_options, given_config, option_adder
from edgetl.cli.settling import settle_task
from edgetl.files import clear, contents, reading, taken
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from edgetl.config import FinetuneConfig
    from edgetl.deploy.contract import Contract
    from edgetl.deploy.request import DeployConfig
    from edgetl.progress import Progress
    from edgetl.run import RunFolder
    from edgetl.search.grid import Network, SearchConfig
    from edgetl.search.pipeline import Found, SearchJob
    from edgetl.search.state import SearchState

STATE = "state.json"
ALLOWANCES = ("allow_unproven", "allow_disturbed")
WHO = "edgetl search"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options; those not given are left to `--config` and the defaults."""
    add = parser.add_argument
    add("sources", nargs="+", type=Path, metavar="DATA|RUN", help="one data set, or runs that 'edgetl finetune' wrote")
    add("--out", required=True, type=Path, metavar="DIR", help="folder for runs, report and the state of the search")
    add("--config", type=Path, metavar="FILE", help="TOML file with tables [search], [finetune], [contract]")
    add("--resume", action="store_true", help="continue a search that was stopped or killed")
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
    option("--slice-margin-pp", type=float, help="how far below the best a network may be there; default 10")
    option("--max-gap-pp", type=float, help="how far below the most accurate float network to go; default 2")


def names(text: str) -> tuple[str, ...]:
    """Read words with commas between them."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def numbers(text: str) -> tuple[int, ...]:
    """Read whole numbers with commas between them."""
    return tuple(int(word) for word in names(text))


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Search; the result is the interface described in the README."""
    from edgetl import profiles
    from edgetl.progress import Progress
    from edgetl.search.pipeline import SearchJob
    from edgetl.search.state import SearchState

    config, contract = read_grid(args), read_contract(args, config=args.config)
    with contextlib.ExitStack() as held:
        held.enter_context(taken(args.out, WHO))
        if not args.resume:
            _check_free(args.out, replace=args.force)
        for source in args.sources:
            if (source / "run.json").is_file():
                held.enter_context(reading(source, WHO))
        progress = Progress()
        networks, training = _networks(args, config, progress)
        job = SearchJob(
            networks=networks, config=config, training=training, contract=contract, profile=profiles.get(config.target)
        )
        if not args.resume:
            clear(args.out)
        state = SearchState(args.out / STATE, job.asked(), resume=args.resume)
        allowed = {name: getattr(args, name, False) for name in ALLOWANCES}
        return search(args.out, job, state, progress, **allowed)


def search(
    out: Path,
    job: SearchJob,
    state: SearchState,
    progress: Progress,
    *,
    allow_unproven: bool,
    allow_disturbed: bool,
) -> dict[str, Any]:
    """Run a search, however far it had come, and write its report.

    Raises:
        UnmetContractError: No candidate keeps the contract; report and table show all that were tried.
        UnfitError: A term of the chosen candidate is unproven, or the choice is not decided, and that was not allowed.
    """
    from edgetl.deploy.contract import UnmetContractError
    from edgetl.deploy.terms import measured_terms, refuse_unproven, require_proof
    from edgetl.report.search_report import write_search_report
    from edgetl.run import write_json
    from edgetl.search.pipeline import Searching

    if not job.profile.measured_here:  # known before anything is trained
        terms = measured_terms(job.contract, latency=None, memory_mb=None, target=job.profile.name)
        require_proof(terms, allowed=allow_unproven)
    state.save()
    found = Searching(out, job, state, progress).search()
    result = {
        "schema": "edgetl.search/1",
        "out": str(out),
        "target": job.profile.name,
        "chosen": found.chosen["id"] if found.chosen else None,
        "why": found.why,
        "notes": [note.to_mapping() for note in found.notes],
        "unproven": found.chosen["unproven"] if found.chosen else [],
        "front": [p["id"] for p in sorted(found.points, key=lambda p: p["p50_ms"] or 0.0) if p["on_front"]],
        "points": found.points,
        "counts": list(found.counts),
        "networks": found.networks,
        "contract": to_mapping(job.contract),
        "search": to_mapping(job.config),
        "deploy": _deploy_words(found, job),
        "report": str(out / "report.html"),
    }
    write_json(out / "search.json", result)
    write_search_report(out, result)
    if found.chosen is None:
        progress.note("\n".join(["", *table(result), ""]))
        misses = "; ".join(f"{p['id']}: {p['why']}" for p in found.points)
        gone = "; ".join(f"{n['name']}: {n['why']}" for n in found.networks if n["why"])
        what, got = f"a candidate for {job.profile.name}", "; ".join(filter(None, (misses, gone)))
        fix = f"relax what is named, or widen the grid; {out / 'report.html'} shows all"
        raise UnmetContractError(what, "inside the contract on validation", got, fix=fix, candidates=found.points)
    if found.choice is not None and found.choice.rivals and not allow_disturbed:
        progress.note("\n".join(["", *table(result), ""]))
        state.timed = None  # to be timed again by --resume
        state.save()
        found.choice.require_decided()
    if not allow_unproven:
        refuse_unproven(found.chosen["unproven"])
    return result


def _deploy_words(found: Found, job: SearchJob) -> str | None:
    """Return the command that ships the chosen point."""
    if found.chosen is None:
        return None
    chosen = found.chosen
    run = next(n["run"] for n in found.networks if n["name"] == chosen["network"])
    words = ["edgetl", "deploy", run, "--target", job.profile.name, "--backend", chosen["backend"]]
    words += ["--precision", chosen["precision"]]
    words += ["--threads", str(chosen["threads"])] if chosen["threads"] else []
    words += contract_words(job.contract)
    return shlex.join([*words, "--out", f"{job.profile.name}.edgetl"])


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


def _networks(
    args: argparse.Namespace, config: SearchConfig, progress: Progress
) -> tuple[tuple[Network, ...], FinetuneConfig | None]:
    from edgetl.run import RunFolder
    from edgetl.search.grid import networks
    from edgetl.search.pipeline import networks_of_runs

    sources: Sequence[Path] = args.sources
    runs = [s for s in sources if (s / "run.json").is_file()]
    if len(runs) == len(sources):
        if config.backbones or config.image_sizes:
            fix = "edgetl search DATA, or edgetl deploy RUN --search"
            raise UsageError("--backbones and --image-sizes", "used with DATA", "finished runs", fix=fix)
        found = networks_of_runs(runs)
        progress.note(RunFolder(runs[0]).read().in_words)  # of the others too, or they are not compared
        return found, None
    if len(sources) > 1:
        other = next(s for s in sources if s not in runs)
        raise UsageError(
            "DATA|RUN", "one data set, or finished runs only", f"{other} among {len(sources)}", fix="drop it"
        )

    # the data is listed before networks are timed, and before --out is made
    training = settle_task(given_config(args, base={"data": str(sources[0])}), progress, args)
    return networks(config, backbone=training.backbone), training


def _check_free(out: Path, *, replace: bool) -> None:
    """Refuse to search in a folder where something else is.

    Raises:
        UsageError: It is not empty and may not be replaced, or is not a search.
    """
    if not contents(out):
        return
    if not replace:
        fix = "--resume to continue it, --force to replace it"
        raise UsageError(f"--out {out}", "a new folder", "an existing one", fix=fix)
    if not (out / STATE).is_file():
        must = "a search, to be replaced by --force"
        raise UsageError(f"--out {out}", must, "something else", fix="choose another folder")


def chosen_by_search(
    args: argparse.Namespace,
    config: DeployConfig,
    contract: Contract,
    progress: Progress,
    held: contextlib.ExitStack,
) -> tuple[RunFolder, DeployConfig]:
    """Search around a finished run; return the run and the variant that `edgetl deploy` then confirms and ships.

    The search is kept in RUN/search/TARGET and continued there where it was asked for the same. `held` keeps that
    folder from others as long as what was found in it is being shipped.

    Raises:
        UnmetContractError: No candidate keeps the contract.
        UsageError: The grid is wrong.
    """
    import dataclasses

    from edgetl import profiles
    from edgetl.config import FinetuneConfig
    from edgetl.run import RunFolder
    from edgetl.search.grid import networks
    from edgetl.search.pipeline import SearchJob, networks_of_runs
    from edgetl.search.state import SearchState
    from edgetl_runtime.schema import from_mapping

    folder = RunFolder(args.run_folder)
    run = folder.read()
    grid = _grid_of(args, config)
    progress.note(run.in_words)
    training = from_mapping(FinetuneConfig, run.config, where=str(folder.run_json))
    training = dataclasses.replace(training, task=run.task, split_from=str(folder.path.absolute()))
    further = networks(grid, backbone=run.backbone) if grid.backbones or grid.image_sizes else ()
    others = [n for n in further if (n.backbone, n.image_px) != (run.backbone, run.image_px)]
    job = SearchJob(
        networks=(*networks_of_runs([folder.path]), *others),
        config=grid,
        training=training,
        contract=contract,
        profile=profiles.get(config.target),
    )
    out = folder.path / "search" / job.profile.name
    held.enter_context(taken(out, WHO))
    resume = SearchState.fits(out / STATE, job.asked())
    if not resume:
        _check_free(out, replace=True)
        clear(out)
    state = SearchState(out / STATE, job.asked(), resume=resume)
    result = search(out, job, state, progress, **{name: getattr(config, name) for name in ALLOWANCES})
    progress.note("\n".join(["", *table(result), "", *_choice_lines(result), ""]))
    point = next(p for p in result["points"] if p["chosen"])
    shipped = next(n["run"] for n in result["networks"] if n["name"] == point["network"])
    chosen = {"backend": point["backend"], "precision": point["precision"], "threads": point["threads"]}
    chosen["line"] = config.line or folder.path.resolve().name  # the product's, whichever network was found for it
    return RunFolder(Path(shipped)), dataclasses.replace(config, **chosen)


def _grid_of(args: argparse.Namespace, config: DeployConfig) -> SearchConfig:
    """Return the grid of a deployment's options, which narrow it where they name one of something."""
    import dataclasses

    grid = dataclasses.replace(read_grid(args, without=("target", "threads")), target=config.target)
    return dataclasses.replace(
        grid,
        precisions=(config.precision,) if config.precision else grid.precisions,
        backends=(config.backend,) if config.backend else grid.backends,
        threads=(config.threads,) if config.threads else grid.threads,
    )


def table(result: Mapping[str, Any]) -> list[str]:
    """Return the rows that compare the points of a search, the header first; `*` marks the front."""
    width = max((len(p["id"]) for p in result["points"]), default=0) + 2
    counts = result["counts"]
    titles = f"{'accuracy':>9}{'gap pp':>8}{'flips':>7}{''.join(f'{c:>9}' for c in counts)}{'p50 ms':>8}{'p99 ms':>8}"
    lines = [f"  {'candidate':{width}}{titles}  verdict"]
    for p in result["points"]:
        p50, p99 = (f"{p[k]:.2f}" if p[k] is not None else "-" for k in ("p50_ms", "p99_ms"))
        verdict = "chosen" if p["chosen"] else "kept the contract" if p["accepted"] else p["why"]
        verdict += f", unproven: {'; '.join(p['unproven'])}" if p["accepted"] and p["unproven"] else ""
        counted = "".join(f"{p[key]:>9}" for key in counts)
        figures = f"{p['accuracy']:>9.4f}{p['gap_pp']:>8.2f}{p['flips']:>7}{counted}{p50:>8}{p99:>8}"
        lines.append(f"{'*' if p['on_front'] else ' '} {p['id']:{width}}{figures}  {verdict}")
    return lines


def _choice_lines(result: Mapping[str, Any]) -> list[str]:
    return [f"chosen: {result['chosen']}, {result['why']}", *(note["text"] for note in result["notes"])]


def show(result: Mapping[str, Any]) -> str:
    """Return the points, what was rejected early, and the choice."""
    lines = table(result)
    n = result["points"][0]["n"] if result["points"] else 0
    lines += ["", f"* on the front of accuracy (validation, n = {n}) against p50"]
    lines += [f"not fine-tuned: {n['name']}, {n['why']}" for n in result["networks"] if n["why"]]
    lines += _choice_lines(result)
    lines += [f"report: {result['report']}"]
    lines += [f"ship it; deploy looks at test once: {result['deploy']}"] if result["deploy"] else []
    lines += [f"UNPROVEN: {'; '.join(result['unproven'])}"] if result["unproven"] else []
    return "\n".join(lines)
