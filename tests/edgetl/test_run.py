"""The run's folder: written durably, read strictly, never something else overwritten."""

from __future__ import annotations

import dataclasses
import json

import pytest

from edgetl.errors import RunError
from edgetl.run import RunFolder, read_json, write_json
from edgetl_runtime.errors import UsageError

HALF = {"nok_at": 0.5, "ok_below": 0.5}


def test_run_comes_back_equal(run_folder):
    run = run_folder.read()
    run_folder.write(run)
    assert run_folder.read() == run
    assert not list(run_folder.path.glob("*.part"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "edgetl.run/3"}, "schema must be one of 'edgetl.run/2'"),
        ({"schema": "edgetl.run/1"}, "must be made by this edgetl; got one made by edgetl 0.1"),
        ({"task": "detection"}, "must be a known task; got 'detection'"),
        ({"labels": {"classes": ["a", "b"]}}, "labels for inspection"),
        ({"params": {"unsure_below": 0.5}}, "key 'unsure_below'"),
        ({"sede": 1}, "key 'sede' in"),
        ({"image_px": "64"}, "image_px must be of type int; got '64'"),
        (
            {"params": {"thresholds": {"nok_at": 1.5, "ok_below": 0.5}, "temperature": 1.0}},
            "nok_at must be from 0 to 1; got 1.5",
        ),
        ({"params": {"thresholds": HALF, "temperature": 0.0}}, "temperature must be above 0 and finite; got 0.0"),
        ({"params": {"thresholds": HALF, "temperature": float("nan")}}, "temperature must be a finite number; got nan"),
    ],
)
def test_read_refuses_a_run_of_another_form(change, words, run_folder):
    write_json(run_folder.run_json, {**read_json(run_folder.run_json), **change})
    with pytest.raises(RunError) as caught:
        run_folder.read()
    assert words in caught.value.sentence


@pytest.mark.parametrize("name", ["split.csv", "weights.safetensors", "predictions.csv"])
def test_read_refuses_a_file_of_another_run(name, run_folder):
    (run_folder.path / name).write_bytes((run_folder.path / name).read_bytes() + b"\n")
    with pytest.raises(RunError, match=rf"{name} must be the one that run\.json was written with; got another one"):
        run_folder.read()
    (run_folder.path / name).unlink()
    assert run_folder.read()  # what is missing is said by whoever needs it


def test_read_refuses_a_run_that_does_not_say_what_it_was_written_with(run_folder):
    run_folder.write(dataclasses.replace(run_folder.read(), files={}))
    with pytest.raises(RunError, match=r"split\.csv of .* must be recorded with its digest; got none(?s:.)*--force"):
        run_folder.read()


def test_looks_are_counted_in_what_is_there_now(run_folder):
    looks = run_folder.read().test_looks
    run_folder.count_look()
    run_folder.count_look()
    assert run_folder.read().test_looks == looks + 2


def test_read_says_how_to_finish_an_unfinished_run(run_folder):
    run_folder.run_json.unlink()
    with pytest.raises(RunError, match=r"got an unfinished one(?s:.)*--resume"):
        run_folder.read()
    run_folder.config_json.unlink()
    with pytest.raises(RunError, match=r"got no run\.json"):
        run_folder.read()


def test_begin_replaces_a_run_and_nothing_else(tmp_path):
    folder = RunFolder(tmp_path / "deep" / "run")
    folder.check_free(replace=False)
    folder.begin({"seed": 1})
    (folder.path / "weights.safetensors").write_bytes(b"old")
    with pytest.raises(UsageError, match="a new folder; got an existing one"):
        folder.check_free(replace=False)
    folder.check_free(replace=True)
    folder.begin({"seed": 2})
    assert [p.name for p in folder.path.iterdir()] == ["config.json"]
    assert read_json(folder.config_json) == {"seed": 2}
    folder.config_json.rename(folder.path / "letter.txt")
    for attempt in (lambda: folder.check_free(replace=True), lambda: folder.begin({})):
        with pytest.raises(UsageError, match="got something else"):
            attempt()
    assert (folder.path / "letter.txt").exists()


def test_metrics_are_appended_a_line_each(tmp_path):
    folder = RunFolder(tmp_path)
    folder.append_metrics({"epoch": 1})
    folder.append_metrics({"epoch": 2})
    assert [json.loads(line)["epoch"] for line in folder.metrics.read_text().splitlines()] == [1, 2]


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 10**5, None])
def test_read_json_is_one_sentence_where_it_cannot(content, tmp_path):
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(RunError, match="must be readable JSON"):
        read_json(path)
