"""Finding the vendor's modules."""

import importlib.util
import sys

import pytest

from edgetl_runtime.errors import BackendMissingError
from edgetl_runtime.nvidia import library


def test_nothing_is_loaded_by_asking():
    library.missing("tensorrt")
    library.missing("tensorrt_rtx")
    assert "tensorrt" not in sys.modules


def test_a_missing_module_is_one_sentence_with_the_command(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        BackendMissingError, match="TensorRT must be installed; got the package tensorrt is not"
    ) as caught:
        library.load("tensorrt")
    assert "nvidia-jetpack" in caught.value.fix
    assert library.missing("tensorrt_rtx") == "the package tensorrt-rtx-bindings is not installed"


def test_where_only_pythons_module_is_missing_the_command_that_brings_it_is_said(tmp_path, monkeypatch):
    """trtexec could build an engine, but nothing could run it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "trtexec").touch()
    monkeypatch.setattr(library, "TRTEXEC", (tmp_path / "trtexec",))
    reason = library.missing("tensorrt")
    assert reason.startswith("the package tensorrt is not installed in this environment; TensorRT itself is: ")
    assert "apt-get install python3-libnvinfer" in reason
    assert "--system-site-packages" in reason
    assert "libnvinfer" not in library.missing("tensorrt_rtx")


def test_type_stubs_alone_are_not_the_module(tmp_path, monkeypatch):
    (tmp_path / "tensorrt").mkdir()
    (tmp_path / "tensorrt" / "__init__.pyi").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert library.missing("tensorrt") == "the package tensorrt is not installed"


def test_a_module_that_does_not_load_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "tensorrt.py").write_text("raise ImportError('libnvinfer.so.10: cannot open shared object file')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(BackendMissingError, match=r"TensorRT must be loadable; got libnvinfer\.so\.10: cannot open"):
        library.load("tensorrt")


def test_an_old_module_is_refused_with_the_reason(tmp_path, monkeypatch):
    (tmp_path / "tensorrt.py").write_text("__version__ = '8.5.2.2'")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    with pytest.raises(BackendMissingError, match=r"got 8\.5\.2\.2"):
        library.load("tensorrt")
    sys.modules.pop("tensorrt", None)
