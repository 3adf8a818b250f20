"""The second way to build, against a small program that answers as trtexec does."""

import os
import sys

import pytest

from edgetl_runtime.errors import BackendError, BackendMissingError
from edgetl_runtime.nvidia import trtexec
from edgetl_runtime.nvidia.request import BuildOptions, Limits

PROGRAM = """#!{python}
import signal, sys
print("&&&& RUNNING TensorRT.trtexec [TensorRT v{banner}] # trtexec")
options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
if "help" in options: sys.exit(0)
if {hangs}: signal.pause()
if {refuse}:
    print("[11/22/2026-01:02:03] [E] [TRT] ModelImporter.cpp:951: While parsing node number 3")
    print("[11/22/2026-01:02:03] [E] Error: Invalid Node - conv_3 zero points must be 0")
    sys.exit(1)
open(options["saveEngine"], "w").write(" ".join(sys.argv[1:]))
"""
SHAPE = (1, 16, 16, 3)


@pytest.fixture
def program(tmp_path):
    def make(*, banner="100300", hangs=0, refuse=0):
        path = tmp_path / "trtexec"
        path.write_text(PROGRAM.format(python=sys.executable, banner=banner, hangs=hangs, refuse=refuse))
        path.chmod(0o755)
        return path

    return make


def build(path, folder, *, time_s=60.0, **options):
    chosen = BuildOptions(**options)
    return trtexec.build(path, b"model", chosen, limits=Limits(time_s=time_s), shape=SHAPE, folder=folder)


def test_the_engine_is_built_with_the_options_of_the_release(program, tmp_path):
    built = build(program(), tmp_path, workspace_mb=256)
    words = built.plan.decode().split()
    assert built.title == "TensorRT 10.3.0"
    assert {"--stronglyTyped", "--noTF32", "--skipInference", "--memPoolSize=workspace:256"} <= set(words)
    assert "--shapes=image:1x16x16x3" in words
    assert not [word for word in words if word in ("--fp16", "--int8")]
    assert [path.name for path in tmp_path.iterdir()] == ["trtexec"]


def test_a_program_in_the_folder_of_the_call_is_not_found(program, tmp_path, monkeypatch):
    program()
    monkeypatch.chdir(tmp_path)
    for path in (".", ":/nowhere", tmp_path.name):
        monkeypatch.setenv("PATH", path)
        assert trtexec.find(()) is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert trtexec.find(()) == tmp_path / "trtexec"


def test_eleven_needs_no_flag_for_strong_typing(program, tmp_path):
    assert b"--stronglyTyped" not in build(program(banner="110401"), tmp_path).plan


def test_a_refusal_is_one_sentence_naming_the_node(program, tmp_path):
    with pytest.raises(
        BackendError, match=r"node 'conv_3' \(trtexec\) must be accepted by the parser of TensorRT 10\.3"
    ):
        build(program(refuse=1), tmp_path)


def test_time_up_is_one_sentence(program, tmp_path):
    with pytest.raises(BackendError, match=r"must be done within 0\.05 s; got trtexec still at work"):
        build(program(hangs=1), tmp_path, time_s=0.05)
    assert [path.name for path in tmp_path.iterdir()] == ["trtexec"]


@pytest.mark.parametrize("banner", ["8502", "120000"])
def test_other_releases_are_refused(program, banner):
    with pytest.raises(BackendMissingError, match=r"TensorRT must be from 10\.3 up to 11\.x"):
        trtexec.dialect(program(banner=banner))


def test_another_program_is_refused():
    with pytest.raises(BackendMissingError, match="must be trtexec; got a program without TensorRT's banner"):
        trtexec.dialect(trtexec.Path("/bin/true"))


def test_find_looks_where_jetpack_puts_it(program, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    assert trtexec.find(places=(tmp_path / "trtexec",)) is None
    path = program()
    assert trtexec.find(places=(path,)) == path
