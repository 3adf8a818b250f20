"""From run to bundle: export, candidates, choice, one look at test, bundle, proof in a fresh process."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl import tasks as host_tasks
from edgetl.data.samples import spread
from edgetl.deploy import candidates as room
from edgetl.deploy.bundle_writer import write_bundle
from edgetl.deploy.candidates import Candidate, Split
from edgetl.deploy.climbing import Climber
from edgetl.deploy.compiler_check import ahead, check_embedding, compiled
from edgetl.deploy.compiler_check import note as compiler_note
from edgetl.deploy.confirming import Look
from edgetl.deploy.contract import Contract, Judge, UnmetContractError, too_large
from edgetl.deploy.golden_vectors import COUNT, GoldenSet, folder_images, tolerance
from edgetl.deploy.isolation import verify
from edgetl.deploy.ledger import check_ledger, next_sequence
from edgetl.deploy.measuring import Measuring, unmeasured_terms
from edgetl.deploy.notes import Note, Reason, of_measuring
from edgetl.deploy.plan import narrowed, plan
from edgetl.deploy.request import DeployConfig, Deployment
from edgetl.deploy.retraining import retrained
from edgetl.deploy.terms import require_proof, untested_terms
from edgetl.versions import versions
from edgetl_runtime import __version__ as runtime_version
from edgetl_runtime import durable, tasks
from edgetl_runtime.errors import ContractError
from edgetl_runtime.manifest import Manifest, VariantManifest
from edgetl_runtime.probe import facts
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from edgetl.deploy.plan import PlannedCandidate
    from edgetl.profiles import DeviceProfile
    from edgetl.progress import Progress
    from edgetl.run import Run, RunFolder
    from edgetl.tasks.base import Decided


class Deploying:
    """One deployment, stage by stage.

    Args:
        folder: The run.
        run: What is in it.
        profile: The target.
        config: What was asked for.
        contract: What candidates must keep.
        progress: Shows the stages.
    """

    def __init__(
        self,
        folder: RunFolder,
        run: Run,
        profile: DeviceProfile,
        config: DeployConfig,
        contract: Contract,
        progress: Progress,
    ) -> None:
        self.folder, self.run, self.profile = folder, run, profile
        self.config, self.contract, self.progress = config, contract, progress
        self.against = Judge.of(contract, task=run.task, labels=run.labels)
        planned = plan(profile, cores=facts().cores, precision=config.precision)
        self.planned = narrowed(planned, backend=config.backend, threads=config.threads, rungs=config.rungs)
        self.untested = untested_terms(self.against, run.data["counts"])
        self.notes: list[Note] = []

    def deploy(self, out: Path, *, replace: bool) -> Deployment:
        """Write the bundle.

        Raises:
            ContractError: Nothing keeps the contract, or the chosen candidate misses it on test. Nothing is written.
            EdgetlError: The run, its images or the options cannot be used.
        """
        check_ledger(self._line)  # a wrong option is said before minutes of work
        if self.config.embed_engine:
            check_embedding(self.profile)
        known = () if self.profile.measured_here else unmeasured_terms(self.contract, self.profile)
        require_proof((*self.untested, *known), allowed=self.config.allow_unproven)  # before minutes of work
        golden = folder_images(Path(self.config.golden)) if self.config.golden else None
        tried = self.judge_all()
        val = self.samples["val"]
        self.measuring = Measuring(self.run, self.profile, self.config, self.contract, val, self.progress)
        tried = self.measuring.measure(tried)
        few = len(self.samples["val"]) < COUNT
        pool = [s for name in ("val", "train", "test") for s in self.samples[name]] if few else self.samples["val"]
        self.golden_paths = golden or [s.path for s in spread(pool, COUNT)]
        chosen, confirmed, tried = self._confirmed(tried)
        notes = tuple(self.notes + self._further_notes(chosen, tried))
        memory_mb = self._write(out, chosen, self._float_variant(tried, chosen), tried, confirmed, replace=replace)
        return Deployment(
            chosen=chosen.id,
            confirmed=confirmed,
            candidates=(*room.by_speed(tried), *(c for c in tried if not c.accepted)),
            reference=self.reference.figures,
            notes=notes,
            memory_mb=memory_mb,
            terms=(*chosen.terms, *self.untested),
            parity=self.exported.parity,
        )

    def judge_all(self) -> list[Candidate]:
        """Make every planned model and judge it on validation; nothing is timed yet, and test is not looked at.

        Raises:
            EdgetlError: The run or its images cannot be used.
        """
        from edgetl.data.split_file import read_split
        from edgetl.export.run_export import export_run

        samples = read_split(self.folder.split_csv, self.run.classes)
        self.samples = {name: [s for s in samples if s.split == name] for name in ("train", "val", "test")}
        with self.progress.stage("export and prove parity"):
            self.exported = export_run(self.folder, self.run)
        self.val = self._split("val")
        self.reference = self._reference()
        return [
            dataclasses.replace(c, why=(*c.why, *too_large(self.contract, size_bytes=len(c.model))))
            for c in self._evaluate()
        ]

    def _split(self, name: str) -> Split:
        from edgetl.data.images import load_images

        with self.progress.stage(f"decode {name}") as advance:
            images = load_images(self.samples[name], self.run.preprocess, progress=advance)
        labels = np.array([s.label for s in self.samples[name]], np.int64)
        return Split(images=images, labels=labels, groups=tuple(s.unit for s in self.samples[name]))

    def _reference(self) -> Decided:
        with self.progress.stage("float reference"):
            outputs = room.outputs_of("onnxruntime", self.exported.model, room.FLOAT, self.val.images)
        return host_tasks.get(self.run.task).decided(outputs, self.val.labels, self.run.labels, self.run.params)

    def _evaluate(self) -> list[Candidate]:
        """Make every planned model and judge it on validation."""
        from edgetl.quantize.calibration import select

        train = self.samples["train"]
        labels = np.array([s.label for s in train], np.int64)
        needs_images = any(p.recipe.uses_images for p in self.planned)
        self.calibration = (
            select(self._split("train").images, labels, seed=self.run.config["seed"]) if needs_images else None
        )
        found: list[Candidate] = []
        for planned in self.planned:
            found += self._climb(planned)
        return found

    def _climb(self, planned: PlannedCandidate) -> list[Candidate]:
        name = f"{planned.backend}-{planned.precision}"
        reason = room.unusable_here(planned.backend, planned.precision)
        if reason is not None:
            self.progress.note(f"{name}: left out, {reason}")
            return []
        with self.progress.stage(f"{name}: make and evaluate") as advance:

            def retrain(rounding: str) -> bytes:
                return retrained(self.folder, self.run, self.samples["train"], rounding, advance)

            climber = Climber(
                self.run,
                against=self.against,
                reference=self.reference,
                val=self.val,
                model=self.exported.model,
                calibration=self.calibration,
                folder=self.folder.path / "quantized",
                retrain=retrain if self.config.retrain else None,
            )
            return compiled(climber.climb(planned), self.profile, self.progress.note)

    def _fastest(self, field: list[Candidate], *, decided: bool) -> Candidate:
        best, note = self.measuring.fastest(field, decided=decided)
        self.notes += [note] if note else []
        return best

    def _choose(self, tried: list[Candidate]) -> Candidate:
        wanted = [c for c in tried if c.accepted and self.config.precision in (None, c.precision)]
        if wanted:  # what is proven goes before what is faster
            least = min(len(c.unproven) for c in wanted)
            field = [c for c in wanted if len(c.unproven) == least]
            best = self._fastest(field, decided=not self.config.allow_disturbed)
            require_proof(best.terms, allowed=self.config.allow_unproven)
            return best
        misses = (
            "; ".join(f"{c.id}: {', '.join(c.why) or 'not the precision asked for'}" for c in tried)
            or "no candidate runs here"
        )
        what = f"a candidate for {self.profile.name}"
        must = "inside the contract on validation" + (f" at {self.config.precision}" if self.config.precision else "")
        fix = "a wider bound for what is named; or finetune a smaller --backbone, or with more images"
        raise UnmetContractError(what, must, misses, fix=fix, candidates=[c.to_mapping() for c in tried])

    def _confirmed(self, tried: list[Candidate]) -> tuple[Candidate, dict[str, Any], list[Candidate]]:
        """Choose, look at test once, and fall back on the float model where test refuses what was chosen.

        The float model is what was compared with all along, so that test chooses nothing by it.

        Returns:
            What ships, its figures on test, and the candidates with what test said of them.
        """
        chosen = self._choose(tried)
        test = self._split("test")
        with self.progress.stage("confirm on test"):
            look = Look(self.run, self.against, self.exported.model, test)
            confirmed, broken = look.confirm(chosen)
            self.folder.count_look()
            proven = [c for c in tried if c.accepted and (self.config.allow_unproven or not c.unproven)]
            floats = [c for c in proven if c.precision == "f32"]
            if broken and floats and chosen.precision != "f32" and self.config.precision is None:
                refused = f"{chosen.id} misses the contract on test ({', '.join(broken)})"
                text = f"{refused}: the float model ships; test is not tried twice"
                self.notes = [Note(reason=Reason.TEST_REFUSED, text=text)]
                other = self._fastest(floats, decided=False)  # test was looked at: too late to refuse for a tie
                instead, missed = look.confirm(other)
                if not missed:
                    return other, instead, room.refused_on_test(tried, chosen, broken)
        if broken:
            raise UnmetContractError(
                f"the chosen candidate {chosen.id}",
                "inside the contract on test",
                ", ".join(broken),
                fix="more images for validation, or a wider bound; test is not tried twice",
                candidates=[c.to_mapping() for c in tried],
                confirmed=confirmed,
            )
        return chosen, confirmed, tried

    def _further_notes(self, chosen: Candidate, tried: list[Candidate]) -> list[Note]:
        """Say what else a person must know: why no INT8 ships, and what is known of the latencies."""
        found = []
        int8 = [c for c in tried if c.precision == "int8"]
        if chosen.precision != "int8" and int8 and not any(c.accepted for c in int8) and not self._refused_on_test:
            effort = f" within --rungs {self.config.rungs}" if self.config.rungs else ""
            text = f"no INT8 candidate keeps the contract{effort} ({'; '.join(int8[0].why)}): a float variant ships"
            found.append(Note(reason=Reason.NO_INT8, text=text))
        if not self.profile.measured_here:
            said = f"; {chosen.id} {words}" if (words := compiler_note(chosen)) else ""
            ranked = "not measured on hardware; ranked by the profile's order"
            text = f"latency on {self.profile.name}: {ranked}{said}"
            found.append(Note(reason=Reason.NOT_MEASURED, text=text))
        return found + of_measuring({c.id: c.latency for c in tried if c.latency}, cores=facts().cores)

    @property
    def _refused_on_test(self) -> bool:
        return any(note.reason is Reason.TEST_REFUSED for note in self.notes)

    def _float_variant(self, tried: list[Candidate], chosen: Candidate) -> list[Candidate]:
        """The float model beside the chosen one: a fallback, and what flips are counted against."""
        others = [c for c in tried if c.precision == "f32" and c.id != chosen.id]
        runnable = [c for c in others if c.runs_as == c.backend]
        return [] if chosen.precision == "f32" and not runnable else (runnable or others)[:1]

    def _write(
        self,
        out: Path,
        chosen: Candidate,
        floats: list[Candidate],
        tried: list[Candidate],
        confirmed: dict[str, Any],
        *,
        replace: bool,
    ) -> float | None:
        with self.progress.stage("write and prove the bundle"):
            golden = GoldenSet(self.run, self.golden_paths, self.run.data["licence"])
            variants: list[VariantManifest] = []
            models: dict[str, bytes] = {}
            answers: dict[str, bytes] = {}
            for candidate in [chosen, *floats]:
                variant = self._variant(candidate, models)
                answers[variant.golden], decisions = golden.expected(candidate)
                variants.append(dataclasses.replace(variant, golden_decisions=decisions))
            members = {**models, **golden.members(), **answers}
            manifest = self._manifest(chosen, variants, golden, tried, confirmed)
            partial = out.with_name(out.name + ".unproven")
            try:
                write_bundle(partial, manifest, members, replace=True)
                memory_mb = self._prove(partial, chosen)
                if out.exists() and not replace:
                    write_bundle(out, manifest, members)  # refuses, with the one sentence for it
                durable.move(partial, out)
            finally:
                partial.unlink(missing_ok=True)
        return memory_mb

    @property
    def _line(self) -> str:
        return self.config.line or self.folder.path.resolve().name

    def _variant(self, candidate: Candidate, models: dict[str, bytes]) -> VariantManifest:
        """Describe a variant; two variants of equal bytes share one member."""
        shared = next((name for name, data in models.items() if data == candidate.model), None)
        member = shared or f"models/{candidate.id}/model.onnx"
        models[member] = candidate.model
        engine = ahead(candidate, self.profile) if self.config.embed_engine else None
        if engine is not None:
            models[f"models/{candidate.id}/engine.plan"] = engine.plan
        return VariantManifest(
            id=candidate.id,
            backend=candidate.backend,
            precision=candidate.precision,  # type: ignore[arg-type]
            files={"model": member} | ({"engine": f"models/{candidate.id}/engine.plan"} if engine else {}),
            options=candidate.options,
            requires=candidate.requires,
            params=candidate.params,
            golden=f"golden/{candidate.id}.npy",
            golden_tolerance=tolerance(candidate),
            evidence={
                **candidate.to_mapping(),
                "made_by": candidate.evidence,
                **({"engine": engine.about} if engine else {}),
            },
        )

    def _manifest(
        self,
        chosen: Candidate,
        variants: list[VariantManifest],
        golden: GoldenSet,
        tried: list[Candidate],
        confirmed: dict[str, Any],
    ) -> Manifest:
        import cv2

        run, line = self.run, self._line
        digests = {"data": run.data["digest"], "split": run.data["split_digest"]}
        if self.calibration is not None:
            digests["calibration"] = self.calibration.digest
        return Manifest(
            min_runtime=runtime_version,
            created=dt.datetime.now(dt.UTC).date().isoformat(),
            edgetl_version=run.edgetl_version,
            task=run.task,
            line=line,
            sequence=next_sequence(line),
            labels=run.labels,
            outputs=tasks.get(run.task).outputs(run.labels),
            preprocess=run.preprocess,
            variants=tuple(variants),
            chosen=chosen.id,
            golden=golden.manifest(),
            aims=run.aims,
            target=to_mapping(self.profile),
            contract=to_mapping(self.contract),
            metrics={
                "val": chosen.val,
                "test": confirmed,
                "float_val": self.reference.figures,
                "terms": [term.to_mapping() for term in (*chosen.terms, *self.untested)],
                "candidates": [c.to_mapping() for c in tried],
                "conditions": run.conditions,
            },
            digests=digests,
            licences={"weights": run.weights["licence"], "data": run.data["licence"]},
            versions=versions() | {"opencv": cv2.__version__},  # the runtime compares tensors bit by bit if equal
        )

    def _prove(self, bundle: Path, chosen: Candidate) -> float | None:
        """Open the bundle in fresh processes that have only the runtime, and reproduce its golden vectors.

        Returns:
            Peak resident memory of the one that ran the chosen variant alone, in MB; None if it does not run here.
        """
        verify(bundle)
        if chosen.runs_as != chosen.backend:
            return None
        memory_mb = float(verify(bundle, "--variant", chosen.id)["memory_mb"] or 0)
        bound = self.contract.max_memory_mb
        if bound is not None and memory_mb > bound:
            fix = f"a smaller backbone or another --backend, or --max-memory-mb {memory_mb + 1:.0f}"
            raise ContractError("resident memory", f"at most {bound} MB", f"{memory_mb:.0f} MB", fix=fix)
        return memory_mb
