"""The stages of a deployment, each alone; what is refused at the end takes no number and leaves no file."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from edgetl import profiles
from edgetl.deploy import written
from edgetl.deploy.confirmed import choose, confirm, time
from edgetl.deploy.judged import ask, export, judge
from edgetl.deploy.ledger import ledger_path
from edgetl.deploy.plan import narrowed, plan
from edgetl.deploy.request import DeployConfig
from edgetl.progress import Progress
from edgetl.run import RunFolder, read_json
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.contract import Contract
from edgetl_runtime.errors import ContractError, GoldenError, UsageError

QUIET = Progress(quiet=True)
LOOSE = {"max_drop_pp": 50, "max_flips_pct": 50}


@pytest.fixture(scope="module")
def stages(deployed, tmp_path_factory):
    """Everything before the last stage, the float model being the only variant."""
    folder = RunFolder(shutil.copytree(deployed.run, tmp_path_factory.mktemp("stages") / "run"))
    profile = profiles.get("ipc-onnxruntime")
    planned = tuple(p for p in plan(profile, cores=1) if p.precision == "f32")
    config = DeployConfig(target=profile.name, line="stages")
    asked = ask(folder, folder.read(), profile, config, Contract(**LOOSE), planned=planned)
    exported = export(asked, QUIET)
    judged = judge(asked, exported, QUIET)
    timed = time(asked, exported, judged, QUIET)
    confirmed = confirm(asked, exported, timed, choose(asked, timed), QUIET)
    return asked, exported, judged, confirmed


def last():
    path = ledger_path("stages")
    return read_json(path)["last"] if path.exists() else 0


def write(stages, out, *, replace=False, **changes):
    asked, exported, judged, confirmed = stages
    asked = dataclasses.replace(asked, **changes)
    return written.write(asked, exported, judged, confirmed, out, golden=None, replace=replace)


def test_planned_variants_come_from_outside_and_are_all_that_is_tried(stages):
    asked, exported, judged, confirmed = stages
    assert [c.precision for c in judged.candidates] == ["f32"] * len(asked.planned)
    assert judged.calibration_digest is None
    assert confirmed.chosen.id in {c.id for c in judged.candidates}
    assert confirmed.figures["n"] == len(exported.samples["test"])


def test_without_a_plan_the_target_s_own_is_narrowed_by_what_was_asked_for(stages):
    asked = stages[0]
    config = DeployConfig(target=asked.profile.name, rungs=1)
    usual = ask(asked.folder, asked.run, asked.profile, config, asked.contract)
    assert [p.precision for p in usual.planned] == [
        p.precision for p in narrowed(plan(asked.profile, cores=1), backend=None, threads=None, rungs=1)
    ]
    assert all(len(p.rungs) == 1 for p in usual.planned)


def test_a_refused_write_takes_no_number_and_the_next_one_gets_it(stages, tmp_path, monkeypatch):
    before, out = last(), tmp_path / "x.edgetl"
    out.write_bytes(b"somebody's")
    with pytest.raises(UsageError, match="must be a file that does not exist yet"):
        write(stages, out)
    with monkeypatch.context() as patch:
        refuse = GoldenError("a", "b", "c", fix="d")
        patch.setattr(written, "verify", lambda *_: (_ for _ in ()).throw(refuse))
        with pytest.raises(GoldenError):
            write(stages, out, replace=True)
    small = dataclasses.replace(stages[0].contract, **LOOSE, max_memory_mb=1.0)
    with pytest.raises(ContractError, match=r"resident memory must be at most 1\.0 MB"):
        write(stages, out, replace=True, contract=small)
    assert (last(), out.read_bytes()) == (before, b"somebody's")
    assert [path.name for path in tmp_path.iterdir()] == ["x.edgetl"]
    done = write(stages, out, replace=True)
    assert done.sequence == last() == before + 1
    with open_bundle(out) as bundle:
        assert bundle.manifest.sequence == done.sequence


def test_stages_are_frozen(stages):
    for value in stages:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, dataclasses.fields(value)[0].name, None)
