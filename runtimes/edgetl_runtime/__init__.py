"""edgetl_runtime: opens a bundle on an inspection station and decides on every part.

Public are the names in `__all__` and the command line (`edgetl-runtime --help`); everything else may change between
releases. Importing this package loads nothing but the standard library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgetl_runtime.version import __version__

if TYPE_CHECKING:
    from edgetl_runtime.errors import EdgetlError
    from edgetl_runtime.preprocess import PreprocessSpec
    from edgetl_runtime.session import Session, open  # noqa: A004  (edgetl_runtime.open reads like the builtin)
    from edgetl_runtime.tasks.base import Decision

__all__ = ["Decision", "EdgetlError", "PreprocessSpec", "Session", "__version__", "open"]

_MODULE_OF_NAME = {
    "Decision": "edgetl_runtime.tasks.base",
    "EdgetlError": "edgetl_runtime.errors",
    "PreprocessSpec": "edgetl_runtime.preprocess",
    "Session": "edgetl_runtime.session",
    "open": "edgetl_runtime.session",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (PEP 562)
    """Load a public name on first use, so that importing the package stays free."""
    if name not in _MODULE_OF_NAME:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    value = getattr(importlib.import_module(_MODULE_OF_NAME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
