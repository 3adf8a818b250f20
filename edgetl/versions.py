"""Versions of the packages whose behaviour a result depends on."""

from __future__ import annotations

import importlib.metadata
import platform

PACKAGES = (
    "edgetl",
    "edgetl-runtime",
    "torch",
    "timm",
    "onnx",
    "onnxruntime",
    "openvino",
    "nncf",
    "numpy",
    "opencv-python-headless",
    "simplejpeg",
    "scikit-learn",
)


def versions() -> dict[str, str]:
    """Return package → version of what is installed, and Python's own."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
