"""The narrow interface of a backend: compile, load, infer, close.

The public calls are template methods: they check once and translate the vendor's exceptions, so that a backend
implements only `_load` and `_infer`.
"""

from __future__ import annotations

import abc
import dataclasses
import importlib.util
import platform
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from edgetl_runtime import onnx_walk
from edgetl_runtime.errors import BackendError, BackendMissingError, ShapeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from types import TracebackType

    from numpy.typing import NDArray
    from typing_extensions import Self

    from edgetl_runtime.probe import Facts

    Outputs = dict[str, NDArray[np.float32]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BackendInfo:
    """What a backend is, known without loading it.

    Attributes:
        name: As in the manifest; equals the file's name.
        package: What pip installs; empty if it ships with the runtime.
        module: What is imported; empty if it ships with the runtime.
        precisions: Arithmetic it can run.
        formats: Model formats it reads.
        runs_on: Machine types, as `platform.machine()` names them.
        install_command: What installs it, where the runtime's extra of that name is not enough.
    """

    name: str
    package: str
    module: str
    precisions: tuple[str, ...]
    formats: tuple[str, ...] = ("onnx",)
    runs_on: tuple[str, ...] = ("x86_64", "aarch64")
    install_command: str = ""

    @property
    def install(self) -> str:
        """Return the command that installs the backend."""
        return self.install_command or f'pip install "edgetl-runtime[{self.name}]"'


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a model is loaded.

    Attributes:
        threads: Threads of one inference; None leaves it to the vendor.
        hint: What to optimise for.
        precision: Arithmetic of a float model; quantized parts keep theirs.
        batch: N that the model is fixed to, which some backends run faster; other sizes are served in slices of N.
            None keeps it symbolic.
        outputs: That inferences give; what only other outputs need is not computed.
    """

    threads: int | None = None
    hint: Literal["latency", "throughput"] = "latency"
    precision: Literal["f32", "bf16", "f16"] = "f32"
    batch: int | None = 1
    outputs: tuple[str, ...] = ("logits",)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What a backend loads: the model itself or what `compile` made of it.

    Attributes:
        data: Bytes of the model or engine.
        cache_dir: Where the vendor may keep compiled code between starts.
    """

    data: bytes
    cache_dir: Path | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """What building an engine ahead of its use may take.

    Attributes:
        time_limit_s: Wall time.
        memory_limit_mb: Resident memory of the building process; None for four fifths of the machine's.
        dla_core: Core of a deep learning accelerator to prefer, where the device has one.
    """

    time_limit_s: float = 3600.0
    memory_limit_mb: int | None = None
    dla_core: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Meaning:
    """What a vendor's exception means: what must hold, and what to try."""

    must: str
    fix: str


ErrorTable = dict[type[Exception], Meaning]


def translate(backend: str, error: Exception, table: Mapping[type[Exception], Meaning]) -> BackendError:
    """Turn a vendor's exception into ours; the most specific entry of the table wins."""
    meaning = next(table[cls] for cls in type(error).__mro__ if cls in table)
    words = " ".join(str(error).split())
    return BackendError(
        f"the model in {backend}", meaning.must, f"{type(error).__name__}: {words:.300}", fix=meaning.fix
    )


class BackendSession(abc.ABC):
    """A loaded model; a context manager. It may be used from several threads.

    Inferences of one session wait for each other: buffers are made once, and the memory and the latency that a
    device's self-test proved are those of one inference at a time.

    Args:
        backend: Name of the backend, for messages.
        errors: The backend's table of vendor exceptions.
        outputs: Names of what inferences give.
        input_px: (height, width) of the model's input, None if it takes any.
        batch: N the model is fixed to, None if it takes any.

    Attributes:
        unseen_mb: What it has certainly allocated of the machine's memory outside of this process's resident memory.
    """

    unseen_mb: float = 0.0

    def __init__(
        self,
        *,
        backend: str,
        errors: ErrorTable,
        outputs: tuple[str, ...],
        input_px: tuple[int, int] | None = None,
        batch: int | None = None,
    ) -> None:
        self.backend = backend
        self.outputs = outputs
        self.input_px = input_px
        self.batch = batch
        self._errors = errors
        self._vendor = tuple(errors)
        self._turn = threading.Lock()  # held by who infers or closes
        self._closed = False

    def infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """Run the model.

        Args:
            batch: uint8 array (N, height, width, 3), RGB, as `preprocess` makes them.

        Returns:
            Each output by its name: a float32 array (N, …), owned by the caller.

        Raises:
            ShapeError: The batch has another shape or dtype.
            BackendError: The vendor's library failed, or the session is closed.
        """
        self._check(batch)
        try:
            with self._turn:
                if self._closed:
                    raise self._closed_error()
                if self.batch is None or len(batch) == self.batch:
                    return self._infer(batch)
                return self._infer_slices(batch, self.batch)
        except BackendError:  # said in our words already
            raise
        except self._vendor as error:
            raise translate(self.backend, error, self._errors) from error

    def infer_many(self, batches: Iterable[NDArray[np.uint8]]) -> Iterator[Outputs]:
        """Yield the outputs of each batch in order; a backend may overlap them for throughput."""
        for batch in batches:
            yield self.infer(batch)

    def close(self) -> None:
        """Free the model, once a running inference is finished; calling twice is harmless."""
        with self._turn:
            if not self._closed:
                self._closed = True
                self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abc.abstractmethod
    def _infer(self, batch: NDArray[np.uint8]) -> Outputs:
        """Run one checked batch of the size the model was loaded for; nobody else infers or closes meanwhile."""

    def _close(self) -> None:  # noqa: B027  (a session without resources has nothing to free)
        """Free the model; called once, while nobody infers."""

    def _closed_error(self) -> BackendError:
        return BackendError(f"the session of {self.backend}", "open", "a closed one", fix="open it again")

    def _infer_slices(self, batch: NDArray[np.uint8], size: int) -> Outputs:
        parts = []
        for start in range(0, len(batch), size):
            part = batch[start : start + size]
            if len(part) < size:  # the last slice is filled up and the surplus dropped
                filled = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
                parts.append({name: found[: len(part)] for name, found in self._infer(filled).items()})
            else:
                parts.append(self._infer(part))
        return {name: np.concatenate([found[name] for found in parts]) for name in self.outputs}

    def _check(self, batch: NDArray[np.uint8]) -> None:
        px = self.input_px
        good = isinstance(batch, np.ndarray) and batch.dtype == np.uint8 and batch.ndim == 4 and batch.shape[3] == 3
        if good and len(batch) and (px is None or batch.shape[1:3] == px):
            return
        height, width = ("height", "width") if px is None else px
        got = f"shape {batch.shape} {batch.dtype}" if isinstance(batch, np.ndarray) else type(batch).__name__
        fix = "pass the image through edgetl_runtime.preprocess.preprocess first"
        raise ShapeError("the batch", f"of shape (N, {height}, {width}, 3) uint8", got, fix=fix)


class Uninstalled(str):
    """A clause of `available` that says which package is missing: installing it mends that."""

    __slots__ = ()


class Backend(abc.ABC):
    """One way to execute models; see `BackendInfo` for what it is."""

    info: ClassVar[BackendInfo]
    keeps_engines: ClassVar[bool] = False  # in `cache_dir`, each with what it is bound to and a code: no seal is needed

    def available(self, facts: Facts | None = None) -> str | None:
        """Say why this machine cannot use the backend.

        Args:
            facts: Of the machine; None asks the machine only for its type.

        Returns:
            None if it can be used, else one clause.
        """
        arch = platform.machine() if facts is None else facts.arch
        if arch not in self.info.runs_on:
            return f"{self.info.name} does not run on {arch}"
        return self.uninstalled()

    def uninstalled(self) -> Uninstalled | None:
        """Say which package is missing, in one clause of `available`; None if all are there."""
        if self.info.module and importlib.util.find_spec(self.info.module) is None:
            return Uninstalled(f"the package {self.info.package} is not installed")
        return None

    def require(self, facts: Facts | None = None) -> None:
        """Raise the install sentence if the backend cannot be used here.

        Raises:
            BackendMissingError: With the command that installs it.
        """
        reason = self.available(facts)
        if reason is not None:
            what = f"the backend {self.info.name}"
            raise BackendMissingError(what, "installed and fit for this machine", reason, fix=self.info.install)

    def compile(self, model: bytes, options: LoadOptions, cache_dir: Path | None = None) -> Artifact:
        """Make what `load` takes out of a model; most backends take the model as it is, without other outputs.

        Args:
            model: Bytes of one of `info.formats`.
            options: As given to `load`.
            cache_dir: Where compiled code may be kept between starts.

        Raises:
            BundleError: The model lacks an output that was asked for.
        """
        return Artifact(data=onnx_walk.with_outputs(model, options.outputs, name="the model"), cache_dir=cache_dir)

    def prepare(
        self,
        model: bytes,
        options: LoadOptions,
        cache_dir: Path | None = None,
        *,
        force: bool = False,
        progress: Callable[[str, float], None] | None = None,
        settings: BuildSettings | None = None,
    ) -> dict[str, Any] | None:
        """Build ahead of its use what `compile` would build and keep; most backends build nothing.

        Args:
            model: As for `compile`.
            options: As for `compile`.
            cache_dir: As for `compile`.
            force: Build again even if what is kept fits.
            progress: Called with what is being done and the share that is done, 0 to 1.
            settings: Limits and choices of the build.

        Returns:
            What was built or found, as JSON can hold it; None where there is nothing to build.

        Raises:
            BackendError: The model is refused, or the build fails.
        """
        return None

    def adopt(self, engine: bytes, about: Mapping[str, Any]) -> Artifact | None:
        """Take over an engine that another machine compiled and a trusted key signed; most backends take none.

        Args:
            engine: Its bytes.
            about: What it is bound to, from the variant's evidence.

        Returns:
            What `load` takes; None where the engine does not fit this machine, so that the model is compiled.
        """
        return None

    def load(self, artifact: Artifact, options: LoadOptions) -> BackendSession:
        """Load a compiled model.

        Raises:
            BackendMissingError: The backend's package is not installed.
            BackendError: The vendor's library refuses the model, or it has other outputs.
        """
        self.require()
        table = self.errors()
        try:
            session = self._load(artifact, options)
        except BackendError:  # said in our words already
            raise
        except tuple(table) as error:
            raise translate(self.info.name, error, table) from error
        if set(session.outputs) != set(options.outputs):
            session.close()
            must, got = f"compiled for {', '.join(options.outputs)}", ", ".join(session.outputs) or "none"
            raise BackendError(f"the outputs of the model in {self.info.name}", must, got, fix="build it again")
        return session

    @abc.abstractmethod
    def errors(self) -> ErrorTable:
        """Return the table of vendor exceptions; may import the vendor's library."""

    @abc.abstractmethod
    def _load(self, artifact: Artifact, options: LoadOptions) -> BackendSession:
        """Load without checking or translating."""


def fixed_input_px(shape: Any) -> tuple[int, int] | None:  # noqa: ANN401  (vendors give lists of ints, names and None)
    """Return (height, width) of an NHWC input shape, None where one is symbolic."""
    height, width = shape[1], shape[2]
    return (height, width) if isinstance(height, int) and isinstance(width, int) else None
