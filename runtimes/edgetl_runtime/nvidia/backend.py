"""What the backends `tensorrt` and `tensorrt_rtx` share: engines built where they run, kept, executed."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import platform
import time
from typing import TYPE_CHECKING, Any, ClassVar

from edgetl_runtime import onnx_walk
from edgetl_runtime.backends import base
from edgetl_runtime.errors import BackendMissingError
from edgetl_runtime.nvidia import cuda, library, process
from edgetl_runtime.nvidia.cache import EngineCache, Fingerprint, default_folder
from edgetl_runtime.nvidia.execution import ERRORS, EngineSession
from edgetl_runtime.nvidia.request import BuildLimits, BuildOptions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from edgetl_runtime.nvidia.cuda import Gpu
    from edgetl_runtime.nvidia.dialect import Flavour
    from edgetl_runtime.nvidia.request import Built, Step
    from edgetl_runtime.probe import Facts

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine that may be loaded here.

    Attributes:
        plan: Its bytes.
        reason: Why it was built; empty if it was kept from before.
        evidence: What is known of the build; empty if it was kept.
        seconds: Wall time of finding or building it.
    """

    plan: bytes = dataclasses.field(repr=False)
    reason: str
    evidence: dict[str, Any]
    seconds: float


class NvidiaBackend(base.Backend):
    """Builds an engine on the machine that runs it, or takes the one it built before."""

    keeps_engines = True
    flavour: ClassVar[Flavour]

    def available(self, facts: Facts | None = None) -> str | None:
        """Say why this machine cannot use the backend: machine type, packages, driver, GPU."""
        return self._wrong_machine(facts) or self.uninstalled() or cuda.missing()

    def uninstalled(self) -> base.Uninstalled | None:
        """Say which package is missing; None if all are there."""
        reason = library.missing(self.flavour)
        return None if reason is None else base.Uninstalled(reason)

    def errors(self) -> base.ErrorTable:
        """Return what the driver and TensorRT's binding raise."""
        return ERRORS

    def compile(self, model: bytes, options: base.LoadOptions, cache_dir: Path | None = None) -> base.Artifact:
        """Return the engine of a model, built now if none that fits is kept; that takes minutes on a small board.

        Raises:
            BackendError: The graph is refused, or the build fails.
            BackendMissingError: There is no compiler or no GPU.
        """
        engine = self.engine(model, options, cache_dir)
        return base.Artifact(data=engine.plan, cache_dir=cache_dir)

    def prepare(
        self,
        model: bytes,
        options: base.LoadOptions,
        cache_dir: Path | None = None,
        *,
        force: bool = False,
        progress: Callable[[str, float], None] | None = None,
        settings: base.BuildSettings | None = None,
    ) -> dict[str, Any]:
        """Build the engine ahead of its use; see `base.Backend.prepare`."""
        done = _Done(progress) if progress is not None else None
        engine = self.engine(model, options, cache_dir, force=force, settings=settings, progress=done)
        return {
            "engine": self.info.name,
            "built": bool(engine.reason),
            "reason": engine.reason or "the kept one fits",
            "plan_bytes": len(engine.plan),
            "seconds": round(engine.seconds, 2),
            **engine.evidence,
        }

    def adopt(self, engine: bytes, about: Mapping[str, Any]) -> base.Artifact | None:
        """Take over an engine that this release compiled ahead of time for this GPU; see `base.Backend.adopt`."""
        dialect = library.load(self.flavour)
        if not dialect.release.compute_capabilities:
            return None
        with _gpu() as gpu:
            here = "SM" + gpu.compute_capability.replace(".", "")
        if about.get("compiler") == dialect.title and here in about.get("compiled_for", ()):
            return base.Artifact(data=engine)
        compiled_for = ", ".join(map(str, about.get("compiled_for", ())))
        _log.info("the bundle's engine is for %s by %s: compiled here instead", compiled_for, about.get("compiler"))
        return None

    def engine(
        self,
        model: bytes,
        options: base.LoadOptions,
        cache_dir: Path | None = None,
        *,
        force: bool = False,
        settings: base.BuildSettings | None = None,
        progress: Callable[[Step], None] | None = None,
    ) -> Engine:
        """Find or build the engine of a model for this machine."""
        started = time.monotonic()
        model = onnx_walk.with_outputs(model, options.outputs, name="the model")
        settings = settings or base.BuildSettings()
        cache = EngineCache(cache_dir or default_folder(self.flavour))
        wanted = BuildOptions(flavour=self.flavour, batch=options.batch or 1, dla_core=settings.dla_core)
        with _gpu() as gpu:
            mark = fingerprint(model, wanted, self._compiler(), gpu)
        limits = BuildLimits(time_s=settings.time_limit_s, memory_mb=settings.memory_limit_mb)
        found = cache.find(mark)
        if found.plan is None or force:
            with cache.building(wait_s=limits.time_s):
                found = cache.find(mark)  # another process may have built it meanwhile
                if found.plan is None or force:
                    reason = "asked to" if found.plan is not None else found.reason
                    _log.info("building the %s engine: %s", self.info.name, reason)
                    built = self._build(model, wanted, cache, limits, progress)
                    cache.keep(mark, built.plan, built.evidence())
                    evidence = built.evidence() | {"layers_on_gpu": list(built.on_gpu)}
                    seconds = time.monotonic() - started
                    return Engine(plan=built.plan, reason=reason, evidence=evidence, seconds=seconds)
        return Engine(plan=found.plan, reason="", evidence={}, seconds=time.monotonic() - started)

    def _build(
        self,
        model: bytes,
        wanted: BuildOptions,
        cache: EngineCache,
        limits: BuildLimits,
        progress: Callable[[Step], None] | None,
    ) -> Built:
        timing = cache.timing(self._compiler())
        known = timing.read_bytes() if timing.exists() else b""
        built = process.build(model, wanted, timing=known, limits=limits, progress=progress, folder=cache.folder)
        if built.timing:
            cache.keep_timing(self._compiler(), built.timing)
        return built

    def _compiler(self) -> str:
        return library.load(self.flavour).title

    def _wrong_machine(self, facts: Facts | None) -> str | None:
        arch = platform.machine() if facts is None else facts.arch
        return None if arch in self.info.runs_on else f"{self.info.name} does not run on {arch}"

    def _load(self, artifact: base.Artifact, options: base.LoadOptions) -> EngineSession:
        return EngineSession(library.load(self.flavour), artifact.data, backend=self.info.name, cuda=cuda.Cuda())


def fingerprint(model: bytes, wanted: BuildOptions, compiler: str, gpu: Gpu) -> Fingerprint:
    """Return what the engine of a model is bound to on this machine."""
    return Fingerprint(
        model_sha256=hashlib.sha256(model).hexdigest(),
        compiler=compiler,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
        l4t=gpu.l4t,
        options=json.dumps(dataclasses.asdict(wanted), sort_keys=True),
    )


@contextlib.contextmanager
def _gpu() -> Iterator[Gpu]:
    """Give the facts of the GPU, and its context back before another process builds on it."""
    handle = cuda.Cuda()
    try:
        yield handle.gpu()
    except cuda.CudaError as error:
        raise BackendMissingError("a CUDA device", "usable", str(error), fix="restart the machine") from error
    finally:
        handle.close()


class _Done:
    """Turns the vendor's nested phases into one share that only grows."""

    def __init__(self, tell: Callable[[str, float], None]) -> None:
        self._tell = tell
        self._share = 0.0

    def __call__(self, step: Step) -> None:
        # the phases are nested and their number is not known: half of the rest for each one that ends
        if step.done >= step.total > 0:
            self._share += (1 - self._share) / 16
        self._tell(step.phase, self._share)
