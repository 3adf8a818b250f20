"""The pytest plugin: latency regression tests of bundles, as one writes any other test.

    def test_fast_enough(latency):
        assert latency("part.edgetl").p99_ms <= 12

    def test_not_slower(compare):
        compare("released.edgetl", "part.edgetl")

    def test_not_slower_than_last_time(baseline):
        baseline("part.edgetl")

pytest finds it by its entry point. pytest itself is imported when pytest asks, never on a station.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import EdgetlError, UnfitError

if TYPE_CHECKING:
    import pytest

REQUIRES = (
    "edgetl_requires(backend=, arch=, cores=, memory_mb=, cpu_flag=, board=): skip where this machine lacks it, with "
    "the reason"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options."""
    add = parser.getgroup("edgetl", "edgetl: latency regression tests").addoption
    add("--edgetl-baseline", metavar="DIR", type=Path, help="stored records and bundles that `baseline` compares with")
    add("--edgetl-update-baseline", action="store_true", help="store what is measured now instead of comparing")
    add("--edgetl-rounds", metavar="R", type=int, default=10, help="fresh processes of every measurement; default 10")
    add("--edgetl-seconds", metavar="S", type=float, default=1.0, help="timed in every round at least; default 1")
    add("--edgetl-allow-disturbed", action="store_true", help="count rounds beside other work; the tests say so")
    add("--edgetl-unfit", choices=("fail", "skip"), default="fail", help="what a machine unfit to measure means")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and the fixtures."""
    from edgetl_runtime.bench.fixtures import Fixtures

    config.addinivalue_line("markers", REQUIRES)
    fixtures = Fixtures(config)
    config.pluginmanager.register(fixtures, "edgetl-measurements")
    config.pluginmanager.register(fixtures.as_module(), "edgetl-fixtures")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose machine lacks what its marker names."""
    import pytest

    from edgetl_runtime.bench.requirements import lacking

    for marker in item.iter_markers("edgetl_requires"):
        reason = lacking(**marker.kwargs)
        if reason is not None:
            pytest.skip(f"edgetl: {reason}")


def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
    """Say an error in its own words, without a traceback; skip an unfit machine where that was asked for."""
    import pytest

    error = None if call.excinfo is None else call.excinfo.value
    if not isinstance(error, EdgetlError):
        return
    words = _with_our_options(f"edgetl: {error}")
    if isinstance(error, UnfitError) and item.config.getoption("--edgetl-unfit") == "skip":
        call.excinfo = pytest.ExceptionInfo.from_exc_info(_raised(pytest.skip, words.replace("\n", " ")))
    else:
        call.excinfo = pytest.ExceptionInfo.from_exc_info(_raised(pytest.fail, words, pytrace=False))


def _with_our_options(words: str) -> str:
    """Name pytest's options where a sentence names those of `edgetl bench`."""
    return re.sub(r"(?<![\w-])--(rounds|seconds|allow-disturbed)\b", r"--edgetl-\1", words)


def _raised(outcome: Any, words: str, **options: Any) -> Any:  # noqa: ANN401  (what sys.exc_info gives)
    try:
        outcome(words, **options)
    except outcome.Exception:  # raised for its traceback
        return sys.exc_info()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show what was measured, and every test that was skipped for want of a machine."""
    fixtures = config.pluginmanager.getplugin("edgetl-measurements")
    skipped = [
        (report.nodeid, report.longrepr[2].removeprefix("Skipped: "))
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple) and "edgetl: " in report.longrepr[2]
    ]
    if fixtures is None or not (fixtures.lines or skipped):
        return
    terminalreporter.section("edgetl")
    for line in fixtures.lines:
        terminalreporter.line(line)
    for name, reason in skipped:
        terminalreporter.line(f"not run: {name}: {reason.removeprefix('edgetl: ')}")
