"""The host's command line as a person types it: the station's words work here too, and mistakes lead somewhere."""

from __future__ import annotations

import json
import sys

import cv2
import numpy as np
import pytest

from edgetl.__main__ import main
from edgetl.cli import COMMANDS, GROUPS
from edgetl_runtime.cli import COMMANDS as STATION


@pytest.fixture
def call(monkeypatch, capsys):
    def run(*words):
        monkeypatch.setattr(sys, "argv", ["edgetl", *map(str, words)])
        code = main()
        return code, *capsys.readouterr()

    return run


def test_predict_info_and_verify_are_the_runtimes_own(call, tiny_bundle, tmp_path):
    bundle, part = tiny_bundle(), tmp_path / "part.png"
    cv2.imwrite(str(part), np.full((20, 20, 3), 90, np.uint8))
    code, out, _ = call("predict", bundle, part, "--json")
    assert (code, json.loads(out)["schema"], len(json.loads(out)["decisions"])) == (0, "edgetl.predict/1", 1)
    code, out, _ = call("info", bundle, "--json")
    assert (code, json.loads(out)["schema"]) == (0, "edgetl.info/1")
    code, out, _ = call("verify", bundle, "--json")
    assert (code, json.loads(out)["schema"]) == (0, "edgetl.verify/1")
    assert all(COMMANDS[name] == STATION[name] for name in ("predict", "info", "verify"))


@pytest.mark.parametrize("name", sorted(set(STATION) - set(COMMANDS)))
def test_a_command_of_the_station_names_its_program(name, call):
    code, _, err = call(name)
    assert code == 2
    assert f"Try: edgetl-runtime {name}" in err


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("backbones", "list"), "edgetl backbones\n"),
        (("backbones", "show", "mobilenetv2_100"), "edgetl backbones\n"),
        (("export", "runs/screws", "m.onnx"), "edgetl export runs/screws --out m.onnx\n"),
        (("deploy", "runs/screws", "screws.edgetl", "--target", "local"),
         "edgetl deploy runs/screws --target local --out screws.edgetl\n"),
        (("finetune", "my parts", "runs/screws"), "edgetl finetune 'my parts' --out runs/screws\n"),
        (("export", "runs/screws"), "edgetl export runs/screws --out FILE.onnx\n"),
        (("finetune", "parts", "--out", "runs/x", "--epochs", "50"), "--preset best"),
        (("finetune", "parts", "--out", "runs/x", "--lr=0.1"), "--preset"),
        (("search", "parts", "--out", "x", "--batch-size", "8"), "--preset"),
        (("devices", "lst"), "'list' instead of 'lst'"),
        (("keys", "new", "line.key", "--wiht-rot"), "edgetl keys new --help"),
        (("info", "a.edgetl", "b.edgetl"), "edgetl info a.edgetl\n"),
        (("train", "parts"), "edgetl finetune"),
    ],
)  # fmt: skip
def test_mistakes_lead_somewhere(words, fix, call):
    code, out, err = call(*words)
    assert (code, out) == (2, "")
    assert fix in err.partition("\nTry: ")[2], err


def test_help_groups_commands_in_the_order_of_the_work(call):
    code, out, _ = call("--help")
    assert (code, list(GROUPS)) == (0, ["train", "deploy", "deliver", "measure", "look"])
    places = [out.index(f"\n{title}\n") for title in GROUPS]
    assert places == sorted(places)
    order = [out.index(f"\n  {name} ") for name in COMMANDS]
    assert order == sorted(order)
    assert list(COMMANDS)[:2] == ["quickstart", "finetune"]
