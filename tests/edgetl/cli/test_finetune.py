"""finetune from outside: its JSON, interruption and resumption in real processes, refusals before any work."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
from safetensors.numpy import load_file

from edgetl.cli import finetune
from edgetl.run import RunFolder, read_json, write_json

SMALL = ("--backbone", "mobilenetv3_small_100", "--weights", "none", "--image-size", "64", "--defect", "hole")
METRICS = {
    "accuracy": float, "balanced_accuracy": float, "macro_f1": float, "auroc": float, "escapes": int, "overkill": int,
    "unsure": int, "confusion": list, "n": int,
}  # fmt: skip


def test_result_holds_the_stated_keys(finished):
    result = finished.result
    assert result["schema"] == "edgetl.finetune/1"
    assert (result["backbone"], result["task"]) == ("tf_efficientnet_lite0", "inspection")
    assert result["labels"] == {"classes": ["good", "hole"], "defect_classes": ["hole"]}
    for split in ("val", "test", "baseline_test"):
        assert {key: type(result[split][key]) for key in METRICS} == METRICS
        assert sum(map(sum, result[split]["confusion"])) == result[split]["n"]
    assert {"features", "head", "finetune", "total"} <= result["seconds"].keys()
    assert all(isinstance(seconds, float) for seconds in result["seconds"].values())
    assert result["test"]["accuracy"] == 1.0


def test_run_holds_its_files_and_no_checkpoints(finished):
    folder = RunFolder(finetune.Path(finished.result["run"]))
    for path in (folder.weights, folder.split_csv, folder.predictions, folder.report, folder.run_json):
        assert path.stat().st_size > 100
    assert not folder.checkpoints.exists()
    phases = [json.loads(line)["phase"] for line in folder.metrics.read_text().splitlines()]
    assert phases == ["baseline", "top", "top"]
    assert folder.read().data["licence"] == "CC0-1.0"


def test_first_of_all_it_says_which_classes_are_good_and_which_are_defects(finished):
    assert finished.stderr.splitlines()[0] == "good: good; defects: hole"
    report = finetune.Path(finished.result["report"]).read_text(encoding="utf-8")
    assert "good: good; defects: hole" in report.partition("</header>")[0]


@pytest.mark.parametrize(
    ("classes", "code", "words", "fix"),
    [
        (
            ("no_screw", "screw"), 2, "'no_screw' may be parts without the fault 'screw' or parts",
            "--defect screw if no_screw is good, or --defect no_screw if not",
        ),
        (
            ("OK", "PIT", "ok", "pit"), 1, "got OK beside ok, PIT beside pit",
            "put OK and ok; PIT and pit into one folder each, or rename what differs",
        ),
    ],
)  # fmt: skip
def test_names_that_contradict_each_other_are_refused_before_an_image_is_opened(
    classes, code, words, fix, edgetl, tmp_path
):
    for name in classes:
        (tmp_path / "parts" / name).mkdir(parents=True)
        for index in range(5):
            os.mkfifo(tmp_path / "parts" / name / f"{index}.png")  # whoever opens one waits for ever
    answers = [edgetl("finetune", tmp_path / "parts", "--out", tmp_path / "run")]
    answers.append(edgetl("search", tmp_path / "parts", "--out", tmp_path / "run", "--p99-ms", 5))
    for answer in answers:
        assert answer.exit == code, answer
        assert words in answer.result["error"]["message"]
        assert answer.result["error"]["try"] == fix
    assert not (tmp_path / "run").exists()


def test_classes_without_a_good_one_are_sorted_and_it_says_how_to_say_otherwise(edgetl, make_parts, tmp_path):
    data = make_parts(tmp_path / "parts", counts={"bolt": 8, "hole": 8})
    answer = edgetl("finetune", data, "--out", tmp_path / "run", *SMALL[:-2])
    assert (answer.exit, answer.result["task"]) == (0, "sorting")
    first = answer.stderr.splitlines()[0]
    assert first.startswith("sorting into: bolt, hole; ")
    assert "--defect CLASS" in first
    shown = finetune.show(answer.result)
    assert "errors" in shown
    assert "escapes" not in shown


def test_show_is_a_table_that_names_the_report(finished):
    whole = finetune.show(finished.result)
    answer, _, text = whole.partition("\n\n")
    assert answer.splitlines()[0] == f"May I ship this? {finished.result['answer']['words']}"
    assert any("overkill rate is below" in line for line in answer.splitlines())
    assert [line.split()[0] for line in text.splitlines()[1:4]] == ["baseline", "kept", "kept,"]
    assert finished.result["report"] in text
    assert max(map(len, text.splitlines()[:4])) <= 80


@pytest.fixture(scope="module")
def balanced(edgetl, blob_parts, one_thread, tmp_path_factory):
    """Weights of an uninterrupted run."""
    del one_thread
    out = tmp_path_factory.mktemp("whole") / "run"
    assert edgetl("finetune", blob_parts, "--out", out, *SMALL).exit == 0
    return load_file(out / "weights.safetensors")


# the command, which stops after its third line of metrics until the signal has been sent
PAUSING = """
import sys
from edgetl.__main__ import main
from edgetl.run import RunFolder
append, lines = RunFolder.append_metrics, []
def append_then_wait(self, record):
    append(self, record)
    lines.append(record)
    if len(lines) == 3:
        print("third", flush=True)
        sys.stdin.readline()
RunFolder.append_metrics = append_then_wait
sys.exit(main())
"""


def interrupt(data, out, number):
    """Send a signal to a child process in the midst of its training; return its exit code and what it printed."""
    command = [sys.executable, "-c", PAUSING, "finetune", str(data), "--out", str(out), *SMALL, "--json"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as child:
        assert child.stdout.readline() == "third\n"
        child.send_signal(number)
        printed = child.communicate("go on\n")[0]
    return child.returncode, printed


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    different = [name for name in expected if found[name].tobytes() != expected[name].tobytes()]
    assert different == []


def test_terminated_run_resumes_to_the_same_weights(edgetl, balanced, blob_parts, tmp_path):
    data, out = shutil.copytree(blob_parts, tmp_path / "parts"), tmp_path / "run"
    code, printed = interrupt(data, out, signal.SIGTERM)
    error = json.loads(printed.splitlines()[-1])
    assert (code, error["exit"], error["error"]["type"]) == (130, 130, "StoppedError")
    assert error["error"]["message"].startswith("the run must be finished; got a stop in phase")
    assert "--resume" in error["error"]["try"]
    assert not (out / "run.json").exists()

    changed = edgetl("finetune", data, "--out", out, *SMALL, "--seed", 1, "--resume")
    assert (changed.exit, changed.result["error"]["message"]) == (
        2,
        "seed on --resume must be 0 as when the run was started; got 1.",
    )
    image = data / "hole" / "003.png"
    before = image.read_bytes()
    image.write_bytes(before + b"\0")
    other = edgetl("finetune", data, "--out", out, "--resume")
    assert other.exit == 1
    assert other.result["error"]["message"].startswith("the images must be those the run was started with; got 1 added")
    image.write_bytes(before)

    resumed = edgetl("finetune", "--out", out, "--resume")  # what is not given stands as it was
    assert resumed.exit == 0, resumed
    assert_equal(load_file(out / "weights.safetensors"), balanced)


def test_killed_run_resumes_to_the_same_weights(edgetl, balanced, blob_parts, tmp_path):
    out = tmp_path / "run"
    assert interrupt(blob_parts, out, signal.SIGKILL)[0] == -signal.SIGKILL
    assert not (out / "run.json").exists()
    assert edgetl("finetune", blob_parts, "--out", out, *SMALL, "--resume").exit == 0
    assert_equal(load_file(out / "weights.safetensors"), balanced)


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--preset", "balansed"], 2, "--preset must be a known preset; got 'balansed'"),
        (["--backbone", "tf_efficientnet_lite9"], 2, "tf_efficientnet_lite9"),
        (["--image-size", "8"], 2, "--image-size for mobilenetv3_small_100 must be at least 32; got 8"),
        (["--val-fraction", "1.5"], 2, "val_fraction must be between 0 and 1; got 1.5"),
        (["--defect", "crack"], 2, "crack"),
        (["--escape-cost", "nan"], 2, "argument --escape-cost: 'nan' is no finite number"),
        (["--escape-cost", "3", "--max-escape-rate", "0.01"], 2, "given without --max-escape-rate"),
        (["--unsure-band", "1.5"], 2, "--unsure-band must be from 0 to below 1; got 1.5"),
        (["--seed", "x"], 2, "invalid int value: 'x'"),
        (["--roi-px", "0", "0", "500", "10"], 1, "must be inside the image"),
        (["--weights", "absent.safetensors"], 1, "absent.safetensors: No such file or directory"),
        (["--resume"], 2, "--resume must be used on a run that was started; got no run"),
    ],
)
def test_mistake_is_one_sentence_and_leaves_no_folder(options, code, words, edgetl, make_parts, tmp_path):
    data, out = make_parts(tmp_path / "parts", counts={"good": 8, "hole": 8}), tmp_path / "run"
    answer = edgetl("finetune", data, "--out", out, *SMALL, *options)
    assert (answer.exit, answer.result["exit"]) == (code, code), answer
    assert words in answer.result["error"]["message"]
    assert not out.exists()


def test_bad_data_leaves_an_older_run_alone(edgetl, run_folder, tmp_path):
    before = sorted(p.name for p in run_folder.path.iterdir())
    answer = edgetl("finetune", tmp_path / "absent", "--out", run_folder.path, "--force")
    assert (answer.exit, answer.result["error"]["type"]) == (1, "DataError")
    assert sorted(p.name for p in run_folder.path.iterdir()) == before
    assert run_folder.read()


def test_corrupt_image_is_named_or_skipped(edgetl, make_parts, tmp_path):
    data, out = make_parts(tmp_path / "parts", counts={"good": 9, "hole": 9}), tmp_path / "run"
    (data / "good" / "000.png").write_bytes(b"not an image")
    fast = (*SMALL, "--preset", "fast")
    refused = edgetl("finetune", data, "--out", out, *fast)
    assert refused.exit == 1
    assert "000.png" in refused.result["error"]["message"]
    (data / "notes.txt").write_text("not an image either")
    went_on = edgetl("finetune", data, "--out", out, *fast, "--skip-bad")
    assert went_on.exit == 0
    assert "ignored 1 file without the name of an image (1 .txt)" in went_on.stderr
    assert [bad["path"] for bad in RunFolder(out).read().data["bad"]] == [str(data / "good" / "000.png")]


def test_existing_run_is_refused_and_replaced_by_force(edgetl, make_parts, tmp_path):
    data, out = make_parts(tmp_path / "parts", counts={"good": 9, "hole": 9}), tmp_path / "run"
    config = tmp_path / "edgetl.toml"
    config.write_text(
        f'[finetune]\ndata = "{data}"\nbackbone = "mobilenetv3_small_100"\nweights = "none"\nimage_size = 64\n'
        'preset = "fast"\ndefect = ["hole"]\nseed = 3\n'
    )
    assert edgetl("finetune", "--config", config, "--out", out).exit == 0
    first = RunFolder(out).read()
    assert (first.config["seed"], first.kept, first.weights["kind"]) == (3, "baseline", "none")
    refused = edgetl("finetune", "--config", config, "--out", out)
    assert (refused.exit, refused.result["error"]["message"]) == (
        2,
        f"--out {out} must be a new folder; got an existing one.",
    )
    finished = edgetl("finetune", "--config", config, "--out", out, "--resume")
    assert finished.result["error"]["message"] == "--resume must be used on an unfinished run; got a finished one."
    assert edgetl("finetune", "--config", config, "--out", out, "--force", "--seed", 4).exit == 0
    second = RunFolder(out).read()
    assert second.config["seed"] == 4
    # the images are the same: so is their split, and the test split was looked at before
    assert (second.data["split_digest"], second.test_looks) == (first.data["split_digest"], first.test_looks + 1)
    assert "split kept as in" in second.data["notes"][0]


def test_an_option_that_is_given_twice_forgets_nothing(tmp_path):
    parser = argparse.ArgumentParser()
    finetune.add_arguments(parser)
    words = [str(tmp_path), "--out", "run", "--defect", "scratch", "--defect", "dent", "hole"]
    assert finetune.given_config(parser.parse_args(words)).aims == {"defect": ["scratch", "dent", "hole"]}


def test_paths_are_kept_whole_so_that_a_run_can_be_resumed_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = argparse.Namespace(config=None, data="parts", weights="own.safetensors", split_from="none")
    config = finetune.given_config(given)
    assert (config.data, config.weights) == (str(tmp_path / "parts"), str(tmp_path / "own.safetensors"))
    assert config.split_from == "none"


@pytest.fixture
def at_work(make_parts, tmp_path):
    """A `finetune` into tmp_path/run, in a process of its own, that waits in the midst of its images until it ends."""
    data, out = make_parts(tmp_path / "slow", counts={"good": 8, "hole": 8}), tmp_path / "run"
    os.mkfifo(data / "good" / "999.png")
    command = [sys.executable, "-m", "edgetl", "finetune", str(data), "--out", str(out), *SMALL]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        writer = os.open(data / "good" / "999.png", os.O_WRONLY)  # returns as soon as the child reads its images
        try:
            yield child
        finally:
            child.kill()
            os.close(writer)


def test_folder_belongs_to_the_run_that_started_first_until_its_process_is_dead(
    edgetl, make_parts, at_work, one_thread, tmp_path
):
    data, out = make_parts(tmp_path / "parts", counts={"good": 9, "hole": 9}), tmp_path / "run"
    for options in ((), ("--force",), ("--resume",)):
        second = edgetl("finetune", data, "--out", out, *SMALL, "--preset", "fast", *options)
        assert (second.exit, second.result["error"]["type"]) == (1, "InUseError"), second
        words = f"the folder {out} must be free; got edgetl finetune (process {at_work.pid} on "
        assert second.result["error"]["message"].startswith(words)
    at_work.kill()
    at_work.wait()
    assert edgetl("finetune", data, "--out", out, *SMALL, "--preset", "fast").exit == 0
    assert RunFolder(out).read().config["data"] == str(data)
    assert not [path.name for path in out.iterdir() if "lock" in path.name]


def test_force_refuses_what_is_no_run(edgetl, blob_parts, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    answer = edgetl("finetune", blob_parts, "--out", tmp_path, "--force", *SMALL)
    assert (answer.exit, (tmp_path / "thesis.txt").read_text()) == (2, "years of work")
    assert "a run, to be replaced by --force; got something else" in answer.result["error"]["message"]


def test_missing_data_is_said(edgetl, tmp_path):
    answer = edgetl("finetune", "--out", tmp_path / "run")
    assert answer.result["error"]["message"] == "DATA must be a folder or a CSV file; got nothing."


def test_damaged_configuration_of_a_run_is_one_sentence(edgetl, tmp_path):
    folder = RunFolder(tmp_path)
    write_json(folder.config_json, {"data": "x", "sede": 1})
    assert read_json(folder.config_json)["sede"] == 1
    answer = edgetl("finetune", "--out", tmp_path, "--resume")
    assert (answer.exit, answer.result["error"]["type"]) == (1, "RunError")
