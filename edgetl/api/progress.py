"""What `progress=` means in Python: bars, a callable of one's own, or silence."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from edgetl.progress import Progress
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

ProgressOption = Literal["bars"] | Callable[[str, int, int], None] | None
BAR = 20
NOTEBOOK_S = 0.2  # between two updates of a notebook's line


def progress_of(option: ProgressOption) -> Progress:
    """Return what shows the stages.

    Args:
        option: `"bars"` shows bars on a terminal and in a notebook, one line per stage elsewhere. A callable is told
            (stage, done, total): total is 0 as long as it is unknown, and a stage ends with done equal to total.
            None is silent; what would have been said goes to the logger `edgetl`.

    Raises:
        UsageError: It is something else.
    """
    if option == "bars":
        display = _notebook_display()
        return Progress() if display is None else NotebookProgress(display)
    if option is None or callable(option):
        return ToldProgress(option)
    raise UsageError("progress", '"bars", a callable or None', f"{option!r:.60}", fix="progress=None")


class ToldProgress(Progress):
    """Tells a callable of every stage, and the logger `edgetl` of what people should read.

    Args:
        tell: Told (stage, done, total); None tells nobody.
    """

    def __init__(self, tell: Callable[[str, int, int], None] | None) -> None:
        super().__init__(quiet=True)
        self._tell = tell

    def note(self, text: str) -> None:
        """Log one line."""
        logging.getLogger("edgetl").info(text)

    @contextlib.contextmanager
    def stage(self, title: str, *, unit: str = "img") -> Iterator[Callable[[int, int], None]]:
        """Tell of a stage; what it yields passes (done, total) on."""
        del unit
        tell = self._tell or (lambda *_: None)
        last = [0, 0]

        def advance(done: int, total: int) -> None:
            last[:] = done, total
            tell(title, done, total)

        tell(title, 0, 0)
        yield advance
        end = max(last[1], 1)
        if last != [end, end]:
            tell(title, end, end)


class NotebookProgress(Progress):
    """Shows one line of a notebook's output for the stage at work, and one for each that is done.

    Args:
        display: IPython's `display`.
    """

    def __init__(self, display: Callable[..., Any]) -> None:
        super().__init__(quiet=True)
        self._display = display

    def note(self, text: str) -> None:
        """Show one line."""
        self._display({"text/plain": text}, raw=True)

    @contextlib.contextmanager
    def stage(self, title: str, *, unit: str = "img") -> Iterator[Callable[[int, int], None]]:
        """Show a stage in a line that changes."""
        started = shown = time.monotonic()
        handle = self._display({"text/plain": f"{title} …"}, raw=True, display_id=True)

        def advance(done: int, total: int) -> None:
            nonlocal shown
            now = time.monotonic()
            if handle is not None and now - shown >= NOTEBOOK_S:
                shown = now
                handle.update({"text/plain": bar(title, done, total, seconds=now - started, unit=unit)}, raw=True)

        try:
            yield advance
        finally:
            if handle is not None:
                handle.update({"text/plain": f"{title}: {time.monotonic() - started:.1f} s"}, raw=True)


def bar(title: str, done: int, total: int, *, seconds: float, unit: str) -> str:
    """Return a stage as one line.

    Example:
        >>> bar("decode", 50, 100, seconds=2.0, unit="img")
        'decode ██████████░░░░░░░░░░ 50/100 img, 2 s left'
    """
    if not total:
        return f"{title} … {seconds:.0f} s"
    full = round(BAR * min(done / total, 1.0))
    left = f", {seconds * (total - done) / done:.0f} s left" if done else ""
    return f"{title} {'█' * full}{'░' * (BAR - full)} {done}/{total} {unit}{left}"


def _notebook_display() -> Callable[..., Any] | None:
    """Return IPython's `display` where this is a notebook; nothing is imported that is not there already."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or getattr(shell, "kernel", None) is None:
        return None
    from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

    found: Callable[..., Any] = display
    return found
