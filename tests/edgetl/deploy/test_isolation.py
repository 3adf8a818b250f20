"""The fresh interpreter: it proves a bundle, sees an altered one, and has nothing of the host."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edgetl.deploy.isolation import FRESH, HOST_ONLY, verify
from edgetl_runtime.errors import GoldenError


def test_verify_returns_what_the_runtime_found(tiny_bundle):
    result = verify(tiny_bundle(), "--variant", "onnxruntime-f32")
    assert [(v["id"], v["ok"], v["golden"]["count"]) for v in result["variants"]] == [("onnxruntime-f32", True, 16)]
    assert 10 < result["memory_mb"] < 1000


def test_nothing_is_imported_from_the_folder_that_deploy_is_called_in(tiny_bundle, planted_modules):
    assert verify(tiny_bundle(), "--variant", "null-f32")["variants"][0]["ok"]
    assert not planted_modules.exists()


def test_verify_repeats_the_runtimes_sentence(tiny_bundle):
    path = tiny_bundle()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(GoldenError, match=r"the bundle in a fresh process must be proven by its golden vectors; got "):
        verify(path)


@pytest.mark.parametrize("name", HOST_ONLY)
def test_the_hosts_packages_cannot_be_imported(name):
    program = FRESH.partition("from edgetl_runtime")[0] + f"import {name}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "ModuleNotFoundError" in done.stderr) == (1, True)


def test_every_package_that_the_host_alone_depends_on_is_kept_out():
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = [re.match(r"[\w-]+", line)[0] for line in project["dependencies"]]
    imported = {"sklearn" if name == "scikit-learn" else name for name in names} - {"edgetl-runtime"}
    assert imported | {"edgetl"} <= set(HOST_ONLY)
    assert not {"numpy", "cv2", "PIL", "simplejpeg", "cryptography"} & set(HOST_ONLY)  # the runtime's own


def test_openvino_decides_without_the_hosts_packages(tiny_bundle):
    assert verify(tiny_bundle(), "--variant", "openvino-f32")["variants"][0]["ok"]
