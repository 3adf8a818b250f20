"""Parse a graph and build its engine with the vendor's module; runs inside the child process.

The same calls serve TensorRT 10.3 to 11.x and TensorRT for RTX; what differs is in `dialect`.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import BackendError
from edgetl_runtime.nvidia.request import BuildOptions, Built, Refusal, Step

if TYPE_CHECKING:
    from collections.abc import Callable

    import tensorrt as trt

    from edgetl_runtime.nvidia.dialect import Dialect

MAX_WORDS = 300
_MB = 2**20
# what the builder says, whatever the graph, where no GPU or driver is there
_NOISE = re.compile(r"\[checkMacros|cudaError|CUDA driver|CUDA initialization|nvidia-smi|^-+ |^In node|^---")


class RefusedError(Exception):
    """The graph was refused; carries the refusal to the process that asked."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.words)


def build(
    dialect: Dialect, model: bytes, options: BuildOptions, *, timing: bytes, report: Callable[[Step], None]
) -> Built:
    """Build an engine.

    Args:
        dialect: The vendor's library.
        model: Bytes of an ONNX model that was walked before.
        options: What to build.
        timing: Bytes of an earlier timing cache, or empty.
        report: Called with the progress.

    Raises:
        RefusedError: The parser or the builder refuses the graph.
    """
    started = time.monotonic()
    log = _logger(dialect)
    builder: trt.Builder = dialect.module.Builder(log)
    network: trt.INetworkDefinition = builder.create_network(dialect.network_flags())
    _parse(dialect, network, model, log)
    config: trt.IBuilderConfig = builder.create_builder_config()
    _configure(dialect, builder, network, config, options)
    on_gpu = _choose_dla(dialect, network, config, options)
    cache = config.create_timing_cache(timing)
    config.set_timing_cache(cache, ignore_mismatch=False)
    config.progress_monitor = _monitor(dialect, report)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RefusedError(Refusal(kind="builder", words=log.summary(), title=dialect.title))
    kept = config.get_timing_cache()
    return Built(
        plan=bytes(plan),
        timing=bytes(kept.serialize()) if kept is not None else b"",
        title=dialect.title,
        layers=network.num_layers,
        seconds=time.monotonic() - started,
        peak_mb=0.0,
        on_gpu=on_gpu,
    )


def _parse(dialect: Dialect, network: trt.INetworkDefinition, model: bytes, log: Any) -> None:  # noqa: ANN401
    parser: trt.OnnxParser = dialect.module.OnnxParser(network, log)
    if parser.parse(model) and parser.num_errors == 0:
        return
    if parser.num_errors == 0:
        raise RefusedError(Refusal(kind="parser", words=log.summary(), title=dialect.title))
    error: trt.ParserError = parser.get_error(0)
    node, operator = error.node_name(), error.node_operator()
    words = one_line(error.desc(), without=f"Invalid Node - {node}")
    raise RefusedError(Refusal(kind="parser", words=words, title=dialect.title, node=node, operator=operator))


def _configure(
    dialect: Dialect,
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    options: BuildOptions,
) -> None:
    module = dialect.module
    config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, options.workspace_mb * _MB)
    config.builder_optimization_level = options.optimization_level
    if not options.tf32:
        config.clear_flag(module.BuilderFlag.TF32)
    image: trt.ITensor = network.get_input(0)
    declared = sizes(image.shape)
    if -1 in declared:
        profile: trt.IOptimizationProfile = builder.create_optimization_profile()
        shape = module.Dims((options.batch, *declared[1:]))
        profile.set_shape(image.name, shape, shape, shape)
        config.add_optimization_profile(profile)
    if options.compute_capabilities and dialect.release.compute_capabilities:
        targets: Any = config  # named capabilities exist in TensorRT for RTX alone, so TensorRT's types lack them
        targets.num_compute_capabilities = len(options.compute_capabilities)
        for place, name in enumerate(options.compute_capabilities):
            targets.set_compute_capability(_capability(dialect, name), place)


def _capability(dialect: Dialect, name: str) -> Any:  # noqa: ANN401  (a member of the vendor's enumeration)
    known = {key: value for key, value in dialect.module.ComputeCapability.__members__.items() if key != "NONE"}
    if name not in known:
        must = f"one that {dialect.title} compiles for: {', '.join(known)}"
        raise BackendError("the compute capability", must, f"'{name}'", fix="take one of them")
    return known[name]


def _choose_dla(
    dialect: Dialect, network: trt.INetworkDefinition, config: trt.IBuilderConfig, options: BuildOptions
) -> tuple[str, ...]:
    """Prefer the accelerator where asked to; return the names of the layers that fall back to the GPU."""
    if options.dla_core is None:
        return ()
    module = dialect.module
    layers = [network.get_layer(place) for place in range(network.num_layers)]
    dialect.check_dla(quantized=any(layer.type == module.LayerType.DEQUANTIZE for layer in layers))
    config.default_device_type = module.DeviceType.DLA
    config.DLA_core = options.dla_core
    config.set_flag(module.BuilderFlag.GPU_FALLBACK)
    return tuple(layer.name for layer in layers if not config.can_run_on_DLA(layer))


def sizes(dims: trt.Dims) -> tuple[int, ...]:
    """Return the vendor's shape as a tuple; -1 is any size."""
    return tuple(int(dims[place]) for place in range(len(dims)))


def one_line(words: str, *, without: str = "") -> str:
    """Return what matters of the vendor's message: no positions in its sources, no complaint about a missing GPU."""
    lines = [line.strip() for line in words.replace(without, "").splitlines()]
    kept = " ".join(line for line in lines if line and not _NOISE.search(line)) or " ".join(words.split())
    kept = re.sub(r"In \w+ at \S+:\d+\)?|\(?\[?\w+\.cpp:\d+\]?\)?|\[\d+\]", "", kept)
    kept = re.sub(r"ITensor::\w+: ", "", kept)
    return " ".join(kept.split()).rstrip(".")[:MAX_WORDS]


def _logger(dialect: Dialect) -> Any:  # noqa: ANN401  (a subclass of a class known at run time)
    module = dialect.module

    class Log(module.ILogger):  # type: ignore[misc,name-defined]
        """Keeps what went wrong; the rest is not for people."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, words: str) -> None:  # noqa: ANN401
            if int(severity) <= int(module.ILogger.Severity.ERROR) and not _NOISE.search(words):
                self.errors.append(one_line(words))

        def summary(self) -> str:
            return "; ".join(dict.fromkeys(self.errors))[:MAX_WORDS] or "no reason"

    return Log()


def _monitor(dialect: Dialect, report: Callable[[Step], None]) -> Any:  # noqa: ANN401
    module = dialect.module

    class Monitor(module.IProgressMonitor):  # type: ignore[misc,name-defined]
        """Tells the phases on the way; the vendor's library calls it."""

        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps
            report(Step(phase=phase_name, done=0, total=num_steps))

        def phase_finish(self, phase_name: str) -> None:
            total = self.steps.pop(phase_name, 0)
            report(Step(phase=phase_name, done=total, total=total))

        def step_complete(self, phase_name: str, step: int) -> bool:
            report(Step(phase=phase_name, done=step + 1, total=self.steps.get(phase_name, step + 1)))
            return True

    return Monitor()
