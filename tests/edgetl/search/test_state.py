"""The state: what was found survives, and belongs to what was asked for."""

from __future__ import annotations

import pytest

from edgetl.errors import RunError
from edgetl.search.state import SearchState
from edgetl_runtime.errors import UsageError

ASKED = {"search": {"target": "local", "threads": [1]}, "finetune": None}


@pytest.fixture
def path(tmp_path):
    state = SearchState(tmp_path / "state.json", ASKED, resume=False)
    state.of("a")["points"] = [{"accuracy": 0.1 + 0.2}]
    state.timed = [{"network": "a"}]
    state.save()
    return state.path


def test_resumed_state_is_what_was_saved(path):
    state = SearchState(path, ASKED, resume=True)
    assert state.of("a") == {"why": "", "points": [{"accuracy": 0.1 + 0.2}]}
    assert state.timed == [{"network": "a"}]
    assert SearchState.fits(path, ASKED)


def test_fresh_state_forgets(path):
    assert SearchState(path, ASKED, resume=False).networks == {}


def test_other_options_are_refused(path):
    other = {**ASKED, "search": {"target": "local", "threads": [2]}}
    with pytest.raises(UsageError, match=r"search on --resume must be .*as when the search was started"):
        SearchState(path, other, resume=True)
    assert not SearchState.fits(path, other)


@pytest.mark.parametrize("text", ['{"schema": "edgetl.search.st', "[]", '{"schema": "x"}'])
def test_damaged_state_is_one_sentence(path, text):
    path.write_text(text)
    with pytest.raises(RunError, match=r"state.json must be"):
        SearchState(path, ASKED, resume=True)
    assert not SearchState.fits(path, ASKED)


def test_nothing_to_resume_is_said(tmp_path):
    with pytest.raises(UsageError, match="--resume must be used on a search that was started"):
        SearchState(tmp_path / "state.json", ASKED, resume=True)
