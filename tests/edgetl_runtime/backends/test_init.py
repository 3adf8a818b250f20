"""Discovery by filename."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from edgetl_runtime import backends
from edgetl_runtime.errors import UsageError


def test_names_are_the_files_of_the_folder() -> None:
    folder = Path(backends.__file__).parent
    expected = {p.stem for p in folder.glob("*.py")} - {"__init__", "base"}
    assert set(backends.names()) == expected
    assert {"null", "onnxruntime", "openvino"} <= expected


def test_get_names_the_nearest() -> None:
    assert backends.get("openvino").info.name == "openvino"
    with pytest.raises(UsageError, match=r"(?s)got 'openvin'.*'openvino'"):
        backends.get("openvin")


def test_get_loads_no_vendor_library() -> None:
    code = (
        "import sys; from edgetl_runtime import backends; [backends.get(n).available() for n in backends.names()]; "
        "print([n for n in backends.names() if n != 'null' and n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
