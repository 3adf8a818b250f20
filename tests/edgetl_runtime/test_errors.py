from __future__ import annotations

import builtins
import inspect
import json

import pytest

from edgetl_runtime import errors
from edgetl_runtime.errors import EdgetlError

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, EdgetlError)]
EXIT_CODES = {"UsageError": 2, "ContractError": 3, "UnfitError": 4}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_one_sentence_and_a_fix(cls):
    error = cls("--seed", "an integer", "'abc'", fix="--seed 7")
    assert str(error) == "--seed must be an integer; got 'abc'.\nTry: --seed 7"
    assert error.to_mapping() == {
        "type": cls.__name__,
        "what": "--seed",
        "must": "an integer",
        "got": "'abc'",
        "message": "--seed must be an integer; got 'abc'.",
        "try": "--seed 7",
    }


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_has_its_exit_code_and_stands_in_the_drawn_tree(cls):
    assert cls.exit_code == EXIT_CODES.get(cls.__name__, 1)
    assert cls.__name__ in errors.__doc__


def test_errors_are_also_the_builtins_callers_expect():
    for cls in CLASSES:
        line = next(words for words in errors.__doc__.splitlines() if cls.__name__ in words)
        if "(" in line:
            assert issubclass(cls, getattr(builtins, line.split("(")[1].split(")")[0]))


def test_error_escapes_what_a_terminal_would_obey():
    error = EdgetlError("image \x1b[31m\n\udcfc", "an image", "ünïcødé 缺陷", fix="x")
    assert error.sentence == r"image \x1b[31m\n\udcfc must be an image; got ünïcødé 缺陷."
    assert str(error).encode()


def test_an_error_may_have_a_sentence_of_its_own_and_keeps_its_fields():
    error = EdgetlError("the disk", "with room", "none", fix="df -h", sentence="The disk is full.\x1b[0m")
    assert str(error) == "The disk is full.\\x1b[0m\nTry: df -h"
    assert (error.what, error.must, error.got, error.fix) == ("the disk", "with room", "none", "df -h")


@pytest.mark.parametrize("cls", CLASSES)
def test_every_error_is_rebuilt_from_its_fields(cls):
    told = json.loads(json.dumps(cls("a must be b; got c", "x; got y", "z.", fix="w", sentence="No.").to_mapping()))
    found = EdgetlError.from_mapping(told)
    assert (type(found), found.to_mapping(), found.exit_code) == (cls, told, cls.exit_code)
    there = EdgetlError.from_mapping(told, where="on the device")
    assert there.to_mapping() == {**told, "message": "on the device: No."}


@pytest.mark.parametrize(
    "told",
    [
        None,
        [],
        {},
        {"type": "SystemExit"},
        {"type": ["UsageError"], "message": 7},
        {"type": "__class__", "what": None, "must": {}, "got": b"", "try": []},
        {"type": "LaterError", "message": "\x1b[2J" * 5000},
    ],
)
def test_a_hostile_or_empty_mapping_is_an_error_of_the_root(told):
    found = EdgetlError.from_mapping(told, exit_code=3)
    assert (type(found), found.exit_code) == (EdgetlError, 3)
    assert all(found.to_mapping().values())
    assert "\x1b" not in str(found)
    assert len(str(found)) < 30_000


def test_an_exit_code_that_would_mean_success_is_not_taken():
    assert [EdgetlError.from_mapping({}, exit_code=code).exit_code for code in (0, -9, 256, None)] == [1, 1, 1, 1]


def test_an_error_that_needs_more_than_its_fields_is_not_rebuilt():
    class NeedsMoreError(EdgetlError):
        def __init__(self, *, needed):
            raise AssertionError(needed)

    assert type(EdgetlError.from_mapping({"type": "NeedsMoreError"})) is EdgetlError


@pytest.mark.parametrize(
    ("name", "reason", "fix"),
    [
        ("absent/a b.toml", "No such file or directory", "correct the path; ls {0}"),
        ("folder", "Is a directory", "name a file in it; ls {0}/folder"),
        ("file/below", "Not a directory", "correct the path; ls -l {0}/file"),
    ],
)
def test_a_file_that_cannot_be_read_says_why_and_what_to_do(tmp_path, name, reason, fix):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=reason) as caught:
        (tmp_path / name).read_bytes()
    error = errors.unreadable(errors.UsageError, f"--config {name}", caught.value, path=tmp_path / name)
    assert error.sentence == f"cannot read --config {name}: {reason}."
    assert (error.must, error.got) == ("a readable file", reason)
    assert error.fix == fix.format(tmp_path)


def test_a_path_whose_folders_are_missing_too_is_looked_for_where_there_is_something(tmp_path):
    absent = FileNotFoundError(2, "No such file or directory")
    error = errors.unreadable(errors.UsageError, "x", absent, path=tmp_path / "no" / "where" / "x")
    assert error.fix == f"correct the path; ls {tmp_path}"
    assert errors.unreadable(errors.UsageError, "x", absent, path="no/where/x").fix == "correct the path; ls ."
