"""TensorRT for RTX on industrial PCs with an RTX card: engines are compiled on any machine, GPU or not."""

from __future__ import annotations

from edgetl_runtime.backends import base
from edgetl_runtime.nvidia import library
from edgetl_runtime.nvidia.backend import NvidiaBackend


class Backend(NvidiaBackend):
    """TensorRT for RTX."""

    info = base.BackendInfo(
        name="tensorrt_rtx",
        package="tensorrt-rtx-cu12-bindings",
        module="tensorrt_rtx_bindings",
        precisions=("f32", "f16", "int8"),
        runs_on=("x86_64",),
        install_command=library.INSTALL["tensorrt_rtx"],
    )
    flavour = "tensorrt_rtx"
