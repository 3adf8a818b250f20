"""The middle of a deployment: the candidates timed, one chosen, and test looked at once."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from edgetl.deploy import candidates as room
from edgetl.deploy.candidates import Candidate
from edgetl.deploy.compiler_check import note as compiler_note
from edgetl.deploy.confirming import Look
from edgetl.deploy.contract import UnmetContractError
from edgetl.deploy.judged import decoded
from edgetl.deploy.measuring import Measuring
from edgetl.deploy.notes import Note, Reason, of_measuring
from edgetl.deploy.terms import require_proof
from edgetl_runtime.probe import facts

if TYPE_CHECKING:
    from edgetl.deploy.judged import Asked, Exported, Judged
    from edgetl.progress import Progress


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Timed:
    """What was judged, held against latency and memory too where the target is this machine.

    Attributes:
        candidates: All that were judged.
        measuring: Knows what each needs, and chooses among them.
    """

    candidates: tuple[Candidate, ...]
    measuring: Measuring


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Chosen:
    """What validation and the clock chose.

    Attributes:
        candidate: That one.
        note: What must be known of the choice; None where it was clear.
    """

    candidate: Candidate
    note: Note | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Confirmed:
    """What ships, after the one look at test.

    Attributes:
        chosen: It.
        figures: Its figures on test.
        candidates: All, with what test said of them.
        notes: What a person must know.
    """

    chosen: Candidate
    figures: dict[str, Any]
    candidates: tuple[Candidate, ...]
    notes: tuple[Note, ...]


def time(asked: Asked, exported: Exported, judged: Judged, progress: Progress) -> Timed:
    """Measure what is accurate and small enough, if the target is this machine."""
    val = exported.samples["val"]
    measuring = Measuring(asked.run, asked.profile, asked.config, asked.contract, val, progress)
    return Timed(candidates=tuple(measuring.measure(list(judged.candidates))), measuring=measuring)


def choose(asked: Asked, timed: Timed) -> Chosen:
    """Choose the fastest that keeps the contract; what is proven goes before what is faster.

    Raises:
        UnmetContractError: Nothing keeps it.
        UnfitError: The measurement does not decide, or a bound is unproven, and that was not allowed.
    """
    config, tried = asked.config, timed.candidates
    wanted = [c for c in tried if c.accepted and config.precision in (None, c.precision)]
    if wanted:
        least = min(len(c.unproven) for c in wanted)
        field = [c for c in wanted if len(c.unproven) == least]
        best, note = timed.measuring.fastest(field, decided=not config.allow_disturbed)
        require_proof(best.terms, allowed=config.allow_unproven)
        return Chosen(candidate=best, note=note)
    misses = (
        "; ".join(f"{c.id}: {', '.join(c.why) or 'not the precision asked for'}" for c in tried)
        or "no candidate runs here"
    )
    what = f"a candidate for {asked.profile.name}"
    must = "inside the contract on validation" + (f" at {config.precision}" if config.precision else "")
    fix = "a wider bound for what is named; or finetune a smaller --backbone, or with more images"
    raise UnmetContractError(what, must, misses, fix=fix, candidates=[c.to_mapping() for c in tried])


def confirm(asked: Asked, exported: Exported, timed: Timed, chosen: Chosen, progress: Progress) -> Confirmed:
    """Look at test once, and fall back on the float model where test refuses what was chosen.

    The float model is what was compared with all along, so that test chooses nothing by it.

    Raises:
        UnmetContractError: Test refuses what was chosen, and the float model too.
    """
    tried, candidate = timed.candidates, chosen.candidate
    test = decoded(asked.run, exported.samples["test"], "test", progress)
    with progress.stage("confirm on test"):
        look = Look(asked.run, asked.against, exported.model.model, test)
        figures, broken = look.confirm(candidate)
        asked.folder.count_look()
        proven = [c for c in tried if c.accepted and (asked.config.allow_unproven or not c.unproven)]
        floats = [c for c in proven if c.precision == "f32"]
        if broken and floats and candidate.precision != "f32" and asked.config.precision is None:
            # test was looked at: too late to refuse for a tie
            other, note = timed.measuring.fastest(floats, decided=False)
            instead, missed = look.confirm(other)
            if not missed:
                refused = f"{candidate.id} misses the contract on test ({', '.join(broken)})"
                text = f"{refused}: the float model ships; test is not tried twice"
                notes = [Note(reason=Reason.TEST_REFUSED, text=text), *([note] if note else [])]
                after = tuple(room.refused_on_test(list(tried), candidate, broken))
                return _confirmed(asked, other, instead, after, notes)
    if broken:
        raise UnmetContractError(
            f"the chosen candidate {candidate.id}",
            "inside the contract on test",
            ", ".join(broken),
            fix="more images for validation, or a wider bound; test is not tried twice",
            candidates=[c.to_mapping() for c in tried],
            confirmed=figures,
        )
    return _confirmed(asked, candidate, figures, tried, [chosen.note] if chosen.note else [])


def _confirmed(
    asked: Asked, chosen: Candidate, figures: dict[str, Any], tried: tuple[Candidate, ...], notes: list[Note]
) -> Confirmed:
    refused = any(note.reason is Reason.TEST_REFUSED for note in notes)
    further = _further_notes(asked, chosen, tried, refused=refused)
    return Confirmed(chosen=chosen, figures=figures, candidates=tried, notes=(*notes, *further))


def _further_notes(asked: Asked, chosen: Candidate, tried: tuple[Candidate, ...], *, refused: bool) -> list[Note]:
    """Say what else a person must know: why no INT8 ships, and what is known of the latencies."""
    found = []
    int8 = [c for c in tried if c.precision == "int8"]
    if chosen.precision != "int8" and int8 and not any(c.accepted for c in int8) and not refused:
        effort = f" within --rungs {asked.config.rungs}" if asked.config.rungs else ""
        text = f"no INT8 candidate keeps the contract{effort} ({'; '.join(int8[0].why)}): a float variant ships"
        found.append(Note(reason=Reason.NO_INT8, text=text))
    if not asked.profile.measured_here:
        said = f"; {chosen.id} {words}" if (words := compiler_note(chosen)) else ""
        ranked = "not measured on hardware; ranked by the profile's order"
        text = f"latency on {asked.profile.name}: {ranked}{said}"
        found.append(Note(reason=Reason.NOT_MEASURED, text=text))
    return found + of_measuring({c.id: c.latency for c in tried if c.latency}, cores=facts().cores)
