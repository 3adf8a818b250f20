"""Find and load the vendor's Python modules; nothing is loaded before it is asked for."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl_runtime.errors import BackendMissingError
from edgetl_runtime.nvidia.dialect import TITLES, Dialect, dialect_of

if TYPE_CHECKING:
    from edgetl_runtime.nvidia.dialect import Flavour

INSTALL: dict[str, str] = {
    "tensorrt": "sudo apt-get install nvidia-jetpack, python3 -m venv --system-site-packages, "
    'then pip install "edgetl-runtime[tensorrt]"',
    "tensorrt_rtx": 'pip install "edgetl-runtime[tensorrt-rtx]"',
}
# the wheel of ONNX Runtime's plug-in carries the libraries that the bindings' wheel asks for
RTX_CARRIER = "onnxruntime_ep_nv_tensorrt_rtx"
RTX_LIBRARIES = ("libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*")
# where JetPack and NVIDIA's packages put the program that comes with TensorRT's libraries
TRTEXEC = (Path("/usr/src/tensorrt/bin/trtexec"), Path("/usr/local/tensorrt/bin/trtexec"))
MODULES: dict[str, tuple[str, ...]] = {
    "tensorrt": ("tensorrt",),
    "tensorrt_rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}


def missing(flavour: Flavour) -> str | None:
    """Say what is not installed, without loading anything; None if the module is there."""
    name = _module_name(flavour)
    if name is None:
        reason = f"the package {MODULES[flavour][-1].replace('_', '-')} is not installed"
        if flavour == "tensorrt" and any(path.is_file() for path in TRTEXEC):
            # trtexec could build, but nothing could run what it builds: TensorRT has no other way into Python
            reason += " in this environment; TensorRT itself is: apt-get install python3-libnvinfer"
            reason += ", and a virtual environment needs --system-site-packages"
        return reason
    if name == "tensorrt_rtx_bindings" and not _carried():
        return "the package onnxruntime-ep-nv-tensorrt-rtx-cu12, which carries the libraries, is not installed"
    return None


def load(flavour: Flavour) -> Dialect:
    """Import the vendor's module and look its release up.

    Raises:
        BackendMissingError: It is not installed, does not load, or is of another release.
    """
    reason = missing(flavour)
    if reason is not None:
        raise BackendMissingError(TITLES[flavour], "installed", reason, fix=INSTALL[flavour])
    name = str(_module_name(flavour))
    try:
        if name == "tensorrt_rtx_bindings":
            # the dynamic linker knows a loaded library by its soname, so no links are needed beside it
            for library in _carried():
                ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        module = importlib.import_module(name)
    except (ImportError, OSError) as error:
        words = " ".join(str(error).split())
        raise BackendMissingError(TITLES[flavour], "loadable", f"{words:.200}", fix=INSTALL[flavour]) from error
    return dialect_of(module, flavour)


def _module_name(flavour: Flavour) -> str | None:
    for name in MODULES[flavour]:
        with contextlib.suppress(ValueError, ImportError):
            spec = importlib.util.find_spec(name)
            if spec is not None and spec.origin is not None:  # type stubs alone make a folder without an origin
                return name
    return None


def _carried() -> list[Path]:
    """Return the libraries inside the plug-in's wheel, in the order of their loading; empty if it is not complete."""
    spec = importlib.util.find_spec(RTX_CARRIER)
    if spec is None or spec.origin is None:
        return []
    folder = Path(spec.origin).parent
    found = [sorted(folder.glob(pattern)) for pattern in RTX_LIBRARIES]
    return [paths[0] for paths in found] if all(found) else []
