"""What executes a model on a device: one file per backend, found by filename.

A backend file holds one class `Backend` below `base.Backend`. Importing it loads nothing of the vendor's.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING, cast

from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import nearest

if TYPE_CHECKING:
    from edgetl_runtime.backends.base import Backend


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of all backends, sorted, installed or not.

    Example:
        >>> "null" in names()
        True
    """
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base"))


@functools.cache
def get(name: str) -> Backend:
    """Return the backend called `name`, without loading its vendor's library.

    Raises:
        UsageError: There is no such backend; names the nearest.
    """
    if name not in names():
        raise UsageError("the backend", "known", f"'{name}'", fix=nearest(name, names()))
    return cast("Backend", importlib.import_module(f"{__name__}.{name}").Backend())
