"""What every command that trains says first: what the set is taken for."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.errors import DataError
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from edgetl.api.calls import Ask
    from edgetl.config import FinetuneConfig
    from edgetl.progress import Progress


def settle_task(config: FinetuneConfig, progress: Progress, ask: Ask | None = None) -> FinetuneConfig:
    """Settle the task and what its classes mean, and say so, before an image is opened.

    Where the names of the classes do not tell, a person at a terminal is asked; the answer becomes part of the
    configuration.

    Args:
        config: Its data is listed.
        progress: Shows the line.
        ask: Asks a person, see above; None: nobody is there to be asked.

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
        if config.aims or ask is None or not task.question:
            raise
        progress.note(str(error))
        answer = ask(task.question.format(", ".join(classes)))
        if not answer:
            raise
        config = dataclasses.replace(config, aims={task.answer: answer})
        labels = task.labels_for(classes, task.aims(config.aims))
    otherwise = "" if config.task or config.aims else task.instead()
    progress.note(task.in_words(labels) + (f"; {otherwise}" if otherwise else ""))
    return dataclasses.replace(config, task=task.name)
