"""bench: one record of the exact artifact, and an exit code that a pipeline obeys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime.__main__ import main
from edgetl_runtime.bench.record import read_record

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, dict[str, Any]]]

# the tests themselves disturb the machine
QUICK = ("--backend", "null", "--rounds", "1", "--iterations", "30", "--seconds", "0", "--warmup", "0.1",
         "--allow-disturbed")  # fmt: skip


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def test_bench_gives_the_stable_json_and_keeps_every_sample(run: Run, tiny_path: Path, tmp_path: Path) -> None:
    out, summary = tmp_path / "r.json.gz", tmp_path / "r.md"
    code, result = run("bench", str(tiny_path), *QUICK, "--out", str(out), "--summary", str(summary))
    assert (code, result["schema"], result["variant"]) == (0, "edgetl.bench.result/1", "null-f32")
    decision = result["summary"]["decision_ms"]
    assert (decision["n"], decision["p99"]) == (30, None)
    assert result["summary"]["start_ms"] > result["summary"]["first_ms"] > 0
    record = read_record(out)
    assert len(record.rounds[0].decision_ms) == 30
    assert record.environment["fingerprint"] == result["fingerprint"]
    assert summary.read_text().startswith("### tiny.edgetl: null-f32")


@pytest.mark.parametrize(
    ("options", "code", "key", "words"),
    [(("--p50-ms", "0"), 3, "broken", "p50 ms is"), (("--p99-ms", "99"), 4, "unknown", "it needs 299")],
)
def test_limits_decide_the_exit_code(
    run: Run, tiny_path: Path, options: tuple[str, ...], code: int, key: str, words: str
) -> None:
    found, result = run("bench", str(tiny_path), *QUICK, *options)
    assert found == code
    assert words in result[key][0]


def test_bench_shows_a_table(tiny_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(tiny_path), *QUICK]) == 0
    out = capsys.readouterr().out
    assert "image to decision" in out
    assert "resolution not known" in out


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (("--rate", "0"), 2, "--rate"),
        (("--data", "{tmp}/absent"), 2, "a folder"),
        (("--variant", "none"), 2, "--variant"),
        (("--out", "{tmp}"), 2, "a new file"),
    ],
)
def test_bench_refuses_with_one_sentence(
    run: Run, tiny_path: Path, tmp_path: Path, options: tuple[str, ...], code: int, words: str
) -> None:
    found, result = run("bench", str(tiny_path), *(word.format(tmp=tmp_path) for word in options))
    assert found == code
    assert words in result["error"]["message"]
