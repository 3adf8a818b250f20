"""Candidates: made by a recipe, run where this machine can run them, ranked."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetl import tasks
from edgetl.deploy.plan import INT8_FLAGS
from edgetl.deploy.terms import unproven
from edgetl.files import write_whole
from edgetl_runtime import backends
from edgetl_runtime.backends.base import LoadOptions
from edgetl_runtime.contract import Term, of_standing
from edgetl_runtime.manifest import Requires, VariantOptions
from edgetl_runtime.probe import facts, lacking
from edgetl_runtime.proof import Standing
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from edgetl.quantize.recipe import Recipe

    Outputs = dict[str, NDArray[np.float32]]

LOGITS = "logits"
FLOAT = LoadOptions(precision="f32")
# whose arithmetic stands in for a backend that does not run on a build machine
STAND_IN = {"tensorrt": "onnxruntime", "tensorrt_rtx": "onnxruntime"}
BF16_FLAGS = "avx512_bf16|amx_bf16|bf16"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One split as tensors.

    Attributes:
        images: uint8 (N, height, width, 3).
        labels: int64 (N,).
        groups: What each image belongs to.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    groups: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One (backend, precision, threads) variant of a run's model.

    Attributes:
        id: Unique within a deployment; becomes the variant's id.
        backend: What executes it on the target.
        precision: Arithmetic of most of the network.
        model: Bytes of the ONNX file.
        options: Threads and hints.
        requires: What a device must have.
        evidence: What the recipe says of the model it made.
        params: How it decides, fitted on validation: the task's own.
        task: Its name.
        val: Metrics on validation.
        drop_pp: Loss of accuracy on validation against the float reference, in percentage points.
        flips: Images of validation whose decision differs from the float reference's.
        likely_flips: As many as are to be expected of as many other images.
        latency: Measured figures with conditions; None where it was not measured.
        terms: Bounds that only a measurement settles, and how each ended.
        why: Broken terms of the contract, or why it cannot be used; empty if it is accepted.
        close: Terms that it keeps on validation by less than chance may change on other images.
    """

    id: str
    backend: str
    precision: str
    model: bytes = dataclasses.field(repr=False)
    options: VariantOptions
    requires: Requires
    evidence: dict[str, Any]
    params: Any
    task: str
    val: dict[str, Any]
    drop_pp: float
    flips: int
    likely_flips: float = 0.0
    latency: dict[str, Any] | None = None
    terms: tuple[Term, ...] = ()
    why: tuple[str, ...] = ()
    close: tuple[str, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the contract is kept."""
        return not self.why

    @property
    def unproven(self) -> tuple[Term, ...]:
        """The terms that are neither kept nor missed."""
        return unproven(self.terms)

    def held_to(self, terms: tuple[Term, ...]) -> Candidate:
        """Return the candidate with these terms, refused where one is missed."""
        missed = of_standing(terms, Standing.MISSED)
        return dataclasses.replace(self, terms=(*self.terms, *terms), why=(*self.why, *missed))

    @property
    def load_options(self) -> LoadOptions:
        """How a backend loads it."""
        precision = self.options.precision_hint or "f32"
        return LoadOptions(threads=self.options.threads, hint=self.options.hint, precision=precision)

    @property
    def runs_as(self) -> str:
        """The backend that computes it on this machine."""
        return STAND_IN.get(self.backend, self.backend)

    @property
    def counted(self) -> dict[str, int]:
        """What its task counts on validation, as tables show it."""
        return {count.key: self.val[count.key] for count in tasks.get(self.task).counts}

    def to_mapping(self) -> dict[str, Any]:
        """Return the candidate as `deploy --json` prints it."""
        measured = self.latency or {}
        return {
            "id": self.id,
            "backend": self.backend,
            "precision": self.precision,
            "threads": self.options.threads,
            "accuracy": self.val["accuracy"],
            "drop_pp": self.drop_pp,
            "flips": self.flips,
            "likely_flips": round(self.likely_flips, 2),
            **self.counted,
            "n": self.val["n"],
            "size_bytes": len(self.model),
            "latency_ms": {k: measured["decision_ms"][k] for k in ("p50", "p99")} if measured else None,
            "infer_ms": {k: measured["infer_ms"][k] for k in ("p50", "p99")} if measured else None,
            "measured_on": measured.get("measured_on", "not measured on hardware"),
            "latency": self.latency,
            "terms": [term.to_mapping() for term in self.terms],
            "unproven": "; ".join(term.clause for term in self.unproven),
            "rung": self.evidence.get("rung"),
            "evaluations": self.evidence.get("evaluations"),
            "kept_float": self.evidence.get("kept_float", []),
            "accepted": self.accepted,
            "broken": len(self.why),
            "why": "; ".join(self.why),
            "close": "; ".join(self.close) if self.accepted else "",
        }


def outputs_of(backend: str, model: bytes, options: LoadOptions, images: NDArray[np.uint8]) -> Outputs:
    """Run every image, one at a time as a station does; name → float32 (N, …)."""
    engine = backends.get(backend)
    with engine.load(engine.compile(model, options), options) as session:
        outputs = [session.infer(np.ascontiguousarray(image)[np.newaxis]) for image in images]
    return {name: np.concatenate([found[name] for found in outputs]) for name in options.outputs}


def evaluated(backend: str, model: bytes, options: LoadOptions, images: NDArray[np.uint8]) -> Outputs:
    """Run every image by what computes `backend` on this machine; name → float32 (N, …).

    What only stands in for a GPU computes the arithmetic that the graph states, without int8 kernels: ONNX Runtime's
    are several times slower for symmetric graphs.
    """
    if backend not in STAND_IN:
        return outputs_of(backend, model, options, images)
    from edgetl.quantize import graph, observe

    return {LOGITS: observe.logits(graph.load(model), images)}


def requirements(precision: str, *, needs_vnni: bool = False) -> Requires:
    """Return what a CPU must have so that this precision neither saturates nor crawls.

    Args:
        precision: Arithmetic of most of the network.
        needs_vnni: Whether the model's sums saturate without 8-bit dot products.
    """
    flags = [INT8_FLAGS] if needs_vnni else []
    return Requires(cpu_flags=(*flags, *([BF16_FLAGS] if precision == "bf16" else [])))


def unusable_here(backend: str, precision: str) -> str | None:
    """Say why this machine cannot compute a candidate, or None."""
    engine = backends.get(STAND_IN.get(backend, backend))
    reason = engine.available(facts())
    if reason is None:
        missing = lacking(requirements(precision).cpu_flags, facts().cpu_flags)
        reason = f"this CPU lacks {', '.join(missing)}" if missing else None
    return reason


def make_model(recipe: Recipe, model: bytes, calibration: Any, folder: Path) -> tuple[bytes, dict[str, Any]]:  # noqa: ANN401
    """Apply a recipe to the float model, or reuse what it made before from the same model, images and parameters.

    Args:
        recipe: From `edgetl.quantize.recipe`.
        model: The exported float model.
        calibration: `CalibrationSet` of the run; None where no recipe of the plan needs one.
        folder: Where results are kept.
    """
    from edgetl.quantize.recipe import apply
    from edgetl.versions import versions

    if not recipe.uses_images and recipe.file.algorithm == "as_is":
        return model, {"recipe": recipe.name}
    used = calibration if recipe.uses_images else None
    seen = {"calibration": used.digest, "calibration_images": len(used.images)} if used is not None else {}
    parts: list[Any] = [
        recipe.file.algorithm,
        hashlib.sha256(model).hexdigest(),
        seen,
        to_mapping(recipe.parameters),
        recipe.file.prepare,
        versions(),
    ]
    key = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{recipe.file.algorithm}-{key}.onnx"
    record = path.with_suffix(".json")
    known = _made_before(path, record)
    if known is not None:
        return known[0], known[1] | {"recipe": recipe.name}  # rungs of equal models share one file
    made = apply(recipe, model, used.images if used is not None else None)
    evidence = {**made.evidence(), **seen, "sha256": hashlib.sha256(made.model).hexdigest()}
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(path, made.model)
    write_whole(record, json.dumps(evidence).encode())
    return made.model, evidence


def _made_before(path: Path, record: Path) -> tuple[bytes, dict[str, Any]] | None:
    """Return model and evidence from the cache; None where there are none, or they are damaged."""
    try:
        model = path.read_bytes()
        evidence: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = isinstance(evidence, dict) and evidence.get("sha256") == hashlib.sha256(model).hexdigest()
    return (model, evidence) if whole else None


def by_speed(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Order the accepted candidates for people: by measured p50, else in the order given (the profile's)."""
    accepted = [c for c in candidates if c.accepted]
    return sorted(accepted, key=lambda c: c.latency["decision_ms"]["p50"] if c.latency else math.inf)


def refused_on_test(tried: Sequence[Candidate], refused: Candidate, broken: Sequence[str]) -> list[Candidate]:
    """Return the candidates with what test said of one of them; others may share its bytes, loaded in another way."""
    why = tuple(f"{words} on test" for words in broken)
    return [dataclasses.replace(c, why=why) if c.id == refused.id else c for c in tried]


def one_per_model(candidates: list[Candidate]) -> list[Candidate]:
    """Drop all but the first thread count where nothing was timed."""
    first: dict[tuple[str, str], Candidate] = {}
    for c in candidates:
        first.setdefault((c.backend, c.precision), c)
    return list(first.values())
