"""Open a bundle and decide on images.

with edgetl_runtime.open("part.edgetl") as session:
    decision = session.predict("part.jpg")
"""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl_runtime import backends, onnx_walk, preprocess, tasks
from edgetl_runtime.backends.base import LoadOptions, Uninstalled
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.decode import decode
from edgetl_runtime.errors import BackendMissingError, BundleError, UsageError
from edgetl_runtime.manifest import version_tuple, words_of_output
from edgetl_runtime.schema import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from edgetl_runtime.backends.base import Artifact, Backend, BackendSession, BuildSettings
    from edgetl_runtime.bundle import Bundle
    from edgetl_runtime.manifest import Manifest, VariantManifest
    from edgetl_runtime.preprocess import PreprocessSpec
    from edgetl_runtime.tasks.base import Decision, OutputSpec, Task

_log = logging.getLogger(__name__)
_NS_PER_MS = 1e6


def open(  # noqa: A001  (edgetl_runtime.open reads like the builtin)
    path: str | Path,
    *,
    variant: str | None = None,
    backend: str | None = None,
    allow_fallback: bool = False,
    cache_dir: Path | None = None,
) -> Session:
    """Open a bundle and load one variant of its model.

    Args:
        path: Of the bundle.
        variant: Id of a variant; default is the bundle's chosen one.
        backend: Take the first variant of this backend instead, the chosen one first.
        allow_fallback: Take another variant, in the bundle's order, where this machine cannot run the first choice.
        cache_dir: Where the backend may keep compiled code between starts.

    Returns:
        A session, to be closed; a context manager.

    Raises:
        BundleError: The bundle is damaged, altered or from a newer edgetl.
        BackendMissingError: The backend is not installed, or this machine lacks what the variant requires.
        BackendError: The backend refuses the model.

    Example:
        >>> with open("part.edgetl") as session:  # doctest: +SKIP
        ...     session.predict("part.jpg").verdict
        'OK'
    """
    bundle = open_bundle(path)
    try:
        picked = pick(bundle.manifest, variant=variant, backend=backend, allow_fallback=allow_fallback)
        return Session(bundle, picked, load(bundle, picked, cache_dir=cache_dir))
    except BaseException:  # whatever stops us, the file must not stay open
        bundle.close()
        raise


class Decider:
    """From an image to a decision, with one loaded model: the call that stations make and that everything times.

    Args:
        model: Loaded.
        spec: From image to tensor.
        task: Name of what is decided.
        labels: What is decided about: the task's own.
        params: How: the task's own.
        clock_ns: Monotonic clock.

    Attributes:
        task: What is decided.
    """

    def __init__(
        self,
        model: BackendSession,
        *,
        spec: PreprocessSpec,
        task: str,
        labels: Any,  # noqa: ANN401  (the task's)
        params: Any,  # noqa: ANN401  (the task's)
        clock_ns: Callable[[], int] = time.perf_counter_ns,
    ) -> None:
        self._model = model
        self._spec = spec
        self._labels, self._params = labels, params
        self._clock_ns = clock_ns
        self.task: Task[Any, Any, Any] = tasks.get(task)

    def predict(self, image: str | Path | bytes | NDArray[Any]) -> Decision:
        """Decide on one image.

        Args:
            image: A path, the bytes of an encoded image, or an array (height, width[, 3]) in the declared colour order.

        Returns:
            The decision, with the wall time of its parts.

        Raises:
            ImageError: The image cannot be read.
            BackendError: The backend failed.
        """
        clock_ns = self._clock_ns
        start = clock_ns()
        frame = image if isinstance(image, np.ndarray) else decode(image, self._spec)
        decoded = clock_ns()
        tensor = preprocess.preprocess(frame, self._spec, colour=None if frame is image else "rgb")
        preprocessed = clock_ns()
        outputs = self._model.infer(tensor[np.newaxis])
        inferred = clock_ns()
        decision = self.decide(outputs)[0]
        end = clock_ns()
        timings_ms = {
            "decode": (decoded - start) / _NS_PER_MS,
            "preprocess": (preprocessed - decoded) / _NS_PER_MS,
            "infer": (inferred - preprocessed) / _NS_PER_MS,
            "postprocess": (end - inferred) / _NS_PER_MS,
            "total": (end - start) / _NS_PER_MS,
        }
        return dataclasses.replace(decision, timings_ms=timings_ms)

    def tensor(self, image: str | Path | bytes | NDArray[Any]) -> NDArray[np.uint8]:
        """Return what the model sees of an image: uint8 (height, width, 3), RGB, owned by the caller."""
        if isinstance(image, np.ndarray):
            return preprocess.preprocess(image, self._spec)
        return preprocess.preprocess(decode(image, self._spec), self._spec, colour="rgb")

    def infer(self, batch: NDArray[np.uint8]) -> dict[str, NDArray[np.float32]]:
        """Return the outputs by name, float32 (N, …), of a batch uint8 (N, height, width, 3) of tensors."""
        return self._model.infer(batch)

    def decide(self, outputs: Mapping[str, NDArray[np.float32]]) -> Sequence[Decision]:
        """Return one decision, without timings, for each row of the outputs."""
        return self.task.decide(outputs, self._labels, self._params)


class Session(Decider):
    """A bundle with one variant loaded; a context manager. It may be used from several threads.

    Args:
        bundle: Closed together with the session.
        variant: The loaded variant.
        model: Its loaded model.

    Attributes:
        bundle: The open bundle.
        manifest: Of the bundle.
        variant: The loaded variant.
        task: What is decided.
    """

    def __init__(self, bundle: Bundle, variant: VariantManifest, model: BackendSession) -> None:
        manifest: Manifest = bundle.manifest
        super().__init__(
            model, spec=manifest.preprocess, task=manifest.task, labels=manifest.labels, params=variant.params
        )
        self.bundle = bundle
        self.manifest = manifest
        self.variant = variant

    @property
    def unseen_mb(self) -> float:
        """Return what the model has certainly allocated of the machine's memory outside of resident memory."""
        return self._model.unseen_mb

    def close(self) -> None:
        """Free the model and close the bundle, once what runs is finished; calling twice is harmless."""
        self._model.close()
        self.bundle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def load(bundle: Bundle, variant: VariantManifest, *, cache_dir: Path | None = None) -> BackendSession:
    """Load the model of a variant.

    Raises:
        BackendMissingError: The backend is not installed.
        BackendError: The backend refuses the model.
    """
    backend = backends.get(variant.backend)
    options = load_options(bundle.manifest, variant)
    artifact = _adopted(bundle, variant, backend)
    if artifact is None:
        artifact = backend.compile(model_of(bundle, variant), options, cache_dir)
    return backend.load(artifact, options)


def model_of(bundle: Bundle, variant: VariantManifest) -> bytes:
    """Return the model of a variant for its backend: the only way by which one may reach a vendor's library.

    Raises:
        BundleError: It is damaged or hostile, in a format that the backend does not read, or of other outputs than the
            manifest declares.
    """
    formats = backends.get(variant.backend).info.formats
    data = bundle.read(variant.files["model"])
    found = onnx_walk.model_format(data)
    if found not in formats:
        what, must = f"the model of variant {variant.id}", f"a model in {' or '.join(formats)}"
        raise BundleError(what, must, f"one in {found}", fix="export the bundle again")
    if found == "onnx":
        check_outputs(data, bundle.manifest.outputs, name=variant.files["model"])
    return data


def prepare(
    bundle: Bundle,
    variant: VariantManifest,
    *,
    cache_dir: Path | None = None,
    force: bool = False,
    progress: Callable[[str, float], None] | None = None,
    settings: BuildSettings | None = None,
) -> dict[str, Any] | None:
    """Build ahead of `load` what it would build, and keep it; see `backends.base.Backend.prepare`.

    Returns:
        What was built or found, as JSON can hold it; None where the backend builds nothing.

    Raises:
        BackendError: The model is refused, or the build fails.
    """
    backend = backends.get(variant.backend)
    adopted = None if force else _adopted(bundle, variant, backend)
    if adopted is not None:
        reason = "the engine that came with the bundle fits"
        return {"engine": backend.info.name, "built": False, "reason": reason, "plan_bytes": len(adopted.data)}
    return backend.prepare(
        model_of(bundle, variant),
        load_options(bundle.manifest, variant),
        cache_dir,
        force=force,
        progress=progress,
        settings=settings,
    )


def check_outputs(model: bytes, declared: Sequence[OutputSpec], *, name: str) -> None:
    """Refuse a graph whose outputs are not those that the manifest declares.

    Raises:
        BundleError: Names, element types, ranks or fixed sizes differ.
    """
    found = onnx_walk.outputs(model, name=f"model '{name}'")
    fits = sorted(found) == sorted(spec.name for spec in declared) and all(
        found[spec.name].element_type == onnx_walk.FLOAT
        and len(found[spec.name].shape) == len(spec.shape)
        and all(
            isinstance(want, str) or want == have for want, have in zip(spec.shape, found[spec.name].shape, strict=True)
        )
        for spec in declared
    )
    if not fits:
        must = " and ".join(words_of_output(spec.name, spec.shape) for spec in declared) + " of float32"
        got = " and ".join(words_of_output(one, output.shape) for one, output in found.items()) or "none"
        types = sorted({output.element_type for output in found.values()} - {onnx_walk.FLOAT})
        got += f" of element type {types[0]}" if types else ""
        what = f"the outputs of model '{name}'"
        raise BundleError(what, f"those of the manifest, {must}", got, fix="deploy the run again")


def _adopted(bundle: Bundle, variant: VariantManifest, backend: Backend) -> Artifact | None:
    """Return the engine that came with the bundle, if a trusted key signed it and it fits; else the model is compiled.

    An engine is native code: nothing in it can be checked but who made it.
    """
    member = variant.files.get("engine")
    if member is None:
        return None
    if bundle.signed_by is None:
        _log.warning("the engine of %s is not loaded: nobody verified the bundle's signature", variant.id)
        return None
    return backend.adopt(bundle.read(member), variant.evidence.get("engine", {}))


def load_options(manifest: Manifest, variant: VariantManifest) -> LoadOptions:
    """Return how a variant is loaded: batch 1, float arithmetic always said, and only the outputs that decide."""
    float_precision = "f32" if variant.precision == "int8" else variant.precision
    return LoadOptions(
        threads=variant.options.threads,
        hint=variant.options.hint,
        precision=variant.options.precision_hint or float_precision,
        outputs=tuple(output.name for output in tasks.get(manifest.task).outputs(manifest.labels)),
    )


def pick(
    manifest: Manifest, *, variant: str | None = None, backend: str | None = None, allow_fallback: bool = False
) -> VariantManifest:
    """Choose the variant to load.

    Raises:
        UsageError: No variant has that id or backend.
        BackendMissingError: This machine cannot run it; names one it can run, if any.
    """
    ordered = sorted(manifest.variants, key=lambda v: v.id != manifest.chosen)  # stable: the chosen one first
    wanted = [v for v in ordered if variant in (None, v.id) and backend in (None, v.backend)]
    if not wanted:
        option, value, known = "--variant", variant, [v.id for v in ordered]
        if variant is None or variant in known:
            option, value, known = "--backend", backend, [v.backend for v in ordered]
        raise UsageError(option, "in the bundle", f"'{value}'", fix=nearest(str(value), set(known)))
    first = wanted[0]
    reason = unfit(first)
    if reason is None:
        return first
    able = next((v for v in ordered if unfit(v) is None), None)
    if able is not None and allow_fallback:
        _log.warning("variant %s cannot run here (%s); running %s instead", first.id, reason, able.id)
        return able
    engine = backends.get(first.backend) if first.backend in backends.names() else None
    if engine is not None and (able is None or isinstance(reason, Uninstalled)):
        fix = engine.info.install
    else:
        fix = f"--variant {able.id}" if able is not None else "pip install -U edgetl-runtime"
    raise BackendMissingError(f"variant {first.id}", "able to run on this machine", reason, fix=fix)


def unfit(variant: VariantManifest) -> str | None:
    """Say why this machine cannot run a variant; None if it can."""
    if variant.backend not in backends.names():
        return f"this edgetl-runtime has no backend {variant.backend}"
    backend = backends.get(variant.backend)
    reason = backend.available()
    if reason is not None:
        return reason
    requires = variant.requires
    if not (requires.arch or requires.cpu_flags or requires.min_version):
        return None
    from edgetl_runtime import probe

    if requires.arch and probe.arch() not in requires.arch:
        return f"it needs {' or '.join(requires.arch)}, this is {probe.arch()}"
    if missing := probe.lacking(requires.cpu_flags, probe.cpu_flags()):
        return f"the CPU lacks {', '.join(missing)}"
    version = probe.package_version(backend.info.package) if requires.min_version and backend.info.package else None
    if version is not None and version_tuple(version) < version_tuple(str(requires.min_version)):
        return f"{backend.info.package} {version} is older than {requires.min_version}: pip install -U"
    return None
