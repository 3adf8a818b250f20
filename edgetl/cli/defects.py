"""What every command that trains says first: which classes are good parts and which are defects."""

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


def settle_defects(config: FinetuneConfig, progress: Progress, args: argparse.Namespace) -> FinetuneConfig:
    """Say which classes of the data are good and which are defects, before an image is opened.

    Where the names do not tell, a person at a terminal is asked; the answer becomes part of the configuration.

    Args:
        config: Its data is listed.
        progress: Shows the line.
        args: Where they ask for JSON, or do not know of it, a program waits for the result: nobody is asked.

    Raises:
        DataError: The data cannot be listed, or no class is named like good parts.
        UsageError: The names contradict each other, or `--defect` does not fit the classes.
    """
    from edgetl.data.defects import defect_classes
    from edgetl.data.load import list_source
    from edgetl.run import classes_in_words

    classes = list_source(Path(config.data)).classes
    try:
        defects = defect_classes(classes, config.defect)
    except (DataError, UsageError) as error:
        somebody = not getattr(args, "json", True) and sys.stdin.isatty() and sys.stderr.isatty()
        if config.defect is not None or not somebody:
            raise
        progress.note(str(error))
        answer = _asked(classes, progress)
        if not answer:
            raise
        config = dataclasses.replace(config, defect=answer)
        defects = defect_classes(classes, answer)
    progress.note(classes_in_words(classes, defects))
    return config


def _asked(classes: Sequence[str], progress: Progress) -> tuple[str, ...]:
    """Ask for the defect classes; nothing where nothing was answered."""
    progress.note(f"Which are defects? Commas between them; {', '.join(classes)}:")
    return tuple(word.strip() for word in sys.stdin.readline().split(",") if word.strip())
