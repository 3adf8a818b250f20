"""Memory of a candidate is that of a fresh process with the runtime alone."""

from __future__ import annotations

import pytest

from edgetl.data.samples import Sample
from edgetl.deploy.candidates import Candidate
from edgetl.deploy.memory import MEMORY_IMAGES, memory_images, memory_mb
from edgetl_runtime.errors import BackendError
from edgetl_runtime.manifest import Requires, VariantOptions
from edgetl_runtime.preprocess import PreprocessSpec
from edgetl_runtime.tasks.inspection import Params, Thresholds

SPEC = PreprocessSpec(width_px=16, height_px=16)


def candidate(model):
    return Candidate(
        id="onnxruntime-f32-t1", backend="onnxruntime", precision="f32", model=model,
        options=VariantOptions(threads=1), requires=Requires(), evidence={}, val={}, drop_pp=0.0, flips=0,
        params=Params(thresholds=Thresholds(nok_at=0.5, ok_below=0.5), temperature=1.0), task="inspection",
    )  # fmt: skip


def test_memory_is_that_of_the_runtime_alone(tiny_onnx, blob_parts):
    images = sorted((blob_parts / "good").iterdir())[:2]
    needed = memory_mb(candidate(tiny_onnx()), SPEC, images)
    assert 20 < needed < 200  # a process with torch needs several hundred


def test_memory_is_measured_with_every_class_and_the_largest_file(tmp_path):
    samples = []
    for index, size in enumerate((10, 20, 30, 40, 50, 999, 60, 70, 80)):
        path = tmp_path / f"{index}.png"
        path.write_bytes(b"x" * size)
        samples.append(Sample(path=path, label=int(index > 5), split="val", sha256=""))
    chosen = memory_images(samples)
    assert len(chosen) == MEMORY_IMAGES + 1
    assert chosen[-1].stat().st_size == 999
    assert {s.label for s in samples if s.path in chosen} == {0, 1}


def test_nothing_is_imported_from_the_folder_that_deploy_is_called_in(tiny_onnx, blob_parts, planted_modules):
    images = sorted((blob_parts / "good").iterdir())[:1]
    assert memory_mb(candidate(tiny_onnx()), SPEC, images) > 0
    assert not planted_modules.exists()


def test_a_model_that_does_not_load_is_one_sentence(blob_parts):
    images = sorted((blob_parts / "good").iterdir())[:1]
    with pytest.raises(BackendError, match="onnxruntime-f32-t1 in a fresh process must be able to decide; got "):
        memory_mb(candidate(b"no model"), SPEC, images)
