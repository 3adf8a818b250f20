"""predict: one decision for each image, or one sentence."""

from __future__ import annotations

import csv
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
    header, *lines, empty, summary = capsys.readouterr().out.splitlines()
    assert header.split() == ["verdict", "class", "score", "defect", "ms", "image"]
    assert len(lines) == 4
    assert all(line.split()[0] in ("OK", "NOK") and line.endswith(".PNG") for line in lines)
    assert all(line.index(line.split()[-1]) == header.index("image") for line in lines)
    oks = sum(line.startswith("OK") for line in lines)
    assert (empty, summary) == ("", f"4 images: {oks} OK, {4 - oks} NOK, 0 UNSURE")
    assert main(["predict", str(tiny_path), str(images / "0.PNG")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_folders_named_like_classes_give_accuracy_and_a_confusion(
    run: Run, tiny_path: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = run("info", str(tiny_path))[1]["manifest"]["labels"]
    (good,) = set(labels["classes"]) - set(labels["defect_classes"])
    found = run("predict", str(tiny_path), str(images))[1]["decisions"]
    parts = tmp_path / "parts"
    for name in (*labels["classes"], "unsorted"):
        (parts / "test" / name).mkdir(parents=True)
    for decision in found:  # all are called good, one beside them nothing
        source = tmp_path.joinpath(decision["image"])
        (parts / "test" / good / source.name).write_bytes(source.read_bytes())
    (parts / "test" / "unsorted" / "4.png").write_bytes((images / "0.PNG").read_bytes())
    summary = run("predict", str(tiny_path), str(parts))[1]["summary"]
    known = summary["labelled"]
    noks = sum(d["verdict"] == "NOK" for d in found)
    right = sum(d["class"] == good for d in found)
    assert (summary["n"], known["n"], known["n_good"], known["n_defect"]) == (5, 4, 4, 0)
    assert (known["overkill"], known["escapes"], known["accuracy"]) == (noks, 0, right / 4)
    assert known["confusion"][good][good] == right
    assert sum(count for row in known["confusion"].values() for count in row.values()) == 4
    assert main(["predict", str(tiny_path), str(parts)]) == 0
    out = capsys.readouterr().out
    assert "against the 4 labelled (1 images lie in no folder named like a class)" in out
    assert f"overkill {noks} of 4 good" in out
    assert "true, found" in out


def test_an_unreadable_image_of_a_folder_is_listed_and_counted_and_exit_1(
    run: Run, tiny_path: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "2b.png").write_bytes(b"no image")
    code, result = run("predict", str(tiny_path), str(images), "--csv", str(tmp_path / "found.csv"))
    assert (code, len(result["decisions"]), result["summary"]["n"]) == (1, 4, 4)
    assert [failure["image"] for failure in result["failed"]] == [str(images / "2b.png")]
    rows = list(csv.DictReader((tmp_path / "found.csv").read_text().splitlines()))
    assert [row["image"] for row in rows] == [d["image"] for d in result["decisions"]] + [str(images / "2b.png")]
    assert [float(row["defect_score"]) for row in rows[:4]] == [d["defect_score"] for d in result["decisions"]]
    assert (rows[4]["verdict"], rows[4]["error"]) == ("", result["failed"][0]["message"])
    assert main(["predict", str(tiny_path), str(images)]) == 1
    assert "NOT DECIDED: 1 images could not be read\n  image " in capsys.readouterr().out
    assert run("predict", str(tiny_path), str(images), str(images / "2b.png"))[1]["error"]["type"] == "ImageError"


def test_a_table_that_cannot_be_written_is_refused_before_any_work(run: Run, tmp_path: Path, images: Path) -> None:
    for name in ("found.png", "none/found.csv"):
        code, result = run("predict", "absent.edgetl", str(images), "--csv", str(tmp_path / name))
        assert (code, "--csv" in result["error"]["message"]) == (2, True)


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
