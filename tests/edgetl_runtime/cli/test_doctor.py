from __future__ import annotations

from pathlib import Path

from edgetl_runtime.__main__ import main

TREES = Path(__file__).parents[1] / "doctor" / "trees"


def test_doctor_examines_this_machine(run):
    code, result = run("doctor")
    assert (result["schema"], code) == ("edgetl.doctor/1", result["exit"])
    assert result["facts"]["kernel"]
    assert {"board", "cpu", "disk", "memory", "python"} <= {finding["topic"] for finding in result["findings"]}


def test_doctor_imports_nothing_from_the_folder_that_it_is_called_in(run, planted_modules):
    assert run("doctor")[1]["facts"]["kernel"]
    assert not planted_modules.exists()


def test_doctor_exits_4_when_the_power_mode_is_lower_than_the_contract_assumes(run):
    code, result = run("doctor", "--recorded", str(TREES / "orin-nano-jp6.txt"), "--power-mode", "25W")
    assert (code, result["worst"]) == (4, "fail")
    assert result["findings"][0]["found"] == "power mode 15W is lower than 25W, which the contract assumes"
    assert result["findings"][0]["command"] == "sudo nvpmodel -m 1"


def test_doctor_judges_by_what_a_bundle_needs(run, tiny_bundle):
    bundle = tiny_bundle(target={"contract_power_mode": "MAXN_SUPER"})
    code, result = run("doctor", "--recorded", str(TREES / "orin-nano-jp6.txt"), "--bundle", str(bundle))
    assert code == 4
    assert result["findings"][0]["command"] == "sudo nvpmodel -m 2"


def test_doctor_exits_0_with_warnings_only(run):
    code, result = run("doctor", "--recorded", str(TREES / "thor-jp7.txt"))
    assert (code, result["worst"], result["profile"]) == (0, "warn", "jetson-thor")
    assert (result["facts"]["jetpack"], result["facts"]["tensorrt"]) == ("7.0", "10.13.3.9")


def test_doctor_keeps_a_recording_that_can_be_examined_again(run, tmp_path):
    _, here = run("doctor", "--record", str(tmp_path / "here.txt"))
    _, again = run("doctor", "--recorded", str(tmp_path / "here.txt"))
    assert again["facts"] == here["facts"]
    code, refused = run("doctor", "--record", str(tmp_path / "here.txt"))
    assert code == 2
    assert refused["error"]["message"].startswith("--record must be a new file; got")


def test_doctor_refuses_what_is_no_recording(run, tmp_path):
    code, result = run("doctor", "--recorded", str(tmp_path / "absent"))
    assert (code, result["error"]["type"]) == (2, "UsageError")


def test_doctor_shows_each_finding_with_its_command_below(capsys):
    assert main(["doctor", "--recorded", str(TREES / "orin-nano-jp6.txt")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Jetson Orin Nano 8GB, profile jetson-orin-nano-super"
    at = lines.index("  warn     power    power mode 15W is lower than 25W, the board's default")
    assert lines[at + 1].strip() == "> sudo nvpmodel -m 1"
