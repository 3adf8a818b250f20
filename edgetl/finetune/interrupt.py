"""Stop cleanly on Ctrl-C or SIGTERM: finish the step, leave a resumable run."""

from __future__ import annotations

import contextlib
import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class StopFlag:
    """Set by a signal, asked between two steps."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Ask for a stop."""
        self._event.set()

    def __bool__(self) -> bool:
        """Whether a stop was asked for."""
        return self._event.is_set()


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Turn the first SIGINT or SIGTERM into a set flag; a second one acts as usual."""
    flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():  # signals can only be set there
        yield flag
        return
    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def on_signal(_number: int, _frame: object) -> None:
        flag.set()
        restore()

    for number in previous:
        signal.signal(number, on_signal)
    try:
        yield flag
    finally:
        restore()
