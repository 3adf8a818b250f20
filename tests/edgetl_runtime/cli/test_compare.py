"""compare: verdicts become exit codes, and the gate is seen to fail."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime.bench import floors, rounds
from edgetl_runtime.bench.record import read_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Run = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def _station(play_workers: Callable[..., None], tiny_path: Path) -> None:
    """Processes that take 5 ms for a decision, more where they are slowed; real ones are in bench/test_measuring.py."""
    digest = rounds.target(tiny_path, backend="null").facts.file_sha256
    noise = random.Random(0)

    def ask(job: Mapping[str, Any]) -> dict[str, Any]:
        level = 5.0 * (1 + job["slower_pct"] / 100) * noise.gauss(1, 0.002)
        samples = [level * noise.gauss(1, 0.01) for _ in range(30)]
        return {"steady": True, "decision_ms": samples, "network_ms": samples, "inside_ms": samples, "start_ms": 300.0,
                "disturbed": [], "outputs": "same", "bundle_sha256": digest}  # fmt: skip

    play_workers(ask)


@pytest.mark.usefixtures("_station")
def test_a_slowed_bundle_is_exit_3_with_records_and_markdown(run: Run, tiny_path: Path, tmp_path: Path) -> None:
    out, summary = tmp_path / "records", tmp_path / "summary.md"
    words = ("compare", str(tiny_path), "--aa", "--backend", "null", "--slow-b-pct", "10", "--out", str(out))
    code, result = run(*words, "--summary", str(summary), "--gate", "both")
    assert (code, result["schema"], result["verdict"]) == (3, "edgetl.compare/1", "REGRESSED")
    assert result["metrics"]["decision"]["estimate"] == pytest.approx(0.1, abs=0.01)
    assert set(result["metrics"]) == {"decision", "network"}
    assert len(read_record(out / "b.bench.json.gz").rounds) == 20  # two metrics share the error: ten pairs are too few
    assert "REGRESSED" in summary.read_text()
    assert floors.read().aa is None  # a regression is no floor


@pytest.mark.usefixtures("_station")
def test_a_bundle_against_itself_passes_and_leaves_the_floor(run: Run, tiny_path: Path) -> None:
    code, result = run("compare", str(tiny_path), "--aa", "--backend", "null")
    assert (code, result["verdict"]) == (0, "PASS")
    judgement = result["metrics"]["decision"]
    widest = max(-judgement["lower"], judgement["upper"])
    assert 0 < floors.read().aa < 0.02  # of independent pairs: few pairs widen the bounds on any machine
    assert judgement["widened"] == pytest.approx(widest / floors.read().aa, rel=0.1)
    assert "bounds 4.4 times as wide as independent pairs would have" in result["text"]


@pytest.mark.usefixtures("_station")
@pytest.mark.parametrize(("slower", "code", "verdict"), [("0", 0, "PASS"), ("10", 3, "REGRESSED")])
def test_a_bundle_against_a_stored_record(
    run: Run, tiny_path: Path, tmp_path: Path, slower: str, code: int, verdict: str
) -> None:
    record = tmp_path / "old.bench.json.gz"
    assert run("bench", str(tiny_path), "--backend", "null", "--out", str(record))[0] == 0
    found, result = run("compare", str(record), str(tiny_path), "--backend", "null", "--slow-b-pct", slower)
    assert (found, result["verdict"], result["how"]) == (code, verdict, "stored")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{a}",), "B must be given, or --aa instead"),
        (("{a}", "{a}", "--aa"), "B must be given, or --aa instead"),
        (("{a}", "--aa", "--looks", "ten"), "--looks must be numbers of pairs"),
        (("{a}", "--aa", "--looks", "4"), "looks must be enough pairs"),
        (("{a}", "--aa", "--margin-pct", "1"), "below the margin"),
        (("{a}", "{a}", "--out", "{tmp}"), "a new folder"),
        (("{tmp}/r.json", "{a}"), "record"),
        (("{tmp}/r.json", "{a}", "--looks", "10"), "A must be a bundle for these options"),
    ],
)
def test_compare_refuses_with_one_sentence(
    run: Run, tiny_path: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    code, result = run("compare", *(word.format(a=tiny_path, tmp=tmp_path) for word in arguments))
    assert code == 2
    assert words in result["error"]["message"]
