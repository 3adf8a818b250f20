"""The quantization ladder of a run against what a user would take instead, on the same images and machine.

`python benchmarks/quantization.py RUN --name NAME [--only PART ...]`: parts are kept one by one, so that a run that was
broken off goes on. `--hostile` first scales channels by 2 ** -4 to 2 ** 4, which changes no answer of the float model.
Everything is chosen on validation; test is looked at once, at the end of each part.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from conditions import conditions, record_path, write_record

from edgetl import tasks
from edgetl.deploy import candidates as room
from edgetl.deploy import judging
from edgetl.deploy.climbing import Climber
from edgetl.deploy.contract import Judge
from edgetl.deploy.plan import PlannedCandidate
from edgetl.deploy.retraining import retrained
from edgetl.quantize import equalise, graph, observe
from edgetl.quantize import recipe as recipes
from edgetl.run import RunFolder
from edgetl_runtime.backends.base import LoadOptions
from edgetl_runtime.contract import Contract
from edgetl_runtime.measure import measure_latency, percentile

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from edgetl.tasks.base import Decided

    Part = Callable[["Bench"], dict[str, Any]]

CONTRACT = Contract(max_drop_pp=0.32, max_flips_pct=1.4)
F32 = LoadOptions(precision="f32", threads=1)
CALIBRATION = 100
QEMU_IMAGES = 64
ROUNDS = 5
EVALUATE = (
    "import sys, numpy as np; from edgetl_runtime import backends;"
    "from edgetl_runtime.backends.base import LoadOptions;"
    "name, model, images, out, count = sys.argv[1:6]; options = LoadOptions(threads=1); engine = backends.get(name);"
    "session = engine.load(engine.compile(open(model, 'rb').read(), options), options);"
    "data = np.load(images, mmap_mode='r')[: int(count)];"
    "np.save(out, np.concatenate([session.infer(np.array(image)[None])['logits'] for image in data]))"
)


class Bench:
    """A run's images, its exported float model and the reference decisions."""

    def __init__(self, path: Path, *, hostile: bool, retrain: bool) -> None:
        from edgetl.data.images import load_images
        from edgetl.data.split_file import read_split
        from edgetl.export.run_export import export_run
        from edgetl.quantize.calibration import select

        self.folder = RunFolder(path)
        self.run = self.folder.read()
        samples = read_split(self.folder.split_csv, self.run.classes)
        self.splits: dict[str, room.Split] = {}
        for name in ("train", "val", "test"):
            chosen = [s for s in samples if s.split == name]
            images = load_images(chosen, self.run.preprocess)
            self.splits[name] = room.Split(images=images, labels=np.array([s.label for s in chosen], np.int64))
        self.train = [s for s in samples if s.split == "train"]
        train = self.splits["train"]
        self.calibration = select(train.images, train.labels, seed=self.run.config["seed"])
        model = export_run(self.folder, self.run).model
        self.retrain = retrain
        self.model = made_hostile(model) if hostile else model
        self.floats = {n: observe.logits(graph.load(self.model), self.splits[n].images) for n in ("val", "test")}
        self.reference = self._reference("val")

    def _reference(self, split: str) -> Decided:
        return self.decided(self.floats[split], self.splits[split].labels, self.run.params)

    def decided(self, logits: NDArray[np.float32], truth: NDArray[np.int64], params: Any) -> Decided:  # noqa: ANN401  (the task's)
        """Decide on the logits of labelled images."""
        return tasks.get(self.run.task).decided({"logits": logits}, truth, self.run.labels, params)

    def climber(self) -> Climber:
        """Return the climber that `deploy` would use."""
        return Climber(
            self.run,
            against=Judge.of(CONTRACT, task=self.run.task, labels=self.run.labels),
            reference=self.reference,
            val=self.splits["val"],
            model=self.model,
            calibration=self.calibration,
            folder=self.folder.path / "quantized",
            retrain=None if not self.retrain else lambda way: retrained(self.folder, self.run, self.train, way),
        )

    def judged(self, backend: str, model: bytes) -> dict[str, Any]:
        """Judge a model on validation, then look at test at the thresholds found there."""
        judged = self.climber().judged(backend, model, F32)
        logits = room.evaluated(backend, model, F32, self.splits["test"].images)["logits"]
        return {
            "val": {key: judged[key] for key in ("drop_pp", "flips", "why")} | {"n": judged["val"]["n"]},
            "test": self.on_test(judged["params"], logits),
        }

    def on_test(self, params: Any, logits: NDArray[np.float32]) -> dict[str, Any]:  # noqa: ANN401  (the task's)
        """Return drop and flips of logits of the first test images at a candidate's thresholds."""
        n = len(logits)
        labels = self.splits["test"].labels[:n]
        reference = self.decided(self.floats["test"][:n], labels, self.run.params)
        candidate = self.decided(logits, labels, params)
        count = int(reference.flips(candidate).sum())
        return {
            "n": n,
            "drop_pp": 100 * (reference.figures["accuracy"] - candidate.figures["accuracy"]),
            "flips": count,
            "flips_pct": 100 * count / n,
            "flips_of_the_class_alone": int((reference.answers != candidate.answers).sum()),
            "escapes": candidate.figures["escapes"],
        }

    def infer_ms(self, backend: str, *models: bytes) -> list[dict[str, float | None]]:
        """Time the networks alone, one thread, batch 1, in turn: a slow minute of the machine slows all of them."""
        from edgetl_runtime import backends

        engine = backends.get(backend)
        images = [np.array(image)[np.newaxis] for image in self.splits["val"].images[:16]]
        samples: list[list[float]] = [[] for _ in models]
        with contextlib.ExitStack() as stack:
            sessions = [stack.enter_context(engine.load(engine.compile(model, F32), F32)) for model in models]
            for _ in range(ROUNDS):
                for session, times in zip(sessions, samples, strict=True):
                    measured = measure_latency(session.infer, images, min_iterations=100, max_warmup_seconds=0.5)
                    times.extend(measured.samples_ms)
        return [{"p50": percentile(times, 50), "p99": percentile(times, 99)} for times in samples]


def made_hostile(model: bytes) -> bytes:
    """Scale the channels of every tensor that allows it by powers of two, at random; the answers stay the same."""
    rng = np.random.default_rng(0)
    proto = graph.own_biases(graph.load(model))
    weights = graph.initializers(proto)
    for group in equalise.groups(proto):
        if not group.fixed and group.writers and group.readers:
            channels = len(weights[group.writers[0].input[2]])
            equalise.scale(proto, group, np.exp2(rng.integers(-4, 5, channels)).astype(np.float32))
    return graph.to_bytes(proto)


def ladder(backend: str, *, vnni: bool = True) -> Part:
    """Climb as `deploy` does."""

    def part(bench: Bench) -> dict[str, Any]:
        rungs = recipes.for_backend(backend, precision="int8")
        rungs = rungs if vnni else tuple(recipe.without_vnni() for recipe in rungs)
        planned = PlannedCandidate(backend=backend, precision="int8", rungs=rungs, threads=(1,))
        started = time.monotonic()
        found = bench.climber().climb(planned)[0]
        seconds = time.monotonic() - started
        logits = room.evaluated(backend, found.model, F32, bench.splits["test"].images)["logits"]
        record = {
            "val": {"drop_pp": found.drop_pp, "flips": found.flips, "why": found.why, "n": found.val["n"]},
            "test": bench.on_test(found.params, logits),
            "seconds": seconds,
            **{key: found.evidence[key] for key in ("rung", "evaluations", "steps")},
            "requires": list(found.requires.cpu_flags),
        }
        if backend == "openvino" and not vnni:
            record["avx2"] = _elsewhere(bench, found, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, [], len(logits))
        if backend == "onnxruntime":
            emulator = ["qemu-x86_64-static", "-cpu", "Haswell"]
            record["haswell"] = _elsewhere(bench, found, {}, emulator, QEMU_IMAGES)
        if found.runs_as == backend:
            full = room.make_model(rungs[0], bench.model, bench.calibration, bench.folder.path / "quantized")[0]
            timed = bench.infer_ms(backend, found.model, full, bench.model)
            record |= dict(zip(("infer_ms", "infer_ms_every_layer_int8", "infer_ms_float"), timed, strict=True))
        return record

    return part


def _elsewhere(
    bench: Bench, found: room.Candidate, environment: dict[str, str], emulator: list[str], count: int
) -> dict[str, Any]:
    """Run the shipped bytes in a process that has fewer instructions; compare its decisions with the float model's."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "model.onnx").write_bytes(found.model)
        np.save(folder / "images.npy", bench.splits["test"].images[:count])
        files = [str(folder / name) for name in ("model.onnx", "images.npy", "logits.npy")]
        command = [*emulator, sys.executable, "-c", EVALUATE, found.backend, *files, str(count)]
        subprocess.run(command, env={**os.environ, **environment}, check=True, stderr=subprocess.DEVNULL)
        logits = np.load(folder / "logits.npy")
    here = room.evaluated(found.backend, found.model, F32, bench.splits["test"].images[:count])["logits"]
    return bench.on_test(found.params, logits) | {"largest_difference_of_logits": float(np.abs(here - logits).max())}


def ort_default(bench: Bench) -> dict[str, Any]:
    """ONNX Runtime's static quantization with its own choices."""
    from onnxruntime.quantization import quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from edgetl.quantize.static import Images

    started = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "float.onnx").write_bytes(bench.model)
        quant_pre_process(folder / "float.onnx", folder / "pre.onnx")
        quantize_static(
            folder / "pre.onnx", folder / "int8.onnx", Images("image", bench.calibration.images[:CALIBRATION])
        )
        model = (folder / "int8.onnx").read_bytes()
    seconds = time.monotonic() - started
    (timing,) = bench.infer_ms("onnxruntime", model)
    return bench.judged("onnxruntime", model) | {"seconds": seconds, "infer_ms": timing}


def per_channel(bench: Bench) -> dict[str, Any]:
    """Rung 0 for ONNX Runtime without its bias correction: what weights per channel alone do."""
    from edgetl.quantize.algorithms import ort_qdq

    started = time.monotonic()
    exclude = graph.normalisation_nodes(graph.load(bench.model))
    parameters = ort_qdq.Parameters(bias_correction="none")
    model = ort_qdq.quantize(bench.model, bench.calibration.images, parameters=parameters, exclude=exclude)
    return bench.judged("onnxruntime", model) | {"seconds": time.monotonic() - started}


def nncf_default(bench: Bench) -> dict[str, Any]:
    """NNCF's quantization of the ONNX model with its own choices, but for the number of images."""
    import nncf
    import onnx

    started = time.monotonic()
    images = nncf.Dataset(bench.calibration.images[:CALIBRATION], lambda image: {"image": image[None]})
    model = nncf.quantize(onnx.load_from_string(bench.model), images, subset_size=CALIBRATION).SerializeToString()
    seconds = time.monotonic() - started
    (timing,) = bench.infer_ms("openvino", model)
    return bench.judged("openvino", model) | {"seconds": seconds, "infer_ms": timing}


def accuracy_control(bench: Bench) -> dict[str, Any]:
    """NNCF's accuracy control for the same limit of the accuracy drop, on its own form of the model."""
    import nncf
    import openvino

    passes: list[float] = []
    val = bench.splits["val"]

    def validate(compiled: Any, indexed: Any) -> tuple[float, None]:  # noqa: ANN401  (NNCF's)
        hits = [int(compiled(image[None])[0].argmax() == label) for image, label in indexed]
        passes.append(len(hits) / len(val.labels))
        return sum(hits) / len(hits), None

    started = time.monotonic()
    calibration = nncf.Dataset(bench.calibration.images[:CALIBRATION], lambda image: image[None])
    validation = nncf.Dataset(list(zip(val.images, val.labels, strict=True)), lambda pair: pair)
    model = nncf.quantize_with_accuracy_control(
        openvino.Core().read_model(bench.model),
        calibration_dataset=calibration,
        validation_dataset=validation,
        validation_fn=validate,
        max_drop=CONTRACT.max_drop_pp / 100,
        subset_size=CALIBRATION,
    )
    seconds = time.monotonic() - started
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    logits = {
        n: np.concatenate([compiled(image[None])[0] for image in bench.splits[n].images]) for n in ("val", "test")
    }
    against = Judge.of(CONTRACT, task=bench.run.task, labels=bench.run.labels)
    judged = judging.judge(bench.run, against, bench.reference, val.labels, {"logits": logits["val"]})
    return {
        "val": {key: judged[key] for key in ("drop_pp", "flips", "why")} | {"n": len(val.labels)},
        "test": bench.on_test(judged["params"], logits["test"]),
        "seconds": seconds,
        "evaluations": len(passes),
        "evaluations_in_whole_passes": sum(passes),
    }


PARTS: dict[str, Part] = {
    "ladder-onnxruntime": ladder("onnxruntime"),
    "ladder-tensorrt": ladder("tensorrt"),
    "ladder-openvino": ladder("openvino"),
    "ladder-openvino-without-vnni": ladder("openvino", vnni=False),
    "onnxruntime-static-default": ort_default,
    "per-channel": per_channel,
    "nncf-default": nncf_default,
    "nncf-accuracy-control": accuracy_control,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="a finished run")
    parser.add_argument("--name", required=True, help="of the record")
    parser.add_argument("--hostile", action="store_true", help="scale the channels of the residual streams first")
    parser.add_argument(
        "--retrain", action="store_true", help="climb to the rung that trains, as deploy --retrain does"
    )
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=tuple(PARTS))
    args = parser.parse_args()
    bench = Bench(args.run, hostile=args.hostile, retrain=args.retrain and not args.hostile)
    name = f"quantization-{args.name}"
    path = record_path(name)
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    record |= {"schema": "edgetl.bench.quantization/1", "contract": {"max_drop_pp": 0.32, "max_flips_pct": 1.4}}
    record.setdefault("parts", {})
    for part in args.only:
        before = conditions()
        record["parts"][part] = PARTS[part](bench) | {"conditions": before, "load_after": os.getloadavg()[0]}
        write_record(name, record)
        sys.stdout.write(f"{part}: {json.dumps(record['parts'][part]['test'])}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
