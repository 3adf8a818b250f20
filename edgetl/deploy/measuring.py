"""The part of a deployment that measures: latencies and memory of what is accurate, and which of it is fastest."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from edgetl.data.samples import spread
from edgetl.deploy import candidates as room
from edgetl.deploy.choice import Timed, choose
from edgetl.deploy.latency import measure_candidates
from edgetl.deploy.memory import memory_images, memory_mb
from edgetl.deploy.terms import measured_terms, standing_of
from edgetl_runtime.proof import Standing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.data.samples import Sample
    from edgetl.deploy.candidates import Candidate
    from edgetl.deploy.notes import Note
    from edgetl.deploy.request import DeployConfig
    from edgetl.profiles import DeviceProfile
    from edgetl.progress import Progress
    from edgetl.run import Run
    from edgetl_runtime.contract import Contract, Term

TIMING_IMAGES = 32


def unmeasured_terms(contract: Contract, profile: DeviceProfile) -> tuple[Term, ...]:
    """Return the bounds on latency and memory of a target on which nothing is measured."""
    return measured_terms(contract, latency=None, memory_mb=None, target=profile.name)


class Measuring:
    """Measures the candidates of one deployment.

    Args:
        run: What they decide with.
        profile: The target; nothing is measured where it is not this machine.
        config: What was asked for.
        contract: What candidates must keep.
        val: Validation images.
        progress: Shows the stage.
    """

    def __init__(
        self,
        run: Run,
        profile: DeviceProfile,
        config: DeployConfig,
        contract: Contract,
        val: Sequence[Sample],
        progress: Progress,
    ) -> None:
        self.run, self.profile, self.config, self.contract = run, profile, config, contract
        self.val, self.progress = val, progress
        self._needed_mb: dict[str, float | None] = {}

    def measure(self, tried: list[Candidate]) -> list[Candidate]:
        """Time what is accurate and small enough, if the target is this machine; then hold it against the contract."""
        accurate = [c for c in tried if c.accepted]
        if not self.profile.measured_here or not accurate:
            terms = unmeasured_terms(self.contract, self.profile)
            return [c.held_to(terms) for c in room.one_per_model(tried)]
        encoded = [s.path.read_bytes() for s in spread(self.val, TIMING_IMAGES)]
        with self.progress.stage(f"time {len(accurate)} candidates", unit="turns") as advance:
            measured = measure_candidates(self.run, accurate, encoded, advance, self._standing)
        judged = [c.held_to(self._terms(c)) for c in measured]
        return judged + room.one_per_model([c for c in tried if not c.accepted])

    def _terms(self, timed: Candidate) -> tuple[Term, ...]:
        """Hold a candidate that was timed on the target against latency and memory."""
        needed_mb = self._memory_mb(timed) if self.contract.max_memory_mb is not None else None
        return measured_terms(self.contract, latency=timed.latency, memory_mb=needed_mb, target=self.profile.name)

    def _standing(self, timed: Candidate) -> Standing:
        """Say whether a candidate with these latencies may be chosen."""
        wanted = self.config.precision in (None, timed.precision)
        return standing_of(self._terms(timed)) if wanted else Standing.MISSED

    def _memory_mb(self, candidate: Candidate) -> float | None:
        """Measure what a process needs that decides with a candidate, once."""
        if candidate.id not in self._needed_mb:
            images = memory_images(self.val)
            self._needed_mb[candidate.id] = memory_mb(candidate, self.run.preprocess, images)
        return self._needed_mb[candidate.id]

    def fastest(self, field: list[Candidate], *, decided: bool) -> tuple[Candidate, Note | None]:
        """Choose among candidates that keep the contract; where nothing was timed, the first in the profile's order.

        Args:
            field: At least one.
            decided: Refuse a choice that the measurement does not decide.

        Raises:
            UnfitError: It does not.
        """
        if any(c.latency is None for c in field):
            return field[0], None
        choice = choose(
            [
                Timed(name=c.id, precision=c.precision, latency=c.latency or {}, memory_mb=partial(self._memory_mb, c))
                for c in field
            ]
        )
        if decided:
            choice.require_decided()
        return field[choice.place], choice.note
