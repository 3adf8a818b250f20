"""The first stages of a deployment: what was asked for, the float model, every variant judged on validation."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from edgetl import tasks
from edgetl.data.samples import Sample
from edgetl.deploy import candidates as room
from edgetl.deploy.candidates import Candidate, Split
from edgetl.deploy.climbing import Climber
from edgetl.deploy.compiler_check import check_embedding, compiled
from edgetl.deploy.contract import Judge, too_large
from edgetl.deploy.ledger import check_ledger
from edgetl.deploy.measuring import unmeasured_terms
from edgetl.deploy.plan import PlannedCandidate, narrowed, plan
from edgetl.deploy.request import DeployConfig
from edgetl.deploy.retraining import retrained
from edgetl.deploy.terms import require_proof, untested_terms
from edgetl.errors import RunError
from edgetl.profiles import DeviceProfile
from edgetl.run import Run, RunFolder
from edgetl.tasks.base import Decided
from edgetl_runtime.contract import Contract, Term
from edgetl_runtime.probe import facts

if TYPE_CHECKING:
    from edgetl.export.run_export import Exported as FloatModel  # noqa: TC004  (loads torch; nothing reads this type)
    from edgetl.progress import Progress
    from edgetl.quantize.calibration import CalibrationSet

SAME_ACCURACY = 0.02  # engines round differently; what is further off is another model


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Asked:
    """What is to be deployed, where to, and what it must keep.

    Attributes:
        folder: The run's.
        run: What is in it.
        profile: The target.
        config: What was asked for.
        contract: What candidates must keep.
        against: The same, held against what the run's task counts.
        planned: The variants to try.
        untested: Bounds that this run's images cannot tell.
    """

    folder: RunFolder
    run: Run
    profile: DeviceProfile
    config: DeployConfig
    contract: Contract
    against: Judge
    planned: tuple[PlannedCandidate, ...]
    untested: tuple[Term, ...]

    @property
    def line(self) -> str:
        """The product line of the bundle."""
        return self.config.line or self.folder.path.resolve().name

    def check(self) -> None:
        """Say before minutes of work what would be refused after them.

        Raises:
            EdgetlError: The line, the ledger or an option cannot be used, or a bound can never be proven here.
        """
        check_ledger(self.line)
        if self.config.embed_engine:
            check_embedding(self.profile)
        known = () if self.profile.measured_here else unmeasured_terms(self.contract, self.profile)
        require_proof((*self.untested, *known), allowed=self.config.allow_unproven)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Exported:
    """The float model, and what it decides on validation.

    Attributes:
        samples: `train`, `val` and `test`.
        model: The exported float model, proven equal to the trained one.
        val: Decoded validation images.
        reference: What the float model decides on them.
    """

    samples: dict[str, tuple[Sample, ...]]
    model: FloatModel
    val: Split
    reference: Decided


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """Every planned model, judged on validation; nothing is timed yet, and test was not looked at.

    Attributes:
        candidates: All of them.
        calibration_digest: Of the images that set the ranges; None where no recipe needed any.
    """

    candidates: tuple[Candidate, ...]
    calibration_digest: str | None


def ask(
    folder: RunFolder,
    run: Run,
    profile: DeviceProfile,
    config: DeployConfig,
    contract: Contract,
    *,
    planned: tuple[PlannedCandidate, ...] | None = None,
) -> Asked:
    """Return what is to be done.

    Args:
        folder: The run's.
        run: What is in it.
        profile: The target.
        config: What was asked for.
        contract: What candidates must keep.
        planned: The variants to try; None takes the target's, narrowed by `config`.

    Raises:
        UsageError: The target has no such variant, or the contract a term or class that the run does not know.
    """
    against = Judge.of(contract, task=run.task, labels=run.labels)
    if planned is None:
        every = plan(profile, cores=facts().cores, precision=config.precision)
        planned = narrowed(every, backend=config.backend, threads=config.threads, rungs=config.rungs)
    return Asked(
        folder=folder,
        run=run,
        profile=profile,
        config=config,
        contract=contract,
        against=against,
        planned=planned,
        untested=tuple(untested_terms(against, run.data["counts"])),
    )


def export(asked: Asked, progress: Progress) -> Exported:
    """Export the float model and let it decide on validation.

    Raises:
        EdgetlError: The run or its images cannot be used.
    """
    from edgetl.data.split_file import samples_of
    from edgetl.export.run_export import export_run

    run = asked.run
    listed = samples_of(asked.folder, run)
    samples = {name: tuple(s for s in listed if s.split == name) for name in ("train", "val", "test")}
    with progress.stage("export and prove parity"):
        model = export_run(asked.folder, run)
    val = decoded(run, samples["val"], "val", progress)
    with progress.stage("float reference"):
        outputs = room.outputs_of("onnxruntime", model.model, room.FLOAT, val.images)
    reference = tasks.get(run.task).decided(outputs, val.labels, run.labels, run.params)
    recorded, found = run.val["accuracy"], reference.figures["accuracy"]
    if not abs(found - recorded) <= max(SAME_ACCURACY, 2 / len(val.labels)):  # an edited run, or other weights
        must, got = f"as accurate on validation as the run says, {recorded:.4f}", f"{found:.4f}"
        fix = f"edgetl finetune DATA --out {asked.folder.path} --force"
        raise RunError("the float model", must, got, fix=fix)
    return Exported(samples=samples, model=model, val=val, reference=reference)


def decoded(run: Run, samples: tuple[Sample, ...], name: str, progress: Progress) -> Split:
    """Return a split of a run as tensors."""
    from edgetl.data.images import load_images

    with progress.stage(f"decode {name}") as advance:
        images = load_images(samples, run.preprocess, progress=advance)
    labels = np.array([s.label for s in samples], np.int64)
    return Split(images=images, labels=labels, groups=tuple(s.unit for s in samples))


def judge(asked: Asked, exported: Exported, progress: Progress) -> Judged:
    """Make every planned model and judge it on validation."""
    calibration = _calibration(asked, exported, progress)
    found = [c for planned in asked.planned for c in _climbed(asked, exported, planned, calibration, progress)]
    return Judged(
        candidates=tuple(
            dataclasses.replace(c, why=(*c.why, *too_large(asked.contract, size_bytes=len(c.model)))) for c in found
        ),
        calibration_digest=None if calibration is None else calibration.digest,
    )


def _calibration(asked: Asked, exported: Exported, progress: Progress) -> CalibrationSet | None:
    from edgetl.quantize.calibration import select

    if not any(planned.recipe.uses_images for planned in asked.planned):
        return None
    train = exported.samples["train"]
    labels = np.array([s.label for s in train], np.int64)
    return select(decoded(asked.run, train, "train", progress).images, labels, seed=asked.run.config["seed"])


def _climbed(
    asked: Asked,
    exported: Exported,
    planned: PlannedCandidate,
    calibration: CalibrationSet | None,
    progress: Progress,
) -> list[Candidate]:
    name = f"{planned.backend}-{planned.precision}"
    reason = room.unusable_here(planned.backend, planned.precision)
    if reason is not None:
        progress.note(f"{name}: left out, {reason}")
        return []
    with progress.stage(f"{name}: make and evaluate") as advance:

        def retrain(rounding: str) -> bytes:
            return retrained(asked.folder, asked.run, exported.samples["train"], rounding, advance)

        climber = Climber(
            asked.run,
            against=asked.against,
            reference=exported.reference,
            val=exported.val,
            model=exported.model.model,
            calibration=calibration,
            folder=asked.folder.path / "quantized",
            retrain=retrain if asked.config.retrain else None,
        )
        return compiled(climber.climb(planned), asked.profile, progress.note)
