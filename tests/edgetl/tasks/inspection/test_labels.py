"""Good parts and defects by their names: no guess, and no advice that would exchange them."""

from __future__ import annotations

import pytest

from edgetl.errors import DataError
from edgetl.tasks.inspection.labels import defect_classes
from edgetl_runtime.errors import UsageError


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (["OK", "nok"], ("nok",)),
        (["Good", "dent", "scratch"], ("dent", "scratch")),
        (["defective", "functional"], ("defective",)),
        (["free", "crack"], ("crack",)),
        (["No Defect", "crack"], ("crack",)),
        (["no-defects", "crack"], ("crack",)),
        (["pass", "fail"], ("fail",)),
        (["ok", "good", "bad"], ("bad",)),
        (["good", "no_good"], ("no_good",)),
        (["ok", "No OK", "not ok"], ("No OK", "not ok")),
    ],
)
def test_defect_classes_are_all_but_the_good_ones(classes, expected):
    assert defect_classes(classes, None) == expected


@pytest.mark.parametrize(
    ("classes", "readings"),
    [
        (["no_screw", "screw"], "--defect screw if no_screw is good, or --defect no_screw if not"),
        (["No Screw", "screw"], "--defect screw if No Screw is good, or --defect 'No Screw' if not"),
        (["dent", "no_screw", "screw"], "--defect dent screw if no_screw is good, or --defect dent no_screw if not"),
        (["dent", "no_screw", "ok"], "--defect dent if no_screw is good, or --defect dent no_screw if not"),
        (["mounted", "no_screw"], "--defect mounted if no_screw is good, or --defect no_screw if not"),
        (
            ["crack", "dent", "no_crack", "no_dent"],
            "--defect crack dent if no_crack and no_dent are good, or --defect no_crack no_dent if not",
        ),
        (["dent", "no_screw", "pit"], "--defect CLASS…, naming the defects among dent, no_screw, pit"),
        (["no_screw", "ok"], "--defect CLASS…, naming the defects among no_screw, ok"),
    ],
)
def test_a_name_that_may_be_good_or_a_defect_needs_an_answer(classes, readings):
    with pytest.raises(
        UsageError, match="--defect must be given where a name may mean good parts or a defect"
    ) as caught:
        defect_classes(classes, None)
    assert caught.value.fix == readings


@pytest.mark.parametrize("classes", [["screw", "missing"], ["okay", "notok"]])
def test_defect_classes_asks_where_nothing_is_named_like_good_parts(classes):
    with pytest.raises(DataError, match="the good parts must be named ok, good") as caught:
        defect_classes(classes, None)
    assert caught.value.fix == f"--defect CLASS…, naming the defects among {', '.join(classes)}"


def test_defect_classes_asks_where_everything_is_named_like_good_parts():
    with pytest.raises(UsageError, match="named like good parts; got nothing, and only free, ok"):
        defect_classes(["free", "ok"], None)


def test_defect_classes_takes_the_chosen_ones_in_the_order_of_the_classes():
    assert defect_classes(["a", "b", "c"], ["c", "a"]) == ("a", "c")
    assert defect_classes(["no_screw", "screw"], ["no_screw"]) == ("no_screw",)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [(["mising"], "'missing' instead of 'mising'"), ([], "at least one"), (["missing", "screw"], "not all of")],
)
def test_defect_classes_refuses_wrong_choices(chosen, message):
    with pytest.raises(UsageError, match=message):
        defect_classes(["missing", "screw"], chosen)


def test_good_parts_are_never_suggested_as_a_defect():
    with pytest.raises(UsageError) as caught:
        defect_classes(["crack", "dent", "ok"], ["nok"])
    assert caught.value.fix == "one of crack, dent"
