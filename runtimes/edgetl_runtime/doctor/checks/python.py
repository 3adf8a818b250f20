"""The interpreter that shall run the station, and the runtime in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetl_runtime.doctor import readers
from edgetl_runtime.doctor.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl_runtime.doctor.findings import Need
    from edgetl_runtime.doctor.recording import Recording

OLDEST = (3, 10)


def check(recording: Recording, need: Need) -> Iterator[Finding]:
    """Look at its version, at the runtime and at a backend."""
    known = readers.python(recording)
    if known is None:
        command = "sudo apt-get install python3 python3-venv"
        yield Finding(topic="python", level="fail", found="Python does not start", command=command)
        return
    version = ".".join(map(str, known["version"]))
    if tuple(known["version"][:2]) < OLDEST:
        found = f"Python {version} is older than {OLDEST[0]}.{OLDEST[1]}"
        command = "sudo apt-get install python3.10-venv   # or a newer system"
        yield Finding(topic="python", level="fail", found=found, command=command)
        return
    extras = ",".join(name for name in need.backends if name not in ("null", "tensorrt")) or "onnxruntime"
    system = " --system-site-packages" if "tensorrt" in need.backends else ""
    install = f"python3 -m venv{system} ~/edgetl && ~/edgetl/bin/pip install 'edgetl-runtime[{extras}]'"
    packages = known["packages"]
    if not known["ensurepip"] and not known["venv"]:
        found = f"Python {version} cannot make virtual environments"
        yield Finding(topic="python", level="warn", found=found, command="sudo apt-get install python3-venv")
    if "edgetl-runtime" not in packages:
        yield Finding(topic="python", level="fail", found=f"Python {version} has no edgetl-runtime", command=install)
        return
    listed = ", ".join(f"{name} {packages[name]}" for name in sorted(packages))
    yield Finding(topic="python", level="ok", found=f"Python {version} with {listed}")
    backends = {"onnxruntime", "openvino", "tensorrt"} & set(packages)
    if not backends and not known["tensorrt"]:
        command = f"pip install 'edgetl-runtime[{extras}]'"
        yield Finding(topic="python", level="fail", found="no backend is installed", command=command)
