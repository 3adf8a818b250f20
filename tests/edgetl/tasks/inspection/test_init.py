"""Inspection on the host: what it claims, and what may be asked of it."""

from __future__ import annotations

import pytest

from edgetl import tasks
from edgetl.tasks.inspection import Aims
from edgetl_runtime.errors import UsageError


@pytest.mark.parametrize(
    ("classes", "aims", "name"),
    [
        (["OK", "dent"], {}, "inspection"),
        (["crack", "dent"], {}, "sorting"),
        (["ok", "good"], {}, "sorting"),
        (["no_screw", "screw"], {}, "inspection"),  # may mean either: it asks
        (["m3", "m4"], {"defect": ("m4",)}, "inspection"),
        (["OK", "dent"], {"max_error_rate": 0.01}, "sorting"),
    ],
)
def test_the_classes_and_what_is_asked_for_say_which_task_it_is(classes, aims, name):
    assert tasks.fitting(classes, name=None, aims=aims).name == name
    assert tasks.fitting(classes, name="sorting", aims={}).name == "sorting"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"escape_cost": 0.0}, "--escape-cost must be above 0"),
        ({"max_escape_rate": 1.0}, "--max-escape-rate must be from 0 to below 1"),
        ({"unsure_band": 1.0}, "--unsure-band must be from 0 to below 1"),
        ({"escape_cost": 5.0, "max_escape_rate": 0.1}, "--escape-cost must be given without --max-escape-rate"),
        ({"max_error_rate": 0.1}, "key 'max_error_rate'"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_by_name(values, words):
    with pytest.raises(UsageError) as caught:
        tasks.get("inspection").aims(values)
    assert words in caught.value.sentence


def test_an_escape_costs_five_times_an_overkill_unless_somebody_says_otherwise():
    assert (Aims().cost, Aims(escape_cost=2.0).cost) == (5.0, 2.0)
