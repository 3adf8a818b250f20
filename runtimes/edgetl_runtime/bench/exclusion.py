"""One measuring process at a time: two that time networks on one machine would each measure the other."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING

from edgetl_runtime import locks
from edgetl_runtime.bench import floors
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_LOG = logging.getLogger(__name__)


def lock_path() -> Path:
    """Return the file that a measuring process of this user holds."""
    return floors.folder().parent / "measuring.lock"


@contextlib.contextmanager
def measuring_alone(note: Callable[[str], None] = _LOG.warning) -> Iterator[None]:
    """Hold the user's lock on measuring; wait for it while another process of edgetl measures.

    The lock belongs to the open file, so that a killed process cannot leave it behind.

    Args:
        note: Told that there is a wait, before it begins; a warning is logged by default, which people see.

    Raises:
        UsageError: The lock's folder cannot be written.

    Example:
        >>> with measuring_alone():
        ...     pass
    """
    path = lock_path()
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = locks.open_lock(path)
            stack.callback(os.close, lock)
        except OSError as error:
            got = error.strerror or str(error)
            raise UsageError(f"folder {path.parent}", "writable", got, fix="XDG_STATE_HOME=/tmp/state") from error
        if not locks.try_lock(lock):
            note("another edgetl process is measuring on this machine: waiting for its end")
            locks.wait_lock(lock)
        yield
