"""One driver: help for free, one JSON object, one sentence and the right exit code for every error."""

from __future__ import annotations

import errno
import json
import sys
import types
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgetl_runtime.cli import driver
from edgetl_runtime.errors import ContractError, EdgetlError, ImageError, UnfitError, UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

Outcome = dict[str, Any] | BaseException


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run `prog work …` where the command returns or raises `outcome`; return (exit, stdout, stderr)."""

    def run(*argv: str, outcome: Outcome | None = None) -> tuple[int, str, str]:
        module: Any = types.ModuleType("fake_command")

        def work(args: argparse.Namespace) -> dict[str, Any]:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome or {"schema": "edgetl.work/1", "count": args.count}

        def add_arguments(parser: argparse.ArgumentParser) -> None:
            parser.add_argument("--count", type=int, default=1)
            parser.add_argument("--p99-ms", type=float)

        module.add_arguments = add_arguments
        module.run = work
        module.show = lambda result: f"done {result.get('count')}"
        monkeypatch.setitem(sys.modules, "fake_command", module)
        table = {"work": ("fake_command", "Do the work"), "other": ("no.such.module", "Never imported")}
        code = driver.run("prog", table, argv, version="1.2.3")
        return code, *capsys.readouterr()

    return run


@pytest.mark.parametrize("argv", [(), ("--help",), ("-h",), ("help",)])
def test_help_lists_commands_without_importing_them(argv: tuple[str, ...], call: Callable[..., Any]) -> None:
    code, out, _ = call(*argv)
    assert code == 0
    assert "work   Do the work" in out
    assert "other  Never imported" in out


def test_version_and_command_help(call: Callable[..., Any]) -> None:
    assert call("--version") == (0, "prog 1.2.3\n", "")
    code, out, _ = call("work", "--help")
    assert code == 0
    assert all(word in out for word in ("Do the work.", "--count", "--json", "--debug"))


def test_result_is_text_or_one_json_object(call: Callable[..., Any]) -> None:
    assert call("work", "--count", "3") == (0, "done 3\n", "")
    code, out, err = call("work", "--json", "--count", "3")
    assert (code, json.loads(out), err) == (0, {"schema": "edgetl.work/1", "count": 3}, "")


def test_exit_of_the_result_is_the_exit_code(call: Callable[..., Any]) -> None:
    assert call("work", outcome={"schema": "edgetl.work/1", "exit": 4})[0] == 4


@pytest.mark.parametrize(
    ("outcome", "code", "name"),
    [
        (ImageError("a", "b", "c", fix="d"), 1, "ImageError"),
        (UsageError("a", "b", "c", fix="d"), 2, "UsageError"),
        (ContractError("a", "b", "c", fix="d"), 3, "ContractError"),
        (UnfitError("a", "b", "c", fix="d"), 4, "UnfitError"),
        (EdgetlError("a", "b", "c", fix="d"), 1, "EdgetlError"),
        (MemoryError(), 1, "MemoryError"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), 1, "OSError"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), 1, "PermissionError"),
        (KeyboardInterrupt(), 130, "KeyboardInterrupt"),
        (ZeroDivisionError("division by zero"), 1, "ZeroDivisionError"),
    ],
)
def test_errors_are_one_sentence_an_exit_code_and_json(
    outcome: BaseException, code: int, name: str, call: Callable[..., Any]
) -> None:
    found, out, err = call("work", outcome=outcome)
    assert (found, out) == (code, "")
    assert err.startswith(f"{name}: ")
    assert "\nTry: " in err
    assert "Traceback" not in err
    found, out, err = call("work", "--json", outcome=outcome)
    mapping = json.loads(out)
    assert (found, mapping["exit"], mapping["error"]["type"], err) == (code, code, name, "")
    assert set(mapping["error"]) == {"type", "what", "must", "got", "try", "message"}
    assert all(mapping["error"].values())
    assert mapping["error"]["message"].endswith(".")
    assert "Traceback" in call("work", "--debug", outcome=outcome)[2]


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("wrok",), "Try: 'work' instead of 'wrok'"),
        (("--count", "3"), "must be a command; got '--count'"),
        (("work", "--cuont", "3"), "Try: '--count' or"),
        (("work", "--count", "three"), "invalid int value: 'three'"),
        (("work", "--cou", "3"), "prog work: unrecognized arguments: --cou 3."),
        (("work", "--p99-ms", "nan"), "argument --p99-ms: 'nan' is no finite number."),
        (("work", "--p99-ms", "1e999"), "argument --p99-ms: '1e999' is no finite number."),
    ],
)
def test_usage_errors_are_exit_2_and_name_the_nearest(
    argv: tuple[str, ...], words: str, call: Callable[..., Any]
) -> None:
    code, out, err = call(*argv)
    assert (code, out) == (2, "")
    assert words in err
    code, out, _ = call(*argv, "--json")
    assert (code, json.loads(out)["exit"], json.loads(out)["error"]["type"]) == (2, 2, "UsageError")


def test_to_json_gives_valid_json_for_any_figure() -> None:
    text = driver.to_json({
        "nan": float("nan"), "inf": [float("inf")], "np": np.float32(0.5), "npnan": np.float64("nan"),
        "array": np.arange(2), "flag": np.bool_(True), "path": __import__("pathlib").Path("/a"), "none": None, 1: "ä",
    })  # fmt: skip
    assert json.loads(text) == {
        "nan": None, "inf": [None], "np": 0.5, "npnan": None, "array": [0, 1], "flag": True, "path": "/a", "none": None,
        "1": "ä",
    }  # fmt: skip
