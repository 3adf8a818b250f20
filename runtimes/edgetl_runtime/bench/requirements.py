"""What a test needs of its machine, and what this one lacks."""

from __future__ import annotations

from edgetl_runtime import backends, probe
from edgetl_runtime.bench.conditions import environment
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import nearest


def lacking(
    *,
    backend: str | None = None,
    arch: str | None = None,
    cores: int = 1,
    memory_mb: int = 0,
    cpu_flag: str | None = None,
    board: str | None = None,
) -> str | None:
    """Say what this machine lacks.

    Args:
        backend: Must be installed and able to run here.
        arch: As `platform.machine()` names it.
        cores: Usable at least.
        memory_mb: At least.
        cpu_flag: One of `probe.CPU_FLAGS`; `a|b` is met by either.
        board: Part of the device tree's model, for instance `Orin Nano`.

    Returns:
        One clause, None if nothing is lacking.

    Example:
        >>> lacking(cores=100_000).startswith("needs 100000 cores, this machine has ")
        True
    """
    machine = probe.facts()
    if backend is not None:
        if backend not in backends.names():
            raise UsageError("backend", "a known one", f"'{backend}'", fix=nearest(backend, backends.names()))
        reason = backends.get(backend).available(machine)
        if reason is not None:
            return f"needs the backend {backend}: {reason}"
    needs = (
        (arch is not None and machine.arch != arch, f"{arch}, this machine is {machine.arch}"),
        (machine.cores < cores, f"{cores} cores, this machine has {machine.cores}"),
        (machine.memory_mb < memory_mb, f"{memory_mb} MB, this machine has {machine.memory_mb}"),
        (
            cpu_flag is not None and bool(probe.lacking((cpu_flag,), machine.cpu_flags)),
            f"the processor's {cpu_flag}, this one has {', '.join(machine.cpu_flags) or 'none of the known'}",
        ),
    )
    found = next((words for missing, words in needs if missing), None)
    if found is None and board is not None:
        here = environment()["board"]
        found = None if board in here else f"the board {board}, this is {here or 'none that says its name'}"
    return None if found is None else f"needs {found}"
