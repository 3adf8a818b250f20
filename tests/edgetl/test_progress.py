"""What people see of long work: one line per stage, on stderr only, nothing when quiet."""

from __future__ import annotations

import re
import sys

import pytest

from edgetl.progress import Progress


def test_stage_is_one_line_on_stderr(capsys):
    with Progress().stage("decode") as advance:
        advance(3, 10)
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"decode: \d+\.\d s\n", err)


def test_stage_says_the_rate_of_long_work(capsys, monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr("edgetl.progress.time.monotonic", lambda: next(clock))
    with Progress().stage("train", unit="img") as advance:
        advance(100, 100)
    assert capsys.readouterr().err == "train: 2.0 s, 50 img/s\n"


def test_quiet_shows_nothing(capsys):
    progress = Progress(quiet=True)
    progress.note("words")
    with progress.stage("decode") as advance:
        advance(1, 2)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_that_goes_away(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress().stage("decode") as advance:
        advance(1, 2)
    assert re.search(r"\x1b\[2Kdecode: \d+\.\d s\n$", capsys.readouterr().err)


@pytest.mark.parametrize("total", [None, 0, 8])
def test_a_stage_without_a_total_shows_the_time_that_passed_and_no_empty_bar(total, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Progress().stage("calibrate") as advance:
        if total is not None:
            advance(3, total)
    shown = capsys.readouterr().err
    assert "/?" not in shown
    assert ("ETA" in shown, "3/8" in shown) == (bool(total), bool(total))
    assert bool(total) or re.search(r"calibrate\x1b?.*0:00:0", shown)


def test_a_failing_stage_is_not_reported_as_done(capsys):
    with pytest.raises(ZeroDivisionError), Progress().stage("decode"):
        raise ZeroDivisionError
    assert capsys.readouterr().err == ""
