"""The timing of a search: every accepted candidate of every network, in turns beside all others."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl import tasks
from edgetl.data.samples import Sample, spread
from edgetl.deploy.choice import Timed, choose
from edgetl.deploy.latency import Contestant, measure_together
from edgetl.deploy.memory import memory_images, memory_mb
from edgetl.run import Run, RunFolder
from edgetl.search import choice
from edgetl.search.kept import revive
from edgetl_runtime.proof import Standing

if TYPE_CHECKING:
    from edgetl.progress import Progress
    from edgetl.search.grid import SearchJob
    from edgetl.search.state import SearchState

TIMING_IMAGES = 32


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """A candidate of the state: its network, and what is known of it without timing."""

    network: str
    run: Run
    figures: dict[str, Any]
    val: Sequence[Sample]


class Timing:
    """Times the candidates of one search.

    Args:
        models: Folder of the models.
        job: What was asked for.
        state: What the search has found.
        progress: Shows the stage.
    """

    def __init__(self, models: Path, job: SearchJob, state: SearchState, progress: Progress) -> None:
        self.models, self.job, self.state, self.progress = models, job, state, progress
        self._entries: dict[tuple[int, str], _Entry] = {}
        self._needed_mb: dict[tuple[int, str], float | None] = {}

    def time(self) -> list[dict[str, Any]]:
        """Return latency and, where the choice needs it, memory of the candidates, as the state keeps them."""
        if not self.job.profile.measured_here:
            return []
        contestants = [c for network in self.job.networks for c in self._contestants(network.name)]
        if not contestants:
            return []
        with self.progress.stage(f"time {len(contestants)} candidates", unit="turns") as advance:
            timed = measure_together(contestants, advance, self.progress.note, standing=self._standing)
        field = [c for c in timed if self._standing(c) is not Standing.MISSED]
        if field:
            choose([self._timed(c) for c in field])  # weighs those that are equally fast
        return [
            {
                "network": self._entries[_key(c)].network,
                "candidate": c.candidate.id,
                "latency": c.candidate.latency,
                "memory_mb": self._needed_mb.get(_key(c)),
            }
            for c in timed
        ]

    def _contestants(self, network: str) -> list[Contestant]:
        record = self.state.of(network)
        accepted = [p for p in record.get("points", []) if not p["figures"]["why"]]
        if not accepted or record["why"]:
            return []
        run, val = RunFolder(Path(record["run"])).read(), _validation(Path(record["run"]))
        encoded = [s.path.read_bytes() for s in spread(val, TIMING_IMAGES)]
        found = [Contestant(run=run, candidate=revive(p, self.models), encoded=encoded) for p in accepted]
        for c, p in zip(found, accepted, strict=True):
            self._entries[_key(c)] = _Entry(network=network, run=run, figures=p["figures"], val=val)
        return found

    def _standing(self, timed: Contestant) -> Standing:
        entry, contract = self._entries[_key(timed)], self.job.contract
        point = choice.point_of(
            entry.network,
            entry.figures,
            latency=timed.candidate.latency,
            best_accuracy=choice.best_accuracy(self.state.networks.values()),
            counts=[count.key for count in tasks.get(timed.candidate.task).counts],
            memory_mb=self._memory_mb(timed) if contract.max_memory_mb is not None else None,
        )
        gap_pp = self.job.config.max_gap_pp
        return choice.standing(point, contract, max_gap_pp=gap_pp, target=self.job.profile.name)

    def _timed(self, timed: Contestant) -> Timed:
        candidate = timed.candidate
        return Timed(
            name=candidate.id,
            precision=candidate.precision,
            latency=candidate.latency or {},
            memory_mb=partial(self._memory_mb, timed),
        )

    def _memory_mb(self, timed: Contestant) -> float | None:
        key = _key(timed)
        if key not in self._needed_mb:
            entry = self._entries[key]
            self._needed_mb[key] = memory_mb(timed.candidate, entry.run.preprocess, memory_images(entry.val))
        return self._needed_mb[key]


def _key(contestant: Contestant) -> tuple[int, str]:
    return id(contestant.run), contestant.candidate.id


def _validation(run: Path) -> list[Sample]:
    from edgetl.data.split_file import read_split

    folder = RunFolder(run)
    return [s for s in read_split(folder.split_csv, folder.read().classes) if s.split == "val"]
