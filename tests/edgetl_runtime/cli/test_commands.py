"""predict, verify and info as a user runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime import backends
from edgetl_runtime.__main__ import COMMANDS, main
from edgetl_runtime.backends.base import Backend

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def path(tiny_bundle: Callable[..., Path]) -> Path:
    return tiny_bundle()


@pytest.fixture
def images(path: Path, tmp_path: Path) -> Path:
    from edgetl_runtime.bundle import open_bundle

    folder = tmp_path / "images"
    (folder / "deeper").mkdir(parents=True)
    with open_bundle(path) as bundle:
        for index in range(4):
            (folder / ("deeper" if index == 3 else "") / f"{index}.PNG").write_bytes(
                bundle.read(f"golden/00{index}.png")
            )
    (folder / "notes.txt").write_text("not an image")
    return folder


def run(*argv: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    code = main([*argv, "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out)


def test_predict_gives_the_stable_json(path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = run("predict", str(path), str(images), str(images / "0.PNG"), capsys=capsys)
    assert (code, result["schema"], result["variant"]) == (0, "edgetl.predict/1", "onnxruntime-f32")
    names = [d["image"].removeprefix(f"{images}/") for d in result["decisions"]]
    assert names == ["0.PNG", "1.PNG", "2.PNG", "deeper/3.PNG", "0.PNG"]
    first = result["decisions"][0]
    assert set(first) == {"image", "class", "score", "defect_score", "verdict", "scores", "timings_ms"}
    assert set(first["timings_ms"]) == {"decode", "preprocess", "infer", "postprocess", "total"}
    assert first["score"] == max(first["scores"].values())
    assert first["verdict"] in ("OK", "NOK")


def test_predict_shows_one_line_for_each_image(path: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", str(path), str(images), "--backend", "null"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert all(line.split()[0] in ("OK", "NOK") and line.endswith(".PNG") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        (["absent.edgetl", "{images}"], 1, "BundleError"),
        (["{images}/0.PNG", "{images}"], 1, "BundleError"),
        (["{bundle}", "{images}/absent.png"], 1, "ImageError"),
        (["{bundle}", "{images}/notes.txt"], 1, "ImageError"),
        (["{bundle}", "{empty}"], 2, "UsageError"),
        (["{bundle}"], 2, "UsageError"),
        (["{bundle}", "{images}", "--variant", "none"], 2, "UsageError"),
    ],
)
def test_predict_fails_with_one_sentence(
    arguments: list[str],
    code: int,
    name: str,
    path: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    words = [a.format(bundle=path, images=images, empty=tmp_path / "empty") for a in arguments]
    found, result = run("predict", *words, capsys=capsys)
    assert (found, result["error"]["type"]) == (code, name)


def test_verify_reproduces_every_variant(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = run("verify", str(path), capsys=capsys)
    assert (code, result["schema"], result["signed"], result["members"]) == (0, "edgetl.verify/1", False, 24)
    assert [(v["id"], v["ok"], v["golden"]["count"]) for v in result["variants"]] == [
        ("onnxruntime-f32", True, 16),
        ("openvino-f32", True, 16),
        ("null-f32", True, 16),
    ]
    assert main(["verify", str(path), "--variant", "null-f32"]) == 0
    assert "null-f32: 16 golden vectors reproduced" in capsys.readouterr().out


def test_verify_fails_on_an_altered_byte(path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = bytearray(path.read_bytes())
    data[data.index(b"IHDR") + 20] ^= 1
    (tmp_path / "x.edgetl").write_bytes(data)
    code, result = run("verify", str(tmp_path / "x.edgetl"), capsys=capsys)
    assert (code, result["error"]["type"]) == (1, "BundleError")
    assert "golden/000.png" in result["error"]["message"]


def test_verify_says_when_a_variant_or_all_cannot_run(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Backend, "available", lambda self, facts=None: f"no {self.info.name} here")
    assert main(["verify", str(path)]) == 0
    out = capsys.readouterr().out
    assert "onnxruntime-f32 (chosen): not run: no onnxruntime here" in out
    monkeypatch.setattr(type(backends.get("null")), "available", lambda *_: "no null here")
    code, result = run("verify", str(path), capsys=capsys)
    assert (code, result["error"]["type"]) == (4, "UnfitError")


def test_info_tells_what_is_inside(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = run("info", str(path), capsys=capsys)
    assert (code, result["schema"], result["bytes"]) == (0, "edgetl.info/1", path.stat().st_size)
    assert result["manifest"]["classes"] == ["bad", "ok"]
    assert result["unfit"] == {"onnxruntime-f32": None, "openvino-f32": None, "null-f32": None}
    assert main(["info", str(path)]) == 0
    assert "onnxruntime-f32      onnxruntime  f32   chosen  can run here" in capsys.readouterr().out


def test_commands_of_the_table_exist_and_explain_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    for name in COMMANDS:
        assert main([name, "--help"]) == 0
        assert "BUNDLE" in capsys.readouterr().out


@pytest.mark.parametrize("options", [[], ["--json"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_or_closed_standard_output_is_one_sentence(options: list[str], unbuffered: str, path: Path) -> None:
    command = [sys.executable, "-m", "edgetl_runtime", "info", str(path), *options]
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr.startswith("OSError: The disk must have room")) == (1, True), done.stderr
    assert "Traceback" not in done.stderr
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (1, "")


def test_a_fresh_process_decides_without_host_packages(path: Path, images: Path) -> None:
    code = (
        "import sys; from edgetl_runtime.__main__ import main; code = main(sys.argv[1:]); "
        "bad = {'torch', 'timm', 'onnx', 'edgetl', 'openvino'} & set(sys.modules); sys.exit(code or len(bad))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "predict", str(path), str(images), "--json"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["decisions"]) == 4
