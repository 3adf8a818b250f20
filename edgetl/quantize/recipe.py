"""Quantization recipes: TOML data in `recipes/`, found by filename; a new recipe is one file."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgetl import toml
from edgetl.quantize import algorithms
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import from_mapping, nearest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA_VERSION = 1
PREPARE_IMAGES = 64  # measure the ranges of channels
FOLDER = Path(__file__).parent / "recipes"
Precision = Literal["f32", "bf16", "f16", "int8"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RecipeFile:
    """The keys of a recipe's TOML file.

    Attributes:
        schema_version: Of this form.
        description: One sentence for people.
        algorithm: Name of a module in `algorithms`.
        precision: What the weights are computed in.
        backends: Backends the result is meant for.
        rung: Place on the ladder of its backend and precision, from 0; higher rungs cost more and lose less.
        precision_hint: What the engine is told to compute floats in.
        prepare: What is done to the float model before; `equalise` is `edgetl.quantize.equalise`.
        keep_float_share: The ladder may keep its most sensitive layers in float, as few as needed, up to this share of
            the float network's computing time, 0 to 1.
        retrain: First train the float model against rounding, `edgetl.finetune.quantization_aware`: how activations
            will be rounded. None leaves it as it is.
        without_vnni: Parameters that replace others where the processor may lack 8-bit dot products: there the sums of
            full-range weights saturate silently. Empty if they cannot.
        parameters: The algorithm's parameters.
    """

    schema_version: int
    description: str
    algorithm: str
    precision: Precision
    backends: tuple[str, ...]
    rung: int = 0
    precision_hint: Literal["f32", "bf16"] | None = None
    prepare: tuple[Literal["equalise"], ...] = ()
    keep_float_share: float = 0.0
    retrain: Literal["asymmetric", "symmetric"] | None = None
    without_vnni: dict[str, Any] = dataclasses.field(default_factory=dict)
    parameters: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A validated recipe.

    Attributes:
        name: The file's name without `.toml`.
        file: What the file says.
        parameters: The algorithm's `Parameters`, complete.
        uses_images: Whether calibration images are needed.
        needs_vnni: Whether its models saturate on processors without 8-bit dot products.
    """

    name: str
    file: RecipeFile
    parameters: Any
    uses_images: bool
    needs_vnni: bool = False

    def without_vnni(self) -> Recipe:
        """Return the recipe for processors that may lack 8-bit dot products."""
        if not self.needs_vnni:
            return self
        parameters = dataclasses.replace(self.parameters, **self.file.without_vnni)
        return dataclasses.replace(self, parameters=parameters, needs_vnni=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class QuantizedModel:
    """What a recipe made of a model.

    Attributes:
        recipe: Name of the recipe.
        model: Bytes of the ONNX model.
        source: Bytes of the float model that was quantized: the one given, prepared as the recipe says.
        layers: How many convolutions and matrix products with weights it has.
        layers_left_float: Names of those that an int8 recipe left in float.
        quantize_linear: Number of QuantizeLinear nodes.
        dequantize_linear: Number of DequantizeLinear nodes.
        seconds: Wall time it took.
    """

    recipe: str
    model: bytes
    source: bytes
    layers: int
    layers_left_float: tuple[str, ...]
    quantize_linear: int
    dequantize_linear: int
    seconds: float

    def evidence(self) -> dict[str, Any]:
        """Return everything but the models, as JSON can hold it."""
        fields = (field.name for field in dataclasses.fields(self) if field.name not in ("model", "source"))
        found = {name: getattr(self, name) for name in fields}
        return found | {"layers_left_float": list(self.layers_left_float), "seconds": round(self.seconds, 2)}


def names() -> tuple[str, ...]:
    """Return the names of all recipes, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def get(name: str) -> Recipe:
    """Read one recipe by name.

    Raises:
        UsageError: There is none of that name, or its file is wrong.
    """
    if name not in names():
        raise UsageError("recipe", "a known quantization recipe", f"'{name}'", fix=nearest(name, names()))
    return read(FOLDER / f"{name}.toml")


def for_backend(backend: str, *, precision: Precision | None = None) -> tuple[Recipe, ...]:
    """Return the recipes that serve a backend, by precision, rung and name."""
    chosen = [recipe for recipe in map(get, names()) if backend in recipe.file.backends]
    chosen = [recipe for recipe in chosen if precision in (None, recipe.file.precision)]
    return tuple(sorted(chosen, key=lambda recipe: (recipe.file.precision, recipe.file.rung, recipe.name)))


def read(path: Path) -> Recipe:
    """Read and check a recipe file.

    Raises:
        UsageError: The file is not TOML, has unknown, missing or wrong keys, or names an unknown algorithm.
    """
    where = f"recipe {path.name}"
    file = from_mapping(RecipeFile, toml.read(path, where=where), where=where)
    if file.schema_version != SCHEMA_VERSION:
        got = str(file.schema_version)
        raise UsageError(
            f"schema_version in {where}", str(SCHEMA_VERSION), got, fix=f"schema_version = {SCHEMA_VERSION}"
        )
    if not file.backends:
        raise UsageError(f"backends in {where}", "at least one", "none", fix='backends = ["openvino"]')
    if not 0 <= file.keep_float_share <= 1:
        got = str(file.keep_float_share)
        raise UsageError(f"keep_float_share in {where}", "from 0 to 1", got, fix="keep_float_share = 0.3")
    algorithm = algorithms.get(file.algorithm)
    parameters = from_mapping(algorithm.Parameters, file.parameters, where=f"{where} [parameters]")
    from_mapping(algorithm.Parameters, file.parameters | file.without_vnni, where=f"{where} [without_vnni]")
    return Recipe(
        name=path.stem,
        file=file,
        parameters=parameters,
        uses_images=algorithm.USES_IMAGES,
        needs_vnni=bool(file.without_vnni),
    )


def apply(
    recipe: Recipe, model: bytes, images: NDArray[np.uint8] | None, *, keep_float: tuple[str, ...] = ()
) -> QuantizedModel:
    """Run a recipe on a float model.

    The nodes of the normalisation are found in the graph and never quantized.

    Args:
        recipe: What to do.
        model: Bytes of the exported float ONNX model.
        images: Calibration images, uint8 (N, H, W, 3); None where `recipe.uses_images` is false.
        keep_float: Names of further nodes to leave in float.

    Raises:
        QuantizeError: The model or the images cannot be used, or the library fails.
    """
    from edgetl.quantize import calibration, graph

    started = time.monotonic()
    if recipe.uses_images:
        images = calibration.check_images(images)
    source = prepared(recipe, model, images)
    exclude = (*graph.normalisation_nodes(graph.load(source)), *keep_float)
    result = algorithms.get(recipe.file.algorithm).quantize(
        source, images, parameters=recipe.parameters, exclude=exclude
    )
    made = graph.load(result)
    return QuantizedModel(
        recipe=recipe.name,
        model=result,
        source=source,
        layers=len(graph.layers(made)),
        layers_left_float=graph.layers_left_float(made) if recipe.file.precision == "int8" else (),
        quantize_linear=graph.count(made, "QuantizeLinear"),
        dequantize_linear=graph.count(made, "DequantizeLinear"),
        seconds=time.monotonic() - started,
    )


def prepared(recipe: Recipe, model: bytes, images: NDArray[np.uint8] | None) -> bytes:
    """Return the float model as a recipe wants it before quantizing; it computes the same.

    Args:
        recipe: Its `prepare` says what is done.
        model: Bytes of the exported float ONNX model.
        images: Calibration images, uint8 (N, H, W, 3).
    """
    if not recipe.file.prepare:
        return model
    from edgetl.quantize import calibration, equalise, graph
    from edgetl.quantize.vendor import translated

    proto = graph.own_biases(graph.load(model))
    with translated("equalise"):
        equalise.equalise(proto, calibration.check_images(images)[:PREPARE_IMAGES])
    return graph.to_bytes(proto)
