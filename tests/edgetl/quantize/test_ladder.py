"""Rungs are climbed only while terms are missed, and as few evaluations as possible are spent on it."""

from __future__ import annotations

import dataclasses

import pytest

from edgetl.quantize import ladder, recipe

PLAIN = recipe.get("onnxruntime-int8")
MIXED = recipe.get("onnxruntime-int8-mixed")


def rung(name, number, *, mixed=False):
    base = MIXED if mixed else PLAIN
    return dataclasses.replace(base, name=name, file=dataclasses.replace(base.file, rung=number))


@dataclasses.dataclass
class Maker:
    """Models are words: a recipe's name, then how many layers are in float."""

    layers: tuple[str, ...] = tuple("abcdefghijklmnop")
    made: list = dataclasses.field(default_factory=list)

    def make(self, recipe):
        self.made.append(recipe.name)
        return recipe.name.encode(), {"recipe": recipe.name}

    def ranked(self, recipe, model):
        return self.layers

    def restored(self, recipe, model, layers):
        assert tuple(layers) == self.layers[: len(layers)]
        return model + f"+{len(layers)}".encode()


@dataclasses.dataclass
class Judge:
    """A model keeps the terms if it is among `good`, or has at least `needed` layers in float."""

    good: tuple[str, ...] = ()
    needed: int = 99
    close: tuple[str, ...] = ()
    asked: list = dataclasses.field(default_factory=list)

    def __call__(self, model, name):
        word = model.decode()
        self.asked.append(word)
        in_float = int(word.partition("+")[2] or 0)
        kept = word in self.good or in_float >= self.needed
        flips = 20 - in_float
        why = () if kept else (f"flips {flips}",)
        close = ("flips",) if word in self.close else ()
        said = {"drop_pp": 0.0, "flips": flips, "likely_flips": float(flips), "why": why, "close": close}
        return {"val": {"accuracy": 0.9}, "counts": {"escapes": 1}, **said}


def test_climb_stops_at_the_first_rung_that_keeps_the_terms():
    maker, judge = Maker(), Judge(good=("b",))
    climbed = ladder.climb([rung("a", 0), rung("b", 1), rung("c", 2)], maker, judge)
    assert maker.made == judge.asked == ["a", "b"]
    assert (climbed.recipe.name, climbed.model, climbed.step.rung, climbed.evaluations) == ("b", b"b", 1, 2)
    assert [step.why for step in climbed.steps] == [("flips 20",), ()]


def test_climb_goes_on_where_a_term_is_kept_by_less_than_chance_may_take_away():
    judge = Judge(good=("a", "b"), close=("a",))
    assert ladder.climb([rung("a", 0), rung("b", 1)], Maker(), judge).model == b"b"


def test_no_layer_is_kept_in_float_for_a_term_that_is_just_kept():
    judge = Judge(good=("b",), close=("b",), needed=1)
    climbed = ladder.climb([rung("b", 0), rung("m", 4, mixed=True)], Maker(), judge)
    assert (climbed.model, judge.asked) == (b"b", ["b"])
    judge = Judge(good=("m",), close=("m",), needed=2)
    assert ladder.climb([rung("m", 4, mixed=True)], Maker(), judge).model == b"m"


def test_climb_takes_what_just_keeps_the_terms_where_nothing_does_better_and_trains_nothing_for_it():
    judge = Judge(good=("b",), close=("b",))
    taught = rung("t", 5)
    taught = dataclasses.replace(taught, file=dataclasses.replace(taught.file, retrain="asymmetric"))
    climbed = ladder.climb([rung("a", 0), rung("b", 1), rung("c", 2), taught], Maker(), judge)
    assert (climbed.model, climbed.judged["why"]) == (b"b", ())
    assert [step.name for step in climbed.steps] == ["a", "b", "c"]


def test_climb_gives_the_least_bad_where_none_keeps_the_terms():
    judge = Judge()
    climbed = ladder.climb([rung("a", 0), rung("m", 4, mixed=True), rung("z", 5)], Maker(), judge)
    assert climbed.model == b"m+16"
    assert climbed.judged["why"] == ("flips 4",)
    assert len(climbed.steps) == 3


@pytest.mark.parametrize("needed", range(1, 17))
def test_mixed_rung_finds_the_fewest_layers_in_few_evaluations(needed):
    judge = Judge(needed=needed)
    climbed = ladder.climb([rung("m", 4, mixed=True)], Maker(), judge)
    assert climbed.model == f"m+{needed}".encode()
    assert climbed.evidence["kept_float"] == list("abcdefghijklmnop"[:needed])
    assert climbed.step.kept_float == tuple("abcdefghijklmnop"[:needed])
    assert climbed.evaluations == len(judge.asked) == len(set(judge.asked)) <= 9


def test_mixed_rung_that_keeps_the_terms_as_it_is_keeps_no_layer_in_float():
    climbed = ladder.climb([rung("m", 4, mixed=True)], Maker(), Judge(good=("m",)))
    assert (climbed.model, climbed.evaluations, climbed.step.kept_float) == (b"m", 1, ())


def test_mixed_rung_without_layers_to_keep_is_judged_once():
    assert ladder.climb([rung("m", 4, mixed=True)], Maker(layers=()), Judge()).evaluations == 1


def test_equal_models_are_judged_once():
    class Same(Maker):
        def make(self, recipe):
            return b"m", {"recipe": recipe.name}

    judge = Judge(needed=1)
    climbed = ladder.climb([rung("a", 0), rung("m", 4, mixed=True)], Same(), judge)
    assert judge.asked == ["m", "m+1"]
    assert [step.evaluations for step in climbed.steps] == [1, 1]


def test_record_holds_every_step_in_plain_words():
    record = ladder.climb([rung("a", 0), rung("b", 1)], Maker(), Judge(good=("b",))).record()
    assert (record["rung"], record["evaluations"]) == (1, 2)
    assert [(step["name"], step["flips"]) for step in record["steps"]] == [("a", 20), ("b", 20)]


def test_climb_refuses_no_rungs():
    with pytest.raises(ValueError, match="without rungs"):
        ladder.climb([], Maker(), Judge())
