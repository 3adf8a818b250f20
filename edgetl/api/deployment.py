"""Deploy: `edgetl.deploy`, and what the command does with a whole request."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgetl import tasks
from edgetl.api.calls import AnyPath, calling, options_of
from edgetl.api.contracts import contract_of
from edgetl.api.delivery import Arch, DeliveryRequest, check_delivery, hand_over, request_of
from edgetl.api.grid_search import chosen_by_search
from edgetl.api.progress import ProgressOption, progress_of
from edgetl.api.results import Deployed, TrainedRun
from edgetl.api.text import candidate_rows
from edgetl.config import resolve
from edgetl.files import changing, file_taken, reading
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from edgetl.deploy.request import DeployConfig, Deployment
    from edgetl.progress import Progress
    from edgetl.report.verdict import Answer
    from edgetl.run import RunFolder
    from edgetl.search.grid import Precision, SearchConfig
    from edgetl_runtime.contract import Contract

WHO = "edgetl deploy"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeployRequest:
    """What a deployment is asked for.

    Attributes:
        run: The run's folder.
        out: The bundle to write.
        config: What is tried, and for which target.
        contract: What candidates must keep.
        delivery: Where the bundle goes.
        grid: Further networks to choose among; None takes the run's own.
        force: Replace an existing bundle.
    """

    run: Path
    out: Path
    config: DeployConfig
    contract: Contract
    delivery: DeliveryRequest = dataclasses.field(default_factory=DeliveryRequest)
    grid: SearchConfig | None = None
    force: bool = False


def deploy(
    run: TrainedRun | AnyPath,
    *,
    out: AnyPath,
    force: bool = False,
    target: str = "local",
    precision: Literal["f32", "bf16", "f16", "int8"] | None = None,
    backend: str | None = None,
    threads: int | None = None,
    rungs: int | None = None,
    retrain: bool = False,
    allow_disturbed: bool = False,
    allow_unproven: bool = False,
    line: str | None = None,
    embed_engine: bool = False,
    data: AnyPath | None = None,
    golden: AnyPath | None = None,
    contract: Contract | AnyPath | None = None,
    key: AnyPath | Sequence[AnyPath] = (),
    host: str | None = None,
    root: str = "/var/lib/edgetl",
    runtime: str = "edgetl-runtime",
    stage_only: bool = False,
    trial_seconds: float = 60.0,
    allow_unsigned: bool = False,
    ssh_config: AnyPath | None = None,
    offline_package: AnyPath | None = None,
    python: str = "3.10",
    arch: Arch | None = None,
    trust: AnyPath | None = None,
    search: bool = False,
    backbones: str | Sequence[str] = (),
    image_sizes: int | Sequence[int] = (),
    precisions: Precision | Sequence[Precision] = (),
    backends: str | Sequence[str] = (),
    slice_images: int = 300,
    slice_margin_pp: float = 10.0,
    max_gap_pp: float = 2.0,
    progress: ProgressOption = "bars",
) -> Deployed:
    """Quantize a run, choose by measurement, look at test once, and write a bundle for a target.

    Args:
        run: What `edgetl.finetune` returned, or its folder.
        out: The .edgetl file to write.
        force: Replace an existing bundle.
        target: Device profile, see `edgetl devices list`.
        precision: Ship this one; if it misses the contract, nothing is written.
        backend: Use only this one of the target's backends.
        threads: Try only this many; None tries one, and all that the target may use.
        rungs: Climb the INT8 ladder no further than this rung; None climbs as far as needed.
        retrain: If every rung of INT8 misses the contract, train against rounding; takes minutes.
        allow_disturbed: Take the fastest even if a disturbed machine leaves it unclear which one that is.
        allow_unproven: Write the bundle even if a bound cannot be measured here.
        line: Product line of the bundle; None takes the name of the run's folder.
        embed_engine: Add an engine compiled ahead of time for an RTX card.
        data: Folder the run's images are in now, if they were moved since; their digests are compared.
        golden: Folder of images for the golden vectors instead of validation images.
        contract: What candidates must keep: an `edgetl.Contract` (times in milliseconds, memory in MB, rates in per
            cent), or a TOML file with a table [contract]; None takes the default one.
        key: This and what follows as for `edgetl.deliver`.
        host: See there.
        root: See there.
        runtime: See there.
        stage_only: See there.
        trial_seconds: See there.
        allow_unsigned: See there.
        ssh_config: See there.
        offline_package: See there.
        python: See there.
        arch: See there.
        trust: See there.
        search: Choose among further networks too, fine-tuned as the run was.
        backbones: This and what follows as for `edgetl.search`.
        image_sizes: See there.
        precisions: See there.
        backends: See there.
        slice_images: See there.
        slice_margin_pp: See there.
        max_gap_pp: See there.
        progress: As for `edgetl.finetune`.

    Returns:
        What was found. `require()` raises unless the answer is yes and every bound is proven.

    Raises:
        UsageError: An option or a value is wrong.
        ContractError: Nothing keeps the contract; nothing was written.
        UnfitError: It is not clear which candidate is fastest, or a bound is unproven, and that was not allowed.
        InUseError: Another call or process is at work.

    Example:
        >>> contract = edgetl.Contract(p99_ms=8, max_escapes=0)  # doctest: +SKIP
        >>> done = edgetl.deploy("runs/screws", out="screws.edgetl", contract=contract)  # doctest: +SKIP
        >>> done.chosen, done.confirmed["escapes"]  # doctest: +SKIP
        ('openvino-int8-t1', 0)
    """
    given = locals()
    with calling("edgetl.deploy"):
        from edgetl.deploy.request import DeployConfig
        from edgetl.search.grid import SearchConfig

        options = options_of(SearchConfig, {k: v for k, v in given.items() if k not in ("target", "threads")})
        request = DeployRequest(
            run=run.path if isinstance(run, TrainedRun) else Path(run),
            out=Path(out),
            config=resolve(DeployConfig, section="deploy", file=None, options=options_of(DeployConfig, given)),
            contract=contract_of(contract),
            delivery=request_of(given),
            grid=resolve(SearchConfig, section="search", file=None, options=options) if search else None,
            force=force,
        )
        return ship(request, progress_of(progress))


def ship(request: DeployRequest, progress: Progress) -> Deployed:
    """Deploy as asked for, hand the bundle over, and record both in the run.

    Raises:
        EdgetlError: See `deploy`.
    """
    with contextlib.ExitStack() as held:
        held.enter_context(new_file(request.out, force=request.force, who=WHO))
        held.enter_context(reading(request.run, WHO))
        return _shipped(request, progress, held)


def _shipped(request: DeployRequest, progress: Progress, held: contextlib.ExitStack) -> Deployed:
    from edgetl import profiles
    from edgetl.deploy.contract import UnmetContractError
    from edgetl.deploy.judged import ask
    from edgetl.deploy.pipeline import deploy as write
    from edgetl.report.deployments import deployment_from_json
    from edgetl.run import RunFolder

    config, contract, delivery, out = request.config, request.contract, request.delivery, request.out
    profile = profiles.get(config.target)
    keys = check_delivery(delivery, arch=profile.arch)
    folder = RunFolder(request.run, data=None if config.data is None else Path(config.data))
    if request.grid is not None and config.data is not None:
        fix = "move the images back, or deploy without --search"
        raise UsageError("--data", "given without --search", "both", fix=fix)
    if request.grid is not None:
        folder, config = chosen_by_search(folder, request.grid, config, contract, progress, held)
    run = folder.read()
    asked = ask(folder, run, profile, config, contract)
    try:
        done = write(asked, out, progress, replace=request.force)
    except UnmetContractError as error:
        progress.note("\n".join(["", *candidate_rows(error.candidates, task=run.task, chosen=None), ""]))
        raise
    result = _as_json(done, request, target=profile.name, task=run.task)
    answer = record(folder, result)
    if delivery.asked_for:
        result |= hand_over(out, keys, delivery, progress)
        answer = record(folder, result)  # with what the device measured
    return Deployed(
        json=result | {"answer": to_mapping(answer)},
        bundle=out.absolute(),
        target=profile.name,
        chosen=done.chosen,
        answer=answer,
        candidates=deployment_from_json(result, counts=[count.key for count in tasks.get(run.task).counts]).candidates,
        confirmed=done.confirmed,
        notes=tuple(note["text"] for note in result["notes"]),
        unproven=tuple(result["unproven"]),
        memory_mb=done.memory_mb,
        size_bytes=result["size_bytes"],
        delivery=result.get("delivery"),
        package=result.get("package"),
    )


def _as_json(done: Deployment, request: DeployRequest, *, target: str, task: str) -> dict[str, Any]:
    from edgetl.deploy.notes import joined
    from edgetl_runtime.bundle import open_bundle
    from edgetl_runtime.contract import of_standing
    from edgetl_runtime.proof import Standing

    with open_bundle(request.out) as bundle:
        digest = bundle.manifest_sha256
    return {
        "schema": "edgetl.deploy/1",
        "bundle": str(request.out),
        "deployed_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "manifest_sha256": digest,
        "target": target,
        "task": task,
        "chosen": done.chosen,
        "confirmed": done.confirmed,
        "candidates": [c.to_mapping() | {"made_by": c.evidence} for c in done.candidates],
        "float": done.reference,
        "contract": to_mapping(request.contract),
        "note": joined(done.notes),
        "notes": [note.to_mapping() for note in done.notes],
        "memory_mb": done.memory_mb,
        "terms": [term.to_mapping() for term in done.terms],
        "unproven": of_standing(done.terms, Standing.UNPROVEN),
        "size_bytes": request.out.stat().st_size,
        "parity": done.parity,
    }


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
