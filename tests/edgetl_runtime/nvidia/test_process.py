"""Building in a child, by NVIDIA's own compiler where it is installed: limits, a kill half way, a full disk."""

import itertools
import subprocess
from pathlib import Path

import pytest

from edgetl_runtime.errors import BackendError, BackendMissingError
from edgetl_runtime.nvidia import library, process
from edgetl_runtime.nvidia.request import BuildLimits, BuildOptions

OPTIONS = BuildOptions(flavour="tensorrt_rtx", compute_capabilities=("SM86",))
needs_compiler = pytest.mark.skipif(
    library.missing("tensorrt_rtx") is not None, reason=f"NVIDIA's compiler: {library.missing('tensorrt_rtx')}"
)


def children():
    return {int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


@needs_compiler
def test_a_build_gives_an_engine_with_its_facts_and_progress(conv_net, tmp_path):
    steps = []
    built = process.build(conv_net, OPTIONS, progress=steps.append, folder=tmp_path)
    assert b"ftrt" in built.plan[:64] or len(built.plan) > 1000
    assert built.title.startswith("TensorRT for RTX 1.")
    assert built.layers >= 14
    assert 0 < built.peak_mb < 2000
    assert len(built.timing) > 0
    assert {step.phase for step in steps} >= {"Building engine"}
    assert all(0 <= step.done <= step.total for step in steps)
    assert list(tmp_path.iterdir()) == []


@needs_compiler
def test_another_batch_is_another_engine_and_the_same_the_same_size(conv_net):
    one, four = (
        process.build(conv_net, BuildOptions(flavour="tensorrt_rtx", compute_capabilities=("SM89",), batch=batch))
        for batch in (1, 4)
    )
    assert one.plan != four.plan


@needs_compiler
def test_a_broken_limit_ends_the_build_in_one_sentence(conv_net, tmp_path):
    before, hours = children(), itertools.count(step=3600.0)
    with pytest.raises(BackendError, match=r"must be done within 60 s; got still starting after 3600 s"):
        process.build(conv_net, OPTIONS, limits=BuildLimits(time_s=60), folder=tmp_path, clock=lambda: next(hours))
    assert list(tmp_path.iterdir()) == []
    assert children() <= before


KILLED = """
import os, signal
from edgetl_runtime.nvidia import process
from edgetl_runtime.nvidia.request import BuildOptions
children = lambda: {int(p) for path in Path("/proc/self/task").glob("*/children") for p in path.read_text().split()}
cache.mkdir(exist_ok=True)
def kill(step):
    (child,) = children()
    os.kill(child, signal.SIGKILL)
words = sentence(lambda: process.build(model, BuildOptions(), progress=kill, folder=cache))
say(words=words, left=len(list(cache.iterdir())), children=len(children()))
"""


def test_a_build_killed_half_way_is_one_sentence_and_leaves_nothing(on_stub, tmp_path):
    found = on_stub(KILLED, cache=tmp_path, FAKE_HANGS=1)
    assert found["words"].startswith("the build of the engine must be run to its end; got killed by signal 9.")
    assert (found["left"], found["children"]) == (0, 0)


@needs_compiler
def test_an_error_of_the_callers_progress_ends_the_child_too(conv_net, tmp_path):
    before = children()
    with pytest.raises(ZeroDivisionError):
        process.build(conv_net, OPTIONS, progress=lambda _: 1 // 0, folder=tmp_path)
    assert children() <= before
    assert list(tmp_path.iterdir()) == []


@needs_compiler
def test_a_full_disk_is_one_sentence(conv_net, tmp_path):
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip("mounting is refused here: sudo make test, outside of containers")
    try:
        with pytest.raises(BackendError) as caught:
            process.build(conv_net, OPTIONS, folder=tmp_path)
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)
    assert caught.value.sentence.endswith("must be writable and with room; got No space left on device.")
    assert caught.value.fix == f"free some space in {tmp_path}"


@needs_compiler
def test_an_unknown_gpu_is_refused_with_those_that_are_known(conv_net):
    options = BuildOptions(flavour="tensorrt_rtx", compute_capabilities=("SM87",))
    with pytest.raises(BackendError, match=r"CURRENT, SM75, SM80, SM86, SM89, SM120, SM121; got 'SM87'"):
        process.build(conv_net, options)


def test_a_folder_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(BackendError, match="must be writable and with room; got No such file or directory"):
        process.build(b"", OPTIONS, folder=tmp_path / "absent")


def test_without_the_compiler_the_sentence_names_the_command(tmp_path):
    with pytest.raises(BackendMissingError, match="the package tensorrt is not installed"):
        process.build(b"", BuildOptions(flavour="tensorrt"), folder=tmp_path)
