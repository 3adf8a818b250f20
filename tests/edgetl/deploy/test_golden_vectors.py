"""Which images prove a bundle, and how far a device may be off."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest

from edgetl.deploy import golden_vectors
from edgetl.deploy.golden_vectors import COUNT, GoldenSet, folder_images, tolerance
from edgetl.errors import DataError
from edgetl_runtime.golden import tensor_digest
from edgetl_runtime.preprocess import PreprocessSpec


def test_folder_images_needs_enough_of_them(tmp_path):
    for index in range(COUNT - 1):
        (tmp_path / f"{index:02}.PNG").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError, match=f"at least {COUNT} images; got {COUNT - 1}"):
        folder_images(tmp_path)
    (tmp_path / "more.jpg").touch()
    assert len(folder_images(tmp_path)) == COUNT
    with pytest.raises(DataError, match="got 0"):
        folder_images(tmp_path / "absent")


def test_folder_images_takes_some_from_all_over_a_large_folder(tmp_path):
    for index in range(200):
        (tmp_path / f"{index:03}.png").touch()
    found = [int(path.stem) for path in folder_images(tmp_path)]
    assert len(found) == COUNT
    assert (found[0], found[-1]) == (6, 193)
    assert found == sorted(set(found))


def test_golden_set_holds_raw_images_and_what_the_model_sees_of_them(tiny_bundle, tmp_path):
    from edgetl_runtime.bundle import open_bundle

    with open_bundle(tiny_bundle()) as bundle:
        raw = [bundle.read(f"golden/{index:03}.png") for index in range(COUNT)]
        expected = bundle.manifest.golden.tensor_sha256
    paths = [tmp_path / f"{index}.PNG" for index in range(COUNT)]
    for path, data in zip(paths, raw, strict=True):
        path.write_bytes(data)
    run = types.SimpleNamespace(preprocess=PreprocessSpec(width_px=16, height_px=16))
    golden = GoldenSet(run, paths, "CC0-1.0")
    manifest = golden.manifest()
    assert manifest.tensor_sha256 == expected == tensor_digest(golden.tensors)
    assert manifest.images[:2] == ("golden/000.png", "golden/001.png")
    members = golden.members()
    assert [members[name] for name in manifest.images] == raw
    assert members[manifest.tensors] == golden_vectors.npy(golden.tensors)


@dataclasses.dataclass
class Shipped:
    backend: str
    precision: str
    runs_as: str


def test_tolerance_is_widest_where_another_engine_stands_in():
    own = [tolerance(Shipped("openvino", p, "openvino")).max_abs for p in ("f32", "bf16", "int8")]
    standing_in = tolerance(Shipped("tensorrt", "f32", "onnxruntime")).max_abs
    assert own == sorted(own)
    assert own[0] <= 1e-3
    assert standing_in > max(own)
    assert np.isfinite(standing_in)
