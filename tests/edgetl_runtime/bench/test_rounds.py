"""Rounds in real processes, and every reason for which one does not count or nothing is said at all."""

from __future__ import annotations

import dataclasses
import shutil
import signal
from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime.bench import images, rounds
from edgetl_runtime.bench.rounds import Rig, Settings, Target, target
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import BundleError, EdgetlError, GoldenError, UnfitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

QUICK = Settings(iterations=5, seconds=0, warmup_s=0.05, network=False)
ANY = Settings(iterations=5, seconds=0, warmup_s=0.05, network=False, allow_disturbed=True)


@pytest.fixture
def item(tiny_path: Path, tmp_path: Path) -> Target:
    return target(shutil.copy(tiny_path, tmp_path / "part.edgetl"), backend="null")


def rig(item: Target, settings: Settings, *, planned: int = 2) -> Rig:
    with open_bundle(item.path) as bundle:
        return Rig({"A": item}, images.of_bundle(bundle), settings, planned=planned)


def answer(item: Target, **changes: Any) -> dict[str, Any]:
    good = {
        "steady": True,
        "decision_ms": [1.0] * 5,
        "network_ms": [],
        "inside_ms": [],
        "disturbed": [],
        "outputs": "same",
        "bundle_sha256": item.facts.file_sha256,
    }
    return good | changes


@pytest.fixture
def script(play_workers: Callable[..., None]) -> Callable[..., list[Mapping[str, Any]]]:
    """Let processes answer as told, one after the other; return the jobs they got."""

    def play(*answers: dict[str, Any] | str) -> list[Mapping[str, Any]]:
        jobs: list[Mapping[str, Any]] = []
        left = list(answers)

        def ask(job: Mapping[str, Any]) -> dict[str, Any] | str:
            jobs.append(job)
            return left.pop(0) if len(left) > 1 else left[0]

        play_workers(ask)
        return jobs

    return play


def test_target_says_which_artifact(item: Target) -> None:
    facts = item.facts
    assert (facts.name, facts.variant, facts.backend, facts.chosen) == ("part.edgetl", "null-f32", "null", False)
    assert facts.size_bytes == item.path.stat().st_size
    assert facts.classes == ("bad", "ok")


def test_a_round_measures_start_decisions_and_network(item: Target) -> None:
    settings = Settings(iterations=6, seconds=0, warmup_s=0.05, allow_disturbed=True)
    with rig(item, settings) as running:
        found = running.round("A", 3)
    assert (found.side, found.index, found.bundle_sha256) == ("A", 3, item.facts.file_sha256)
    assert len(found.decision_ms) == len(found.inside_ms) == len(found.network_ms) == 6
    assert all(inside < whole for inside, whole in zip(found.inside_ms, found.decision_ms, strict=True))
    assert found.start_ms > found.load_ms > 0
    assert found.first_ms > 0
    assert found.memory_mb > 10
    assert len(found.outputs) == 64
    assert found.late is None


def test_an_open_loop_counts_late_decisions(item: Target) -> None:
    settings = Settings(
        iterations=5, seconds=0, warmup_s=0.05, rate_hz=200, deadline_ms=1e-6, network=False, allow_disturbed=True
    )
    with rig(item, settings) as running:
        assert running.round("A", 0).late == 5


def test_a_bundle_replaced_between_rounds_is_refused(item: Target) -> None:
    with rig(item, ANY) as running:
        running.round("A", 0)
        with item.path.open("ab") as file:
            file.write(b" ")
        with pytest.raises(BundleError):  # seen by the reader, which knows where a bundle ends
            running.round("A", 1)


def test_another_valid_bundle_of_that_name_is_refused(item: Target, script: Any) -> None:
    script(answer(item), answer(item, bundle_sha256="f" * 64))
    with rig(item, QUICK) as running:
        running.round("A", 0)
        with pytest.raises(
            BundleError, match=r"SHA-256 of part.edgetl must be the same in every round; got ffffffffffff"
        ):
            running.round("A", 1)


def test_answers_that_change_from_round_to_round_are_refused(item: Target, script: Any) -> None:
    script(answer(item), answer(item, outputs="other"))
    with rig(item, QUICK) as running:
        running.round("A", 0)
        with pytest.raises(GoldenError, match="the same in every round; got other after same"):
            running.round("A", 1)


def test_disturbed_rounds_are_repeated_and_kept_apart(item: Target, script: Any) -> None:
    script(answer(item, disturbed=["the clock jumped by 99 ms"]), answer(item))
    with rig(item, QUICK) as running:
        assert running.round("A", 0).disturbed == ()
        assert [r.disturbed for r in running.discarded] == [("the clock jumped by 99 ms",)]


def test_a_machine_that_is_always_disturbed_is_unfit(item: Target, script: Any) -> None:
    jobs = script(answer(item, disturbed=["other work took 31 % of the machine"]))
    with rig(item, QUICK, planned=20) as running, pytest.raises(UnfitError) as caught:
        running.round("A", 0)
    assert len(jobs) == 11  # half as many as planned may be repeated
    assert "11 times such as 'other work took 31 % of the machine'" in str(caught.value)
    assert caught.value.exit_code == 4


def test_disturbed_rounds_count_on_request_and_say_so(item: Target, script: Any) -> None:
    script(answer(item, disturbed=["x"]))
    with rig(item, ANY) as running:
        assert running.round("A", 0).disturbed == ("x",)
        assert running.discarded == []


def test_a_killed_round_never_counts(item: Target, script: Any) -> None:
    script("the round was killed by SIGKILL", answer(item))
    with rig(item, ANY) as running:
        assert len(running.round("A", 0).decision_ms) == 5
        assert running.discarded[0].disturbed == ("the round was killed by SIGKILL",)


def test_a_pair_takes_turns_while_both_are_loaded(item: Target) -> None:
    settings = Settings(iterations=20, seconds=0, warmup_s=0.05, allow_disturbed=True)
    with open_bundle(item.path) as bundle:
        both = Rig({"A": item, "B": item}, images.of_bundle(bundle), settings, planned=2)
    with both as running:
        a, b = running.pair("BA", 4)
    assert [(r.side, r.index, r.turns, r.network_turns) for r in (a, b)] == [
        (side, 4, (2,) * rounds.TURNS, (2,) * rounds.TURNS) for side in "AB"
    ]
    assert all(len(r.turn_medians(name)) == rounds.TURNS for r in (a, b) for name in ("decision", "network"))
    times = [(r.conditions["before"]["monotonic_ns"], r.conditions["after"]["monotonic_ns"]) for r in (a, b)]
    assert max(t[0] for t in times) < min(t[1] for t in times)  # their turns lie within each other


def test_a_side_is_slowed_where_that_was_asked_for(item: Target, script: Any) -> None:
    jobs = script(answer(item))
    with rig(item, ANY) as running:
        running.targets["B"] = dataclasses.replace(item, slower_pct=300.0)
        running.pair("BA", 0)
    assert [job["slower_pct"] for job in jobs] == [300.0, 0.0]


def test_one_killed_side_loses_the_pair(item: Target, script: Any) -> None:
    script(answer(item), "the round was killed by SIGKILL", answer(item))
    with rig(item, ANY) as running:
        running.targets["B"] = item
        a, b = running.pair("AB", 0)
    assert (a.side, b.side) == ("A", "B")
    assert [(r.side, r.disturbed) for r in running.discarded] == [
        (side, ("the round was killed by SIGKILL",)) for side in "AB"
    ]


def test_a_neighbour_that_is_killed_before_it_works_is_told(item: Target, script: Any) -> None:
    script("the round was killed by SIGKILL")
    crowded = dataclasses.replace(ANY, neighbours=1)
    with pytest.raises(EdgetlError, match="a neighbour must be ready to work; got the round was killed"):
        rig(item, crowded).__enter__()


def test_neighbours_work_meanwhile_and_are_ended(item: Target) -> None:
    settings = Settings(iterations=5, seconds=0, warmup_s=0.05, network=False, neighbours=1, allow_disturbed=True)
    with rig(item, settings) as running:
        process = running._neighbours[0]._process
        assert process.poll() is None
        assert len(running.round("A", 0).decision_ms) == 5
    assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"iterations": 4}, "--iterations must be 5 or above"),
        ({"seconds": float("nan")}, "--seconds must be 0 or above"),
        ({"rate_hz": 0.0}, "--rate must be above 0"),
        ({"neighbours": -1}, "--neighbours must be 0 or above"),
    ],
)
def test_settings_refuse_nonsense(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Settings(**changes)
