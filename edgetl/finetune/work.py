"""What all stages of a fine-tuning share: who watches, whether to stop, and the run's journal."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgetl.errors import StoppedError
from edgetl.finetune.interrupt import StopFlag
from edgetl.progress import Progress
from edgetl.run import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The surroundings of a stage.

    Attributes:
        folder: Where the run is written; the caller holds it (`files.taken`), or two runs would mix.
        progress: Shows the stages.
        stop: Asked between two steps.
    """

    folder: RunFolder
    progress: Progress
    stop: StopFlag

    def stoppable(self, advance: Callable[[int, int], None]) -> Callable[[int, int], None]:
        """Return what counts images as `advance` does, and raises where a stop was asked for.

        Raises:
            StoppedError: By what is returned.
        """

        def step(done: int, total: int) -> None:
            advance(done, total)
            if self.stop:
                fix = "the same command" + (" with --resume" if self.folder.config_json.is_file() else "")
                raise StoppedError("the run", "finished", "a stop while reading images", fix=fix)

        return step

    def record(self, record: dict[str, Any]) -> None:
        """Keep what an epoch or a stage reached."""
        self.folder.append_metrics(record)
