"""The plan of a deployment: which recipes, backends and thread counts are tried for a target. Pure."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from edgetl.quantize import recipe as recipes
from edgetl.quantize.recipe import Recipe
from edgetl_runtime.errors import UsageError
from edgetl_runtime.probe import facts, lacking
from edgetl_runtime.schema import nearest

if TYPE_CHECKING:
    from edgetl.profiles import DeviceProfile

# int8 sums saturate without these; aarch64's dot product does not (see CPU_FLAGS in edgetl_runtime.probe)
INT8_FLAGS = "avx512_vnni|avx_vnni|asimddp"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCandidate:
    """One variant to try.

    Attributes:
        backend: What executes it on the target.
        precision: Arithmetic of most of the network.
        rungs: How its model is made: recipes in the order of the ladder, the next only if the last loses too much.
        threads: Thread counts to try; None leaves it to the backend.
    """

    backend: str
    precision: str
    rungs: tuple[Recipe, ...]
    threads: tuple[int | None, ...]

    @property
    def recipe(self) -> Recipe:
        """The first rung."""
        return self.rungs[0]


def plan(
    profile: DeviceProfile, *, cores: int, precision: str | None = None, cpu_flags: tuple[str, ...] | None = None
) -> tuple[PlannedCandidate, ...]:
    """List what to try, in the profile's order of preference; the float model is always among it.

    Args:
        profile: The target.
        cores: Of this machine; thread counts are tried only where the target is measured here.
        precision: Only this one, beside f32.
        cpu_flags: Of this machine; None asks it. Models that saturate without 8-bit dot products are planned only where
            the target is this machine and has them: what an unknown processor can do is not known.

    Raises:
        UsageError: The target does not have that precision.
    """
    cap = int(profile.thread_cap.value) if profile.thread_cap else cores
    threads: tuple[int | None, ...] = tuple(sorted({1, min(cores, cap)})) if profile.measured_here else (None,)
    flags = facts().cpu_flags if cpu_flags is None else cpu_flags
    planned = []
    for choice in profile.backends:
        for name in choice.precisions:
            if precision not in (None, name) and name != "f32":
                continue
            rungs = recipes.for_backend(choice.name, precision=name)
            if not (profile.measured_here and not lacking((INT8_FLAGS,), flags)):
                rungs = tuple(recipe.without_vnni() for recipe in rungs)
            if rungs:
                planned.append(PlannedCandidate(backend=choice.name, precision=name, rungs=rungs, threads=threads))
    if precision is not None and precision not in {p.precision for p in planned}:
        offered = sorted({name for choice in profile.backends for name in choice.precisions})
        must = f"one of {profile.name}'s: {', '.join(offered)}"
        raise UsageError("--precision", must, precision, fix=f"--precision {offered[0]}, or none for the fastest")
    return tuple(planned)


def narrowed(
    planned: tuple[PlannedCandidate, ...], *, backend: str | None, threads: int | None, rungs: int | None = None
) -> tuple[PlannedCandidate, ...]:
    """Keep one backend of a plan, one number of threads, or the first rungs of every ladder.

    Raises:
        UsageError: The plan has no such backend, or a number is below 1.
    """
    for option, number in (("--threads", threads), ("--rungs", rungs)):
        if number is not None and number < 1:
            raise UsageError(option, "at least 1", str(number), fix=f"{option} 1")
    kept = [p for p in planned if backend in (None, p.backend)]
    if not kept:
        offered = sorted({p.backend for p in planned})
        raise UsageError(
            "--backend",
            f"one of the target's: {', '.join(offered)}",
            f"'{backend}'",
            fix=nearest(backend or "", offered),
        )
    chosen = None if threads is None else (threads,)
    return tuple(dataclasses.replace(p, threads=chosen or p.threads, rungs=p.rungs[:rungs]) for p in kept)
