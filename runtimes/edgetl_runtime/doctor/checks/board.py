"""Which board this is, and whether its system is one that is still supported."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetl_runtime.doctor import boards, readers
from edgetl_runtime.doctor.findings import Finding, profile_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl_runtime.doctor.findings import Need
    from edgetl_runtime.doctor.recording import Recording

OLDEST_JETPACK = 6
FLASH = "sdkmanager   # on a PC: flash JetPack 6.2 or newer"


def check(recording: Recording, need: Need) -> Iterator[Finding]:
    """Name the board and its system; refuse what is no longer supported."""
    compatible = readers.compatible(recording)
    board = boards.identify(compatible)
    arch = readers.arch(recording) or "an unknown architecture"
    model = recording.file("/proc/device-tree/model").splitlines()
    name = model[0] if model else f"a machine with {arch}"
    if isinstance(board, boards.RefusedBoard):
        yield Finding(
            topic="board", level="fail", found=f"{name} is refused: {board.reason}", command=f"use {board.fix}"
        )
    elif arch not in ("x86_64", "aarch64"):
        command = "use a 64-bit system: x86_64 or aarch64"
        yield Finding(topic="board", level="fail", found=f"{name}: the runtime has no wheels for it", command=command)
    else:
        profile = profile_name(recording)
        yield Finding(
            topic="board", level="ok", found=f"{name}" + (f", deploy with --target {profile}" if profile else "")
        )
    if any("nvidia,tegra" in entry for entry in compatible) and not isinstance(board, boards.RefusedBoard):
        yield _jetpack(recording)


def _jetpack(recording: Recording) -> Finding:
    release = readers.l4t(recording)
    if release is None:
        found = "/etc/nv_tegra_release is missing: this is not NVIDIA's system, or it runs in a container"
        return Finding(
            topic="board", level="warn", found=found, command="run the doctor on the board itself, not in a container"
        )
    jetpack = readers.jetpack(release)
    if jetpack is None:
        return Finding(topic="board", level="unknown", found=f"L4T {release}, newer than what is known here")
    if int(jetpack.split(".")[0]) < OLDEST_JETPACK:
        found = f"JetPack {jetpack} (L4T {release}) is refused: TensorRT 8 and Python 3.8 are out of support"
        return Finding(topic="board", level="fail", found=found, command=FLASH)
    if not any(name.startswith("nvidia-jetpack") for name in readers.packages(recording)):
        found = f"L4T {release} without JetPack's libraries (CUDA, TensorRT)"
        command = "sudo apt-get update && sudo apt-get install nvidia-jetpack"
        if any(name.startswith("libnvinfer") for name in readers.packages(recording)):
            return Finding(topic="board", level="ok", found=f"JetPack {jetpack} (L4T {release}), installed in parts")
        return Finding(topic="board", level="fail", found=found, command=command)
    return Finding(topic="board", level="ok", found=f"JetPack {jetpack} (L4T {release})")
