"""Ask a person at a terminal what the names of the classes do not tell."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from edgetl.api.calls import Ask
    from edgetl.progress import Progress


def asking(args: argparse.Namespace, progress: Progress) -> Ask | None:
    """Return what asks the person at the terminal; None where nobody is there to answer.

    Args:
        args: Where they ask for JSON, or do not know of it, a program waits for the result.
        progress: Shows the question.
    """
    if getattr(args, "json", True) or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> tuple[str, ...]:
        progress.note(question)
        return tuple(word.strip() for word in sys.stdin.readline().split(",") if word.strip())

    return ask
