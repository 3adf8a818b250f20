"""verify: the bytes, and the golden vectors of every variant this machine can run."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime import backends
from edgetl_runtime.__main__ import main
from edgetl_runtime.backends.base import Backend
from edgetl_runtime.bundle import Bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, dict[str, Any]]]


def test_verify_reproduces_every_variant(run: Run, tiny_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = run("verify", str(tiny_path))
    assert (code, result["schema"], result["signed"], result["members"]) == (0, "edgetl.verify/1", False, 24)
    assert [(v["id"], v["ok"], v["golden"]["count"]) for v in result["variants"]] == [
        ("onnxruntime-f32", True, 16),
        ("openvino-f32", True, 16),
        ("null-f32", True, 16),
    ]
    assert main(["verify", str(tiny_path), "--variant", "null-f32"]) == 0
    assert "null-f32: 16 golden vectors reproduced" in capsys.readouterr().out


def test_verify_fails_on_an_altered_byte(run: Run, tiny_path: Path, tmp_path: Path) -> None:
    data = bytearray(tiny_path.read_bytes())
    data[data.index(b"IHDR") + 20] ^= 1
    (tmp_path / "x.edgetl").write_bytes(data)
    code, result = run("verify", str(tmp_path / "x.edgetl"))
    assert (code, result["error"]["type"]) == (1, "BundleError")
    assert "golden/000.png" in result["error"]["message"]


def rewritten(source: Path, target: Path, **words: tuple[str, str]) -> Path:
    """Copy a bundle, replacing words of its manifest by others of the same length, as someone does who can count."""
    data = source.read_bytes()
    for before, after in words.values():
        assert len(before) == len(after)
        assert before.encode() in data
        data = data.replace(before.encode(), after.encode())
    target.write_bytes(data)
    return target


def test_thresholds_outside_0_to_1_are_refused_when_a_bundle_is_opened(
    run: Run, tiny_path: Path, images: Path, tmp_path: Path
) -> None:
    wrong = rewritten(tiny_path, tmp_path / "x.edgetl", cut=('"nok_at": 0.5', '"nok_at": 1.5'))
    for command in (("predict", str(wrong), str(images)), ("verify", str(wrong)), ("info", str(wrong))):
        code, result = run(*command)
        assert (code, result["error"]["type"]) == (1, "BundleError")
        assert "nok_at must be from 0 to 1; got 1.5" in result["error"]["message"]


def test_verify_finds_thresholds_by_which_defects_pass(
    run: Run, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = rewritten(
        tiny_path,
        tmp_path / "x.edgetl",
        nok=('"nok_at": 0.5', '"nok_at": 1.0'),
        ok=('"ok_below": 0.5', '"ok_below": 1.0'),
    )
    monkeypatch.setattr(Bundle, "verify", lambda _: None)  # as if whoever did it had also mended the sums
    code, result = run("verify", str(moved))
    assert (code, result["error"]["type"]) == (1, "GoldenError")
    assert "labels and params of variant" in result["error"]["message"]


def test_verify_says_when_a_variant_or_all_cannot_run(
    run: Run, tiny_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Backend, "available", lambda self, facts=None: f"no {self.info.name} here")
    assert main(["verify", str(tiny_path)]) == 4  # what ran is right, but the chosen variant did not run
    out = capsys.readouterr().out
    assert "onnxruntime-f32 (chosen): not run: no onnxruntime here" in out
    monkeypatch.setattr(type(backends.get("null")), "available", lambda *_: "no null here")
    code, result = run("verify", str(tiny_path))
    assert (code, result["error"]["type"]) == (4, "UnfitError")


def test_verify_reports_its_own_memory_not_that_of_a_large_parent(tiny_path: Path) -> None:
    ballast = bytearray(b"x") * 400_000_000
    command = [sys.executable, "-m", "edgetl_runtime", "verify", str(tiny_path), "--variant", "null-f32", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert 5 < json.loads(done.stdout)["memory_mb"] < 200
    assert len(ballast) == 400_000_000


@pytest.mark.parametrize("command", ["verify", "predict"])
def test_a_manifest_whose_outputs_differ_from_the_models_is_refused(
    command: str, run: Run, tiny_bundle: Callable[..., Path], images: Path, tiny_parts: Callable[..., Any]
) -> None:
    logits = tiny_parts()[0].outputs[0]
    features = dataclasses.replace(logits, name="features", shape=("N", 8))
    wrong = tiny_bundle(outputs=(logits, features))
    code, result = run(command, str(wrong), *([str(images)] if command == "predict" else []))
    assert (code, result["error"]["type"]) == (1, "BundleError")
    assert result["error"]["message"] == (
        "the outputs of model 'models/float/model.onnx' must be those of the manifest, "
        "logits (N, 2) and features (N, 8) of float32; got logits (N, 2)."
    )
