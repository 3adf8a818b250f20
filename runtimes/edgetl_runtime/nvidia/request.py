"""What a build is asked for and what it answers: plain data, so that it can cross to the child process as JSON."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from edgetl_runtime.nvidia.dialect import Flavour


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BuildOptions:
    """Everything that changes the bytes of an engine, beside the graph and the machine.

    Attributes:
        flavour: Which compiler.
        batch: N that the engine is built for.
        tf32: Whether float32 products may round their inputs to 10 bits; off, so that float32 means float32.
        workspace_mb: Scratch memory a layer may use.
        optimization_level: 0 (quick build) to 5; 3 is the vendor's own choice.
        dla_core: Core of the deep learning accelerator to prefer, None for the GPU alone.
        compute_capabilities: GPUs to compile for, such as "SM86"; empty for this machine's. TensorRT for RTX only.
    """

    flavour: Flavour = "tensorrt"
    batch: int = 1
    tf32: bool = False
    workspace_mb: int = 512
    optimization_level: int = 3
    dla_core: int | None = None
    compute_capabilities: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BuildLimits:
    """What a build may take.

    Attributes:
        time_s: Wall time.
        memory_mb: Resident memory of the building process; None for four fifths of the machine's.
    """

    time_s: float = 3600.0
    memory_mb: int | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Progress of a build.

    Attributes:
        phase: The vendor's word for what is being done.
        done: Steps done.
        total: Steps of the phase.
    """

    phase: str
    done: int
    total: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why there is no engine.

    Attributes:
        kind: `parser`: the graph is not accepted; `builder`: it is, but no engine came of it.
        words: The vendor's own, in one line.
        title: Product and version.
        node: Name of the node, where one is to blame.
        operator: Its operator.
    """

    kind: Literal["parser", "builder"]
    words: str
    title: str
    node: str = ""
    operator: str = ""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """An engine and what is known of its making.

    Attributes:
        plan: Bytes of the engine.
        timing: Bytes of the vendor's timing cache; empty where there is none.
        title: Product and version.
        layers: Layers of the parsed network.
        seconds: Wall time of parsing and building.
        peak_mb: Peak resident memory of the child.
        on_gpu: Layers that the accelerator cannot take, where one was asked for.
    """

    plan: bytes = dataclasses.field(repr=False)
    timing: bytes = dataclasses.field(repr=False, default=b"")
    title: str
    layers: int
    seconds: float
    peak_mb: float
    on_gpu: tuple[str, ...] = ()

    def evidence(self) -> dict[str, Any]:
        """Return everything but the bytes, as JSON can hold it."""
        return {
            "compiler": self.title,
            "layers": self.layers,
            "seconds": round(self.seconds, 2),
            "plan_bytes": len(self.plan),
            "peak_mb": round(self.peak_mb),
        }
