"""info: what is inside, without loading a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl_runtime.__main__ import main

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    Run = Callable[..., tuple[int, dict[str, Any]]]


def test_info_tells_what_is_inside(run: Run, tiny_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = run("info", str(tiny_path))
    assert (code, result["schema"], result["bytes"]) == (0, "edgetl.info/1", tiny_path.stat().st_size)
    assert result["manifest"]["classes"] == ["bad", "ok"]
    assert result["unfit"] == {"onnxruntime-f32": None, "openvino-f32": None, "null-f32": None}
    assert main(["info", str(tiny_path)]) == 0
    assert "onnxruntime-f32      onnxruntime  f32   chosen  can run here" in capsys.readouterr().out
