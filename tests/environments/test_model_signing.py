"""The PyPI tool model-signing and we verify each other's signatures; it has an environment of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_model_signing_and_we_verify_each_other():
    if not (ROOT / ".pytest_cache" / "model-signing" / "bin" / "python").exists():
        pytest.skip("model-signing is not here: make interop")
    command = [sys.executable, str(ROOT / "benchmarks" / "model_signing.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == 4
