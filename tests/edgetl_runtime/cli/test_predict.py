"""predict: one decision for each image, or one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, dict[str, Any]]]


def test_predict_gives_the_stable_json(run: Run, tiny_path: Path, images: Path) -> None:
    code, result = run("predict", str(tiny_path), str(images), str(images / "0.PNG"))
    assert (code, result["schema"], result["variant"]) == (0, "edgetl.predict/1", "onnxruntime-f32")
    names = [d["image"].removeprefix(f"{images}/") for d in result["decisions"]]
    assert names == ["0.PNG", "1.PNG", "2.PNG", "deeper/3.PNG", "0.PNG"]
    first = result["decisions"][0]
    assert set(first) == {"image", "class", "score", "defect_score", "verdict", "scores", "timings_ms"}
    assert set(first["timings_ms"]) == {"decode", "preprocess", "infer", "postprocess", "total"}
    assert first["score"] == max(first["scores"].values())
    assert first["verdict"] in ("OK", "NOK")


def test_predict_shows_one_line_for_each_image(
    tiny_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(tiny_path), str(images), "--backend", "null"]) == 0
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
    run: Run,
    arguments: list[str],
    code: int,
    name: str,
    tiny_path: Path,
    images: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "empty").mkdir()
    words = [a.format(bundle=tiny_path, images=images, empty=tmp_path / "empty") for a in arguments]
    found, result = run("predict", *words)
    assert (found, result["error"]["type"]) == (code, name)
