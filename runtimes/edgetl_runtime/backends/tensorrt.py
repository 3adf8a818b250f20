"""TensorRT 10.3 to 11.x on NVIDIA GPUs, above all Jetson: engines are built on the board itself."""

from __future__ import annotations

from edgetl_runtime.backends import base
from edgetl_runtime.nvidia import library
from edgetl_runtime.nvidia.backend import NvidiaBackend


class Backend(NvidiaBackend):
    """TensorRT."""

    info = base.BackendInfo(
        name="tensorrt",
        package="tensorrt",
        module="tensorrt",
        precisions=("f32", "f16", "int8"),
        install_command=library.INSTALL["tensorrt"],
    )
    flavour = "tensorrt"
