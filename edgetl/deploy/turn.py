"""One measuring process at a time: two that time networks on one machine would each measure the other."""

from __future__ import annotations

import contextlib
import fcntl
from typing import TYPE_CHECKING

from edgetl.deploy.ledger import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def measuring_turn(note: Callable[[str], None] = lambda _text: None) -> Iterator[None]:
    """Hold the user's lock on measuring; wait for it while another process of edgetl measures.

    The lock belongs to the open file, so that a killed process cannot leave it behind.

    Args:
        note: Told that there is a wait, before it begins.

    Example:
        >>> with measuring_turn():
        ...     pass
    """
    path = state_folder() / "measuring.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note("another edgetl process is measuring on this machine: waiting for its end")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
