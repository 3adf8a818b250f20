"""deploy from outside: its JSON, its table, and refusals before any work."""

from __future__ import annotations

import shutil

import pytest

from edgetl.api.text import candidate_rows
from edgetl.cli import deploy
from edgetl.files import file_taken, reading, taken
from edgetl.run import RunFolder

CANDIDATE = {
    "id": str, "backend": str, "precision": str, "accuracy": float, "drop_pp": float, "flips": int, "escapes": int,
    "n": int, "measured_on": str, "accepted": bool, "why": str,
}  # fmt: skip


def test_result_holds_the_stated_keys(deployed):
    result = deployed.result
    assert (result["schema"], result["target"]) == ("edgetl.deploy/1", "ipc-onnxruntime")
    assert result["bundle"] == str(deployed.bundle)
    assert result["size_bytes"] == deployed.bundle.stat().st_size
    for candidate in result["candidates"]:
        assert {key: type(candidate[key]) for key in CANDIDATE} == CANDIDATE
        assert candidate["latency_ms"] is None  # the target is not this machine
    assert result["chosen"] in {c["id"] for c in result["candidates"] if c["accepted"]}
    assert {"accuracy", "escapes", "overkill", "flips", "drop_pp", "n", "float_accuracy"} <= result["confirmed"].keys()


def test_show_says_what_ships_and_what_was_not_measured(deployed):
    text = deploy.show(deployed.result)
    answer, _, text = text.partition("\n\n")
    assert answer.startswith(f"May I ship this? {deployed.result['answer']['words']}")
    assert deployed.result["confirmed"]["statements"][1] in answer
    rows = text.splitlines()
    assert rows[0].split()[-5:] == ["p50", "ms", "p99", "ms", "verdict"]
    assert next(row for row in rows if row.startswith(deployed.result["chosen"])).endswith("chosen")
    assert "not measured on hardware" in text
    assert "confirmed on test (n = 12)" in text
    assert str(deployed.bundle) in rows[-2]
    assert rows[-1].startswith("unsigned")


def test_table_says_which_term_is_kept_by_less_than_chance_may_take_away(deployed):
    kept = next(c for c in deployed.result["candidates"] if c["accepted"]) | {"close": "flips 2.41 % > 2.00"}
    rows = candidate_rows([kept], task="inspection", chosen=kept["id"], width=200)
    assert rows[1].endswith("chosen, narrowly: on other images chance may give flips 2.41 % > 2.00")


@pytest.mark.parametrize("width", [80, 100, 200])
def test_rows_fit_the_terminal_and_an_unproven_bound_stays_on_a_line_of_its_own(width, deployed):
    kept = next(c for c in deployed.result["candidates"] if c["accepted"])
    kept = kept | {"unproven": "p99 of 8 ms, not measured on the hardware of that target, nor on another of its family"}
    bad = kept | {"accepted": False, "id": "openvino-int8-t1", "why": "; ".join(["accuracy drop 1.00 pp > 0.50"] * 6)}
    rows = candidate_rows([kept, bad], task="inspection", chosen=kept["id"], width=width)
    assert max(map(len, rows)) <= width
    (unproven,) = [row for row in rows if "UNPROVEN: p99 of 8 ms" in row]
    assert unproven.startswith("    UNPROVEN") or len(unproven) > 100
    assert " ".join(" ".join(rows).split()).count("accuracy drop 1.00 pp > 0.50") == 6


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--target", "jetsen"], 2, "target must be a known device; got 'jetsen'"),
        (
            ["--target", "local", "--precision", "f16"],
            2,
            "--precision must be one of local's: bf16, f32, int8; got f16",
        ),
        (["--max-drop-pp", "-1"], 2, "--max-drop-pp must be 0 or above; got -1.0"),
        (["--p99-ms", "inf"], 2, "argument --p99-ms: 'inf' is no finite number"),
        (["--line", "my line"], 2, "a product line is named in letters, digits"),
        (["--golden", "absent"], 1, "--golden absent must be a folder of at least 16 images; got 0"),
        (["--max-escapes-of", "hole"], 2, "--max-escapes-of must be of the form NAME=N; got 'hole'"),
        (["--max-escapes-of", "hole=-1"], 2, "--max-escapes-of hole must be 0 or above; got -1"),
        (["--max-escapes-of", "good=1"], 2, "must be on a defect class; got good parts"),
        (["--config", "absent.toml"], 2, "absent.toml: No such file or directory"),
        (["--contract", "absent.toml"], 2, "absent.toml: No such file or directory"),
    ],
)
def test_mistake_is_refused_before_any_work(options, code, words, run_folder, edgetl, tmp_path):
    answer = edgetl("deploy", run_folder.path, "--out", tmp_path / "x.edgetl", *options)
    assert (answer.exit, answer.result["exit"]) == (code, code), answer
    assert words in answer.result["error"]["message"]
    assert not (run_folder.path / "export").exists()
    assert not (tmp_path / "x.edgetl").exists()


def test_existing_output_is_refused_before_any_work(run_folder, edgetl, tmp_path):
    out = tmp_path / "x.edgetl"
    out.write_bytes(b"mine")
    answer = edgetl("deploy", run_folder.path, "--out", out)
    assert (answer.exit, out.read_bytes()) == (2, b"mine")
    assert answer.result["error"]["message"] == f"--out {out} must be a new file; got an existing one."
    assert edgetl("deploy", run_folder.path, "--out", tmp_path, "--force").exit == 2
    nowhere = edgetl("deploy", run_folder.path, "--out", tmp_path / "no" / "x.edgetl")
    assert "in an existing folder; got a missing one" in nowhere.result["error"]["message"]


def test_folder_without_a_run_is_said(edgetl, tmp_path):
    answer = edgetl("deploy", tmp_path, "--out", tmp_path / "x.edgetl")
    assert (answer.exit, answer.result["error"]["type"]) == (1, "RunError")
    assert answer.result["error"]["message"] == f"run {tmp_path} must be a finished run; got no run.json."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[contract]\nmax_drop = 1", r"key 'max_drop' in"),
        ("max_drop_pp = 0.1", "table [max_drop_pp] in"),
        ("[deploy]\ntarget = 'local'", "with a table [contract]; got none"),
        ("[contract]\nmax_flips_pct = -2", "--max-flips-pct must be 0 or above; got -2"),
        ("[contract]\nmax_escapes_of = { hoel = 0 }", "a class of the contract must be one of the run's; got 'hoel'"),
        ("[contract]\nmax_escape = 0", "key 'max_escape' in"),
        ("[contract]\nmax_escapes_of = 1", "max_escapes_of must be"),
    ],
)
def test_contract_file_is_read_strictly(text, words, run_folder, edgetl, tmp_path):
    file = tmp_path / "contract.toml"
    file.write_text(text)
    answer = edgetl("deploy", run_folder.path, "--out", tmp_path / "x.edgetl", "--contract", file)
    assert answer.exit == 2
    assert words in answer.result["error"]["message"]


def test_configuration_and_contract_come_from_files_and_options_win(run_folder, tmp_path, monkeypatch):
    import argparse

    from edgetl.deploy import judged

    seen = []

    class Stop(Exception):  # noqa: N818
        pass

    def keep(folder, run, profile, config, contract):
        seen.append((profile.name, config, contract))
        raise Stop

    monkeypatch.setattr(judged, "ask", keep)
    config, contract = tmp_path / "edgetl.toml", tmp_path / "contract.toml"
    config.write_text('[deploy]\ntarget = "jetson"\nline = "a"\n[contract]\nmax_escapes = 3\n[finetune]\nseed = 1\n')
    contract.write_text("[contract]\nmax_flips_pct = 1\nmax_escapes = 5\n")
    parser = argparse.ArgumentParser()
    deploy.add_arguments(parser)
    common = [str(run_folder.path), "--out", str(tmp_path / "x.edgetl"), "--config", str(config), "--line", "b"]
    for further in ([], ["--contract", str(contract), "--max-flips-pct", "4"]):
        with pytest.raises(Stop):
            deploy.run(parser.parse_args([*common, *further]))
    (target, asked, first), (_, _, second) = seen
    assert (target, asked.target, asked.line) == ("jetson-orin-nano", "jetson", "b")
    assert (first.of_task["max_escapes"], first.max_flips_pct) == (3, 2.0)
    assert (second.of_task["max_escapes"], second.max_flips_pct) == (5, 4.0)


@pytest.mark.parametrize("file", ["split.csv", "weights.safetensors"])
@pytest.mark.parametrize("command", ["deploy", "export", "search"])
def test_files_of_two_runs_in_one_folder_are_never_taken_for_one(command, file, run_folder, edgetl, tmp_path):
    path = run_folder.path / file
    content = path.read_bytes()
    other = content.replace(b",test,", b",train,", 1) if file == "split.csv" else content[:-1] + b"\x00"
    assert other != content
    path.write_bytes(other)
    answer = edgetl(command, run_folder.path, "--out", tmp_path / "out")
    assert (answer.exit, answer.result["error"]["type"]) == (1, "RunError"), answer
    assert f"{path} must be the one that run.json was written with; got another" in answer.result["error"]["message"]
    assert not (tmp_path / "out").exists()


def test_bundle_is_made_by_one_process_at_a_time(run_folder, edgetl, tmp_path):
    out = tmp_path / "x.edgetl"
    with file_taken(out, "edgetl deploy"):
        for command in ("deploy", "export"):
            answer = edgetl(command, run_folder.path, "--out", out, "--force")
            assert (answer.exit, answer.result["error"]["type"]) == (1, "InUseError")
            assert answer.result["error"]["message"].startswith(f"the file {out} must be free; got edgetl deploy (")
    assert not out.exists()


def test_run_is_not_replaced_while_it_is_deployed_and_not_deployed_while_it_is_written(
    run_folder, blob_parts, edgetl, tmp_path
):
    folder = run_folder.path
    with reading(folder, "edgetl deploy"):
        answer = edgetl("finetune", blob_parts, "--out", folder, "--force")
    assert (answer.exit, answer.result["error"]["type"]) == (1, "InUseError")
    assert run_folder.read()
    with taken(folder, "edgetl finetune"):
        for command in ("deploy", "export", "search"):
            answer = edgetl(command, folder, "--out", tmp_path / "out")
            assert (answer.exit, answer.result["error"]["type"]) == (1, "InUseError")
            assert answer.result["error"]["message"].startswith(
                f"the folder {folder} must be free; got edgetl finetune"
            )


LOCAL = ("--target", "local", "--backend", "onnxruntime", "--max-drop-pp", 50, "--max-flips-pct", 50, "--rungs", 1)


@pytest.fixture
def deploy_here(deployed, edgetl, tmp_path):
    """Deploys a copy of the deployed run for this machine."""
    run = shutil.copytree(deployed.run, tmp_path / "copy")

    def call(*options):
        return edgetl("deploy", run, "--out", tmp_path / "x.edgetl", *LOCAL, *options)

    return call


def test_one_disturbed_round_does_not_change_what_is_chosen(deploy_here, programmed):
    """Int8 takes 2.1 ms, float 7.9; for as long as a round used to last int8 takes 30 times as long."""
    disturbed = (3.0, 6.0)

    def latency_ms(candidate, now_s):
        if candidate.precision == "int8":
            return 2.1 * (30 if disturbed[0] < now_s < disturbed[1] else 1)
        return 7.9

    programmed(latency_ms, foreign_cores=1.0)
    answer = deploy_here("--threads", 1)
    assert (answer.exit, answer.result["chosen"]) == (0, "onnxruntime-int8-t1"), answer
    p99 = {c["id"]: c["latency_ms"]["p99"] for c in answer.result["candidates"]}
    assert p99["onnxruntime-int8-t1"] > p99["onnxruntime-f32-t1"]  # by which it used to be chosen
    assert [note["reason"] for note in answer.result["notes"]] == ["fastest", "disturbed"]
    shown = deploy.show(answer.result).splitlines()
    assert any(line.startswith("chosen by p50 on this machine") for line in shown)
    assert any(line.startswith("disturbed: other work kept 1.0 cores busy") for line in shown)
    assert answer.result["note"] == "; ".join(note["text"] for note in answer.result["notes"])


@pytest.fixture
def unsettled(programmed, monkeypatch):
    """A machine on which two candidates change places all the time, and a short patience."""
    from edgetl.deploy import latency

    monkeypatch.setattr(latency, "SETTLE_S", 2.0)
    flip = {"int8": [2.0, 4.0], "f32": [4.0, 2.0]}
    programmed(lambda c, now_s: flip[c.precision][int(now_s / 3.1) % 2])


def test_a_choice_that_is_not_decided_is_exit_4_before_test_is_looked_at(deploy_here, unsettled, tmp_path):
    looks = RunFolder(tmp_path / "copy").read().test_looks
    answer = deploy_here("--threads", 1)
    assert (answer.exit, answer.result["error"]["type"]) == (4, "UnfitError"), answer
    assert "the choice of the fastest candidate must be decided to within 3%" in answer.result["error"]["message"]
    assert "--allow-disturbed" in answer.result["error"]["try"]
    assert not (tmp_path / "x.edgetl").exists()
    assert RunFolder(tmp_path / "copy").read().test_looks == looks


def test_a_choice_that_is_not_decided_ships_on_request_and_says_so(deploy_here, unsettled):
    answer = deploy_here("--threads", 1, "--allow-disturbed")
    assert answer.exit == 0, answer
    assert [note["reason"] for note in answer.result["notes"]] == ["undecided"]
    assert "not decided which is fastest: onnxruntime-" in deploy.show(answer.result)


def test_disturbed_is_said_beside_any_other_note(deploy_here, programmed):
    """No INT8 keeps the contract, and other work was there: both are said."""
    programmed(lambda c, _: 9.0 if c.precision == "int8" else 2.0, foreign_cores=1.5)
    answer = deploy_here("--threads", 1, "--p50-ms", 5)
    assert (answer.exit, answer.result["chosen"]) == (0, "onnxruntime-f32-t1"), answer
    assert [note["reason"] for note in answer.result["notes"]] == ["fastest", "no int8", "disturbed"]
    assert "p50 9.00 ms > 5.00" in answer.result["note"]
    assert "disturbed: other work kept 1.5 cores busy" in answer.result["note"]
