"""Progress for people: a bar with rate and ETA on a terminal, one line per stage elsewhere; always on stderr."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Progress:
    """Shows stages of long work.

    Args:
        quiet: Show nothing at all.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._bars = not quiet and sys.stderr.isatty()

    def note(self, text: str) -> None:
        """Show one line."""
        if not self._quiet:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()

    @contextlib.contextmanager
    def stage(self, title: str, *, unit: str = "img") -> Iterator[Callable[[int, int], None]]:
        """Show a stage; call what it yields with (done, total).

        Example:
            >>> with Progress(quiet=True).stage("decode") as advance:
            ...     advance(1, 10)
        """
        started = time.monotonic()
        last = [0, 0]
        if not self._bars:

            def count(done: int, total: int) -> None:
                last[:] = done, total

            yield count
        else:
            with _bar(title, unit) as advance:

                def show(done: int, total: int) -> None:
                    last[:] = done, total
                    advance(done, total)

                yield show
        seconds = time.monotonic() - started
        rate = f", {last[0] / seconds:.0f} {unit}/s" if last[0] >= seconds > 0.5 else ""
        self.note(f"{title}: {seconds:.1f} s{rate}")


@contextlib.contextmanager
def _bar(title: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """Show a spinner and the time that has passed; a bar, the rate and what is left once a total is known."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress
    from rich.table import Column

    title_column = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis"))
    unknown = (SpinnerColumn(), title_column, TimeElapsedColumn())
    known = (
        title_column,
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("ETA"),
        TimeRemainingColumn(),
    )
    with RichProgress(*unknown, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=None, rate="")
        started = time.monotonic()

        def advance(done: int, total: int) -> None:
            progress.columns = known if total else unknown
            rate = f"{done / max(time.monotonic() - started, 1e-3):.0f} {unit}/s"
            progress.update(task, completed=done, total=total or None, rate=rate)

        yield advance
