"""From measured candidates to the one that is chosen, and whether that is decided."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgetl.deploy.notes import Note, Reason
from edgetl.deploy.ranking import TIE, Gap, lightest, rank
from edgetl_runtime.errors import UnfitError


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One that may be chosen, whatever it belongs to.

    Attributes:
        name: For people.
        precision: Arithmetic of most of the network.
        latency: Figures of `edgetl.deploy.latency`.
        memory_mb: Measures what a process needs that decides with it; None where that is not known.
    """

    name: str
    precision: str
    latency: Mapping[str, Any]
    memory_mb: Callable[[], float | None]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The place of what was chosen, and how.

    Attributes:
        place: In the list that was given.
        note: Why this one.
        rivals: Clauses of those that may be faster by more than a tie; the choice is not decided where there are some.
    """

    place: int
    note: Note
    rivals: tuple[str, ...] = ()

    def require_decided(self) -> None:
        """Refuse a choice that the measurement does not decide.

        Raises:
            UnfitError: It does not.
        """
        if self.rivals:
            fix = "a quiet machine, or --allow-disturbed, which takes what was fastest and says so"
            what, must = "the choice of the fastest candidate", f"decided to within {TIE:.0%}"
            raise UnfitError(what, must, "; ".join(self.rivals), fix=fix)


def choose(field: Sequence[Timed]) -> Choice:
    """Choose the fastest of candidates that were timed together; of equally fast ones the lightest, then the simplest.

    Args:
        field: At least one; all keep the contract.
    """
    weighed: dict[int, float | None] = {}

    def prefer(tied: Sequence[int]) -> int:
        if len(tied) == 1:
            return tied[0]
        weighed.update((at, field[at].memory_mb()) for at in tied)
        precisions = [field[at].precision for at in tied]
        return lightest(tied, memory_mb=[weighed[at] for at in tied], precisions=precisions)

    ranking = rank([one.latency["turns_ms"] for one in field], prefer)
    place, fastest = ranking.order[0], field[ranking.tied[0]]
    rivals = tuple(
        f"{_spoken(field[at])} may be {_faster(ranking.gaps[at])} than {_spoken(fastest)}" for at in ranking.rivals
    )
    note = Note(reason=Reason.FASTEST, text="chosen by p50 on this machine, in turns with the others")
    if len(weighed) > 1:
        before = ", ".join(_weight(field[at], weighed[at]) for at in ranking.tied if at != place)
        chosen = _weight(field[place], weighed[place])
        note = Note(reason=Reason.TIED, text=f"equally fast within {TIE:.0%}: {chosen} before {before}")
    if rivals:
        note = Note(reason=Reason.UNDECIDED, text=f"not decided which is fastest: {'; '.join(rivals)}")
    return Choice(place=place, note=note, rivals=rivals)


def _spoken(one: Timed) -> str:
    turns = sum(ms is not None for ms in one.latency["turns_ms"])
    p50 = one.latency["decision_ms"]["p50"]
    return f"{one.name} ({f'p50 {p50:.2f} ms' if p50 is not None else 'p50 not known'}, {turns} turns)"


def _faster(gap: Gap) -> str:
    return f"up to {-gap.lower:.0%} faster" if gap.lower > -1 else "faster"


def _weight(one: Timed, memory_mb: float | None) -> str:
    known = "memory not known" if memory_mb is None else f"{memory_mb:.0f} MB"
    return f"{one.name} ({known}, {one.precision})"
