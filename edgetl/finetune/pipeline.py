"""Fine-tuning from data to run: Prepared → Baseline → Trained → Evaluated → Run, a stage a module.

A stage is a function from the values of those before it to its own; only `Network`'s weights change on the way.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from edgetl.data.split_file import check_split, write_split
from edgetl.finetune.baseline import fit_baseline
from edgetl.finetune.evaluated import evaluate, write_run
from edgetl.finetune.interrupt import stop_on_signals
from edgetl.finetune.prepared import build_network, prepare
from edgetl.finetune.preset import Preset, preset_for
from edgetl.finetune.trained import train
from edgetl.finetune.work import Work
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from edgetl.config import FinetuneConfig
    from edgetl.finetune.prepared import Prepared
    from edgetl.progress import Progress
    from edgetl.run import Run, RunFolder


def finetune(config: FinetuneConfig, folder: RunFolder, progress: Progress, *, resume: bool = False) -> Run:
    """Fine-tune as configured into a folder; with `resume` continue the run in it from its checkpoints.

    Args:
        config: What to compute.
        folder: Where the run is written, from the moment on when data and weights are known to be usable; the caller
            holds it (`files.taken`), or two runs would mix.
        progress: Shows the stages.
        resume: Continue the run in the folder; otherwise one that is there is replaced.
    """

    def __init__(self, config: FinetuneConfig, folder: RunFolder, progress: Progress, *, resume: bool = False) -> None:
        self.config, self.folder, self.progress, self.resume = config, folder, progress, resume
        self.preset: Preset = preset_for(config.preset, weights=config.weights, note=progress.note)
        self.spec: BackboneSpec = backbones.get(config.backbone)
        self.device = pick_device(config.device)
        self.seconds: dict[str, float] = {"features": 0.0, "head": 0.0, "finetune": 0.0, "total": 0.0}
        self.epochs: list[dict[str, Any]] = []
        self.files: dict[str, str] = {}
        self.load_before = os.getloadavg()[0]
        self._features_trunk: FrozenTrunk | None = None
        self._finetuned: FrozenTrunk | None = None

    def run(self, stop: StopFlag) -> Run:
        """Run all stages and write the run.

        Raises:
            EdgetlError: The data, the weights or the options cannot be used, or a stop was asked for.
        """
        started = time.monotonic()
        self.stop = stop
        self._read_data()
        self._build_model()
        self._open_folder()
        head = self._fit_baseline()
        self._fit_augmentation(head)
        self._features_trunk = None
        baseline_state = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        baseline_val = head.logits(self.val_features)
        kept_val, finetuned_val = baseline_val, None
        if self.preset.phases:
            finetuned_val = self._finetune()
            if finetuned_val is not None and self._is_better(finetuned_val, baseline_val):
                kept_val = finetuned_val
            else:
                self.progress.note(
                    "negative transfer: fine-tuning is no better on validation than the frozen baseline, which is kept"
                )
                self.model.load_state_dict(baseline_state)
        self.seconds["total"] = time.monotonic() - started
        kept = "baseline" if kept_val is baseline_val else "finetuned"
        return self._finish(head, kept, kept_val, baseline_val, finetuned_val)

    def _is_better(self, logits: NDArray[np.float32], than: NDArray[np.float32]) -> bool:
        return calibrated_log_loss(logits, self.val.labels) < calibrated_log_loss(than, self.val.labels)

    def _open_folder(self) -> None:
        """Write the run's first files; only now, so that a mistake in data or options leaves an older run alone.

        Raises:
            RunError: The run to be resumed was started with other images.
        """
        split = self.folder.split_csv
        if not self.resume:
            self.folder.begin(to_mapping(self.config))
        elif split.is_file():
            check_split(split, self.data)
        self.files[split.name] = write_split(split, self.data)

    def _stoppable(self, advance: Callable[[int, int], None]) -> Callable[[int, int], None]:
        def step(done: int, total: int) -> None:
            advance(done, total)
            if self.stop:
                fix = "the same command" + (" with --resume" if self.folder.config_json.is_file() else "")
                raise StoppedError("the run", "finished", "a stop while reading images", fix=fix)

        return step

    def _read_data(self) -> None:
        config, remembered = self.config, recall(self.config.split_from, self.folder)
        with self.progress.stage("read and check images") as advance:
            self.data: Dataset = load_dataset(
                Path(config.data),
                bit_depth=config.bit_depth,
                seed=config.seed,
                val_fraction=config.val_fraction,
                test_fraction=config.test_fraction,
                skip_bad=config.skip_bad,
                remembered=remembered,
                progress=self._stoppable(advance),
            )
        self.earlier_looks = remembered.looks_at(self.data.split("test")) if remembered else 0
        self.task = tasks.fitting(self.data.classes, name=config.task, aims=config.aims)
        self.aims = self.task.aims(config.aims)
        self.labels = self.task.labels_for(self.data.classes, self.aims)
        if self.data.bad:
            self.progress.note(f"left out as unusable: {len(self.data.bad)}; listed in the report")
        for note in self.data.notes:
            self.progress.note(note)
        self.image_px = choose_size(self.spec, self.preset, config, self.data.split("train"))
        self.preprocess = PreprocessSpec(
            width_px=self.image_px,
            height_px=self.image_px,
            resize=config.resize,
            bit_depth=config.bit_depth,
            roi_px=config.roi_px,
        )
        self.train = self._examples(self.data.split("train"), "train")
        self.val = self._examples(self.data.split("val"), "val")
        self.test = self._examples(self.data.split("test"), "test")

    def _examples(self, samples: tuple[Sample, ...], name: str) -> Examples:
        with self.progress.stage(f"decode {name}") as advance:
            images = load_images(samples, self.preprocess, progress=self._stoppable(advance))
        labels = np.array([s.label for s in samples], np.int64)
        certainty = np.array([s.certainty for s in samples], np.float64)
        targets = soft_targets(labels, certainty, len(self.data.classes))
        return Examples(images=images, labels=labels, targets=targets, groups=tuple(s.unit for s in samples))

    def _build_model(self) -> None:
        weights: Weights | None = resolve_weights(self.spec, self.config.weights)
        torch.manual_seed(self.config.seed)
        model = build(self.spec, num_classes=len(self.data.classes), weights=weights, image_px=self.image_px)
        self.model: nn.Module = model.to(memory_format=torch.channels_last)
        self.weights: dict[str, Any] = {
            "kind": "none",
            "sha256": f"seed {self.config.seed}",
            "licence": "none",
            "source": "random",
        }
        if weights is not None:
            self.weights = {k: v for k, v in to_mapping(weights).items() if k != "path"}
        self.segments = segments(self.spec, self.model)
        self.classifier = classifier(self.model)

    def _trunk(self, layers: list[nn.Module]) -> FrozenTrunk:
        size_px = (self.image_px, self.image_px)
        return FrozenTrunk(layers, mean=self.spec.mean, std=self.spec.std, size_px=size_px, device=self.device)

    def _fit_baseline(self) -> Head:
        """Stage 1: features of the frozen backbone, a regularised head on them, put into the network."""
        started = time.monotonic()
        train_features = self._features("train", self.train)
        self.val_features = self._features("val", self.val)
        # of test too, now: later the backbone is no longer the pretrained one that names them in the cache
        self.test_features = self._features("test", self.test)
        self.seconds["features"] = time.monotonic() - started
        started = time.monotonic()
        self.class_weights = class_weights(self.train.labels, len(self.data.classes))
        with self.progress.stage("fit the head"):
            head = fit_head(
                train_features,
                self.train.targets,
                self.class_weights,
                val=self.val_features,
                val_labels=self.val.labels,
                seed=self.config.seed,
            )
        with torch.no_grad():
            self.classifier.weight.copy_(torch.from_numpy(head.weight))
            self.classifier.bias.copy_(torch.from_numpy(head.bias))
        self.seconds["head"] = time.monotonic() - started
        logits = head.logits(self.val_features)
        self.baseline_balanced = balanced_accuracy(logits, self.val.labels)
        self._record(
            {
                "phase": "baseline",
                "val_log_loss": calibrated_log_loss(logits, self.val.labels),
                "val_accuracy": float((logits.argmax(axis=1) == self.val.labels).mean()),
            }
        )
        return head

    def _features(self, split: str, examples: Examples) -> NDArray[np.float32]:
        def compute() -> NDArray[np.float32]:
            with self.progress.stage(f"features of {split}") as advance:
                return extract(self._whole_trunk(), examples.images, progress=advance, stop=self.stop)

        images_key = cache_key(self.data.split(split), self.preprocess)  # type: ignore[arg-type]
        key = feature_key(images_key, self.weights["sha256"], self.spec.name, self.device.type)
        return cached_features(key, compute, n=len(examples.images), note=self.progress.note)

    def _whole_trunk(self) -> FrozenTrunk:
        if self._features_trunk is None:
            self._features_trunk = self._trunk([module for _, module in self.segments])
        return self._features_trunk

    def _fit_augmentation(self, head: Head) -> None:
        """Weaken or leave out what does not suit these images; nothing is measured if nothing will be trained."""
        self.augment = AugmentConfig(**dict.fromkeys(self.config.no_augment, False))
        self.borne: tuple[Borne, ...] = ()
        if not self.preset.phases:
            return
        with self.progress.stage("fit the augmentation"):

            def logits_of(images: NDArray[np.uint8]) -> NDArray[np.float32]:
                features = extract(self._whole_trunk(), images, progress=lambda *_: None, stop=self.stop)
                return head.logits(features)

            self.augment, self.borne = fit_augmentation(
                self.augment, self.val.images, self.val.labels, logits_of, seed=self.config.seed
            )
        for one in (b for b in self.borne if b.strength < 1):
            how = f"weakened to {one.strength:.0%}" if one.strength else "left out"
            self.progress.note(f"  augmentation {one.name}: {how}, the baseline keeps {one.kept_share:.0%} under it")

    def _finetune(self) -> NDArray[np.float32] | None:
        """Stage 2: unfreeze from the top, phase by phase; return the logits of validation, None where it diverged."""
        started = time.monotonic()
        if self.preset.batch_statistics:  # a head fitted to random features is far too loud for what will follow
            torch.nn.init.zeros_(self.classifier.weight)
            torch.nn.init.zeros_(self.classifier.bias)
        try:
            self._train_phases()
        except TrainingError as error:
            self.progress.note(f"fine-tuning diverged: {error.sentence}")
            return None
        finally:
            self.seconds["finetune"] = time.monotonic() - started
        logits = self._logits(self.val)
        return logits if np.isfinite(logits).all() else None

    def _train_phases(self) -> None:
        for index, phase in enumerate(self.preset.phases):
            depth = self.preset.depth_of(phase, images=len(self.train.images), baseline=self.baseline_balanced)
            frozen, learning = split_at_depth([module for _, module in self.segments], depth)
            layers = [*learning, torch.nn.Dropout(self.preset.dropout), self.classifier]
            with self.progress.stage(
                f"unfreeze '{phase.name}' ({len(learning)} of {len(self.segments)} segments)"
            ) as advance:
                job = Job(
                    train=self.train,
                    val=self.val,
                    class_weights=self.class_weights,
                    preset=self.preset,
                    augment=self.augment,
                    seed=self.config.seed,
                    folder=self.folder.checkpoints,
                    report=functools.partial(self._on_training, advance),
                    stop=self.stop,
                )
                PhaseTrainer(job, phase, index, self._trunk(frozen), layers).run()

    def _on_training(self, advance: Callable[[int, int], None], record: dict[str, Any]) -> None:
        if "done" in record:
            advance(record["done"] * record["images"], record["total"] * record["images"])
            return
        self._record(record)
        self.progress.note(
            f"  {record['phase']} {record['epoch']}/{record['epochs']}: train loss {record['train_loss']:.3f}, "
            f"validation log-loss {record['val_log_loss']:.3f}, accuracy {record['val_accuracy']:.3f}"
        )

    def _record(self, record: dict[str, Any]) -> None:
        self.epochs.append(record)
        self.folder.append_metrics(record)

    def _logits(self, examples: Examples) -> NDArray[np.float32]:
        """Logits of the whole network as it is after fine-tuning, run by the deployment engine."""
        if self._finetuned is None:
            self._finetuned = self._trunk([*(module for _, module in self.segments), self.classifier])
        return predict(self._finetuned, torch.nn.Identity(), examples.images)

    def _finish(
        self,
        head: Head,
        kept: str,
        val_logits: NDArray[np.float32],
        baseline_val: NDArray[np.float32],
        finetuned_val: NDArray[np.float32] | None,
    ) -> Run:
        """Calibrate on validation, look at test once, write the run."""
        params, base_params = self._fitted(val_logits), self._fitted(baseline_val)
        test = self.test
        baseline_test = head.logits(self.test_features)
        test_logits = self._logits(test) if kept == "finetuned" else baseline_test
        self.files[self.folder.weights.name] = save_weights(self.folder.weights, self.model)
        run = Run(
            edgetl_version=edgetl.__version__,
            created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            backbone=self.spec.name,
            image_px=self.image_px,
            kept=kept,  # type: ignore[arg-type]
            task=self.task.name,
            labels=self.labels,
            preprocess=self.preprocess,
            mean=self.spec.mean,
            std=self.spec.std,
            params=params,
            aims=to_mapping(self.aims),
            val=self._figures(val_logits, self.val, params),
            test=self._figures(test_logits, test, params),
            baseline_val=self._figures(baseline_val, self.val, base_params),
            baseline_test=self._figures(baseline_test, test, base_params),
            finetuned_val=None
            if finetuned_val is None
            else self._figures(finetuned_val, self.val, self._fitted(finetuned_val)),
            seconds=self.seconds,
            weights=self.weights,
            data=data_facts(self.data, self.config),
            config=to_mapping(self.config),
            augment={"fitted": to_mapping(self.augment), "borne": [to_mapping(one) for one in self.borne]},
            versions=versions(),
            conditions=conditions(self.device, self.load_before),
            test_looks=self.earlier_looks + 1,
        )
        rows = [(self.data.split("val"), val_logits), (self.data.split("test"), test_logits)]
        self.files[self.folder.predictions.name] = write_predictions(self.folder.predictions, self.data, rows, run)
        run = dataclasses.replace(run, files=self.files)
        self.folder.write(run)
        return run

    def _fitted(self, logits: NDArray[np.float32]) -> Any:  # noqa: ANN401  (the task's)
        return self.task.fit({LOGITS: logits}, self.val.labels, self.labels, self.aims)

    def _figures(self, logits: NDArray[np.float32], on: Examples, params: Any) -> dict[str, Any]:  # noqa: ANN401
        return self.task.decided({LOGITS: logits}, on.labels, self.labels, params, on.groups).figures


def finetune(config: FinetuneConfig, folder: RunFolder, progress: Progress, *, resume: bool = False) -> Run:
    """Fine-tune as configured into a folder; with `resume` continue the run in it from its checkpoints.

    Raises:
        EdgetlError: The data, the weights or the options cannot be used, or a stop was asked for.
    """
    preset = preset_for(config.preset, weights=config.weights, note=progress.note)
    with stop_on_signals() as stop:
        return run_stages(config, preset, Work(folder=folder, progress=progress, stop=stop), resume=resume)


def run_stages(config: FinetuneConfig, preset: Preset, work: Work, *, resume: bool = False) -> Run:
    """Run all stages, one after the other, and write the run.

    Raises:
        EdgetlError: As `finetune`.
    """
    load_before, started = os.getloadavg()[0], time.monotonic()
    prepared = prepare(config, preset, work)
    network = build_network(prepared)
    split_sha256 = open_run(prepared, work, resume=resume)
    baseline = fit_baseline(prepared, network, work)
    trained = train(prepared, network, baseline, work)
    seconds = time.monotonic() - started
    evaluated = evaluate(prepared, baseline, trained)
    return write_run(
        work.folder,
        prepared,
        network,
        baseline,
        trained,
        evaluated,
        split_sha256=split_sha256,
        seconds=seconds,
        load_before=load_before,
    )


def open_run(prepared: Prepared, work: Work, *, resume: bool) -> str:
    """Write the run's first files; only now, so that a mistake in data or options leaves an older run alone.

    Returns:
        SHA-256 of split.csv.

    Raises:
        RunError: The run to be resumed was started with other images.
    """
    split = work.folder.split_csv
    if not resume:
        work.folder.begin(to_mapping(prepared.config))
    elif split.is_file():
        check_split(split, prepared.data)
    return write_split(split, prepared.data)
