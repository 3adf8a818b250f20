"""Which classes are good and which are defects: said first, and asked for at a terminal alone."""

from __future__ import annotations

import argparse
import io
import sys

import pytest

from edgetl.api.settling import settle_task
from edgetl.cli.asking import asking
from edgetl.config import FinetuneConfig
from edgetl.progress import Progress
from edgetl_runtime.errors import UsageError


class Stream(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, text="", *, terminal=True):
        super().__init__(text)
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.fixture
def parts(make_parts, tmp_path):
    return make_parts(tmp_path / "parts", counts={"no_screw": 5, "screw": 5, "dent": 5})


@pytest.fixture
def settle(parts, monkeypatch):
    """Settles the classes of the parts: settle(answer, terminal=…, **arguments) → (configuration, what was said)."""

    def run(answer="", *, terminal=True, defect=None, **arguments):
        said = Stream(terminal=terminal)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", Stream(answer, terminal=terminal))
            patch.setattr(sys, "stderr", said)
            config = FinetuneConfig(data=str(parts), aims={} if defect is None else {"defect": defect})
            progress = Progress()
            found = settle_task(config, progress, asking(argparse.Namespace(**arguments), progress))
        return found, said.getvalue().splitlines()

    return run


def test_answer_at_a_terminal_is_what_the_run_remembers(settle):
    config, said = settle("no_screw, dent\n", json=False)
    assert config.aims == {"defect": ("no_screw", "dent")}
    assert said[1].startswith("Try: --defect dent screw if no_screw is good, or --defect dent no_screw")
    assert said[2:] == [
        "Which are defects? Commas between them; dent, no_screw, screw:",
        "good: screw; defects: dent, no_screw",
    ]


@pytest.mark.parametrize(
    ("answer", "where"),
    [
        ("no_screw\n", {"terminal": False, "json": False}),
        ("no_screw\n", {"json": True}),
        ("no_screw\n", {}),
        ("\n", {"json": False}),
        ("", {"json": False}),
    ],
    ids=["no terminal", "JSON", "inside another command", "no answer", "end of input"],
)
def test_without_an_answer_it_ends_as_a_mistake_in_the_options(answer, where, settle):
    with pytest.raises(UsageError, match="--defect must be given"):
        settle(answer, **where)


def test_what_was_given_is_not_asked_for(settle):
    config, said = settle("x\n", defect=("screw",), json=False)
    assert (config.aims, said) == ({"defect": ("screw",)}, ["good: dent, no_screw; defects: screw"])
    with pytest.raises(UsageError, match="--defect must be a class of the data"):
        settle("screw\n", defect=("scrow",), json=False)
