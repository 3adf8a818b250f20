"""What every command that trains says first: what the set is taken for."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.errors import DataError
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from edgetl.config import FinetuneConfig
    from edgetl.progress import Progress


def settle_task(config: FinetuneConfig, progress: Progress, args: argparse.Namespace) -> FinetuneConfig:
    """Settle the task and what its classes mean, and say so, before an image is opened.

    Where the names of the classes do not tell, a person at a terminal is asked; the answer becomes part of the
    configuration.

    Args:
        config: Its data is listed.
        progress: Shows the line.
        args: Where they ask for JSON, or do not know of it, a program waits for the result: nobody is asked.

    Returns:
        The configuration with its task.

    Raises:
        DataError: The data cannot be listed.
        UsageError: The names contradict each other, or what was asked for does not fit the classes.
    """
    from edgetl import tasks
    from edgetl.data.load import list_source

    classes = list_source(Path(config.data)).classes
    task = tasks.fitting(classes, name=config.task, aims=config.aims)
    try:
        labels = task.labels_for(classes, task.aims(config.aims))
    except (DataError, UsageError) as error:
        somebody = not getattr(args, "json", True) and sys.stdin.isatty() and sys.stderr.isatty()
        if config.aims or not somebody or not task.question:
            raise
        progress.note(str(error))
        answer = _asked(task.question.format(", ".join(classes)), progress)
        if not answer:
            raise
        config = dataclasses.replace(config, aims={task.answer: answer})
        labels = task.labels_for(classes, task.aims(config.aims))
    otherwise = "" if config.task or config.aims else task.instead()
    progress.note(task.in_words(labels) + (f"; {otherwise}" if otherwise else ""))
    return dataclasses.replace(config, task=task.name)


def _asked(question: str, progress: Progress) -> Sequence[str]:
    """Ask for classes; nothing where nothing was answered."""
    progress.note(question)
    return tuple(word.strip() for word in sys.stdin.readline().split(",") if word.strip())
