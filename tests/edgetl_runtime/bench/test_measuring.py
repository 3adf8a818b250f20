"""bench and compare as a whole, on a tiny bundle in real processes; disturbed rounds count: the tests disturb."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime.bench import floors, measuring, rounds
from edgetl_runtime.bench.limits import Limits
from edgetl_runtime.bench.processes import Worker
from edgetl_runtime.bench.rounds import Settings, Target, target
from edgetl_runtime.bench.statistics import Design
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import UnfitError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from edgetl_runtime.bench.record import Record

ANY = Settings(iterations=60, seconds=0, warmup_s=0.1, network=False, allow_disturbed=True)
# two pairs decide, with an error that only a test can afford
SHORT = Design(looks=(2,), error=0.25, min_effect=0.02, margin=1.0)


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def item(tiny_path: Path) -> Target:
    return target(tiny_path, backend="null")


@pytest.fixture(scope="module")
def folder(tiny_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("labelled")
    with open_bundle(tiny_path) as bundle:
        for index, name in enumerate(bundle.manifest.golden.images):
            path = place / ("bad" if index % 2 else "ok") / f"{index}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bundle.read(name))
    return place


@pytest.fixture(scope="module")
def measured(item: Target, folder: Path) -> Record:
    return measuring.bench(item, data=folder, rounds=5, settings=ANY)


def test_bench_gives_accuracy_and_latency_of_one_artifact(measured: Record) -> None:
    assert (measured.images.n, measured.images.labelled, len(measured.rounds)) == (16, True, 5)
    assert measured.summary["decision_ms"]["n"] == 300
    assert measured.summary["decision_ms"]["p99"] is not None
    assert measured.summary["decision_ms"]["interval"] is not None
    accuracy = measured.accuracy
    assert accuracy is not None
    assert (accuracy["n_defect"], accuracy["n_good"]) == (8, 8)
    right = sum(label == truth for label, truth in zip(accuracy["labels"], ["bad"] * 8 + ["ok"] * 8, strict=True))
    assert accuracy["accuracy"] == right / 16
    assert 0 <= accuracy["escapes"] <= 8


class SlowedWorker(Worker):
    """A process that tells a thousand times what it took where it was to be slowed: no noise hides that."""

    def __init__(self, job: Mapping[str, Any], *, timeout_s: float) -> None:
        self._factor = 1000 if job.get("slower_pct") else 1
        super().__init__(job, timeout_s=timeout_s)

    def answer(self) -> dict[str, Any]:
        found = super().answer()
        return found | {name: [self._factor * ms for ms in found[name]] for name in ("decision_ms",) if name in found}


def test_compare_finds_a_bundle_slowed_on_purpose(item: Target, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "Worker", SlowedWorker)
    slowed = dataclasses.replace(item, slower_pct=1.0)
    found = measuring.compare(item, slowed, data=folder, design=SHORT, settings=ANY)
    assert (found.verdict, found.exit_code, found.how) == ("REGRESSED", 3, "interleaved")
    assert found.metrics["decision"].estimate > 2
    assert found.decisions is not None
    assert (found.decisions["flips"], found.decisions["drop_pp"]) == (0, 0)
    assert [len(r.rounds) for r in (found.a, found.b)] == [2, 2]


def test_compare_on_golden_images_holds_b_to_absolute_limits(item: Target) -> None:
    wide = dataclasses.replace(SHORT, margin=50.0, min_effect=49.0)
    found = measuring.compare(item, item, design=wide, settings=ANY, bounds=Limits(max_memory_mb=1.0))
    assert (found.verdict, found.exit_code) == ("REGRESSED", 3)
    assert found.breaches[0].startswith("memory mb is")
    assert found.a.images.source == "bundle"


def test_compare_refuses_other_classes(item: Target) -> None:
    facts = dataclasses.replace(item.facts, labels=item.facts.labels | {"defect_classes": ["ok"]})
    with pytest.raises(UsageError, match=r'those of the first, inspection of .*; got inspection of .*"defect_classes"'):
        measuring.compare(item, dataclasses.replace(item, facts=facts))


def test_a_record_of_another_machine_is_refused(measured: Record, item: Target, folder: Path) -> None:
    elsewhere = dataclasses.replace(measured, environment={**measured.environment, "cpu": "another"})
    with pytest.raises(UnfitError, match="cpu: another and"):
        measuring.compare_with_record(elsewhere, item, data=folder)


def test_a_record_of_disturbed_rounds_is_refused(measured: Record, item: Target, folder: Path) -> None:
    with pytest.raises(UnfitError, match="of undisturbed rounds"):
        measuring.compare_with_record(dataclasses.replace(measured, verdict="disturbed"), item, data=folder)


def test_a_record_of_other_images_or_classes_is_refused(measured: Record, item: Target) -> None:
    undisturbed = dataclasses.replace(measured, verdict="measured")
    with pytest.raises(UsageError, match="the record's 16; got the golden images"):
        measuring.compare_with_record(undisturbed, item)
    others = dataclasses.replace(undisturbed, bundle=dataclasses.replace(measured.bundle, task="sorting"))
    with pytest.raises(UsageError, match="task and labels of the second bundle"):
        measuring.compare_with_record(others, item)


def test_a_record_of_this_machine_is_compared_with_a_wider_margin(measured: Record, item: Target, folder: Path) -> None:
    fast = tuple(dataclasses.replace(r, decision_ms=tuple(ms / 1000 for ms in r.decision_ms)) for r in measured.rounds)
    stored = dataclasses.replace(measured, verdict="measured", rounds=fast)
    found = measuring.compare_with_record(stored, item, data=folder, rounds=2, settings=ANY)
    assert (found.verdict, found.how, found.design.margin) == ("REGRESSED", "stored", measuring.BETWEEN_DAYS)
    # the same file: what was found is what this machine differs from one day to another
    assert floors.read().between_days > 1
    assert any("difference between days" in note for note in found.notes)


def test_an_open_loop_is_not_compared_with_a_closed_one(measured: Record, item: Target, folder: Path) -> None:
    stored = dataclasses.replace(measured, verdict="measured", protocol={**measured.protocol, "rate_hz": 5.0})
    with pytest.raises(UsageError, match="--rate must be the record's"):
        measuring.compare_with_record(stored, item, data=folder, settings=ANY)


def test_the_noise_floor_widens_what_matters() -> None:
    assert measuring.default_design() == Design()
    floors.write(aa=0.01)
    assert measuring.default_design() == Design()
    floors.write(aa=0.035)
    assert measuring.default_design().min_effect == 0.035
    floors.write(aa=0.2)
    with pytest.raises(UnfitError, match=r"below 5%; got 20.0%"):
        measuring.default_design()


def test_bench_needs_a_round(item: Target) -> None:
    with pytest.raises(UsageError, match="--rounds must be 1 or above"):
        measuring.bench(item, rounds=0)
