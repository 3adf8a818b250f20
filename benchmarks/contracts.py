"""Random contracts: what ships keeps its contract, judged by somebody else: `python benchmarks/contracts.py RUN…`.

Every contract is a real `deploy` for this machine. The bundle it writes is then opened with the runtime and
decides on the raw files of validation and test; this module counts by itself and holds the counts against the contract.

Models are made and run once for all contracts: logits, decoded images and timings are remembered by content. So are
proofs in a fresh process and decisions of the runtime, for bundles whose variants are equal in model, thresholds and
temperature. A killed benchmark goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import hashlib
import json
import os
import random
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from conditions import conditions, write_record

import edgetl_runtime
from edgetl import profiles
from edgetl.data import images as image_room
from edgetl.deploy import candidates as room
from edgetl.deploy import judged, measuring, pipeline, written
from edgetl.deploy.contract import UnmetContractError
from edgetl.deploy.request import DeployConfig
from edgetl.metrics import binomial_upper
from edgetl.progress import Progress
from edgetl.run import RunFolder
from edgetl_runtime.backends.base import LoadOptions
from edgetl_runtime.contract import Contract
from edgetl_runtime.decode import decode
from edgetl_runtime.preprocess import preprocess
from edgetl_runtime.schema import to_mapping
from edgetl_runtime.tasks.inspection import TASK

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from edgetl.data.samples import Sample
    from edgetl.deploy.candidates import Candidate
    from edgetl.run import Run
    from edgetl_runtime.manifest import Manifest, VariantManifest
    from edgetl_runtime.preprocess import PreprocessSpec

Decided = list[tuple[str, str]]  # (label, verdict) of every image


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="finished runs; they are copied")
    parser.add_argument("--contracts", type=int, default=50, help="in all, over the runs in turn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, required=True, metavar="DIR", help="kept between calls")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after this; the next call goes on")
    parser.add_argument("--target", default="local", help="device profile")
    parser.add_argument("--name", default="contracts", help="of the record")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    os.environ["EDGETL_STATE"] = str(args.work / "state")
    before, deadline = conditions(), time.monotonic() + 60 * args.minutes
    memory = Memory(args.work)
    memory.install()
    benches = [Bench(args.work, run, args.target) for run in args.runs]
    rng = random.Random(args.seed)  # noqa: S311  (a benchmark's draws)
    outcomes = []
    for number in range(args.contracts):
        bench = benches[number % len(benches)]
        contract = draw(rng, bench)
        kept = args.work / f"{number:03}.json"
        if not kept.is_file():
            if time.monotonic() > deadline:
                sys.stdout.write(f"{number} of {args.contracts} done; call again to go on\n")
                return 0
            kept.write_text(json.dumps(bench.try_one(number, contract)), encoding="utf-8")
        outcomes.append(json.loads(kept.read_text(encoding="utf-8")))
        sys.stdout.write(f"{number} {outcomes[-1]['run']}: {outcomes[-1]['outcome']}\n")
        sys.stdout.flush()
    record = {
        "schema": "edgetl.bench.contracts/1",
        "target": args.target,
        "command": sys.argv[1:],
        "seed": args.seed,
        "method": __doc__,
    }
    record |= {"summary": summary(outcomes), "contracts": outcomes, "conditions": before}
    sys.stdout.write(json.dumps(record["summary"], indent=1) + "\n")
    write_record(args.name, record | {"command": ["benchmarks/contracts.py", *(r.parent.name for r in args.runs)]})
    return 0


class Memory:
    """Remembers by content what does not depend on the contract."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.images: dict[str, np.ndarray] = {}
        self.proved: dict[str, dict[str, Any]] = {}

    def install(self) -> None:
        """Put the remembering functions in the place of those of the deployment."""
        self._outputs_of, self._load, self._verify = room.outputs_of, image_room.load_images, written.verify
        self._measure = measuring.measure_candidates
        room.outputs_of = self.outputs_of
        image_room.load_images = self.load_images
        measuring.measure_candidates = self.measure_candidates
        written.verify = self.verify

    def outputs_of(self, backend: str, model: bytes, options: LoadOptions, images: np.ndarray) -> dict[str, np.ndarray]:
        """Run a model over images, once."""
        key = digest(backend, options.precision, model, images.tobytes())
        path = self.folder / f"logits-{key}.npy"
        if not path.is_file():
            np.save(path, self._outputs_of(backend, model, options, images)["logits"])
        return {"logits": np.load(path)}

    def load_images(self, samples: Sequence[Sample], spec: PreprocessSpec, **options: object) -> np.ndarray:
        """Decode a split, once."""
        key = digest(spec, [s.sha256 for s in samples])
        if key not in self.images:
            self.images[key] = self._load(samples, spec, **options)
        return self.images[key]

    def measure_candidates(
        self,
        run: Run,
        candidates: Sequence[Candidate],
        encoded: Sequence[bytes],
        progress: Callable[[int, int], None],
        _standing: object = None,
    ) -> list[Candidate]:
        """Time the models that were not timed before, all thread counts of each together, whatever the contract."""
        found = []
        for model in sorted({(c.backend, c.precision, c.model) for c in candidates}, key=lambda m: digest(*m)):
            same = [c for c in candidates if (c.backend, c.precision, c.model) == model]
            path = self.folder / f"latency-{digest(*model)}.json"
            if not path.is_file():
                timed, *_ = self._measure(run, same, encoded, progress)
                path.write_text(json.dumps({"id": timed.id, "latency": timed.latency}), encoding="utf-8")
            known = json.loads(path.read_text(encoding="utf-8"))
            best = next(c for c in same if c.id == known["id"])
            found.append(dataclasses.replace(best, latency=known["latency"]))
        return found

    def verify(self, bundle: Path, *options: str) -> dict[str, Any]:
        """Prove a bundle in a fresh process, once for all that are equal."""
        with edgetl_runtime.open(bundle) as session:
            key = digest(essence(session.manifest.variants, session.manifest), options)
        if key not in self.proved:
            self.proved[key] = self._verify(bundle, *options)
        return self.proved[key]


def digest(*parts: object) -> str:
    """Return a key of contents."""
    hashed = hashlib.sha256()
    for part in parts:
        hashed.update(part if isinstance(part, bytes) else repr(part).encode())
    return hashed.hexdigest()[:24]


def essence(variants: Sequence[VariantManifest], manifest: Manifest) -> list[tuple[object, ...]]:
    """Return all of variants that decides what they answer."""
    contents = {f.name: f.sha256 for f in manifest.files}
    return [(v.backend, v.precision, v.options, v.params, contents[v.files["model"]]) for v in variants]


class Bench:
    """One run: deploys by any contract and judges the bundle from outside."""

    def __init__(self, work: Path, source: Path, target: str) -> None:
        self.name = source.resolve().parent.name if source.name == "run" else source.name
        folder = work / self.name
        if not folder.is_dir():
            shutil.copytree(source, folder)
        self.folder, self.work, self.target = RunFolder(folder), work, target
        self.run = self.folder.read()
        with self.folder.split_csv.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self.files = {s: [(Path(r["path"]), r["label"]) for r in rows if r["split"] == s] for s in ("val", "test")}

    def try_one(self, number: int, contract: Contract) -> dict[str, Any]:
        """Deploy by one contract; say what came of it, judged from outside."""
        said = {"number": number, "run": self.name, "contract": to_mapping(contract)}
        out = self.work / f"{number:03}.edgetl"
        config = DeployConfig(line=self.name, allow_disturbed=True)  # the models were timed one after the other
        run = self.folder.read()
        asked = judged.ask(self.folder, run, profiles.get(self.target), config, contract)
        started = time.monotonic()
        try:
            done = pipeline.deploy(asked, out, Progress(quiet=True), replace=True)
        except UnmetContractError as error:
            where = "refused on test" if error.confirmed else "refused"
            return said | {"outcome": where, "why": error.got[:600], "wrote": out.exists()}
        said |= {"outcome": "shipped", "chosen": done.chosen, "seconds": round(time.monotonic() - started, 1)}
        said |= {split: self.judged(out, contract, split) for split in ("val", "test")}
        out.unlink()
        return said

    def judged(self, bundle: Path, contract: Contract, split: str) -> dict[str, Any]:
        """Let the runtime decide on raw files, count, and hold the counts against the contract."""
        shipped, reference = self.decided(bundle, split), self.reference(split)
        mine, of_float = self.counts(shipped, split), self.counts(reference, split)
        n = mine["n"]
        mine["drop_pp"] = 100 * (of_float["right"] - mine["right"]) / n
        mine["flips"] = sum(a != b for a, b in zip(shipped, reference, strict=True))
        mine["escape_rate_upper95"] = binomial_upper(sum(mine["escapes"].values()), mine["n_defect"])
        return mine | {"broken": broken(contract, mine, sum(of_float["escapes"].values()))}

    def decided(self, bundle: Path, split: str) -> Decided:
        """Let the runtime decide on the raw files of a split."""
        with edgetl_runtime.open(bundle) as session:
            key = digest(self.name, split, essence([session.variant], session.manifest))
            path = self.work / f"decided-{key}.json"
            if not path.is_file():
                found = [session.predict(file) for file, _ in self.files[split]]
                path.write_text(json.dumps([(d.label, d.verdict) for d in found]), encoding="utf-8")
        return [(label, verdict) for label, verdict in json.loads(path.read_text(encoding="utf-8"))]

    def reference(self, split: str) -> Decided:
        """Decisions of the float model at the run's own thresholds, from raw files by the runtime's functions."""
        path = self.work / f"float-{self.name}-{split}.json"
        if not path.is_file():
            run, model = self.run, (self.folder.path / "export" / "model.onnx").read_bytes()
            engine, options = edgetl_runtime.backends.get("onnxruntime"), LoadOptions(precision="f32")
            found = []
            with engine.load(engine.compile(model, options), options) as session:
                for file, _ in self.files[split]:
                    tensor = preprocess(decode(file, run.preprocess), run.preprocess, colour="rgb")
                    found += TASK.decide(session.infer(tensor[np.newaxis]), run.labels, run.params)
            path.write_text(json.dumps([(d.label, d.verdict) for d in found]), encoding="utf-8")
        return [(label, verdict) for label, verdict in json.loads(path.read_text(encoding="utf-8"))]

    def counts(self, decided: Decided, split: str) -> dict[str, Any]:
        """Count what the decisions mean for the labels of the listing."""
        truth = [label for _, label in self.files[split]]
        pairs = list(zip(truth, decided, strict=True))
        defects = set(self.run.labels.defect_classes)
        passed = [t for t, (_, verdict) in pairs if t in defects and verdict == "OK"]
        rejected = [t for t, (_, verdict) in pairs if t not in defects and verdict == "NOK"]
        return {
            "n": len(truth),
            "n_defect": sum(t in defects for t in truth),
            "right": sum(t == label for t, (label, _) in pairs),
            "escapes": {name: passed.count(name) for name in sorted(defects)},
            "overkill": {name: rejected.count(name) for name in sorted(set(self.run.classes) - defects)},
        }


def broken(contract: Contract, mine: dict[str, Any], float_escapes: int) -> list[str]:
    """Hold counts against a contract: the same words as the product's, written a second time."""
    n, escapes, overkill = mine["n"], sum(mine["escapes"].values()), sum(mine["overkill"].values())
    one_image_pp = 100 / n
    most_flips_pct = max(contract.max_flips_pct, one_image_pp) if contract.max_flips_pct > 0 else 0.0
    terms = contract.of_task
    most_escapes = terms.get("max_escapes", float_escapes + 1)
    found = []
    if mine["drop_pp"] > max(contract.max_drop_pp, one_image_pp) + 1e-6:
        found.append("drop")
    if 100 * mine["flips"] / n > most_flips_pct + 1e-6:
        found.append("flips")
    if escapes > most_escapes:
        found.append("escapes")
    if "max_overkill" in terms and overkill > terms["max_overkill"]:
        found.append("overkill")
    for kind in ("escapes", "overkill"):
        for name, most in terms.get(f"max_{kind}_of", {}).items():
            if mine[kind][name] > most:
                found.append(f"{kind} of {name}")
    return found


def draw(rng: random.Random, bench: Bench) -> Contract:
    """Draw a contract around what the run's float model does on validation: some strict, some loose, some hopeless."""
    val, test = bench.run.val, bench.run.test
    escapes, overkill = (max(val[k], test[k]) for k in ("escapes", "overkill"))
    some = rng.choice(bench.run.labels.defect_classes)
    of_some = {some: max(0, escapes + rng.randint(-1, 4))} if rng.random() < 0.3 else {}
    return Contract(
        max_drop_pp=rng.choice([0.0, 0.3, 0.5, 1.0, 2.0]),
        max_flips_pct=rng.choice([0.5, 1.0, 1.4, 2.0, 3.0, 4.0]),
        max_escapes=rng.choice([None, max(0, escapes + rng.randint(-2, 6))]),
        max_overkill=rng.choice([None, None, max(0, overkill + rng.randint(-3, 12))]),
        p99_ms=rng.choice([None, None, round(10 ** rng.uniform(0.3, 1.9), 1)]),
        max_size_mb=rng.choice([None, None, None, 5.0]),
        max_escapes_of=of_some,
    )


def summary(outcomes: list[dict[str, Any]]) -> dict[str, Any]:
    shipped = [o for o in outcomes if o["outcome"] == "shipped"]
    chosen = [f"{o['run']}: {o['chosen']}" for o in shipped]
    return {
        "contracts": len(outcomes),
        "shipped": len(shipped),
        "refused_on_validation": sum(o["outcome"] == "refused" for o in outcomes),
        "refused_on_test": sum(o["outcome"] == "refused on test" for o in outcomes),
        "refused_but_written": sum(bool(o.get("wrote")) for o in outcomes),
        "shipped_and_broken_on_validation": sum(bool(o["val"]["broken"]) for o in shipped),
        "shipped_and_broken_on_test": sum(bool(o["test"]["broken"]) for o in shipped),
        "chosen": {name: chosen.count(name) for name in sorted(set(chosen))},
    }


if __name__ == "__main__":
    sys.exit(main())
