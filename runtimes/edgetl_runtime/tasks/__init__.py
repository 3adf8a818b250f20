"""What is decided, one file per task, found by filename; `task` in run and bundle names the file.

A task file holds one object `TASK` of a class below `base.Task`. Nothing outside a task's file knows what it decides.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING, Any, cast

from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import nearest

if TYPE_CHECKING:
    from edgetl_runtime.tasks.base import Task

_SHARED = ("base", "softmax")


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of all tasks, sorted.

    Example:
        >>> "inspection" in names()
        True
    """
    return tuple(sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _SHARED))


@functools.cache
def get(name: str) -> Task[Any, Any, Any]:
    """Return the task called `name`.

    Raises:
        UsageError: There is no such task; names the nearest.
    """
    if name not in names():
        raise UsageError("the task", "known", f"'{name}'", fix=nearest(name, names()))
    return cast("Task[Any, Any, Any]", importlib.import_module(f"{__name__}.{name}").TASK)
