"""TensorRT, CUDA and OpenVINO: what computes, and whether it may be reached."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgetl_runtime.doctor import readers
from edgetl_runtime.doctor.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl_runtime.doctor.findings import Level, Need
    from edgetl_runtime.doctor.recording import Recording

OLDEST_TENSORRT = (10, 3)
OLDEST_COMPUTE_CAPABILITY = (7, 5)  # Turing: what TensorRT-RTX and int8 tensor cores ask for
JETPACK_PARTS = "sudo apt-get update && sudo apt-get install nvidia-jetpack"


def check(recording: Recording, need: Need) -> Iterator[Finding]:
    """Look for the engines this machine could have."""
    if any("nvidia,tegra" in entry for entry in readers.compatible(recording)):
        yield from _tensorrt(recording)
        yield from _groups(recording, "video", "the GPU")
    elif recording.has("nvidia-smi") or "tensorrt_rtx" in need.backends:
        yield from _cards(recording, need)
    if readers.arch(recording) == "x86_64":
        yield from _openvino(recording, need)


def _tensorrt(recording: Recording) -> Iterator[Finding]:
    packages = readers.packages(recording)
    library = next((v for name, v in packages.items() if re.fullmatch(r"libnvinfer\d+", name)), None)
    cuda = next((v for name, v in packages.items() if name.startswith("cuda-cudart-")), None)
    if cuda is None:
        yield Finding(topic="engines", level="fail", found="CUDA is not installed", command=JETPACK_PARTS)
    else:
        yield Finding(topic="engines", level="ok", found=f"CUDA {cuda.split('-')[0]}")
    if library is None:
        yield Finding(topic="engines", level="fail", found="TensorRT is not installed", command=JETPACK_PARTS)
        return
    version = library.split("-")[0]
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST_TENSORRT:
        found = f"TensorRT {version} is older than {OLDEST_TENSORRT[0]}.{OLDEST_TENSORRT[1]}"
        yield Finding(topic="engines", level="fail", found=found, command="sdkmanager   # flash JetPack 6.2 or newer")
        return
    python = readers.python(recording)
    if python is not None and not python["tensorrt"]:
        if "python3-libnvinfer" not in packages:
            command = "sudo apt-get install python3-libnvinfer"
        else:
            command = "python3 -m venv --system-site-packages ~/edgetl   # so that JetPack's module is seen"
        found = f"TensorRT {version} without its Python module here"
        yield Finding(topic="engines", level="warn", found=found, command=command)
    else:
        yield Finding(topic="engines", level="ok", found=f"TensorRT {version}")


def _cards(recording: Recording, need: Need) -> Iterator[Finding]:
    cards = readers.gpus(recording)
    level: Level = "fail" if "tensorrt_rtx" in need.backends else "warn"
    if not cards:
        command = "sudo apt-get install nvidia-driver-580 && sudo reboot"
        yield Finding(topic="engines", level=level, found="no NVIDIA card answers", command=command)
    for card in cards:
        capability = tuple(int(part) for part in re.findall(r"\d+", card.compute_capability))
        memory = f", {card.memory_mb} MB" if card.memory_mb else ""
        found = f"{card.name}, compute capability {card.compute_capability}{memory}, driver {card.driver}"
        if capability < OLDEST_COMPUTE_CAPABILITY:
            command = "use a card of the Turing generation or newer, or --target ipc-openvino"
            yield Finding(topic="engines", level=level, found=f"{found}: too old for TensorRT-RTX", command=command)
        else:
            yield Finding(topic="engines", level="ok", found=found)


def _openvino(recording: Recording, need: Need) -> Iterator[Finding]:
    devices = readers.openvino_devices(recording)
    if devices is None:
        level: Level = "fail" if "openvino" in need.backends else "unknown"
        command = "pip install 'edgetl-runtime[openvino]'"
        yield Finding(
            topic="engines", level=level, found="OpenVINO is not installed or does not start", command=command
        )
        return
    listed = ", ".join(f"{name} ({full})" for name, full in devices.items())
    yield Finding(topic="engines", level="ok", found=f"OpenVINO sees {listed}")
    nodes = recording.said("nodes")
    if "/dev/dri/renderD" in nodes and not any(name.startswith("GPU") for name in devices):
        yield from _groups(recording, "render", "the graphics unit, which OpenVINO does not see")


def _groups(recording: Recording, group: str, what: str) -> Iterator[Finding]:
    groups = recording.said("user").split()
    if groups and not {group, "root"} & set(groups):
        found = f"this user may not use {what}: it is not in the group {group}"
        yield Finding(
            topic="engines", level="warn", found=found, command=f"sudo usermod -aG {group} $USER   # then log in again"
        )
