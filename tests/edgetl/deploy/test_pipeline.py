"""A deployment ends in a proven bundle or in nothing at all."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import edgetl_runtime
from edgetl.deploy.confirming import Look
from edgetl.deploy.golden_vectors import GoldenSet, npy
from edgetl.files import sha256_of
from edgetl.run import RunFolder, read_json, write_json
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.tasks.inspection import Thresholds

TARGET = ("--target", "ipc-onnxruntime")
LOOSE = ("--max-drop-pp", 50, "--max-flips-pct", 50)


@pytest.fixture
def folder(deployed, tmp_path):
    """A copy of the deployed run, its exported and quantized models included."""
    return RunFolder(shutil.copytree(deployed.run, tmp_path / "copy"))


def reject_everything(folder):
    """Make the run call every part NOK, so that a bound on overkill cannot be kept."""
    run = folder.read()
    never = Thresholds(nok_at=0.0, ok_below=0.0)
    folder.write(dataclasses.replace(run, params=dataclasses.replace(run.params, thresholds=never)))


def relabel_test(folder, *, label):
    with folder.split_csv.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with folder.split_csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows({**row, "label": label if row["split"] == "test" else row["label"]} for row in rows)
    record_split(folder)


def record_split(folder):
    """Let the run speak of its `split.csv` as it is now."""
    values = read_json(folder.run_json)
    values["files"]["split.csv"] = sha256_of(folder.split_csv)
    write_json(folder.run_json, values)


def test_bundle_holds_the_chosen_variant_the_float_one_and_their_proof(deployed):
    run = RunFolder(deployed.run).read()
    with open_bundle(deployed.bundle) as bundle:
        manifest = bundle.manifest
        assert manifest.chosen == deployed.result["chosen"]
        assert {v.precision for v in manifest.variants} == {"int8", "f32"}
        assert manifest.golden.count == 16
        for variant in manifest.variants:
            assert bundle.array(variant.golden).shape == (16, 2)
            with edgetl_runtime.open(deployed.bundle, variant=variant.id) as session:
                decisions = [session.predict(bundle.read(name)) for name in manifest.golden.images]
            stated = [(d.label, d.verdict) for d in variant.golden_decisions]
            assert stated == [(d.label, d.verdict) for d in decisions]
        assert (manifest.task, manifest.labels, manifest.aims) == (run.task, run.labels, run.aims)
        assert manifest.preprocess == run.preprocess
        assert manifest.digests["data"] == run.data["digest"]
        assert set(manifest.digests) == {"data", "split", "calibration"}
        assert manifest.licences["data"] == "CC0-1.0"
        assert manifest.metrics["test"]["n"] == deployed.result["confirmed"]["n"]
        assert manifest.contract.max_flips_pct == 50.0


def test_looks_at_test_are_counted(deployed):
    assert RunFolder(deployed.run).read().test_looks == deployed.result["confirmed"]["test_looks"] == 2


def test_memory_is_that_of_the_deciding_process(deployed):
    assert 30 < deployed.result["memory_mb"] < 400


def test_quantized_models_agree_with_the_float_one(deployed):
    assert {c["id"] for c in deployed.result["candidates"]} == {"onnxruntime-int8", "onnxruntime-f32"}
    assert next(c for c in deployed.result["candidates"] if c["precision"] == "f32")["flips"] == 0


@pytest.mark.parametrize("options", [(), ("--precision", "int8")])
def test_nothing_within_the_contract_is_exit_3_and_nothing_is_written(options, folder, edgetl, tmp_path):
    reject_everything(folder)
    out = tmp_path / "x.edgetl"
    out.write_bytes(b"what was there")
    answer = edgetl("deploy", folder.path, *TARGET, "--out", out, "--force", *LOOSE, "--max-overkill", 0, *options)
    assert (answer.exit, answer.result["exit"], answer.result["error"]["type"]) == (3, 3, "ContractError")
    assert "onnxruntime-int8: overkill 3 > 0" in answer.result["error"]["message"]
    shown = answer.result["error"]["candidates"]
    assert {c["id"]: c["overkill"] for c in shown} == {"onnxruntime-int8": 3, "onnxruntime-f32": 3}
    rows = [line for line in answer.stderr.splitlines() if line.startswith("onnxruntime-") and "overkill 3 > 0" in line]
    assert len(rows) == 2  # the table for people
    assert out.read_bytes() == b"what was there"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "x.edgetl"]
    assert folder.read().test_looks == 2  # test was not looked at


def test_miss_on_test_is_exit_3_without_a_second_candidate(folder, edgetl, tmp_path):
    relabel_test(folder, label="hole")
    out = tmp_path / "x.edgetl"
    answer = edgetl("deploy", folder.path, *TARGET, "--out", out, *LOOSE, "--max-escapes", 0)
    assert (answer.exit, answer.result["error"]["type"]) == (3, "ContractError")
    assert answer.result["error"]["message"] == (
        "the chosen candidate onnxruntime-int8 must be inside the contract on test; got escapes 6 > 0."
    )
    assert not out.exists()
    assert folder.read().test_looks == 3


def test_force_replaces_a_bundle_and_counts_on(folder, deployed, edgetl, tmp_path):
    out = shutil.copy(deployed.bundle, tmp_path / "x.edgetl")
    with open_bundle(out) as bundle:
        before = bundle.manifest.sequence
    answer = edgetl("deploy", folder.path, *TARGET, "--out", out, "--force", "--line", "run", *LOOSE)
    assert answer.exit == 0
    with open_bundle(out) as bundle:
        assert bundle.manifest.sequence == before + 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy", "x.edgetl"]
    kept, digest = folder.path / "deployments", answer.result["manifest_sha256"]
    assert len(list(kept.glob(f"*-ipc-onnxruntime-{digest[:8]}.json"))) == 1
    assert len(list(kept.glob("*-ipc-onnxruntime-*.json"))) == 2  # the first one is not replaced


def test_bundle_that_its_own_proof_refuses_is_not_written(folder, edgetl, tmp_path, monkeypatch):
    expected = GoldenSet.expected

    def wrong(self, candidate):
        import io

        data, decisions = expected(self, candidate)
        scores = np.load(io.BytesIO(data))
        return npy(scores[:, ::-1].copy()), decisions

    monkeypatch.setattr(GoldenSet, "expected", wrong)
    answer = edgetl("deploy", folder.path, *TARGET, "--out", tmp_path / "x.edgetl", *LOOSE)
    assert (answer.exit, answer.result["error"]["type"]) == (1, "GoldenError")
    assert "the bundle in a fresh process must be proven by its golden vectors" in answer.result["error"]["message"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy"]


@pytest.mark.parametrize(
    "bound", [("--max-memory-mb", 1), ("--p50-ms", 0.001), ("--p99-ms", 1)], ids=lambda bound: bound[0]
)
def test_a_bound_that_nobody_measured_is_exit_4_before_any_work(bound, run_folder, edgetl, tmp_path):
    for command in (("deploy", run_folder.path), ("search", run_folder.path)):
        out = tmp_path / "x.edgetl"
        answer = edgetl(*command, *TARGET, "--out", out, *LOOSE, *bound)
        assert (answer.exit, answer.result["error"]["type"]) == (4, "UnfitError"), answer
        assert "(not measured on ipc-onnxruntime)" in answer.result["error"]["message"]
        assert "--allow-unproven" in answer.result["error"]["try"]
        assert not out.is_file()
        assert not (run_folder.path / "export").exists()
        shutil.rmtree(out, ignore_errors=True)


def test_an_unproven_term_that_was_allowed_is_in_json_bundle_and_the_last_line(folder, edgetl, tmp_path):
    from edgetl.cli import deploy

    out = tmp_path / "x.edgetl"
    answer = edgetl("deploy", folder.path, *TARGET, "--out", out, *LOOSE, "--p99-ms", 1, "--allow-unproven")
    assert answer.exit == 0
    assert answer.result["unproven"] == ["p99 of at most 1 ms (not measured on ipc-onnxruntime)"]
    assert deploy.show(answer.result).splitlines()[-1].startswith("UNPROVEN: p99 of at most 1 ms")
    with open_bundle(out) as bundle:
        (term,) = bundle.manifest.metrics["terms"]
        assert bundle.manifest.contract.p99_ms == 1
    assert (term["name"], term["standing"]) == ("p99_ms", "unproven")


def test_memory_beyond_the_bound_on_this_machine_is_a_miss_on_any(folder, edgetl, tmp_path):
    out = tmp_path / "x.edgetl"
    options = (*LOOSE, "--max-memory-mb", 10, "--allow-unproven")
    answer = edgetl("deploy", folder.path, *TARGET, "--out", out, *options)
    assert (answer.exit, answer.result["error"]["type"]) == (3, "ContractError")
    assert "resident memory must be at most 10.0 MB" in answer.result["error"]["message"]
    assert not out.exists()


def test_too_large_a_model_is_left_out_before_it_is_timed(folder, edgetl, tmp_path):
    bound = ("--max-size-mb", 5)  # of Lite0: 13.5 MB in float, 3.6 MB in int8
    answer = edgetl("deploy", folder.path, *TARGET, "--out", tmp_path / "x.edgetl", *LOOSE, *bound)
    assert (answer.exit, answer.result["chosen"]) == (0, "onnxruntime-int8")
    refused = next(c for c in answer.result["candidates"] if c["id"] == "onnxruntime-f32")
    assert refused["why"].startswith("model file 13.")


def test_bound_on_one_class_is_held_on_test(folder, edgetl, tmp_path):
    relabel_test(folder, label="hole")
    options = (*LOOSE, "--max-escapes", 99, "--max-escapes-of", "hole=5")
    answer = edgetl("deploy", folder.path, *TARGET, "--out", tmp_path / "x.edgetl", *options)
    assert (answer.exit, answer.result["error"]["type"]) == (3, "ContractError")
    assert "got escapes of hole 6 > 5." in answer.result["error"]["message"]
    assert answer.result["error"]["confirmed"]["escapes_per_class"] == {"hole": 6}


@pytest.fixture
def test_refuses_int8(monkeypatch):
    """Test finds every int8 candidate outside the contract, whatever validation said."""
    confirm = Look.confirm

    def stricter(self, candidate):
        figures, broken = confirm(self, candidate)
        return figures, (*broken, "flips 3.00 % > 2.00") if candidate.precision == "int8" else broken

    monkeypatch.setattr(Look, "confirm", stricter)


def test_float_model_ships_where_test_refuses_what_was_chosen(folder, edgetl, tmp_path, test_refuses_int8):
    answer = edgetl("deploy", folder.path, *TARGET, "--out", tmp_path / "x.edgetl", *LOOSE)
    assert (answer.exit, answer.result["chosen"]) == (0, "onnxruntime-f32")
    assert answer.result["note"].startswith("onnxruntime-int8 misses the contract on test (flips 3.00 % > 2.00)")
    refused = next(c for c in answer.result["candidates"] if c["id"] == "onnxruntime-int8")
    assert (refused["accepted"], refused["why"]) == (False, "flips 3.00 % > 2.00 on test")
    assert (answer.result["confirmed"]["flips"], answer.result["confirmed"]["drop_pp"]) == (0, 0.0)
    assert answer.result["confirmed"]["test_looks"] == RunFolder(folder.path).read().test_looks


def test_nothing_ships_where_test_refuses_the_precision_asked_for(folder, edgetl, tmp_path, test_refuses_int8):
    out = tmp_path / "x.edgetl"
    answer = edgetl("deploy", folder.path, *TARGET, "--out", out, *LOOSE, "--precision", "int8")
    assert answer.exit == 3
    assert "must be inside the contract on test" in answer.result["error"]["message"]
    assert not out.exists()


def change_first_image(folder):
    with folder.split_csv.open(newline="", encoding="utf-8") as file:
        path = Path(next(csv.DictReader(file))["path"])
    rows = folder.split_csv.read_text().replace(str(path), str(folder.path / "moved.png"))
    folder.split_csv.write_text(rows)
    record_split(folder)
    return path, folder.path / "moved.png"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("gone", "the run's images must be where they were; got 1 images gone"),
        ("changed", "must be as it was when scanned; got another content"),
        ("weights", "weights.safetensors must be the weights of the run; got No such file or directory"),
        ("run", "must be a finished run; got an unfinished one"),
    ],
)
def test_run_that_is_not_what_it_was_is_one_sentence(damage, words, folder, edgetl, tmp_path):
    if damage in ("gone", "changed"):
        before, after = change_first_image(folder)
        if damage == "changed":
            after.write_bytes(before.read_bytes() + b"\0")
    else:
        {"weights": folder.weights, "run": folder.run_json}[damage].unlink()
    answer = edgetl("deploy", folder.path, *TARGET, "--out", tmp_path / "x.edgetl", *LOOSE)
    assert answer.exit == 1
    assert words in answer.result["error"]["message"]
    assert not (tmp_path / "x.edgetl").exists()


def test_bundle_decides_as_the_interface_says(deployed, blob_parts, capsys):
    from edgetl_runtime.__main__ import main

    images = [str(blob_parts / "hole" / "000.png"), str(blob_parts / "good" / "000.png")]
    assert main(["predict", str(deployed.bundle), *images, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["schema"] == "edgetl.predict/1"
    for image, label, verdict, found in zip(images, ("hole", "good"), ("NOK", "OK"), result["decisions"], strict=True):
        assert (found["image"], found["class"], found["verdict"]) == (image, label, verdict)
        assert found["score"] == pytest.approx(max(found["scores"].values()))
        assert found["defect_score"] == pytest.approx(found["scores"]["hole"])
        assert set(found["timings_ms"]) == {"decode", "preprocess", "infer", "postprocess", "total"}


def test_a_run_whose_model_does_not_do_what_it_says_is_refused(run_folder, edgetl, tmp_path):
    run = run_folder.read()
    run_folder.write(dataclasses.replace(run, val={**run.val, "accuracy": run.val["accuracy"] - 0.5}))
    answer = edgetl("deploy", run_folder.path, "--target", "ipc-onnxruntime", "--out", tmp_path / "x.edgetl")
    assert (answer.exit, answer.result["error"]["type"]) == (1, "RunError")
    assert answer.result["error"]["what"] == "the float model"
    assert not (tmp_path / "x.edgetl").exists()
