"""The power mode of a Jetson: it decides how many cores are on and how fast they and the GPU may be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetl_runtime.doctor import readers
from edgetl_runtime.doctor.findings import Finding, power_command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl_runtime.doctor.findings import Need
    from edgetl_runtime.doctor.recording import Recording


def check(recording: Recording, need: Need) -> Iterator[Finding]:
    """Compare the mode that is on with what the contract assumes, or with the board's default."""
    modes = readers.power_modes(recording)
    if modes is None:
        if need.power_mode is not None:
            found = f"no nvpmodel here, so nothing says whether the contract's {need.power_mode} is kept"
            yield Finding(topic="power", level="unknown", found=found)
        return
    if modes.current is None:
        yield Finding(topic="power", level="warn", found="the power mode cannot be read", command="sudo nvpmodel -q")
        return
    offered = ", ".join(modes.modes.values()) or "unknown"
    wanted = need.power_mode or modes.modes.get(-1 if modes.default is None else modes.default)
    if wanted is not None and readers.watts(modes.current) < readers.watts(wanted):
        why = "which the contract assumes" if need.power_mode else "the board's default"
        yield Finding(
            topic="power",
            level="fail" if need.power_mode else "warn",
            found=f"power mode {modes.current} is lower than {wanted}, {why}",
            command=power_command(modes, wanted),
        )
    else:
        yield Finding(topic="power", level="ok", found=f"power mode {modes.current}, of {offered}")
