"""The quantization ladder inside a deployment: recipes make models, validation judges them, the run keeps both."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl import tasks
from edgetl.deploy import candidates as room
from edgetl.deploy import judging
from edgetl.deploy.candidates import Candidate
from edgetl.run import read_json, write_json
from edgetl_runtime.backends.base import LoadOptions
from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.manifest import VariantOptions
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from edgetl.deploy.contract import Judge
    from edgetl.deploy.plan import PlannedCandidate
    from edgetl.quantize.calibration import CalibrationSet
    from edgetl.quantize.ladder import Climb
    from edgetl.quantize.recipe import Recipe
    from edgetl.quantize.sensitivity import LayerDamage
    from edgetl.run import Run
    from edgetl.tasks.base import Decided

RANKING_IMAGES = 16
SENSITIVITY_SCHEMA = "edgetl.sensitivity/1"


class Climber:
    """Makes the models of a ladder's rungs and judges them; a `Maker` of `edgetl.quantize.ladder`.

    Args:
        run: Its task, labels and aims.
        against: The contract, whose terms of accuracy are judged.
        reference: The float model on validation.
        val: Validation images and labels.
        model: The exported float model.
        calibration: None where no recipe needs images.
        folder: Where models and rankings are kept.
        retrain: Returns the float model trained against rounding, given how activations are rounded; None leaves out
            the rungs that need it.
        said: Called with a word about what is being judged.
    """

    def __init__(
        self,
        run: Run,
        *,
        against: Judge,
        reference: Decided,
        val: room.Split,
        model: bytes,
        calibration: CalibrationSet | None,
        folder: Path,
        retrain: Callable[[str], bytes] | None = None,
        said: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.run, self.against, self.reference, self.val = run, against, reference, val
        self.model, self.calibration, self.folder = model, calibration, folder
        self.retrain, self.said = retrain, said

    def climb(self, planned: PlannedCandidate) -> list[Candidate]:
        """Climb the ladder of one backend and precision; return a candidate for each thread count."""
        from edgetl.quantize.ladder import climb

        hint = planned.recipe.file.precision_hint

        def judge(model: bytes, name: str) -> Mapping[str, Any]:
            self.said(name)
            return self.judged(planned.backend, model, LoadOptions(precision=hint or "f32"))

        rungs = [rung for rung in planned.rungs if self.retrain or not rung.file.retrain]
        climbed = climb(rungs[: None if self._float_keeps_it() else 1], self, judge)
        name = f"{planned.backend}-{planned.precision}"
        return [
            Candidate(
                id=name if threads is None else f"{name}-t{threads}",
                backend=planned.backend,
                precision=planned.precision,
                model=climbed.model,
                options=VariantOptions(precision_hint=hint, threads=threads),
                requires=room.requirements(planned.precision, needs_vnni=climbed.recipe.needs_vnni),
                evidence=_evidence(climbed),
                task=self.run.task,
                **{key: value for key, value in climbed.judged.items() if key != "counts"},
            )
            for threads in planned.threads
        ]

    def judged(self, backend: str, model: bytes, options: LoadOptions) -> dict[str, Any]:
        """Evaluate a model on validation and hold it against the contract."""
        outputs = room.evaluated(backend, model, options, self.val.images)
        found = judging.judge(self.run, self.against, self.reference, self.val.labels, outputs)
        counted = {count.key: found["val"][count.key] for count in tasks.get(self.run.task).counts}
        return found | {"counts": counted}

    def _float_keeps_it(self) -> bool:
        """Say whether the float model keeps the accuracy terms: what it misses, no rung will keep."""
        figures = {**self.reference.figures, "drop_pp": 0.0, "flips": 0}
        return not self.against.breaches(figures, self.reference.figures)

    def make(self, recipe: Recipe) -> tuple[bytes, dict[str, Any]]:
        """Return a rung's model; see `Maker`."""
        return room.make_model(recipe, self._float(recipe), self.calibration, self.folder)

    def ranked(self, recipe: Recipe, model: bytes) -> tuple[str, ...]:
        """Return the layers the rung may keep in float; see `Maker`."""
        found = self.sensitivity(recipe, model)
        share = np.cumsum([layer.time_share for layer in found])
        count = int((share <= recipe.file.keep_float_share).sum())
        return tuple(layer.layer for layer in found[: max(count, 1)])

    def restored(self, recipe: Recipe, model: bytes, layers: Sequence[str]) -> bytes:
        """Return the model with these layers in float; see `Maker`."""
        from edgetl.quantize import graph, mixed

        quantized = graph.load(model)
        units = mixed.units(quantized)
        nodes = {name for layer in layers for name in units[layer]}
        return graph.to_bytes(mixed.restore(quantized, graph.load(self._source(recipe)), nodes))

    def sensitivity(self, recipe: Recipe, model: bytes) -> tuple[LayerDamage, ...]:
        """Return the damage of every layer, the most worthwhile to keep first; measured once for a model."""
        from edgetl.quantize import graph, observe
        from edgetl.quantize.sensitivity import LayerDamage, rank
        from edgetl_runtime.schema import from_mapping

        images = self._images()[:RANKING_IMAGES]
        key = hashlib.sha256(model + images.tobytes()).hexdigest()[:16]
        path = self.folder / f"sensitivity-{key}.json"
        if path.is_file():
            try:
                layers = read_json(path)["layers"]
                return tuple(from_mapping(LayerDamage, layer, where=str(path)) for layer in layers)
            except (EdgetlError, KeyError, TypeError):
                path.unlink()  # damaged: measured again

        def infer(candidate: bytes, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
            return observe.logits(graph.load(candidate), batch)

        self.said(f"{recipe.name}, layer by layer")
        found = rank(model, self._source(recipe), images, infer)
        record = {
            "schema": SENSITIVITY_SCHEMA,
            "recipe": recipe.name,
            "backends": list(recipe.file.backends),
            "images": len(images),
            "layers": [to_mapping(layer) for layer in found],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(path, record)
        return found

    def _source(self, recipe: Recipe) -> bytes:
        from edgetl.quantize.recipe import prepared

        return prepared(recipe, self._float(recipe), self._images())

    def _float(self, recipe: Recipe) -> bytes:
        if recipe.file.retrain is None or self.retrain is None:
            return self.model
        self.said(f"{recipe.name}, training")
        return self.retrain(recipe.file.retrain)

    def _images(self) -> NDArray[np.uint8]:
        from edgetl.quantize.calibration import check_images

        return check_images(None if self.calibration is None else self.calibration.images)


def _evidence(climbed: Climb) -> dict[str, Any]:
    """Return what the recipe says of its model, and how far the ladder was climbed for it."""
    made = hashlib.sha256(climbed.model).hexdigest()
    evidence = {**climbed.evidence, "sha256": made, **climbed.record()}
    return dict(json.loads(json.dumps(evidence)))
