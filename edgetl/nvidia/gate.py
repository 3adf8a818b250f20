"""The gate: a graph meant for NVIDIA is held against the rules, then parsed and compiled by NVIDIA's own compiler.

TensorRT for RTX compiles for a named GPU on any machine. Jetson's GPUs are not among those it names, so the nearest
stands in: that proves the graph and its form, not the board; latency is not measured on hardware.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import BackendError, BackendMissingError, GraphError

if TYPE_CHECKING:
    from pathlib import Path

    from edgetl.profiles import DeviceProfile
    from edgetl_runtime.nvidia.request import Built

BACKENDS = ("tensorrt", "tensorrt_rtx")
# what the compiler names: TensorRT for RTX 1.7, ComputeCapability
OFFERED = ("SM75", "SM80", "SM86", "SM89", "SM120", "SM121")
STAND_INS = {"SM87": "SM86", "SM110": "SM120"}  # Orin is Ampere as SM86 is, Thor is Blackwell as SM120 is
DEFAULT = ("SM87",)
# NVIDIA's support matrix of TensorRT for RTX: one engine serves all later cards, Turing needs its own, without INT8 and
# without float32 products of matrices
ALONE = "SM75"
TIME_LIMIT_S = 600.0
INSTALL = "pip install 'edgetl[tensorrt-rtx]'"
NOT_MEASURED = "latency not measured on hardware"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What the gate says of one graph.

    Attributes:
        accepted: Whether it keeps the rules and an engine came of it.
        reason: One clause naming the node; empty if it is accepted.
        findings: Broken rules.
        compiler: Product and version; empty where the rules alone refused.
        compiled_for: Compute capabilities that were compiled for.
        stands_in: What the first of them stands in for; empty if nothing.
        not_for: GPUs of the target that take no such graph, with the reason; the others do.
        layers: Of the parsed network.
        seconds: Wall time of the compiler.
        plan_bytes: Size of the engine.
    """

    accepted: bool
    reason: str = ""
    findings: tuple[str, ...] = ()
    compiler: str = ""
    compiled_for: tuple[str, ...] = ()
    stands_in: str = ""
    not_for: tuple[str, ...] = ()
    layers: int = 0
    seconds: float = 0.0
    plan_bytes: int = 0

    @property
    def words(self) -> str:
        """Return one line for people."""
        if not self.accepted:
            return f"refused: {self.reason}"
        instead = f", standing in for {self.stands_in}" if self.stands_in else ""
        return (
            f"compiled by {self.compiler} for {', '.join(self.compiled_for)}{instead}: {self.layers} layers, "
            f"{self.seconds:.1f} s, {self.plan_bytes / 1e6:.1f} MB; "
            + "".join(f"not for {reason}; " for reason in self.not_for)
            + NOT_MEASURED
        )

    def to_mapping(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        seconds = round(self.seconds, 2)
        return {**dataclasses.asdict(self), "seconds": seconds, "note": NOT_MEASURED, "words": self.words}


def missing() -> str | None:
    """Say why the compiler cannot be used here; None if it can."""
    from edgetl_runtime.nvidia import library

    return library.missing("tensorrt_rtx")


def require(option: str) -> None:
    """Refuse an option that needs the compiler where there is none.

    Raises:
        BackendMissingError: With the command that installs it.
    """
    absent = missing()
    if absent is not None:
        raise BackendMissingError(option, "possible on this machine", absent, fix=INSTALL)


def capabilities(profile: DeviceProfile) -> tuple[str, ...]:
    """Return the compute capabilities of a device's GPUs, such as ("SM87",); those of Orin where it names none."""
    named = [unit.compute_capability for unit in profile.accelerators if unit.kind == "gpu"]
    found = tuple(f"SM{name.replace('.', '')}" for name in named if name)
    return found or DEFAULT


def check(model: bytes, *, wanted: tuple[str, ...] = DEFAULT, folder: Path | None = None) -> Checked:
    """Hold a graph against the rules and the compiler.

    Args:
        model: Bytes of an ONNX model.
        wanted: Compute capabilities of the target's GPUs.
        folder: Where temporary files go.

    Raises:
        BackendMissingError: The compiler is not installed.
        BackendError: The compiler did not end: out of time, memory or disk.
    """
    from edgetl.nvidia import rules
    from edgetl.quantize import graph

    findings = tuple(str(finding) for finding in rules.check(graph.load(model)))
    targets, stands_in = _targets(wanted)
    try:
        built = compile_ahead(model, wanted=portable(wanted), folder=folder)
    except GraphError as error:
        reason = error.sentence.rstrip(".")
        return Checked(accepted=False, reason=reason, findings=findings, compiled_for=targets, stands_in=stands_in)
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    not_for = _not_for_turing(model, folder) if len(targets) > 1 and ALONE in targets else ()
    targets = tuple(name for name in targets if name != ALONE or not not_for)
    return Checked(
        accepted=not findings,
        reason=f"rule {findings[0]}{more}" if findings else "",
        findings=findings,
        compiler=built.title,
        compiled_for=targets,
        stands_in=stands_in,
        not_for=not_for,
        layers=built.layers,
        seconds=built.seconds,
        plan_bytes=len(built.plan),
    )


def portable(wanted: tuple[str, ...]) -> tuple[str, ...]:
    """Return those GPUs of a target that one engine serves.

    Example:
        >>> portable(("SM75", "SM86", "SM89")), portable(("SM75",))
        (('SM86', 'SM89'), ('SM75',))
    """
    return tuple(name for name in wanted if name != ALONE) or wanted


def _not_for_turing(model: bytes, folder: Path | None) -> tuple[str, ...]:
    """Return the compiler's reason if it takes the graph for all cards of a target but Turing."""
    try:
        compile_ahead(model, wanted=(ALONE,), folder=folder)
    except GraphError as error:
        return (f"Turing ({ALONE}), take --precision f16 there: {error.got}",)
    return ()


def compile_ahead(model: bytes, *, wanted: tuple[str, ...], folder: Path | None = None) -> Built:
    """Compile an engine for GPUs that this machine need not have.

    Args:
        model: Bytes of an ONNX model.
        wanted: Compute capabilities, such as ("SM86", "SM89").
        folder: Where temporary files go.

    Raises:
        BackendMissingError: The compiler is not installed.
        GraphError: The graph is refused.
        BackendError: The build did not end.
    """
    from edgetl_runtime.nvidia import process
    from edgetl_runtime.nvidia.request import BuildLimits, BuildOptions

    targets, _ = _targets(wanted)
    options = BuildOptions(flavour="tensorrt_rtx", compute_capabilities=targets)
    return process.build(model, options, limits=BuildLimits(time_s=TIME_LIMIT_S), folder=folder)


def _targets(wanted: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Return what is compiled for, and what of it stands in for another GPU."""
    targets, replaced = [], []
    for name in wanted:
        target = name if name in OFFERED else STAND_INS.get(name)
        if target is None:
            must = f"one of {', '.join((*OFFERED, *STAND_INS))}"
            raise BackendError("the compute capability", must, f"'{name}'", fix="correct the device profile")
        targets.append(target)
        if target != name:
            replaced.append(name)
    return tuple(dict.fromkeys(targets)), ", ".join(replaced)
