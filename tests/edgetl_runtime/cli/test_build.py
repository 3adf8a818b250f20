"""build: engines ahead of their use, on backends that build any."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime import backends
from edgetl_runtime.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, dict[str, Any]]]


def test_variants_without_engines_are_said(run: Run, tiny_path: Path) -> None:
    code, result = run("build", str(tiny_path))
    assert (code, result["schema"]) == (0, "edgetl.build/1")
    assert set(result["engines"]) == {"onnxruntime-f32", "openvino-f32", "null-f32"}
    assert {engine["skipped"] for engine in result["engines"].values()} == {"its backend builds nothing"}


def test_an_engine_is_built_with_the_options_given(
    run: Run, tiny_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, Any] = {}

    def prepare(model: bytes, options: object, cache_dir: object, **more: Any) -> dict[str, Any]:
        asked.update(more, size=len(model), cache_dir=cache_dir)
        more["progress"]("Timing", 0.5)
        return {"built": True, "reason": "none was built yet", "plan_bytes": 2_000_000, "seconds": 61.4}

    monkeypatch.setattr(backends.get("null"), "prepare", prepare)
    words = ["build", str(tiny_path), "--variant", "null-f32", "--cache-dir", str(tmp_path), "--time-limit-s", "7"]
    code, result = run(*words, "--force", "--memory-limit-mb", "900", "--dla-core", "1")
    assert (code, list(result["engines"])) == (0, ["null-f32"])
    assert (asked["force"], asked["cache_dir"], asked["size"]) == (True, tmp_path, 14)
    settings = asked["settings"]
    assert (settings.time_limit_s, settings.memory_limit_mb, settings.dla_core) == (7.0, 900, 1)
    assert main(words) == 0
    assert "null-f32: built in 61 s (none was built yet), 2.0 MB" in capsys.readouterr().out


@pytest.mark.parametrize("seconds", ["0", "-3"])
def test_a_time_limit_that_is_none_is_refused(run: Run, tiny_path: Path, seconds: str) -> None:
    code, result = run("build", str(tiny_path), f"--time-limit-s={seconds}")
    assert code == 2
    assert "--time-limit-s must be above 0" in json.dumps(result)
