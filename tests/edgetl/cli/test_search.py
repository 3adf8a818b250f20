"""search from outside: mistakes before any work, its table, and deploy --search that ships what was found."""

from __future__ import annotations

import json
import shutil

import pytest

from edgetl.cli import search
from edgetl.files import taken
from edgetl.run import RunFolder
from edgetl.search.pipeline import Searching
from edgetl_runtime.bundle import open_bundle

GRID = ("--backends", "onnxruntime", "--precisions", "f32", "--max-gap-pp", 50)
LOOSE = ("--max-drop-pp", 50, "--max-flips-pct", 50)


@pytest.fixture
def run_of(deployed, tmp_path):
    return shutil.copytree(deployed.run, tmp_path / "part")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--target", "jetsen"), "target must be a known device; got 'jetsen'"),
        (("--backends", "openvion"), "--backends must be of the target's"),
        (("--image-sizes", "64"), "--backbones and --image-sizes must be used with DATA; got finished runs"),
        (("--threads", "0"), "--threads must be at least 1; got 0"),
        (("--threads", "two"), "invalid numbers value: 'two'"),
        (("--max-gap-pp", "-1"), "--max-gap-pp must be 0 or above; got -1.0"),
        (("--max-escapes-of", "x"), "--max-escapes-of must be of the form NAME=N; got 'x'"),
        (("--resume",), "--resume must be used on a search that was started"),
    ],
)
def test_mistake_is_refused_before_any_work(options, words, run_of, edgetl, tmp_path, monkeypatch):
    monkeypatch.setattr(Searching, "search", lambda _self: pytest.fail("worked"))
    answer = edgetl("search", run_of, "--out", tmp_path / "out", *options)
    assert (answer.exit, answer.result["error"]["type"]) == (2, "UsageError")
    assert words in answer.result["error"]["message"]


def test_absent_data_is_said_before_any_work_and_leaves_nothing(edgetl, tmp_path):
    answer = edgetl("search", tmp_path / "absent", "--out", tmp_path / "out", "--p99-ms", 5)
    assert (answer.exit, answer.result["error"]["type"]) == (1, "DataError")
    assert not (tmp_path / "out").exists()


def test_what_is_there_is_not_replaced(run_of, edgetl, tmp_path):
    for options, words in (((), "a new folder; got an existing one"), (("--force",), "a search, to be replaced")):
        answer = edgetl("search", run_of, "--out", run_of, *options)
        assert answer.exit == 2
        assert words in answer.result["error"]["message"]
    assert RunFolder(run_of).read().image_px == 64
    mixed = edgetl("search", run_of, tmp_path, "--out", tmp_path / "out")
    assert "DATA|RUN must be one data set, or finished runs only" in mixed.result["error"]["message"]


def test_folder_belongs_to_the_search_that_started_first(run_of, edgetl, tmp_path):
    out = tmp_path / "out"
    with taken(out, "edgetl search"):
        for options in ((), ("--force",), ("--resume",)):
            answer = edgetl("search", run_of, "--out", out, *options)
            assert (answer.exit, answer.result["error"]["type"]) == (1, "InUseError")
    assert not out.exists()


def test_search_without_hardware_chooses_by_accuracy_and_says_so(run_of, edgetl, tmp_path):
    out = tmp_path / "out"
    answer = edgetl("search", run_of, "--out", out, "--target", "ipc-onnxruntime", *GRID, *LOOSE)
    assert answer.exit == 0, answer
    result = answer.result
    assert (result["schema"], result["chosen"], result["front"]) == ("edgetl.search/1", "part/onnxruntime-f32", [])
    assert result["points"][0]["measured_on"] == "not measured on hardware"
    assert json.loads((out / "search.json").read_text())["chosen"] == result["chosen"]
    text = search.show(result)
    assert "chosen: part/onnxruntime-f32, latency not measured on hardware" in text
    assert text.splitlines()[-1].startswith("ship it; deploy looks at test once: edgetl deploy ")
    assert RunFolder(run_of).read().test_looks == 2  # as before: test was not looked at


def test_nothing_within_the_contract_is_exit_3_with_every_candidate(run_of, edgetl, tmp_path):
    out = tmp_path / "out"
    tight = (*GRID, "--max-size-mb", 0.1)
    answer = edgetl("search", run_of, "--out", out, "--target", "ipc-onnxruntime", *tight)
    assert (answer.exit, answer.result["error"]["type"]) == (3, "ContractError")
    assert "part/onnxruntime-f32: model file 13." in answer.result["error"]["message"]
    assert [c["id"] for c in answer.result["error"]["candidates"]] == ["part/onnxruntime-f32"]
    assert "none" in (out / "report.html").read_text()


def test_deploy_search_ships_the_chosen_variant_under_the_runs_own_line(run_of, edgetl, tmp_path):
    out = tmp_path / "x.edgetl"
    options = ("--target", "ipc-onnxruntime", *GRID, *LOOSE, "--search")
    answer = edgetl("deploy", run_of, "--out", out, *options)
    assert answer.exit == 0, answer
    assert answer.result["chosen"] == "onnxruntime-f32"
    with open_bundle(out) as bundle:
        assert (bundle.manifest.chosen, bundle.manifest.line) == ("onnxruntime-f32", "part")
    kept = json.loads((run_of / "search" / "ipc-onnxruntime" / "search.json").read_text())
    assert kept["chosen"] == "part/onnxruntime-f32"


def test_a_choice_that_is_not_decided_is_exit_4_with_a_report_and_is_timed_again_by_resume(
    run_of, edgetl, tmp_path, programmed, monkeypatch
):
    from edgetl.deploy import latency

    monkeypatch.setattr(latency, "SETTLE_S", 1.0)
    flip = {"f32": [2.0, 4.0], "int8": [4.0, 2.0]}
    programmed(lambda c, s: flip[c.precision][int(s / 3.1) % 2], foreign_cores=1.0)
    out = tmp_path / "out"
    words = ("search", run_of, "--out", out, "--target", "local", "--backends", "onnxruntime", "--threads", 1)
    words = (*words, "--precisions", "f32,int8", "--max-gap-pp", 50, *LOOSE)
    answer = edgetl(*words)
    assert (answer.exit, answer.result["error"]["type"]) == (4, "UnfitError"), answer
    assert "the choice of the fastest candidate must be decided to within 3%" in answer.result["error"]["message"]
    assert (out / "report.html").is_file()
    again = edgetl(*words, "--resume", "--allow-disturbed")
    assert again.exit == 0, again
    assert again.result["why"].startswith("not decided which is fastest: ")
    assert [note["reason"] for note in again.result["notes"]] == ["disturbed"]
    assert "disturbed: other work kept 1.0 cores busy" in search.show(again.result)
    programmed(lambda c, _: {"f32": 3.0, "int8": 2.0}[c.precision])
    assert edgetl(*words, "--resume").exit == 4  # what was taken on request was kept with its latencies
