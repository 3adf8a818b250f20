"""Progress in Python: told to a callable, silent but for the log, a line of a notebook."""

from __future__ import annotations

import logging
import sys
import types

import pytest

from edgetl.api.progress import NotebookProgress, ToldProgress, bar, progress_of
from edgetl.progress import Progress
from edgetl_runtime.errors import UsageError


class Display:
    """IPython's `display`: keeps what a notebook would show, one entry for each output."""

    def __init__(self):
        self.shown = []

    def __call__(self, data, *, raw, display_id=False):
        assert raw
        self.shown.append([data["text/plain"]])
        outputs = self.shown[-1]
        update = lambda data, *, raw: outputs.append(data["text/plain"])  # noqa: E731
        return types.SimpleNamespace(update=update) if display_id else None


def test_a_stage_without_counts_begins_and_ends():
    told = []
    with ToldProgress(lambda *said: told.append(said)).stage("fit"):
        pass
    assert told == [("fit", 0, 0), ("fit", 1, 1)]


def test_the_end_is_told_once_and_not_after_a_failure():
    told = []
    progress = ToldProgress(lambda *said: told.append(said))
    with progress.stage("a") as advance:
        advance(2, 2)
    with pytest.raises(ZeroDivisionError), progress.stage("b"):
        raise ZeroDivisionError
    assert told == [("a", 0, 0), ("a", 2, 2), ("b", 0, 0)]


def test_silence_is_silent_and_what_people_should_know_is_logged(capsys, caplog):
    progress = progress_of(None)
    with caplog.at_level(logging.INFO, logger="edgetl"), progress.stage("a") as advance:
        advance(1, 2)
        progress.note("good: OK; defects: dent")
    assert capsys.readouterr() == ("", "")
    assert caplog.messages == ["good: OK; defects: dent"]


def test_a_notebook_shows_one_line_for_each_stage(monkeypatch):
    display = Display()
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=display))
    monkeypatch.setattr("edgetl.api.progress.NOTEBOOK_S", 0)
    progress = progress_of("bars")
    assert isinstance(progress, NotebookProgress)
    with progress.stage("decode") as advance:
        advance(1, 4)
    progress.note("done")
    assert display.shown[0][0] == "decode …"
    assert display.shown[0][1].startswith("decode █████░░░░░░░░░░░░░░░ 1/4 img")
    assert display.shown[0][2].startswith("decode: ")
    assert display.shown[1:] == [["done"]]


def test_without_a_notebook_it_is_the_commands(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: None))
    assert type(progress_of("bars")) is Progress


def test_a_bar_without_a_total_is_a_time():
    assert bar("fit", 3, 0, seconds=2, unit="img") == "fit … 2 s"


def test_anything_else_is_refused():
    with pytest.raises(UsageError, match='progress must be "bars", a callable or None'):
        progress_of("bar")
