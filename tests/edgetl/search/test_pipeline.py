"""A search over real runs: judged, timed together, killed and resumed to the same front."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest

from edgetl import profiles
from edgetl.config import FinetuneConfig
from edgetl.deploy import judged, latency
from edgetl.deploy.notes import Reason
from edgetl.errors import RunError
from edgetl.finetune import pipeline as finetuning
from edgetl.progress import Progress
from edgetl.run import RunFolder
from edgetl.search import pipeline as searching
from edgetl.search import timing
from edgetl.search.grid import Network, SearchConfig, SearchJob, networks
from edgetl.search.pipeline import Searching, networks_of_runs
from edgetl.search.state import SearchState
from edgetl_runtime.contract import Contract
from edgetl_runtime.errors import UsageError

ONE_VARIANT = SearchConfig(backends=("onnxruntime",), precisions=("f32",), threads=(1,), max_gap_pp=50)
LOOSE = Contract(max_drop_pp=50, max_flips_pct=50, p99_ms=10_000)


@pytest.fixture(scope="module")
def runs(tmp_path_factory, deployed):
    """Two copies of one exported run, as two networks."""
    folder = tmp_path_factory.mktemp("networks")
    return [shutil.copytree(deployed.run, folder / name) for name in ("one", "two")]


def searching_in(folder, job, *, resume=False):
    folder.mkdir(exist_ok=True)
    state = SearchState(folder / "state.json", job.asked(), resume=resume)
    return Searching(folder, job, state, Progress(quiet=True))


def job_of(found, *, training=None, config=ONE_VARIANT, contract=LOOSE):
    profile = profiles.get("local")
    return SearchJob(networks=found, config=config, training=training, contract=contract, profile=profile)


@pytest.fixture(scope="module")
def killed_and_resumed(runs, tmp_path_factory, programmed_machine):
    """A search killed before it timed anything, and what the resumed one and a further one found."""
    folder, job = tmp_path_factory.mktemp("search"), job_of(networks_of_runs(runs))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "measure_together", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            searching_in(folder, job).search()
    with pytest.MonkeyPatch.context() as patch:
        machine = programmed_machine(lambda *_: 2.0, foreign_cores=1.5).machine()
        patch.setattr(latency, "Machine", lambda: machine)
        patch.setattr(judged, "judge", lambda *_: pytest.fail("judged twice"))
        first = searching_in(folder, job, resume=True).search()
        patch.setattr(timing, "measure_together", lambda *_, **__: pytest.fail("timed twice"))
        second = searching_in(folder, job, resume=True).search()
    return folder, first, second


def test_resumed_search_finds_the_same_front(killed_and_resumed):
    _, first, second = killed_and_resumed
    assert json.dumps(first.points) == json.dumps(second.points)
    assert (first.why, first.networks, first.notes) == (second.why, second.networks, second.notes)


def test_every_network_is_timed_and_the_fastest_chosen(killed_and_resumed):
    _, found, _ = killed_and_resumed
    assert {p["id"] for p in found.points} == {"one/onnxruntime-f32-t1", "two/onnxruntime-f32-t1"}
    assert [p["accepted"] for p in found.points] == [True, True]
    assert [p["p50_ms"] for p in found.points] == [2.0, 2.0]
    assert {p["gap_pp"] for p in found.points} == {0.0}
    assert all(p["on_front"] for p in found.points)  # equally fast and accurate: neither beats the other


def test_a_search_says_that_its_timing_was_disturbed_and_what_decided_a_tie(killed_and_resumed):
    _, found, _ = killed_and_resumed
    assert [note.reason for note in found.notes] == [Reason.DISTURBED]
    assert found.choice.note.reason is Reason.TIED
    assert all(30 < p["memory_mb"] < 400 for p in found.points)  # measured, since nothing else tells them apart
    assert found.why.startswith("equally fast within 3%: ")


def test_models_of_equal_content_are_kept_once(killed_and_resumed):
    folder, _, _ = killed_and_resumed
    assert len(list((folder / "models").iterdir())) == 1


def test_damaged_model_of_the_state_is_one_sentence(killed_and_resumed, tmp_path, runs):
    folder = shutil.copytree(killed_and_resumed[0], tmp_path / "copy")
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps(state | {"timed": None}))
    (model,) = (folder / "models").iterdir()
    model.write_bytes(model.read_bytes()[:-1])
    with pytest.raises(RunError, match="must be as it was written; got another content"):
        searching_in(folder, job_of(networks_of_runs(runs)), resume=True).search()


def test_runs_of_other_splits_are_not_compared(killed_and_resumed, tmp_path, runs):
    folder = shutil.copytree(killed_and_resumed[0], tmp_path / "copy")
    state = json.loads((folder / "state.json").read_text())
    state["networks"]["one"]["split_digest"] = "another"
    (folder / "state.json").write_text(json.dumps(state))
    with pytest.raises(RunError, match="the runs must be of one data split, to be compared; got 2 different splits"):
        searching_in(folder, job_of(networks_of_runs(runs)), resume=True).search()


def test_runs_of_one_name_are_refused(runs):
    with pytest.raises(UsageError, match="the names of the runs must be different; got 'one' twice"):
        networks_of_runs([runs[0], runs[0]])


def test_what_is_too_slow_is_never_trained(blob_parts, tmp_path, monkeypatch):
    """Sizes 32 and 64 of one backbone, times made up: the larger one never reaches fine-tuning."""
    monkeypatch.setattr(
        searching, "screen_shape", lambda shape, *_: {"onnxruntime-f32": float(shape.preprocess.width_px)}
    )
    trained = []

    def judge(self, network, record):
        trained.append(network.name)
        record |= {"run": "x", "float_accuracy": 0.9, "split_digest": "s", "image_px": 32, "backbone": "b"}
        return []

    monkeypatch.setattr(Searching, "_judge", judge)
    training = FinetuneConfig(data=str(blob_parts), weights="none", aims={"defect": ("hole",)})
    grid = SearchConfig(**{**{f: getattr(ONE_VARIANT, f) for f in ("backends", "precisions")}, "image_sizes": (32, 64)})
    job = job_of(networks(grid, backbone="tf_efficientnet_lite0"), training=training, contract=Contract(p99_ms=50))
    found = searching_in(tmp_path / "s", job).search()
    assert trained == ["tf_efficientnet_lite0-32"]
    why = {n["name"]: n["why"] for n in found.networks}
    assert why["tf_efficientnet_lite0-64"] == (
        "too slow before training: its fastest variant onnxruntime-f32 has a median 64.00 ms > p99 50.00 ms"
    )


def test_what_is_far_worse_on_the_slice_is_not_fine_tuned(tmp_path):
    names = ("good", "fair", "poor")
    found = tuple(Network(name=name, backbone="tf_efficientnet_lite0") for name in names)
    work = searching_in(tmp_path / "s", job_of(found, training=FinetuneConfig(data="x", weights="none")))
    for name, accuracy in zip(names, (0.9, 0.82, 0.7), strict=True):
        work.state.of(name)["slice"] = {"accuracy": accuracy, "n": 50, "train_images": 100}
    work._reject_by_slice()
    assert {name: bool(work.state.of(name)["why"]) for name in names} == {"good": False, "fair": False, "poor": True}
    assert work.state.of("poor")["why"] == "frozen features on a slice (n = 50) are 20.0 pp below the best network's"


def test_search_trains_two_resolutions_and_goes_on_where_training_stopped(
    blob_parts, tmp_path, one_thread, monkeypatch, programmed
):
    programmed(lambda *_: 2.0)
    training = FinetuneConfig(data=str(blob_parts), weights="auto", aims={"defect": ("hole",)}, preset="fast")
    grid = SearchConfig(
        backends=("onnxruntime",), precisions=("f32",), threads=(1,), image_sizes=(32, 48), slice_images=20,
        slice_margin_pp=100, max_gap_pp=100,
    )  # fmt: skip
    job = job_of(networks(grid, backbone="tf_efficientnet_lite0"), training=training, config=grid,
                 contract=Contract(max_drop_pp=50, max_flips_pct=50))  # fmt: skip
    real, calls = finetuning.finetune, []

    def once(config, folder, progress, **options):
        calls.append((config.preset, config.image_size, str(config.data).endswith("slice.csv")))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(config, folder, progress, **options)

    monkeypatch.setattr(finetuning, "finetune", once)
    with pytest.raises(KeyboardInterrupt):
        searching_in(tmp_path / "s", job).search()
    assert calls[:3] == [("fast", 32, True), ("fast", 48, True), ("fast", 32, False)]
    found = searching_in(tmp_path / "s", job, resume=True).search()
    assert calls[3:] == [("fast", 48, False)] * 2
    assert {p["network"] for p in found.points} == {"tf_efficientnet_lite0-32", "tf_efficientnet_lite0-48"}
    run = RunFolder(tmp_path / "s" / "runs" / "tf_efficientnet_lite0-48").read()
    assert (run.image_px, run.test_looks) == (48, 1)  # the search itself did not look


def test_runs_that_call_other_parts_good_are_not_compared(runs, tmp_path):
    other = RunFolder(shutil.copytree(runs[1], tmp_path / "other"))
    run = other.read()
    other.write(dataclasses.replace(run, labels=dataclasses.replace(run.labels, defect_classes=("good",))))
    with pytest.raises(RunError, match="got good: good; defects: hole against good: hole; defects: good"):
        networks_of_runs([runs[0], other.path])
