"""From run to bundle: export, candidates, choice, one look at test, bundle, proof in a fresh process."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgetl.data.samples import spread
from edgetl.deploy import candidates as room
from edgetl.deploy import judging
from edgetl.deploy.bundle_writer import write_bundle
from edgetl.deploy.candidates import Candidate, Split
from edgetl.deploy.climbing import Climber
from edgetl.deploy.compiled import ahead, check_embedding, compiled
from edgetl.deploy.compiled import note as compiler_note
from edgetl.deploy.confirming import Look
from edgetl.deploy.contract import Contract, UnmetContractError, too_large
from edgetl.deploy.fresh import verify
from edgetl.deploy.golden_vectors import COUNT, GoldenSet, folder_images, tolerance
from edgetl.deploy.latency import measure_candidates
from edgetl.deploy.ledger import check_ledger, next_sequence
from edgetl.deploy.memory import memory_images, memory_mb
from edgetl.deploy.plan import narrowed, plan
from edgetl.deploy.request import DeployConfig, Deployment
from edgetl.deploy.retraining import retrained
from edgetl.deploy.terms import Term, measured_terms, require_proof, untested_terms
from edgetl.versions import versions
from edgetl_runtime import __version__ as runtime_version
from edgetl_runtime.errors import ContractError
from edgetl_runtime.manifest import Cost, Manifest, VariantManifest
from edgetl_runtime.probe import facts
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from edgetl.deploy.judging import Reference
    from edgetl.deploy.plan import PlannedCandidate
    from edgetl.profiles import DeviceProfile
    from edgetl.progress import Progress
    from edgetl.run import Run, RunFolder

TIMING_IMAGES = 32
BUSY_SHARE = 0.05  # of the cores; more than this by others disturbs a p99


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
        contract.check_classes(run.classes, run.defect_classes)
        planned = plan(profile, cores=facts().cores, precision=config.precision)
        self.planned = narrowed(planned, backend=config.backend, threads=config.threads, rungs=config.rungs)
        self.untested = untested_terms(contract, run.data["counts"], run.defect_classes)
        self.refused = ""

    def deploy(self, out: Path, *, replace: bool) -> Deployment:
        """Write the bundle.

        Raises:
            ContractError: Nothing keeps the contract, or the chosen candidate misses it on test. Nothing is written.
            EdgetlError: The run, its images or the options cannot be used.
        """
        check_ledger(self._line)  # a wrong option is said before minutes of work
        if self.config.embed_engine:
            check_embedding(self.profile)
        known = () if self.profile.measured_here else self._terms(None)
        require_proof((*self.untested, *known), allowed=self.config.allow_unproven)  # before minutes of work
        golden = folder_images(Path(self.config.golden)) if self.config.golden else None
        tried = self._measure(self.judge_all())
        few = len(self.samples["val"]) < COUNT
        pool = [s for name in ("val", "train", "test") for s in self.samples[name]] if few else self.samples["val"]
        self.golden_paths = golden or [s.path for s in spread(pool, COUNT)]
        chosen, confirmed, tried = self._confirmed(tried)
        note = self._note(chosen, tried)
        memory_mb = self._write(out, chosen, self._float_variant(tried, chosen), tried, confirmed, replace=replace)
        return Deployment(
            chosen=chosen.id,
            confirmed=confirmed,
            candidates=(*room.rank(tried), *(c for c in tried if not c.accepted)),
            reference=self.reference.val,
            note=note,
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
            images = load_images(self.samples[name], self.run.preprocess, cache_dir=None, progress=advance)
        labels = np.array([s.label for s in self.samples[name]], np.int64)
        return Split(images=images, labels=labels, groups=tuple(s.unit for s in self.samples[name]))

    def _reference(self) -> Reference:
        with self.progress.stage("float reference"):
            logits = room.logits_of("onnxruntime", self.exported.model, room.FLOAT, self.val.images)
        return judging.reference_of(self.run, logits, self.val.labels)

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
                contract=self.contract,
                reference=self.reference,
                val=self.val,
                model=self.exported.model,
                calibration=self.calibration,
                folder=self.folder.path / "quantized",
                retrain=retrain if self.config.retrain else None,
            )
            return compiled(climber.climb(planned), self.profile, self.progress.note)

    def _measure(self, tried: list[Candidate]) -> list[Candidate]:
        """Time what is accurate and small enough, if the target is this machine; then hold it against the contract."""
        accurate = [c for c in tried if c.accepted]
        if not self.profile.measured_here or not accurate:
            return [c.held_to(self._terms(None)) for c in room.one_per_model(tried)]
        encoded = [s.path.read_bytes() for s in spread(self.samples["val"], TIMING_IMAGES)]
        with self.progress.stage(f"time {len(accurate)} candidates", unit="rounds") as advance:
            measured = measure_candidates(self.run, accurate, encoded, advance)
        judged = [c.held_to(self._terms(c)) for c in measured]
        return judged + room.one_per_model([c for c in tried if not c.accepted])

    def _terms(self, timed: Candidate | None) -> tuple[Term, ...]:
        """Hold a candidate that was timed on the target against latency and memory; None where nothing was."""
        needed_mb = None
        if timed is not None and self.contract.max_memory_mb is not None:
            needed_mb = memory_mb(timed, self.run.preprocess, memory_images(self.samples["val"]))
        return measured_terms(
            self.contract,
            latency=timed.latency if timed else None,
            memory_mb=needed_mb,
            target=self.profile.name,
        )

    def _choose(self, ranked: list[Candidate], tried: list[Candidate]) -> Candidate:
        wanted = [c for c in ranked if self.config.precision in (None, c.precision)]
        if wanted:  # what is proven goes before what is faster
            best = min(wanted, key=lambda c: len(c.unproven))
            require_proof(best.terms, allowed=self.config.allow_unproven)
            return best
        misses = (
            "; ".join(f"{c.id}: {', '.join(c.why) or 'not the precision asked for'}" for c in tried)
            or "no candidate runs here"
        )
        what = f"a candidate for {self.profile.name}"
        must = "inside the contract on validation" + (f" at {self.config.precision}" if self.config.precision else "")
        fix = "relax what is named, or train longer"
        raise UnmetContractError(what, must, misses, fix=fix, candidates=[c.to_mapping() for c in tried])

    def _confirmed(self, tried: list[Candidate]) -> tuple[Candidate, dict[str, Any], list[Candidate]]:
        """Choose, look at test once, and fall back on the float model where test refuses what was chosen.

        The float model is what was compared with all along, so that test chooses nothing by it.

        Returns:
            What ships, its figures on test, and the candidates with what test said of them.
        """
        chosen = self._choose(room.rank(tried), tried)
        test = self._split("test")
        with self.progress.stage("confirm on test"):
            look = Look(self.run, self.contract, self.exported.model, test)
            confirmed, broken = look.confirm(chosen)
            self.folder.count_look()
            proven = [c for c in room.rank(tried) if self.config.allow_unproven or not c.unproven]
            floats = [c for c in proven if c.precision == "f32"]
            if broken and floats and chosen.precision != "f32" and self.config.precision is None:
                instead, missed = look.confirm(floats[0])
                if not missed:
                    self.refused = f"{chosen.id} misses the contract on test ({', '.join(broken)})"
                    return floats[0], instead, room.refused_on_test(tried, chosen, broken)
        if broken:
            raise UnmetContractError(
                f"the chosen candidate {chosen.id}",
                "inside the contract on test",
                ", ".join(broken),
                fix="more validation images, or a looser contract; test is not tried twice",
                candidates=[c.to_mapping() for c in tried],
                confirmed=confirmed,
            )
        return chosen, confirmed, tried

    def _note(self, chosen: Candidate, tried: list[Candidate]) -> str:
        if self.refused:
            return f"{self.refused}: the float model ships; test is not tried twice"
        int8 = [c for c in tried if c.precision == "int8"]
        if chosen.precision != "int8" and int8 and not any(c.accepted for c in int8):
            effort = f" within --rungs {self.config.rungs}" if self.config.rungs else ""
            return f"no INT8 candidate keeps the contract{effort} ({'; '.join(int8[0].why)}): a float variant ships"
        if not self.profile.measured_here:
            said = f"; {chosen.id} {words}" if (words := compiler_note(chosen)) else ""
            ranked = "not measured on hardware; ranked by the profile's order"
            return f"latency on {self.profile.name}: {ranked}{said}"
        others = (chosen.latency or {}).get("other_work_cores", 0.0)
        if others > BUSY_SHARE * facts().cores:
            return (
                f"chosen by measured p99, but other work kept {others:.1f} cores busy meanwhile: "
                "latencies and choice are disturbed; deploy again on a quiet machine"
            )
        return "chosen by measured p99 on this machine"

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
                partial.replace(out)
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
            thresholds=candidate.thresholds,
            temperature=candidate.temperature,
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
            classes=run.classes,
            defect_classes=run.defect_classes,
            preprocess=run.preprocess,
            variants=tuple(variants),
            chosen=chosen.id,
            golden=golden.manifest(),
            cost=Cost(**run.cost),
            target=to_mapping(self.profile),
            contract=to_mapping(self.contract),
            metrics={
                "val": chosen.val,
                "test": confirmed,
                "float_val": self.reference.val,
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
