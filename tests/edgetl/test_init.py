"""The Python door: what it loads, what it is called, and the whole way through it."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import inspect
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import edgetl
import edgetl_runtime
from edgetl.api.contracts import terms_of_tasks
from edgetl.api.delivery import DeliveryRequest
from edgetl.api.training import aims_of_tasks
from edgetl.cli import COMMANDS
from edgetl.config import FinetuneConfig
from edgetl.deploy.request import DeployConfig
from edgetl.errors import InUseError
from edgetl.search.grid import SearchConfig
from edgetl_runtime.errors import InstallError, UnfitError, UsageError

FUNCTIONS = ("bench", "deliver", "deploy", "finetune", "load_run", "search")
LOOSE = {"max_drop_pp": 50, "max_flips_pct": 50}
FRESH = """
import sys
before = set(sys.modules)
import edgetl
assert set(edgetl.__all__) == set(dir(edgetl)), dir(edgetl)
names = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(names - set(sys.stdlib_module_names)))
import edgetl.finetune.preset, edgetl.deploy.contract, edgetl.search.grid, edgetl.bench.history
from edgetl import finetune
print(*(callable(getattr(edgetl, name)) for name in ("bench", "deploy", "finetune", "search")))
print(finetune is edgetl.finetune)
"""
# what only a command line needs: files of options, and the contract's terms, which an `edgetl.Contract` holds in Python
OF_THE_COMMAND_LINE = {"help", "config", "contract"}


def parser_of(command):
    parser = argparse.ArgumentParser()
    importlib.import_module(COMMANDS[command][0]).add_arguments(parser)
    return {action.dest: action for action in parser._actions}


def parameters(name):
    return inspect.signature(getattr(edgetl, name)).parameters


def test_import_loads_nothing_third_party_and_rooms_hide_no_function():
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["['edgetl']", "True True True True", "True"]


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'fintune'"):
        edgetl.fintune  # noqa: B018


@pytest.mark.parametrize("command", ["bench", "deliver", "deploy", "finetune", "search"])
def test_keywords_are_the_options_of_the_command(command):
    contract = {*edgetl.Contract.__dataclass_fields__, *(one.field for one in terms_of_tasks())}
    options = set(parser_of(command)) - OF_THE_COMMAND_LINE - (contract if command in ("deploy", "search") else set())
    keywords = set(parameters(command)) - {"progress", "contract"}
    assert keywords == {"run" if name == "run_folder" else name for name in options}
    assert ("contract" in parameters(command)) == (command in ("deploy", "search"))


@pytest.mark.parametrize(
    ("name", "configurations"),
    [
        ("finetune", [FinetuneConfig]),
        ("search", [SearchConfig, FinetuneConfig]),
        ("deploy", [DeployConfig, DeliveryRequest, SearchConfig]),
        ("deliver", [DeliveryRequest]),
    ],
)
def test_defaults_are_the_commands(name, configurations):
    known = {}
    for configuration in reversed(configurations):  # the first one wins: `threads` is of deploying, not of its grid
        known |= {field.name: field.default for field in dataclasses.fields(configuration)}
    known = {key: default for key, default in known.items() if key not in ("data", "aims")}
    shown = {key: p.default for key, p in parameters(name).items() if key in known}
    assert shown == {key: known[key] for key in shown}
    assert len(shown) > 8


def test_defaults_of_bench_are_the_commands():
    found = parser_of("bench")
    shown = {key: p.default for key, p in parameters("bench").items() if key not in ("bundle", "progress")}
    assert shown == {key: found[key].default for key in shown}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_option_is_documented_and_there_is_an_example(name):
    said = inspect.getdoc(getattr(edgetl, name))
    assert all(f"    {option}: " in said for option in parameters(name) if option not in aims_of_tasks())
    assert "Raises:" in said
    assert ">>> " in said


def test_a_wrong_name_is_a_type_error():
    with pytest.raises(TypeError, match="unexpected keyword argument 'perset'"):
        edgetl.finetune("parts", out="run", perset="fast")


@pytest.mark.parametrize(
    ("options", "words", "fix"),
    [
        ({"escape_cost": 0}, "escape_cost must be above 0; got 0", "escape_cost=5"),
        ({"seed": "a"}, "seed must be of type int; got 'a'.", "seed = 1"),
        ({"resize": "bend"}, "resize must be one of 'stretch', 'fit', 'crop'; got 'bend'.", "one of crop, fit"),
        ({"max_escape_rate": 0.1, "escape_cost": 3}, "escape_cost must be given without max_escape_rate", "one of"),
        ({"progress": 1}, 'progress must be "bars", a callable or None; got 1.', "progress=None"),
        ({"resume": True}, "resume must be used on a run that was started", "drop resume"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_in_the_words_of_python(options, words, fix, blob_parts, tmp_path):
    with pytest.raises(UsageError) as caught:
        edgetl.finetune(blob_parts, out=tmp_path / "run", **{"progress": None, **options})
    assert caught.value.sentence.startswith(words)
    assert caught.value.fix.startswith(fix)
    assert not (tmp_path / "run").exists()


def test_what_exists_is_replaced_by_force_only(finished, blob_parts):
    with pytest.raises(UsageError, match=r"Try: force=True to replace it, or resume=True"):
        edgetl.finetune(blob_parts, out=finished.result["run"], progress=None)


def test_a_second_call_from_another_thread_is_refused(blob_parts, tmp_path):
    at_work, found = threading.Event(), []

    def progress(stage, done, total):
        del stage, done, total
        if not at_work.is_set():
            at_work.set()
            second.start()
            second.join()
            message = "enough"
            raise RuntimeError(message)

    def call():
        try:
            edgetl.finetune(blob_parts, out=tmp_path / "b", progress=None)
        except InUseError as error:
            found.append(error.sentence)

    second = threading.Thread(target=call)
    with pytest.raises(RuntimeError, match="enough"):
        edgetl.finetune(blob_parts, out=tmp_path / "a", progress=progress)
    assert found == ["edgetl.finetune must be the only call in this process; got another one still at work."]
    assert not (tmp_path / "b").exists()


@pytest.fixture(scope="module")
def way(tmp_path_factory, blob_parts, one_thread):
    """finetune → deploy through the door: the two results, and what a callable was told."""
    del one_thread
    folder, told = tmp_path_factory.mktemp("door"), []
    run = edgetl.finetune(
        blob_parts, out=folder / "blobs", image_size=64, preset="fast", defect="hole", data_licence="CC0-1.0",
        progress=lambda *said: told.append(said),
    )  # fmt: skip
    done = edgetl.deploy(
        run, target="ipc-onnxruntime", out=folder / "blobs.edgetl", contract=edgetl.Contract(**LOOSE), rungs=1,
        progress=None,
    )  # fmt: skip
    return run, done, told


def test_the_whole_way_from_images_to_a_decision(way, blob_parts):
    run, done, _ = way
    assert run.test["n"] == done.confirmed["n"] == 12
    with edgetl_runtime.open(done.bundle) as session:
        assert session.predict((blob_parts / "hole" / "000.png").read_bytes()).verdict in ("OK", "NOK", "UNSURE")
    assert done.size_bytes == done.bundle.stat().st_size
    assert done.candidates[0].id == done.chosen
    assert done.candidates[0].chosen


def test_a_run_stays_the_same_from_whatever_folder_it_is_used(way, monkeypatch, tmp_path):
    run, *_ = way
    monkeypatch.chdir(run.path.parent)
    again = edgetl.load_run(run.path.name)
    monkeypatch.chdir(tmp_path)
    assert (again.path, again.path.is_absolute(), again.report.is_file()) == (run.path.absolute(), True, True)


def test_load_run_reads_what_was_trained_and_what_became_of_it(way):
    run, done, _ = way
    again = edgetl.load_run(run.path)
    assert again.run.test == run.run.test
    assert (again.kept, again.val["n"]) == (run.kept, run.val["n"])
    assert again.answer == done.answer  # with the deployment
    with pytest.raises(edgetl.EdgetlError, match="must be a finished run"):
        edgetl.load_run(run.path.parent)


def test_a_callable_is_told_of_every_stage_to_its_end(way):
    told = way[2]
    stages = {stage for stage, _, _ in told}
    assert {"read and check images", "decode train", "fit the head"} <= stages
    for stage in stages:
        said = [(done, total) for name, done, total in told if name == stage]
        assert said[0] == (0, 0)
        assert said[-1][0] == said[-1][1] > 0


def test_results_begin_with_the_answer_as_text_and_in_a_notebook(way):
    run, done, _ = way
    for result in (run, done):
        words = f"May I ship this? {result.answer.words}"
        assert repr(result).splitlines()[0] == words
        assert f"<strong>{words}</strong>" in result._repr_html_()
    page = done._repr_html_()
    assert page.count("<tr>") == 1 + len(done.candidates)
    assert f"<td>{done.chosen}</td>" in page
    hostile = dataclasses.replace(done, json={**done.json, "target": "<script>"})
    assert "<script>" not in hostile._repr_html_()


def test_what_is_not_a_yes_can_be_made_an_exception(way):
    run, done, _ = way
    assert not done.ok  # twelve images on test prove little
    with pytest.raises(UnfitError, match="must be fit to be shipped"):
        done.require()
    yes = dataclasses.replace(run.answer, level="yes", points=())
    assert dataclasses.replace(done, answer=yes).require().ok
    back = {"host": "user@device", "result": "ROLLED_BACK", "reason": "2 failures"}
    gone = dataclasses.replace(done, answer=yes, delivery=back)
    assert not gone.ok
    with pytest.raises(InstallError, match="the trial on user@device must be passed"):
        gone.require()
    assert not dataclasses.replace(done, answer=yes, unproven=("p99 of at most 1 ms",)).ok


def test_the_contract_may_be_a_file(way, tmp_path):
    run = way[0]
    (tmp_path / "c.toml").write_text("[contract]\nmax_flips_pct = -1\n")
    with pytest.raises(UsageError, match="max_flips_pct must be 0 or above"):
        edgetl.deploy(run, out=tmp_path / "x.edgetl", contract=tmp_path / "c.toml", progress=None)
    with pytest.raises(UsageError, match=r"contract must be an edgetl.Contract, or the path of a TOML file; got 8"):
        edgetl.deploy(run, out=tmp_path / "x.edgetl", contract=8, progress=None)
    assert list(tmp_path.iterdir()) == [tmp_path / "c.toml"]


def test_bench_judges_and_deliver_wants_something_to_do(way, tmp_path):
    bundle = way[1].bundle
    with pytest.raises(UsageError, match="must be given host, offline_package or key; got none of them"):
        edgetl.deliver(bundle, progress=None)
    report = edgetl.bench(
        bundle, rounds=1, iterations=10, seconds=0, warmup=0.1, p50_ms=0.0001, allow_disturbed=True,
        out=tmp_path / "r.json", progress=None,
    )  # fmt: skip
    assert report.broken
    assert not report.ok
    with pytest.raises(edgetl.EdgetlError, match="must be within its limits"):
        report.require()
    assert report.record == tmp_path / "r.json" == Path(report.json["record"])
    assert repr(report)


def test_search_of_runs_names_the_run_to_be_deployed(way, tmp_path):
    run, _, _ = way
    contract = edgetl.Contract(**LOOSE)
    found = edgetl.search(
        run.path, out=tmp_path / "out", target="ipc-onnxruntime", backends="onnxruntime", precisions=["f32"],
        contract=contract, max_gap_pp=50, progress=None,
    )  # fmt: skip
    assert (found.chosen, found.run) == ("blobs/onnxruntime-f32", run.path)
    assert found.deploy.startswith(f"edgetl deploy {run.path} --target ipc-onnxruntime")
    assert "chosen: blobs/onnxruntime-f32" in repr(found)
    with pytest.raises(UsageError, match="one data set, or finished runs only"):
        edgetl.search([run.path, tmp_path], out=tmp_path / "other", progress=None)
