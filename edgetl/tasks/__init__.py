"""What is learned and judged, one folder a task, found by its name; the device's half has the same name.

A folder holds `TASK`, an object of a class below `base.HostTask`. Nothing outside asks which task it is.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from typing import TYPE_CHECKING, Any, cast

from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgetl.tasks.base import HostTask


@functools.cache
def names() -> tuple[str, ...]:
    """Return the names of all tasks, sorted.

    Example:
        >>> "inspection" in names()
        True
    """
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg))


@functools.cache
def get(name: str) -> HostTask[Any, Any, Any]:
    """Return the task called `name`.

    Raises:
        UsageError: There is no such task; names the nearest.
    """
    if name not in names():
        raise UsageError("--task", "a known task", f"'{name}'", fix=nearest(name, names()))
    return cast("HostTask[Any, Any, Any]", importlib.import_module(f"{__name__}.{name}").TASK)


def fitting(classes: Sequence[str], *, name: str | None, aims: Mapping[str, Any]) -> HostTask[Any, Any, Any]:
    """Return the task for these classes.

    Args:
        classes: Of the data.
        name: The task asked for; None leaves it to the aims, else to the classes' names.
        aims: What was asked for that only a task knows, name → value.

    Raises:
        UsageError: There is no such task.
    """
    if name is not None:
        return get(name)
    known = [task for task in map(get, names()) if task.claims(classes)]
    asked = [task for task in known if aims and set(aims) <= task.aim_names()]
    return max(asked or known, key=lambda task: task.claims(classes))
