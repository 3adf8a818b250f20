"""edgetl: from a folder of part images to a bundle proven on the device to meet its budget.

The host package. Public are the command line (`edgetl --help`) and the names in `__all__`; everything else may
change between releases. The device side lives in the distribution `edgetl-runtime`. Importing this package loads
nothing but the standard library.

    import edgetl

    run = edgetl.finetune("parts/", out="runs/screws", preset="fast")
    bundle = edgetl.deploy(run, out="screws.edgetl", contract=edgetl.Contract(p99_ms=8)).bundle
    report = edgetl.bench(bundle, data="parts/")
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from edgetl.version import __version__

if TYPE_CHECKING:
    from edgetl.api.delivery import deliver
    from edgetl.api.deployment import deploy
    from edgetl.api.measurement import bench
    from edgetl.api.results import Delivered, Deployed, Measured, Searched, TrainedRun
    from edgetl.api.search import search
    from edgetl.api.training import finetune, load_run
    from edgetl_runtime.contract import Contract
    from edgetl_runtime.errors import EdgetlError

__all__ = [
    "Contract",
    "Delivered",
    "Deployed",
    "EdgetlError",
    "Measured",
    "Searched",
    "TrainedRun",
    "__version__",
    "bench",
    "deliver",
    "deploy",
    "finetune",
    "load_run",
    "search",
]

_MODULE_OF_NAME = {
    "Contract": "edgetl_runtime.contract",
    "Delivered": "edgetl.api.results",
    "Deployed": "edgetl.api.results",
    "EdgetlError": "edgetl_runtime.errors",
    "Measured": "edgetl.api.results",
    "Searched": "edgetl.api.results",
    "TrainedRun": "edgetl.api.results",
    "bench": "edgetl.api.measurement",
    "deliver": "edgetl.api.delivery",
    "deploy": "edgetl.api.deployment",
    "finetune": "edgetl.api.training",
    "load_run": "edgetl.api.training",
    "search": "edgetl.api.search",
}


class _Door(types.ModuleType):
    """This module, which keeps its functions where rooms have the same names: `edgetl.deploy` is the function."""

    def __setattr__(self, name: str, value: object) -> None:
        """Pass over what the import of a room would set here."""
        if not (name in _MODULE_OF_NAME and isinstance(value, types.ModuleType)):
            super().__setattr__(name, value)


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


sys.modules[__name__].__class__ = _Door
