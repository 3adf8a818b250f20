"""A search times all networks beside each other; what may not be chosen takes no further turns; ties are weighed."""

from __future__ import annotations

import types

import pytest

from edgetl import profiles
from edgetl.data.samples import Sample
from edgetl.deploy import latency
from edgetl.deploy.candidates import Candidate
from edgetl.progress import Progress
from edgetl.search import timing
from edgetl.search.grid import Network, SearchConfig, SearchJob
from edgetl.search.kept import keep
from edgetl.search.state import SearchState
from edgetl.search.timing import Timing
from edgetl_runtime.contract import Contract
from edgetl_runtime.manifest import Requires, VariantOptions
from edgetl_runtime.preprocess import PreprocessSpec
from edgetl_runtime.tasks.inspection import Labels, Params, Thresholds

NAMES = ("one", "two", "poor")


def candidate(name, accuracy):
    return Candidate(
        id=name, backend="onnxruntime", precision="f32", model=name.encode(), evidence={}, drop_pp=0.0, flips=0,
        val={"accuracy": accuracy, "escapes": 0, "overkill": 0, "n": 200}, options=VariantOptions(threads=1),
        requires=Requires(), task="inspection",
        params=Params(thresholds=Thresholds(nok_at=0.5, ok_below=0.5), temperature=1.0),
    )  # fmt: skip


@pytest.fixture
def timed(tmp_path, blob_parts, monkeypatch):
    """Times three networks, the last of which is too inaccurate; returns latencies and memory by network."""
    paths = sorted(blob_parts.glob("*/*.png"))[:4]
    val = [Sample(path=path, label=i % 2, split="val", sha256="") for i, path in enumerate(paths)]
    spec = PreprocessSpec(width_px=8, height_px=8)
    monkeypatch.setattr(timing, "_validation", lambda _: val)
    monkeypatch.setattr(
        timing.RunFolder,
        "read",
        lambda _: types.SimpleNamespace(
            preprocess=spec, task="inspection", labels=Labels(classes=("good", "hole"), defect_classes=("hole",))
        ),
    )

    def call(contract=Contract()):  # noqa: B008  (frozen)
        job = SearchJob(
            networks=tuple(Network(name=name, backbone="b") for name in NAMES),
            config=SearchConfig(),
            training=None,
            contract=contract,
            profile=profiles.get("local"),
        )
        state = SearchState(tmp_path / "state.json", {}, resume=False)
        for name, accuracy in zip(NAMES, (0.98, 0.98, 0.5), strict=True):
            points = [keep(candidate(name, accuracy), tmp_path / "models")]
            state.of(name).update(run=str(tmp_path / name), float_accuracy=0.98, points=points)
        found = Timing(tmp_path / "models", job, state, Progress(quiet=True)).time()
        return {t["network"]: (t["latency"], t["memory_mb"]) for t in found}

    return call


@pytest.fixture
def weighed(monkeypatch):
    found = []
    monkeypatch.setattr(timing, "memory_mb", lambda c, *_: found.append(c.id) or 100.0)
    return found


def test_all_networks_are_timed_and_only_those_that_tie_are_weighed(programmed, timed, weighed):
    programmed(lambda c, _: {"one": 2.0, "two": 2.02, "poor": 2.0}[c.id])
    found = timed()
    assert [found[name][0]["decision_ms"]["p50"] for name in NAMES] == [2.0, 2.02, 2.0]
    assert {name: mb for name, (_, mb) in found.items()} == {"one": 100.0, "two": 100.0, "poor": None}
    assert sorted(weighed) == ["one", "two"]


def test_where_memory_is_bounded_it_is_known_of_every_network(programmed, timed, weighed):
    programmed(lambda c, _: {"one": 2.0, "two": 5.0, "poor": 9.0}[c.id])
    found = timed(Contract(max_memory_mb=120.0))
    assert {mb for _, mb in found.values()} == {100.0}
    assert sorted(weighed) == ["one", "poor", "two"]


def test_what_is_too_inaccurate_is_not_waited_for(programmed, timed, weighed, monkeypatch):
    """Two that are never told apart: one of them may not be chosen, so that nothing is unclear."""
    monkeypatch.setattr(latency, "SETTLE_S", 2.0)
    flip = {"one": [2.0, 4.0], "poor": [4.0, 2.0]}
    programmed(lambda c, s: flip[c.id][int(s / 3.1) % 2] if c.id in flip else 90.0)
    assert {len(figures["turns_ms"]) for figures, _ in timed().values()} == {30}
    assert weighed == []
