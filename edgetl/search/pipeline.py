"""A search, stage by stage: latency first, accuracy on a slice, fine-tuning, judgement, one timing of all together."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl import tasks
from edgetl.data.samples import spread
from edgetl.deploy.choice import Choice
from edgetl.deploy.notes import Note, of_measuring
from edgetl.deploy.plan import plan
from edgetl.errors import RunError
from edgetl.files import taken
from edgetl.run import RunFolder
from edgetl.search import choice
from edgetl.search.grid import Network, SearchJob, folder_name, restricted
from edgetl.search.kept import keep
from edgetl.search.screen import Shape, screen_shape, too_slow_by_far
from edgetl.search.slices import choose_slice, write_slice
from edgetl.search.timing import Timing
from edgetl_runtime.errors import UsageError
from edgetl_runtime.preprocess import PreprocessSpec
from edgetl_runtime.probe import facts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.config import FinetuneConfig
    from edgetl.data.samples import Dataset
    from edgetl.deploy.plan import PlannedCandidate
    from edgetl.progress import Progress
    from edgetl.search.state import SearchState
    from edgetl.tasks.base import HostTask

SCREEN_IMAGES = 8
MODELS = "models"
WHO = "edgetl search"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found.

    Attributes:
        points: Every candidate with `accepted`, `on_front`, `chosen` and `why`, best first; see `choice.settle`.
        networks: What became of every network of the grid.
        why: Why the chosen point was chosen.
        notes: What a person must know of the latencies.
        choice: How it was chosen of those that were timed; None where nothing was.
        counts: What the task counts of every point.
    """

    points: list[dict[str, Any]]
    networks: list[dict[str, Any]]
    why: str
    notes: tuple[Note, ...] = ()
    choice: Choice | None = None
    counts: tuple[str, ...] = ()

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The chosen point; None if nothing keeps the contract."""
        return next((p for p in self.points if p["chosen"]), None)


class Searching:
    """One search in one folder.

    Args:
        folder: Holds runs, models and the state; must exist.
        job: What was asked for.
        state: What an earlier search in this folder found.
        progress: Shows the stages.
    """

    def __init__(self, folder: Path, job: SearchJob, state: SearchState, progress: Progress) -> None:
        self.folder, self.job, self.state, self.progress = folder, job, state, progress
        self.networks, self.config, self.training = job.networks, job.config, job.training
        self.contract, self.profile = job.contract, job.profile
        self.planned = restricted(plan(job.profile, cores=facts().cores), job.config)

    def search(self) -> Found:
        """Run what is not done yet, saving the state after every step.

        Raises:
            EdgetlError: Data, weights or options cannot be used, or a stop was asked for; the state stays.
        """
        self._check_weights()
        for network in self.networks:
            self._step(network, "screen", self._screen)
        for network in self.networks:
            self._step(network, "slice", self._slice)
        self._reject_by_slice()
        for network in self.networks:
            self._step(network, "points", self._judge)
        self._check_same_split()
        if self.state.timed is None:
            self.state.timed = Timing(self.folder / MODELS, self.job, self.state, self.progress).time()
            self.state.save()
        return self._found()

    def _step(self, network: Network, key: str, work: Any) -> None:  # noqa: ANN401  (a method of this class)
        """Do one step for one network unless it is done already, or the network is rejected."""
        record = self.state.of(network.name)
        if key in record or record["why"]:
            return
        record[key] = work(network, record)
        self.state.save()

    def _check_weights(self) -> None:
        """Find the weights of every network to be trained, before minutes of work on the first of them."""
        from edgetl import backbones
        from edgetl.backbones.weights import resolve

        for name in {n.backbone for n in self.networks if n.run is None}:
            resolve(backbones.get(name), self._training.weights)

    @property
    def _training(self) -> FinetuneConfig:
        if self.training is None:
            raise UsageError("DATA", "given where networks are to be trained", "nothing", fix="give DATA")
        return self.training

    @functools.cached_property
    def _data(self) -> Dataset:
        from edgetl.data.load import load_dataset

        t = self._training
        with self.progress.stage("read and check images") as advance:
            return load_dataset(
                Path(t.data),
                bit_depth=t.bit_depth,
                seed=t.seed,
                val_fraction=t.val_fraction,
                test_fraction=t.test_fraction,
                skip_bad=t.skip_bad,
                progress=advance,
            )

    def _screen(self, network: Network, record: dict[str, Any]) -> dict[str, float] | None:
        """Latency first; where the target is not this machine, or latency is not bounded, nothing could be rejected."""
        if network.run is not None or not self.profile.measured_here or not self.contract.bounds_latency:
            return None
        from edgetl import backbones

        t = self._training
        # the preset may enlarge it later, never shrink it: what is too slow at this size stays too slow
        px = network.image_px or backbones.get(network.backbone).input_px
        spec = PreprocessSpec(width_px=px, height_px=px, resize=t.resize, bit_depth=t.bit_depth, roi_px=t.roi_px)
        task, classes = self._task, self._data.classes
        shape = Shape.of(network.backbone, spec, task, task.labels_for(classes, task.aims(t.aims)))
        encoded = [s.path.read_bytes() for s in spread(self._data.split("train"), SCREEN_IMAGES)]
        with self.progress.stage(f"{network.name}: time random weights"):
            medians = screen_shape(shape, self.planned, encoded, self.progress.note)
        slow = {name: why for name, ms in medians.items() if (why := too_slow_by_far(self.contract, ms))}
        if medians and len(slow) == len(medians):
            fastest = min(medians, key=lambda name: medians[name])
            record["why"] = f"too slow before training: its fastest variant {fastest} has a {slow[fastest]}"
            self.progress.note(f"{network.name}: {record['why']}")
        record["too_slow"] = sorted(slow)
        return medians

    def _slice(self, network: Network, _record: dict[str, Any]) -> dict[str, Any] | None:
        """Accuracy first, on a slice: a head on frozen features, of fewer images."""
        if network.run is not None or not self.config.slice_images or self._only_one_to_train():
            return None
        from edgetl.finetune.pipeline import finetune

        listing = self.folder / "slice.csv"
        samples = choose_slice(self._data, count=self.config.slice_images, seed=self._training.seed)
        write_slice(listing, self._data, samples)
        config = dataclasses.replace(self._configured(network), data=str(listing), preset="fast")
        folder = self.folder / "slices" / network.name
        with taken(folder, WHO):
            run = finetune(config, RunFolder(folder), self.progress)
        return {"accuracy": run.val["accuracy"], "n": run.val["n"], "train_images": len(samples) - run.val["n"]}

    @property
    def _task(self) -> HostTask[Any, Any, Any]:
        return tasks.fitting(self._data.classes, name=self._training.task, aims=self._training.aims)

    def _only_one_to_train(self) -> bool:
        return sum(n.run is None and not self.state.of(n.name)["why"] for n in self.networks) < 2

    def _reject_by_slice(self) -> None:
        records = [self.state.of(n.name) for n in self.networks]
        ranked = [r for r in records if r.get("slice") and not r["why"]]
        best = max((r["slice"]["accuracy"] for r in ranked), default=0.0)
        for record in ranked:
            gap_pp = 100 * (best - record["slice"]["accuracy"])
            if gap_pp > self.config.slice_margin_pp and "points" not in record:
                n = record["slice"]["n"]
                record["why"] = f"frozen features on a slice (n = {n}) are {gap_pp:.1f} pp below the best network's"
        self.state.save()

    def _configured(self, network: Network) -> FinetuneConfig:
        return dataclasses.replace(self._training, backbone=network.backbone, image_size=network.image_px)

    def _trained(self, network: Network) -> RunFolder:
        """Fine-tune a network, or go on where an earlier search was stopped."""
        folder = RunFolder(network.run or self.folder / "runs" / network.name)
        if network.run is not None or folder.run_json.is_file():
            return folder
        from edgetl.finetune.pipeline import finetune
        from edgetl.report.run_report import write_run_report

        self.progress.note(f"{network.name}: fine-tuning")
        with taken(folder.path, WHO):
            run = finetune(self._configured(network), folder, self.progress, resume=folder.config_json.is_file())
            shutil.rmtree(folder.checkpoints, ignore_errors=True)
            write_run_report(folder, run)
        return folder

    def _judge(self, network: Network, record: dict[str, Any]) -> list[dict[str, Any]]:
        """Fine-tune, make every variant and judge it on validation; test is not looked at."""
        from edgetl.deploy.judged import ask, export, judge
        from edgetl.deploy.request import DeployConfig

        folder = self._trained(network)
        run = folder.read()
        config = DeployConfig(target=self.profile.name)
        asked = ask(folder, run, self.profile, config, self.contract, planned=self._planned_for(record))
        self.progress.note(f"{network.name}: judging {len(asked.planned)} variants")
        exported = export(asked, self.progress)
        tried = judge(asked, exported, self.progress).candidates
        record |= {
            "run": str(folder.path),
            "backbone": run.backbone,
            "image_px": run.image_px,
            "float_accuracy": exported.reference.figures["accuracy"],
            "split_digest": run.data["split_digest"],
        }
        return [keep(c, self.folder / MODELS) for c in tried]

    def _planned_for(self, record: dict[str, Any]) -> tuple[PlannedCandidate, ...]:
        return restricted(
            self.planned, dataclasses.replace(self.config, threads=()), without=record.get("too_slow", ())
        )

    def _check_same_split(self) -> None:
        digests = {r["split_digest"] for n in self.networks if "split_digest" in (r := self.state.of(n.name))}
        if len(digests) > 1:
            got = f"{len(digests)} different splits"
            raise RunError("the runs", "of one data split, to be compared", got, fix="finetune them on the same DATA")

    def _found(self) -> Found:
        records = {n.name: self.state.of(n.name) for n in self.networks}
        best = choice.best_accuracy(records.values())
        timed = {(t["network"], t["candidate"]): t for t in self.state.timed or []}
        points: list[dict[str, Any]] = []
        counts: list[str] = []
        for name, record in records.items():
            seen: set[tuple[str, str]] = set()
            for kept in record.get("points", []):
                figures, key = kept["figures"], (kept["figures"]["backend"], kept["figures"]["precision"])
                measured = timed.get((name, figures["id"]), {})
                latency = measured.get("latency")
                # of those that differ only in threads the faster one was timed; untimed, the first one stands for all
                shown = latency is not None or (not self._was_timed(figures) and key not in seen)
                if shown:
                    seen.add(key)
                    counts = [count.key for count in tasks.get(kept["task"]).counts]
                    point = choice.point_of(
                        name,
                        figures,
                        latency=latency,
                        best_accuracy=best,
                        counts=counts,
                        memory_mb=measured.get("memory_mb"),
                    )
                    points.append(point)
        settled = choice.settle(points, self.contract, max_gap_pp=self.config.max_gap_pp, target=self.profile.name)
        latencies = {p["id"]: p["latency"] for p in settled.points if p["latency"]}
        return Found(
            points=settled.points,
            networks=self._networks(records, settled.points),
            why=choice.reason(settled),
            notes=tuple(of_measuring(latencies, cores=facts().cores)),
            choice=settled.choice,
            counts=tuple(counts),
        )

    def _was_timed(self, figures: dict[str, Any]) -> bool:
        return self.profile.measured_here and not figures["why"]

    def _networks(self, records: dict[str, dict[str, Any]], points: list[dict[str, Any]]) -> list[dict[str, Any]]:
        chosen = next((p["network"] for p in points if p["chosen"]), None)
        keys = ("run", "float_accuracy", "screen", "slice")
        return [
            {
                "name": n.name,
                "why": records[n.name]["why"],
                "chosen": n.name == chosen,
                "backbone": n.backbone,
                "image_px": records[n.name].get("image_px", n.image_px),
                **{key: records[n.name].get(key) for key in keys},
            }
            for n in self.networks
        ]


def networks_of_runs(folders: Sequence[Path]) -> tuple[Network, ...]:
    """Return finished runs as networks of a grid.

    Raises:
        RunError: A folder holds no finished run, or two call other classes good parts.
        UsageError: Two folders have the same name.
    """
    found: dict[str, Network] = {}
    meant: set[str] = set()
    for folder in folders:
        run = RunFolder(folder).read()
        meant.add(run.in_words)
        if len(meant) > 1:  # what their tasks count is not counted of the same parts
            must, got = "about the same parts, to be compared", " against ".join(sorted(meant))
            raise RunError(
                "the runs", must, got, fix="finetune them on the same DATA with the same options of the task"
            )
        name = folder_name(folder.resolve().name, None)
        if name in found:
            raise UsageError("the names of the runs", "different", f"'{name}' twice", fix="rename one of the folders")
        found[name] = Network(name=name, backbone=run.backbone, image_px=run.image_px, run=folder.resolve())
    return tuple(found.values())
