"""A candidate on disk comes back as it was, or not at all."""

from __future__ import annotations

import json

import pytest

from edgetl.deploy.candidates import Candidate
from edgetl.errors import RunError
from edgetl.search.kept import keep, revive
from edgetl_runtime.manifest import Requires, VariantOptions
from edgetl_runtime.tasks import sorting
from edgetl_runtime.tasks.inspection import Params, Thresholds


def candidate(**changes):
    fields = {
        "id": "openvino-bf16-t2", "backend": "openvino", "precision": "bf16", "model": b"model",
        "options": VariantOptions(threads=2, precision_hint="bf16"), "requires": Requires(cpu_flags=("amx_bf16",)),
        "evidence": {"recipe": "openvino-bf16"}, "task": "inspection", "drop_pp": 0.3, "flips": 2,
        "params": Params(thresholds=Thresholds(nok_at=0.25, ok_below=0.2), temperature=1.5),
        "val": {"accuracy": 0.9, "escapes": 1, "overkill": 2, "n": 100},
    }  # fmt: skip
    return Candidate(**{**fields, **changes})


def test_candidate_comes_back_with_all_that_timing_needs(tmp_path):
    before = candidate()
    after = revive(json.loads(json.dumps(keep(before, tmp_path / "models"))), tmp_path / "models")
    same = ("id", "backend", "precision", "model", "options", "requires", "task", "params")
    assert [getattr(after, name) for name in same] == [getattr(before, name) for name in same]
    assert after.load_options == before.load_options


def test_candidate_of_another_task_comes_back_with_its_own_parameters(tmp_path):
    counted = {"accuracy": 0.9, "errors": 4, "unsure": 3, "n": 100}
    before = candidate(task="sorting", params=sorting.Params(unsure_below=0.6, temperature=2.0), val=counted)
    kept = json.loads(json.dumps(keep(before, tmp_path)))
    assert (kept["figures"]["errors"], kept["figures"]["unsure"]) == (4, 3)
    after = revive(kept, tmp_path)
    assert (after.task, after.params) == (before.task, before.params)
    with pytest.raises(RunError, match="key 'thresholds' in params must be a known key"):
        revive({**kept, "params": {"thresholds": {"nok_at": 0.5, "ok_below": 0.5}, "temperature": 1.0}}, tmp_path)


def test_equal_models_are_kept_once(tmp_path):
    for threads in (1, 2):
        keep(candidate(options=VariantOptions(threads=threads)), tmp_path)
    keep(candidate(model=b"another"), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("damage", "words"), [("gone", "a model of the search"), ("cut", "as it was written")])
def test_damaged_model_is_one_sentence(damage, words, tmp_path):
    kept = keep(candidate(), tmp_path)
    (path,) = tmp_path.iterdir()
    path.unlink() if damage == "gone" else path.write_bytes(b"mode")
    with pytest.raises(RunError, match=words):
        revive(kept, tmp_path)
