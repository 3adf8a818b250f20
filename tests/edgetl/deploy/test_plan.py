"""What is tried for each target: in the profile's order, the float model always among it."""

from __future__ import annotations

import dataclasses

import pytest

from edgetl import profiles
from edgetl.deploy.plan import narrowed, plan
from edgetl.profiles import Figure
from edgetl_runtime.errors import UsageError


@pytest.mark.parametrize("name", [p.name for p in profiles.all_profiles()])
def test_plan_follows_the_profile_and_holds_a_float_model(name):
    profile = profiles.get(name)
    planned = plan(profile, cores=2)
    offered = [(choice.name, precision) for choice in profile.backends for precision in choice.precisions]
    assert [(p.backend, p.precision) for p in planned] == offered
    assert any(p.precision == "f32" for p in planned)
    for p in planned:
        assert p.backend in p.recipe.file.backends
        assert p.recipe.file.precision == p.precision
        assert p.threads == ((1, 2) if profile.measured_here else (None,))


@pytest.mark.parametrize("name", [p.name for p in profiles.all_profiles()])
def test_plan_of_one_precision_keeps_the_float_model_beside_it(name):
    profile = profiles.get(name)
    for precision in {precision for choice in profile.backends for precision in choice.precisions}:
        assert {p.precision for p in plan(profile, cores=2, precision=precision)} == {precision, "f32"}


def test_plan_names_what_a_target_offers_where_the_precision_is_not_among_it():
    with pytest.raises(UsageError, match=r"--precision must be one of ipc-openvino's: bf16, f32, int8; got f16\."):
        plan(profiles.get("ipc-openvino"), cores=2, precision="f16")


@pytest.mark.parametrize(
    ("cap", "cores", "threads"), [(None, 1, (1,)), (None, 8, (1, 8)), (4, 8, (1, 4)), (4, 2, (1, 2))]
)
def test_plan_tries_one_thread_and_as_many_as_the_cap_allows(cap, cores, threads):
    figure = Figure(value=cap, source="test") if cap else None
    profile = dataclasses.replace(profiles.get("local"), thread_cap=figure)
    assert {p.threads for p in plan(profile, cores=cores)} == {threads}


@pytest.mark.parametrize(
    ("target", "flags", "needs"),
    [
        ("local", ("avx2", "avx512_vnni"), True),
        ("local", ("asimddp",), True),
        ("local", ("avx2",), False),
        ("ipc-openvino", ("avx512_vnni",), False),  # this machine's flags say nothing of that one
    ],
)
def test_plan_saturates_nowhere(target, flags, needs):
    planned = plan(profiles.get(target), cores=2, cpu_flags=flags)
    int8 = next(p for p in planned if (p.backend, p.precision) == ("openvino", "int8"))
    assert {recipe.needs_vnni for recipe in int8.rungs} == {needs}
    assert {recipe.parameters.overflow_fix for recipe in int8.rungs} == {"disable" if needs else "enable"}


def test_plan_climbs_rungs_of_int8_in_their_order():
    rungs = plan(profiles.get("local"), cores=2, precision="int8")[0].rungs
    assert len(rungs) >= 3
    assert [recipe.file.rung for recipe in rungs] == sorted({recipe.file.rung for recipe in rungs})


def test_ladders_are_cut_to_the_rungs_asked_for_and_single_models_stay():
    planned = plan(profiles.get("jetson"), cores=2)
    assert max(len(p.rungs) for p in planned) > 2
    cut = narrowed(planned, backend=None, threads=None, rungs=2)
    assert [p.rungs for p in cut] == [p.rungs[:2] for p in planned]
    with pytest.raises(UsageError, match=r"--rungs must be at least 1; got 0\."):
        narrowed(planned, backend=None, threads=None, rungs=0)
