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

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UnfitError

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
    """Turn an unfit machine into a skip where that was asked for."""
    import pytest

    unfit = call.excinfo is not None and isinstance(call.excinfo.value, UnfitError)
    if unfit and item.config.getoption("--edgetl-unfit") == "skip" and call.excinfo is not None:
        words = f"edgetl: {call.excinfo.value}".replace("\n", " ")
        call.excinfo = pytest.ExceptionInfo.from_exc_info(_skipped(words))


def _skipped(words: str) -> Any:  # noqa: ANN401  (what sys.exc_info gives)
    import sys

    import pytest

    try:
        pytest.skip(words)
    except pytest.skip.Exception:  # raised for its traceback
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
