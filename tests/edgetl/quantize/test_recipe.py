from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from edgetl.errors import QuantizeError
from edgetl.quantize import graph, observe, recipe
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    import pathlib

GOOD = (recipe.FOLDER / "onnxruntime-int8.toml").read_text(encoding="utf-8")


def read(folder: pathlib.Path, text: str) -> recipe.Recipe:
    path = folder / "x.toml"
    path.write_text(text, encoding="utf-8")
    return recipe.read(path)


def test_for_backend_lists_by_precision_and_rung():
    found = [one.name for one in recipe.for_backend("openvino")]
    assert found[:3] == ["openvino-bf16", "float32", "openvino-int8"]
    rungs = [one.file.rung for one in recipe.for_backend("openvino", precision="int8")]
    assert rungs == sorted(set(rungs))
    assert rungs[0] == 0
    assert [found.name for found in recipe.for_backend("tensorrt", precision="f16")] == ["tensorrt-f16"]
    assert recipe.for_backend("null") == ()


def test_get_names_the_nearest_when_unknown():
    with pytest.raises(UsageError, match=r"got 'openvino-int4'\.\nTry: 'openvino-int8'"):
        recipe.get("openvino-int4")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("schema_version = 1", "schema_version = 9"), "schema_version in recipe x.toml must be 1; got 9"),
        (
            ('algorithm = "ort_qdq"', 'algorithm = "ort_qdk"'),
            "must be a known quantization algorithm; got 'ort_qdk'",
        ),
        (('precision = "int8"', 'precision = "int4"'), "recipe x.toml: precision must be one of"),
        (('backends = ["onnxruntime"]', "backends = []"), "backends in recipe x.toml must be at least one; got none"),
        (("images = 100", "imagse = 100"), "key 'imagse' in recipe x.toml [parameters] must be a known key"),
        (("images = 100", "images = 0"), "images must be at least 1; got 0"),
        (('ranges = "minmax"', 'ranges = "mse"'), "recipe x.toml [parameters]: ranges must be one of"),
        (("rung = 0", "rung ="), "recipe x.toml must be valid TOML"),
        (("rung = 0", "keep_float_share = 2.0"), "keep_float_share in recipe x.toml must be from 0 to 1; got 2.0"),
        (("rung = 0", 'prepare = ["fold"]'), "recipe x.toml: prepare[0] must be one of"),
        (("[parameters]", "[without_vnni]\nrange = 7\n[parameters]"), "key 'range' in recipe x.toml [without_vnni]"),
    ],
    ids=[
        *("schema", "algorithm", "precision", "backends", "parameter", "range", "choice", "toml"),
        *("share", "preparation", "without vnni"),
    ],
)
def test_read_refuses_with_one_sentence(tmp_path, change, sentence):
    with pytest.raises(UsageError) as caught:
        read(tmp_path, GOOD.replace(*change))
    assert sentence in str(caught.value)


def test_read_refuses_a_missing_file(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read recipe absent\.toml: No such file"):
        recipe.read(tmp_path / "absent.toml")


@pytest.mark.parametrize("images", [None, np.zeros((0, 24, 24, 3), np.uint8)], ids=["missing", "empty"])
def test_apply_refuses_a_missing_calibration_set(conv_net, images):
    with pytest.raises(QuantizeError, match="the calibration set must be at least one image"):
        recipe.apply(recipe.get("onnxruntime-int8"), conv_net, images)


@pytest.mark.parametrize("name", [name for name in recipe.names() if recipe.get(name).uses_images])
def test_apply_says_in_one_sentence_that_images_do_not_fit_the_model(name, conv_net):
    images = np.zeros((4, 25, 23, 3), np.uint8)
    with pytest.raises(QuantizeError, match=r"the model for [a-z_]+ must be one it can quantize; got "):
        recipe.apply(recipe.get(name), conv_net, images)


def test_apply_needs_no_images_for_float_recipes(conv_net):
    made = recipe.apply(recipe.get("float32"), conv_net, None)
    assert made.model == conv_net
    assert json.loads(json.dumps(made.evidence()))["layers"] == 4


def test_apply_leaves_no_temporary_files_and_no_output(conv_net, conv_net_images, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in recipe.names():
        recipe.apply(recipe.get(name), conv_net, conv_net_images[:4])
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_apply_gives_the_same_bytes_in_a_process_with_another_hash_seed(conv_net, conv_net_images, tmp_path):
    (tmp_path / "net.onnx").write_bytes(conv_net)
    np.save(tmp_path / "images.npy", conv_net_images[:8])
    code = (
        "import hashlib, sys, numpy as np; from pathlib import Path; from edgetl.quantize import recipe;"
        "net = Path('net.onnx').read_bytes(); images = np.load('images.npy');"
        "print([hashlib.sha256(recipe.apply(recipe.get(n), net, images).model).hexdigest() for n in recipe.names()])"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    here = [recipe.apply(recipe.get(name), conv_net, conv_net_images[:8]).model for name in recipe.names()]
    assert child.strip() == str([hashlib.sha256(model).hexdigest() for model in here])
    lowest = [model for name, model in zip(recipe.names(), here, strict=True) if recipe.get(name).file.rung == 0]
    assert len(set(lowest)) == len(lowest) - 1  # f32 and bf16 share one file; higher rungs may change nothing


def test_without_vnni_replaces_only_what_the_recipe_says():
    full = recipe.get("openvino-int8")
    reduced = full.without_vnni()
    assert (full.needs_vnni, reduced.needs_vnni) == (True, False)
    assert reduced.parameters == dataclasses.replace(full.parameters, overflow_fix="enable")
    assert reduced.without_vnni() == reduced
    plain = recipe.get("onnxruntime-int8")
    assert plain.without_vnni() == plain


def test_prepared_model_computes_the_same_and_is_what_was_quantized(stream_net, stream_images):
    chosen, model = recipe.get("onnxruntime-int8-equalised"), stream_net(spread=3)
    made = recipe.apply(chosen, model, stream_images)
    assert made.source == recipe.prepared(chosen, model, stream_images) != model
    proto, source = graph.load(model), graph.load(made.source)
    np.testing.assert_array_equal(observe.logits(source, stream_images), observe.logits(proto, stream_images))


@pytest.mark.parametrize("name", ["onnxruntime-int8", "openvino-int8", "tensorrt-int8-equalised"])
def test_apply_says_in_one_sentence_that_an_operator_is_not_supported(name, tiny_onnx):
    images = np.zeros((4, 16, 16, 3), np.uint8)
    with pytest.raises(QuantizeError, match=r"the model for [a-z_]+ must be one it can quantize; got .*"):
        recipe.apply(recipe.get(name), tiny_onnx(domain="org.unknown"), images)
