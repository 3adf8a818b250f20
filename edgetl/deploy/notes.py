"""What a person must know about a choice: as many notes as there are reasons, none in the place of another."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BUSY_SHARE = 0.05  # of the cores; more than this by others disturbs a latency


class Reason(enum.Enum):
    """What a note is about; programs read this and not the words."""

    TEST_REFUSED = "test refused"
    NO_INT8 = "no int8"
    NOT_MEASURED = "not measured"
    FASTEST = "fastest"
    TIED = "tied"
    UNDECIDED = "undecided"
    DISTURBED = "disturbed"
    UNSTEADY = "unsteady"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """One reason with its words."""

    reason: Reason
    text: str

    def to_mapping(self) -> dict[str, str]:
        """Return the note as `--json` prints it."""
        return {"reason": self.reason.value, "text": self.text}


def joined(notes: Sequence[Note]) -> str:
    """Return all notes as one sentence.

    Example:
        >>> joined([Note(reason=Reason.FASTEST, text="the fastest"), Note(reason=Reason.DISTURBED, text="disturbed")])
        'the fastest; disturbed'
    """
    return "; ".join(note.text for note in notes)


def of_measuring(timed: Mapping[str, Mapping[str, Any]], *, cores: int) -> list[Note]:
    """Say what speaks against latencies: other work on the machine, candidates that never became steady.

    Args:
        timed: Name → figures of `edgetl.deploy.latency`.
        cores: Of this machine.

    Example:
        >>> figures = {"other_work_cores": 1.5, "steady": False}
        >>> [note.reason.value for note in of_measuring({"a": figures}, cores=2)]
        ['disturbed', 'unsteady']
    """
    found = []
    busy = max((figures["other_work_cores"] for figures in timed.values()), default=0.0)
    if busy > BUSY_SHARE * cores:
        text = (
            f"disturbed: other work kept {busy:.1f} cores busy while candidates were timed, so that latencies may be "
            "too high; measure again on a quiet machine"
        )
        found.append(Note(reason=Reason.DISTURBED, text=text))
    unsteady = [name for name, figures in timed.items() if not figures["steady"]]
    if unsteady:
        text = f"never steady while warming up: {', '.join(unsteady)}; latencies may change"
        found.append(Note(reason=Reason.UNSTEADY, text=text))
    return found
