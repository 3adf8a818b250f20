"""The plugin in a pytest of its own: figures, verdicts, baselines, visible skips, JUnit properties."""

from __future__ import annotations

import dataclasses
import random
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime.bench import rounds
from edgetl_runtime.bench.record import read_record, write_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

pytest_plugins = ["pytester"]


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def disturb() -> list[str]:
    """What the processes of `project` say disturbed them."""
    return []


@pytest.fixture
def project(
    pytester: pytest.Pytester, tiny_path: Path, play_workers: Callable[..., None], disturb: list[str]
) -> Callable[..., pytest.RunResult]:
    """Run a test file beside part.edgetl; processes take 5 ms a decision, as in benchmarks of the design."""
    shutil.copy(tiny_path, pytester.path / "part.edgetl")
    digest = rounds.target(tiny_path).facts.file_sha256
    noise = random.Random(0)

    def ask(job: Mapping[str, Any]) -> dict[str, Any]:
        level = 5.0 * (1 + job["slower_pct"] / 100) * noise.gauss(1, 0.002)
        samples = [level * noise.gauss(1, 0.01) for _ in range(30)]
        return {"steady": True, "decision_ms": samples, "network_ms": samples, "inside_ms": samples, "start_ms": 300.0,
                "memory_mb": 90.0, "disturbed": disturb, "outputs": "same", "bundle_sha256": digest}  # fmt: skip

    play_workers(ask)

    def run(source: str, *options: str) -> pytest.RunResult:
        pytester.makepyfile(source)
        return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", *options)

    return run


def test_latency_gives_figures_to_assert_on(project: Callable[..., pytest.RunResult]) -> None:
    result = project("""
        def test_fast(latency):
            found = latency("part.edgetl")
            assert found.p99_ms <= 12
            assert 4.9 < found.p50_ms < 5.1
            assert (found.start_ms, found.memory_mb) == (300, 90)

        def test_too_slow(latency):
            assert latency("part.edgetl").p50_ms <= 1
    """)
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*= edgetl =*", "part.edgetl onnxruntime-f32: p50 *, n 300, resolution not known*"])
    # measured once for both tests
    assert sum(line.startswith("part.edgetl onnxruntime-f32: p50") for line in result.stdout.lines) == 1


def test_figures_that_n_is_too_small_for_fail(project: Callable[..., pytest.RunResult]) -> None:
    result = project(
        """
        def test_tail(latency):
            assert latency("part.edgetl").p99_ms <= 99

        def test_accuracy(latency):
            assert latency("part.edgetl").accuracy > 0.5

        def test_misspelt(latency):
            latency("part.edgetl", ronds=3)
    """,
        "--edgetl-rounds=5",
    )
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        ["*edgetl: p99 of decision must be of enough samples; got 150 samples.*", "*accuracy must be measured*",
         "*option ronds must be one of data,*"]
    )  # fmt: skip


def test_compare_fails_on_a_regression_and_passes_without(project: Callable[..., pytest.RunResult]) -> None:
    result = project("""
        def test_same(compare):
            assert compare("part.edgetl", "part.edgetl").verdict == "PASS"

        def test_slower(compare):
            compare("part.edgetl", "part.edgetl", slower_pct=10)

        def test_slower_within_the_margin(compare):
            compare("part.edgetl", "part.edgetl", slower_pct=10, margin_pct=30, min_effect_pct=20)

        def test_limit(compare):
            compare("part.edgetl", "part.edgetl", max_memory_mb=50)
    """)
    result.assert_outcomes(passed=2, failed=2)
    result.stdout.fnmatch_lines(["REGRESSED: the new part.edgetl against the old part.edgetl, 10 interleaved pairs*"])
    result.stdout.fnmatch_lines(["limit broken: memory mb is 90, above 50"])


BASELINE = """
    def test_not_slower(baseline):
        baseline("part.edgetl")
"""


def test_baseline_is_stored_then_compared_with(project: Callable[..., pytest.RunResult], pytester: Any) -> None:
    project(BASELINE).assert_outcomes(skipped=1)
    project(BASELINE, "--edgetl-baseline=old").assert_outcomes(failed=1)
    project(BASELINE, "--edgetl-baseline=old", "--edgetl-update-baseline").assert_outcomes(passed=1)
    assert {p.name for p in (pytester.path / "old").iterdir()} == {"part.bench.json.gz", "part.edgetl"}
    same = project(BASELINE, "--edgetl-baseline=old")
    same.assert_outcomes(passed=1)
    same.stdout.fnmatch_lines(["PASS: the new part.edgetl against the old part.edgetl, 10 rounds against stored ones*"])
    slower = project(BASELINE.replace('"part.edgetl"', '"part.edgetl", slower_pct=20'), "--edgetl-baseline=old")
    slower.assert_outcomes(failed=1)


def test_a_baseline_of_another_machine_runs_the_old_bundle_again(
    project: Callable[..., pytest.RunResult], pytester: Any
) -> None:
    project(BASELINE, "--edgetl-baseline=old", "--edgetl-update-baseline").assert_outcomes(passed=1)
    kept = pytester.path / "old" / "part.bench.json.gz"
    stored = read_record(kept)
    write_record(kept, dataclasses.replace(stored, environment={**stored.environment, "cpu": "another"}))
    result = project(BASELINE, "--edgetl-baseline=old")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["part.edgetl is run again, its record does not hold here: cpu: another and *"])
    result.stdout.fnmatch_lines(["PASS: the new part.edgetl against the old part.edgetl, 10 interleaved pairs*"])


def test_the_marker_skips_with_a_visible_reason(project: Callable[..., pytest.RunResult]) -> None:
    result = project("""
        import pytest

        @pytest.mark.edgetl_requires(cores=100000)
        def test_big(latency): ...

        @pytest.mark.edgetl_requires(board="Orin Nano")
        def test_board(latency): ...

        @pytest.mark.edgetl_requires(backend="null", cores=1)
        def test_here(): ...
    """)
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(
        ["not run: *::test_big: needs 100000 cores, this machine has *", "not run: *::test_board: needs the board*"]
    )


@pytest.mark.parametrize(("option", "outcome"), [("fail", {"failed": 1}), ("skip", {"skipped": 1})])
def test_an_unfit_machine_is_never_green(
    project: Callable[..., pytest.RunResult], disturb: list[str], option: str, outcome: dict[str, int]
) -> None:
    disturb.append("other work took 40 % of the machine")
    test = "def test_fast(latency):\n    assert latency('part.edgetl').p50_ms < 99"
    result = project(test, f"--edgetl-unfit={option}")
    result.assert_outcomes(**outcome)
    result.stdout.fnmatch_lines(["*the environment must be fit to measure in; got 6 disturbed rounds*"])
    project(test, "--edgetl-allow-disturbed").assert_outcomes(passed=1)


def test_junit_files_hold_the_figures(project: Callable[..., pytest.RunResult], pytester: Any) -> None:
    project(
        "def test_same(compare):\n    compare('part.edgetl', 'part.edgetl')", "--junitxml=junit.xml"
    ).assert_outcomes(passed=1)
    tree = ET.parse(pytester.path / "junit.xml")
    found = {p.get("name"): p.get("value") for p in tree.iter("property")}
    assert found["edgetl.verdict"] == "PASS"
    assert float(found["edgetl.part.edgetl.p50_ms"] or 0) == pytest.approx(5, rel=0.02)
    assert abs(float(found["edgetl.decision.change"] or 9)) < 0.01


def test_the_plugin_loads_neither_torch_nor_the_host() -> None:
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('torch', 'onnx', 'edgetl', 'matplotlib')));"
        "import pytest; sys.exit(pytest.main(['--fixtures', '-q', '-p', 'no:cacheprovider', '--co', '/dev/null']) == 1)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    imported = "import sys, edgetl_runtime.pytest_plugin; sys.exit('pytest' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", imported], check=False, timeout=60).returncode == 0


def test_a_busy_machine_is_told_in_two_lines_with_an_option_of_pytest(
    project: Callable[..., pytest.RunResult], disturb: list[str]
) -> None:
    disturb.append("other work took the processor")
    result = project("def test_a(latency):\n    latency('part.edgetl')", "--edgetl-rounds=3")
    text = result.stdout.str()
    assert result.ret == 1
    assert "edgetl: the environment must be fit to measure in" in text
    assert "; --edgetl-allow-disturbed counts such rounds" in text
    assert "rounds.py" not in text
    assert " --allow-disturbed" not in text
