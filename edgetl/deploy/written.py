"""The last stage of a deployment: the bundle, proven in a fresh process before it has its name."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.data.samples import spread
from edgetl.deploy.bundle_writer import write_bundle
from edgetl.deploy.compiler_check import ahead
from edgetl.deploy.golden_vectors import COUNT, GoldenSet, tolerance
from edgetl.deploy.isolation import verify
from edgetl.deploy.ledger import numbered
from edgetl.versions import versions
from edgetl_runtime import __version__ as runtime_version
from edgetl_runtime import durable, tasks
from edgetl_runtime.errors import ContractError, UsageError
from edgetl_runtime.manifest import Manifest, VariantManifest
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.deploy.candidates import Candidate
    from edgetl.deploy.confirmed import Confirmed
    from edgetl.deploy.judged import Asked, Exported, Judged


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A bundle under its name.

    Attributes:
        bundle: The file.
        sequence: Its number in its line.
        memory_mb: Peak resident memory of the fresh process that ran the chosen variant alone; None if it does not run
            here.
    """

    bundle: Path
    sequence: int
    memory_mb: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Packed:
    """Variants with their members and their golden vectors."""

    variants: tuple[VariantManifest, ...]
    members: dict[str, bytes]
    golden: GoldenSet


def write(
    asked: Asked,
    exported: Exported,
    judged: Judged,
    confirmed: Confirmed,
    out: Path,
    *,
    golden: Sequence[Path] | None,
    replace: bool,
) -> Written:
    """Write the bundle beside its place, prove it, then give it its number and its name.

    Args:
        asked: See there.
        exported: See there.
        judged: See there.
        confirmed: See there.
        out: The file.
        golden: Images for the golden vectors; None takes validation images.
        replace: Replace an existing file.

    Raises:
        EdgetlError: The proof fails or the file may not be replaced; nothing is written, and no number is taken.
    """
    packed = _packed(asked, exported, confirmed, golden)
    partial = out.with_name(out.name + ".unproven")
    with numbered(asked.line) as number:
        manifest = _manifest(asked, exported, judged, confirmed, packed, sequence=number.value)
        try:
            write_bundle(partial, manifest, packed.members, replace=True)
            memory_mb = _proven(partial, confirmed.chosen, max_memory_mb=asked.contract.max_memory_mb)
            if out.exists() and not replace:
                raise UsageError("the bundle", "a file that does not exist yet", str(out), fix="--force")
            number.take()  # before anybody can have the bundle: a number is never in two of them
            durable.move(partial, out)
        finally:
            partial.unlink(missing_ok=True)
    return Written(bundle=out, sequence=number.value, memory_mb=memory_mb)


def _packed(asked: Asked, exported: Exported, confirmed: Confirmed, paths: Sequence[Path] | None) -> _Packed:
    samples = exported.samples
    few = len(samples["val"]) < COUNT
    pool = [s for name in ("val", "train", "test") for s in samples[name]] if few else samples["val"]
    golden = GoldenSet(asked.run, paths or [s.path for s in spread(pool, COUNT)], asked.run.data["licence"])
    variants: list[VariantManifest] = []
    models: dict[str, bytes] = {}
    answers: dict[str, bytes] = {}
    for candidate in [confirmed.chosen, *_float_variant(confirmed)]:
        variant = _variant(asked, candidate, models)
        answers[variant.golden], decisions = golden.expected(candidate)
        variants.append(dataclasses.replace(variant, golden_decisions=decisions))
    return _Packed(variants=tuple(variants), members={**models, **golden.members(), **answers}, golden=golden)


def _float_variant(confirmed: Confirmed) -> list[Candidate]:
    """The float model beside the chosen one: a fallback, and what flips are counted against."""
    chosen = confirmed.chosen
    others = [c for c in confirmed.candidates if c.precision == "f32" and c.id != chosen.id]
    runnable = [c for c in others if c.runs_as == c.backend]
    return [] if chosen.precision == "f32" and not runnable else (runnable or others)[:1]


def _variant(asked: Asked, candidate: Candidate, models: dict[str, bytes]) -> VariantManifest:
    """Describe a variant; two variants of equal bytes share one member."""
    shared = next((name for name, data in models.items() if data == candidate.model), None)
    member = shared or f"models/{candidate.id}/model.onnx"
    models[member] = candidate.model
    engine = ahead(candidate, asked.profile) if asked.config.embed_engine else None
    if engine is not None:
        models[f"models/{candidate.id}/engine.plan"] = engine.plan
    return VariantManifest(
        id=candidate.id,
        backend=candidate.backend,
        precision=candidate.precision,  # type: ignore[arg-type]
        files={"model": member} | ({"engine": f"models/{candidate.id}/engine.plan"} if engine else {}),
        options=candidate.options,
        requires=candidate.requires,
        params=candidate.params,
        golden=f"golden/{candidate.id}.npy",
        golden_tolerance=tolerance(candidate),
        evidence={
            **candidate.to_mapping(),
            "made_by": candidate.evidence,
            **({"engine": engine.about} if engine else {}),
        },
    )


def _manifest(
    asked: Asked, exported: Exported, judged: Judged, confirmed: Confirmed, packed: _Packed, *, sequence: int
) -> Manifest:
    import cv2

    run, chosen = asked.run, confirmed.chosen
    digests = {"data": run.data["digest"], "split": run.data["split_digest"]}
    if judged.calibration_digest is not None:
        digests["calibration"] = judged.calibration_digest
    return Manifest(
        min_runtime=runtime_version,
        created=dt.datetime.now(dt.UTC).date().isoformat(),
        edgetl_version=run.edgetl_version,
        task=run.task,
        line=asked.line,
        sequence=sequence,
        labels=run.labels,
        outputs=tasks.get(run.task).outputs(run.labels),
        preprocess=run.preprocess,
        variants=packed.variants,
        chosen=chosen.id,
        golden=packed.golden.manifest(),
        aims=run.aims,
        target=to_mapping(asked.profile),
        contract=asked.contract,
        metrics={
            "val": chosen.val,
            "test": confirmed.figures,
            "float_val": exported.reference.figures,
            "terms": [term.to_mapping() for term in (*chosen.terms, *asked.untested)],
            "candidates": [c.to_mapping() for c in confirmed.candidates],
            "conditions": run.conditions,
        },
        digests=digests,
        licences={"weights": run.weights["licence"], "data": run.data["licence"]},
        versions=versions() | {"opencv": cv2.__version__},  # the runtime compares tensors bit by bit if equal
    )


def _proven(bundle: Path, chosen: Candidate, *, max_memory_mb: float | None) -> float | None:
    """Open the bundle in fresh processes that have only the runtime, and reproduce its golden vectors.

    Returns:
        Peak resident memory of the one that ran the chosen variant alone, in MB; None if it does not run here.
    """
    verify(bundle)
    if chosen.runs_as != chosen.backend:
        return None
    memory_mb = float(verify(bundle, "--variant", chosen.id)["memory_mb"] or 0)
    if max_memory_mb is not None and memory_mb > max_memory_mb:
        fix = f"a smaller backbone or another --backend, or --max-memory-mb {memory_mb + 1:.0f}"
        raise ContractError("resident memory", f"at most {max_memory_mb} MB", f"{memory_mb:.0f} MB", fix=fix)
    return memory_mb
