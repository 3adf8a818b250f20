"""A search from request to result, alone and before a deployment."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.api.contracts import contract_words
from edgetl.api.results import Searched
from edgetl.api.settling import settle_task
from edgetl.api.text import choice_lines, point_rows
from edgetl.config import FinetuneConfig
from edgetl.files import clear, contents, reading, taken
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from edgetl.api.calls import Ask
    from edgetl.deploy.request import DeployConfig
    from edgetl.progress import Progress
    from edgetl.run import RunFolder
    from edgetl.search.grid import Network, SearchConfig, SearchJob
    from edgetl.search.pipeline import Found
    from edgetl.search.state import SearchState
    from edgetl_runtime.contract import Contract

STATE = "state.json"
WHO = "edgetl search"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SearchRequest:
    """What a search is asked for.

    Attributes:
        sources: One data set, or finished runs.
        out: Folder for runs, report and the state of the search.
        grid: Which networks, and which of their variants.
        training: How networks are fine-tuned; None where the sources are runs.
        contract: What candidates must keep.
        resume: Continue the search in `out`.
        force: Replace the search in `out`.
        allow_unproven: Go on even if a bound cannot be measured here.
        allow_disturbed: Take the fastest even if it is unclear which one that is.
    """

    sources: tuple[Path, ...]
    out: Path
    grid: SearchConfig
    training: FinetuneConfig | None
    contract: Contract
    resume: bool = False
    force: bool = False
    allow_unproven: bool = False
    allow_disturbed: bool = False


def is_run(path: Path) -> bool:
    """Return whether a folder holds a finished run."""
    return (path / "run.json").is_file()


def look_for(request: SearchRequest, progress: Progress, ask: Ask | None = None) -> Searched:
    """Search as asked for; whatever an earlier search in that folder did is not done again.

    Raises:
        EdgetlError: See `search`.
    """
    from edgetl import profiles
    from edgetl.search.grid import SearchJob
    from edgetl.search.state import SearchState

    out, resume = request.out, request.resume
    with contextlib.ExitStack() as held:
        held.enter_context(taken(out, WHO))
        if not resume:
            _check_free(out, replace=request.force)
        for source in filter(is_run, request.sources):
            held.enter_context(reading(source, WHO))
        networks, training = _networks(request, progress, ask)
        job = SearchJob(
            networks=networks,
            config=request.grid,
            training=training,
            contract=request.contract,
            profile=profiles.get(request.grid.target),
        )
        if not resume:
            clear(out)
        state = SearchState(out / STATE, job.asked(), resume=resume)
        result = _searched(
            out,
            job,
            state,
            progress,
            allow_unproven=request.allow_unproven,
            allow_disturbed=request.allow_disturbed,
        )
    run = next(n["run"] for n in result["networks"] if n["chosen"])
    return Searched(
        json=result,
        out=out,
        chosen=result["chosen"],
        why=result["why"],
        points=result["points"],
        networks=result["networks"],
        run=Path(run),
        deploy=result["deploy"],
        unproven=tuple(result["unproven"]),
        report=Path(result["report"]),
    )


def _searched(
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
        "counts": list(found.counts),
        "points": found.points,
        "networks": found.networks,
        "contract": to_mapping(job.contract),
        "search": to_mapping(job.config),
        "deploy": _deploy_words(found, job),
        "report": str(out / "report.html"),
    }
    write_json(out / "search.json", result)
    write_search_report(out, result)
    if found.chosen is None:
        progress.note("\n".join(["", *point_rows(result), ""]))
        misses = "; ".join(f"{p['id']}: {p['why']}" for p in found.points)
        gone = "; ".join(f"{n['name']}: {n['why']}" for n in found.networks if n["why"])
        what, got = f"a candidate for {job.profile.name}", "; ".join(filter(None, (misses, gone)))
        fix = f"a wider bound for what is named, or more --backbones or --image-sizes; see {out / 'report.html'}"
        raise UnmetContractError(what, "inside the contract on validation", got, fix=fix, candidates=found.points)
    if found.choice is not None and found.choice.rivals and not allow_disturbed:
        progress.note("\n".join(["", *point_rows(result), ""]))
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


def _networks(
    request: SearchRequest, progress: Progress, ask: Ask | None
) -> tuple[tuple[Network, ...], FinetuneConfig | None]:
    from edgetl.run import RunFolder
    from edgetl.search.grid import networks
    from edgetl.search.pipeline import networks_of_runs

    sources, config = request.sources, request.grid
    runs = [s for s in sources if is_run(s)]
    if not sources:
        raise UsageError("DATA|RUN", "one data set, or finished runs", "nothing", fix="give the folder of the images")
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
            "DATA|RUN",
            "one data set, or finished runs only",
            f"{other} among {len(sources)}",
            fix=f"edgetl search {' '.join(map(str, runs)) or sources[0]}",
        )

    if request.training is None:
        raise UsageError("DATA", "given where networks are to be trained", "nothing", fix="give DATA")
    # the data is listed before networks are timed, and before --out is made
    training = settle_task(request.training, progress, ask)
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
    folder: RunFolder,
    grid: SearchConfig,
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
    from edgetl import profiles
    from edgetl.run import RunFolder
    from edgetl.search.grid import SearchJob, networks
    from edgetl.search.pipeline import networks_of_runs
    from edgetl.search.state import SearchState
    from edgetl_runtime.schema import from_mapping

    run = folder.read()
    grid = _narrowed(grid, config)
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
    result = _searched(
        out,
        job,
        state,
        progress,
        allow_unproven=config.allow_unproven,
        allow_disturbed=config.allow_disturbed,
    )
    progress.note("\n".join(["", *point_rows(result), "", *choice_lines(result), ""]))
    point = next(p for p in result["points"] if p["chosen"])
    shipped = next(n["run"] for n in result["networks"] if n["name"] == point["network"])
    chosen = {"backend": point["backend"], "precision": point["precision"], "threads": point["threads"]}
    chosen["line"] = config.line or folder.path.resolve().name  # the product's, whichever network was found for it
    return RunFolder(Path(shipped)), dataclasses.replace(config, **chosen)


def _narrowed(grid: SearchConfig, config: DeployConfig) -> SearchConfig:
    """Return the grid of a deployment, whose options narrow it where they name one of something."""
    return dataclasses.replace(
        grid,
        precisions=(config.precision,) if config.precision else grid.precisions,
        backends=(config.backend,) if config.backend else grid.backends,
        threads=(config.threads,) if config.threads else grid.threads,
        target=config.target,
    )
