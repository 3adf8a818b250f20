"""Rounds in real processes, and every reason for which one does not count or nothing is said at all."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime.bench import images, rounds
from edgetl_runtime.bench.rounds import Settings, Station, Target, target
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import BundleError, GoldenError, UnfitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

QUICK = Settings(iterations=5, seconds=0, warmup_s=0.05, network=False)
ANY = Settings(iterations=5, seconds=0, warmup_s=0.05, network=False, allow_disturbed=True)


@pytest.fixture
def item(tiny_path: Path, tmp_path: Path) -> Target:
    return target(shutil.copy(tiny_path, tmp_path / "part.edgetl"), backend="null")


def station(item: Target, settings: Settings, *, planned: int = 2) -> Station:
    with open_bundle(item.path) as bundle:
        return Station({"A": item}, images.of_bundle(bundle), settings, planned=planned)


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
def script(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Mapping[str, Any]]]:
    """Let processes answer as told, one after the other; return the jobs they got."""

    def play(*answers: dict[str, Any] | str) -> list[Mapping[str, Any]]:
        jobs: list[Mapping[str, Any]] = []
        left = list(answers)

        def ask(job: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any] | str:
            jobs.append(job)
            return left.pop(0) if len(left) > 1 else left[0]

        monkeypatch.setattr(rounds, "_ask", ask)
        return jobs

    return play


def test_target_says_which_artifact(item: Target) -> None:
    facts = item.facts
    assert (facts.name, facts.variant, facts.backend, facts.chosen) == ("part.edgetl", "null-f32", "null", False)
    assert facts.size_bytes == item.path.stat().st_size
    assert facts.classes == ("bad", "ok")


def test_a_round_measures_start_decisions_and_network(item: Target) -> None:
    settings = Settings(iterations=6, seconds=0, warmup_s=0.05, allow_disturbed=True)
    with station(item, settings) as running:
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
    with station(item, settings) as running:
        assert running.round("A", 0).late == 5


def test_a_bundle_replaced_between_rounds_is_refused(item: Target) -> None:
    with station(item, ANY) as running:
        running.round("A", 0)
        with item.path.open("ab") as file:
            file.write(b" ")
        with pytest.raises(BundleError):  # seen by the reader, which knows where a bundle ends
            running.round("A", 1)


def test_another_valid_bundle_of_that_name_is_refused(item: Target, script: Any) -> None:
    script(answer(item), answer(item, bundle_sha256="f" * 64))
    with station(item, QUICK) as running:
        running.round("A", 0)
        with pytest.raises(
            BundleError, match=r"SHA-256 of part.edgetl must be the same in every round; got ffffffffffff"
        ):
            running.round("A", 1)


def test_answers_that_change_from_round_to_round_are_refused(item: Target, script: Any) -> None:
    script(answer(item), answer(item, outputs="other"))
    with station(item, QUICK) as running:
        running.round("A", 0)
        with pytest.raises(GoldenError, match="the same in every round; got other after same"):
            running.round("A", 1)


def test_disturbed_rounds_are_repeated_and_kept_apart(item: Target, script: Any) -> None:
    script(answer(item, disturbed=["the clock jumped by 99 ms"]), answer(item))
    with station(item, QUICK) as running:
        assert running.round("A", 0).disturbed == ()
        assert [r.disturbed for r in running.discarded] == [("the clock jumped by 99 ms",)]


def test_a_machine_that_is_always_disturbed_is_unfit(item: Target, script: Any) -> None:
    jobs = script(answer(item, disturbed=["other work took 31 % of the machine"]))
    with station(item, QUICK, planned=20) as running, pytest.raises(UnfitError) as caught:
        running.round("A", 0)
    assert len(jobs) == 11  # half as many as planned may be repeated
    assert "11 times such as 'other work took 31 % of the machine'" in str(caught.value)
    assert caught.value.exit_code == 4


def test_disturbed_rounds_count_on_request_and_say_so(item: Target, script: Any) -> None:
    script(answer(item, disturbed=["x"]))
    with station(item, ANY) as running:
        assert running.round("A", 0).disturbed == ("x",)
        assert running.discarded == []


def test_a_killed_round_never_counts(item: Target, script: Any) -> None:
    script("the round was killed by SIGKILL", answer(item))
    with station(item, ANY) as running:
        assert len(running.round("A", 0).decision_ms) == 5
        assert running.discarded[0].disturbed == ("the round was killed by SIGKILL",)


def test_a_process_that_is_killed_is_told_from_one_that_fails(item: Target) -> None:
    job = {"kind": "neighbour", "bundle": str(item.path), "variant": "null-f32", "images": []}

    def kill_child() -> None:
        for _ in range(400):
            children = [int(pid) for pid in _children(os.getpid())]
            if children:
                time.sleep(0.1)
                os.kill(children[0], signal.SIGKILL)
                return
            time.sleep(0.01)

    killer = threading.Thread(target=kill_child)
    killer.start()
    assert rounds._ask(job, timeout_s=60) == "the round was killed by SIGKILL"
    killer.join()


def _children(pid: int) -> list[str]:
    from pathlib import Path

    return [word for task in Path(f"/proc/{pid}/task").glob("*/children") for word in task.read_text().split()]


def test_a_round_without_an_answer_is_ended(item: Target) -> None:
    job = {"kind": "neighbour", "bundle": str(item.path), "variant": "null-f32", "images": []}
    assert rounds._ask(job, timeout_s=0.3) == "the round gave no answer within 0.3 s"


def test_neighbours_work_meanwhile_and_are_ended(item: Target) -> None:
    settings = Settings(iterations=5, seconds=0, warmup_s=0.05, network=False, neighbours=1, allow_disturbed=True)
    with station(item, settings) as running:
        process = running._neighbours[0]
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
