"""What a deployment measures: only what may be chosen, memory only where it decides, and bounds are held."""

from __future__ import annotations

import itertools
import types

import pytest

from edgetl import profiles
from edgetl.data.samples import Sample
from edgetl.deploy import latency, measuring
from edgetl.deploy.candidates import Candidate
from edgetl.deploy.measuring import Measuring, unmeasured_terms
from edgetl.deploy.notes import Reason
from edgetl.deploy.request import DeployConfig
from edgetl.progress import Progress
from edgetl_runtime.contract import Contract
from edgetl_runtime.errors import UnfitError
from edgetl_runtime.manifest import Requires, VariantOptions
from edgetl_runtime.preprocess import PreprocessSpec
from edgetl_runtime.tasks.inspection import Labels, Params, Thresholds

RUN = types.SimpleNamespace(
    preprocess=PreprocessSpec(width_px=8, height_px=8),
    task="inspection",
    labels=Labels(classes=("good", "hole"), defect_classes=("hole",)),
)


def candidate(name, *, precision="f32", why=()):
    return Candidate(
        id=name, backend=name, precision=precision, model=b"", evidence={}, val={}, drop_pp=0.0, flips=0, why=why,
        options=VariantOptions(threads=1), requires=Requires(),
        params=Params(thresholds=Thresholds(nok_at=0.5, ok_below=0.5), temperature=1.0), task="inspection",
    )  # fmt: skip


@pytest.fixture
def weighed(monkeypatch):
    """Which candidates were measured for memory; they need as many megabytes as their name says, else 100."""
    found = []

    def memory_mb(c, *_):
        found.append(c.id)
        return float(c.id) if c.id.isdigit() else 100.0

    monkeypatch.setattr(measuring, "memory_mb", memory_mb)
    return found


@pytest.fixture
def measuring_of(blob_parts):
    paths = sorted(blob_parts.glob("*/*.png"))[:4]
    val = [Sample(path=path, label=i % 2, split="val", sha256="") for i, path in enumerate(paths)]

    def make(contract=Contract(), target="local", **config):  # noqa: B008  (frozen)
        return Measuring(RUN, profiles.get(target), DeployConfig(**config), contract, val, Progress(quiet=True))

    return make


def test_the_choice_is_by_p50_and_p99_is_only_a_limit(programmed, measuring_of, weighed):
    """The fast one is interrupted now and then: a p99 far above the other's."""
    calls = itertools.count()
    programmed(lambda c, _: 7.9 if c.id == "b" else 2.1 if next(calls) % 40 else 60.0)
    one = measuring_of()
    tried = one.measure([candidate("b"), candidate("a"), candidate("c", why=("flips",))])
    p99 = {c.id: c.latency["decision_ms"]["p99"] for c in tried if c.latency}
    assert p99["a"] > p99["b"]
    chosen, note = one.fastest([c for c in tried if c.accepted], decided=True)
    assert (chosen.id, note.reason, weighed) == ("a", Reason.FASTEST, [])
    bounded = measuring_of(Contract(p99_ms=20.0))
    assert [c.id for c in bounded.measure([candidate("a"), candidate("b")]) if c.accepted] == ["b"]


def test_a_tie_is_decided_by_memory_and_that_is_said(programmed, measuring_of, weighed):
    programmed(lambda c, _: {"140": 2.0, "110": 2.02, "90": 9.0}[c.id])
    one = measuring_of()
    tried = one.measure([candidate(name) for name in ("90", "110", "140")])
    chosen, note = one.fastest(tried, decided=True)
    assert (chosen.id, note.reason) == ("110", Reason.TIED)
    assert sorted(weighed) == ["110", "140"]  # not the slow one, and each once
    one.fastest(tried, decided=True)
    assert len(weighed) == 2


def test_memory_where_it_is_bounded_is_measured_of_each_and_rules_out_the_fastest(programmed, measuring_of, weighed):
    programmed(lambda c, _: {"140": 2.0, "90": 9.0}[c.id])
    tried = measuring_of(Contract(max_memory_mb=120.0)).measure([candidate("140"), candidate("90")])
    assert [(c.id, c.why) for c in tried] == [("140", ("memory 140.00 MB > 120.00",)), ("90", ())]
    assert sorted(weighed) == ["140", "90"]


def test_what_cannot_be_chosen_takes_no_further_turns(programmed, measuring_of, monkeypatch):
    """Two of another precision that are never told apart: int8 is asked for, and there is one of it."""
    monkeypatch.setattr(latency, "SETTLE_S", 5.0)
    flip = {"a": [2.0, 4.0], "b": [4.0, 2.0]}
    programmed(lambda c, s: flip[c.id][int(s / 3.1) % 2] if c.id in flip else 9.0)
    made = [candidate("a"), candidate("b"), candidate("c", precision="int8")]
    tried = measuring_of(precision="int8").measure(made)
    assert [len(c.latency["turns_ms"]) for c in tried] == [30, 30, 30]
    one = measuring_of()
    with pytest.raises(UnfitError, match="decided to within 3%"):
        one.fastest(one.measure(made), decided=True)


def test_where_nothing_is_measured_the_profile_decides_and_bounds_are_unproven(measuring_of):
    contract = Contract(p99_ms=5.0, max_memory_mb=1.0)
    one = measuring_of(contract, target="ipc-onnxruntime")
    tried = one.measure([candidate("a"), candidate("b")])
    assert one.fastest(tried, decided=True) == (tried[0], None)
    assert [term.name for term in tried[0].unproven] == ["p99_ms", "max_memory_mb"]
    assert unmeasured_terms(Contract(), profiles.get("ipc-onnxruntime")) == ()
