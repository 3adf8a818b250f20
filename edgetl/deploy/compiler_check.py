"""The step of a deployment that holds candidates for NVIDIA against its compiler, on a machine without a GPU."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgetl.nvidia import gate
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgetl.deploy.candidates import Candidate
    from edgetl.profiles import DeviceProfile


def compiled(
    candidates: list[Candidate], profile: DeviceProfile, said: Callable[[str], None] = lambda _: None
) -> list[Candidate]:
    """Compile what is meant for NVIDIA; what the rules or the compiler refuse is no longer accepted.

    Args:
        candidates: Of any backend; the others pass unchanged.
        profile: The target, whose GPUs are compiled for.
        said: Told what a person must know.

    Returns:
        The candidates in their order, with `nvidia` among their evidence.

    Raises:
        BackendError: The compiler did not end: out of time, memory or disk.
    """
    known: dict[bytes, dict[str, Any]] = {}
    found = []
    for candidate in candidates:
        if candidate.backend not in gate.BACKENDS:
            found.append(candidate)
            continue
        if candidate.model not in known:
            known[candidate.model] = _checked(candidate.model, profile, said)
        verdict = known[candidate.model]
        why = (*candidate.why, f"NVIDIA's compiler: {verdict['reason']}") if verdict["refused"] else candidate.why
        evidence = {**candidate.evidence, "nvidia": verdict}
        found.append(dataclasses.replace(candidate, evidence=evidence, why=why))
    return found


def _checked(model: bytes, profile: DeviceProfile, said: Callable[[str], None]) -> dict[str, Any]:
    absent = gate.missing()
    if absent is not None:
        said(f"not checked by NVIDIA's compiler: {absent}; {gate.INSTALL}")
        return {"refused": False, "words": f"not checked by NVIDIA's compiler: {absent}", "reason": ""}
    checked = gate.check(model, wanted=gate.capabilities(profile))
    return {"refused": not checked.accepted, **checked.to_mapping()}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """An engine compiled ahead of time.

    Attributes:
        plan: Its bytes.
        about: What it is bound to, as the manifest's evidence says it and the device compares it.
    """

    plan: bytes = dataclasses.field(repr=False)
    about: dict[str, Any]


def check_embedding(profile: DeviceProfile) -> None:
    """Refuse to embed where there is nothing to embed.

    Raises:
        UsageError: The target has no TensorRT for RTX: engines for Jetson are built on the board.
        BackendMissingError: The compiler is not installed.
    """
    if profile.backend("tensorrt_rtx") is None:
        fix = "--target ipc-rtx; engines for Jetson are built on the board: edgetl-runtime build BUNDLE"
        raise UsageError("--embed-engine", "for a target with TensorRT for RTX", profile.name, fix=fix)
    gate.require("--embed-engine")


def ahead(candidate: Candidate, profile: DeviceProfile) -> Engine | None:
    """Compile the engine of a candidate for the target's GPUs; None where it is not for TensorRT for RTX."""
    if candidate.backend != "tensorrt_rtx":
        return None
    wanted = gate.portable(gate.capabilities(profile))
    built = gate.compile_ahead(candidate.model, wanted=wanted)
    return Engine(plan=built.plan, about={**built.evidence(), "compiled_for": list(wanted)})


def note(candidate: Candidate) -> str:
    """Return what the compiler said of a candidate, empty where it was not asked."""
    return str(candidate.evidence.get("nvidia", {}).get("words", ""))
