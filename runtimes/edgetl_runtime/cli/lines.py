"""Lines that fit the terminal: broken between words, what follows indented."""

from __future__ import annotations

import shutil
import textwrap

NO_TERMINAL = (120, 24)  # a file or a pipe


def columns() -> int:
    """Return the width of the terminal, at least 40."""
    return max(40, shutil.get_terminal_size(NO_TERMINAL).columns)


def wrapped(text: str, width: int, *, indent: int = 4) -> list[str]:
    """Break a line between words, at most `width` columns each; a longer word, such as a path, stays whole.

    Example:
        >>> wrapped("p99 was disturbed", 12)
        ['p99 was', '    disturbed']
    """
    if len(text) <= width:
        return [text]
    kept = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(
        text.strip(),
        width,
        initial_indent=kept,
        subsequent_indent=kept + " " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
