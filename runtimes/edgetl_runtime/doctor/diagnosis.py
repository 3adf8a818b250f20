"""What the doctor says of a machine: all findings, of one check per file of `checks/`, found by filename."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl_runtime.doctor import boards, readers
from edgetl_runtime.doctor.findings import Finding, Level, Need, profile_name

if TYPE_CHECKING:
    from edgetl_runtime.doctor.recording import Recording

ORDER: tuple[Level, ...] = ("fail", "warn", "unknown", "ok")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All findings of one machine.

    Attributes:
        board: Name of the board, `unknown board` if it is none we know.
        profile: Name of its device profile, None if it has none.
        findings: The worst first.
    """

    board: str
    profile: str | None
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Level:
        """Return the worst level of all."""
        return self.findings[0].level if self.findings else "unknown"


def topics() -> tuple[str, ...]:
    """Return the names of the checks, one per file."""
    return tuple(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent / "checks")]))


def diagnose(recording: Recording, need: Need | None = None) -> Diagnosis:
    r"""Judge a machine by what it says.

    Args:
        recording: Of `recording.record` or `recording.parse`.
        need: What the station shall do there.

    Example:
        >>> from edgetl_runtime.doctor.recording import parse
        >>> text = "=== command uname 0\n| Linux 6.1 x86_64\n=== file /proc/cpuinfo\n| flags : fpu avx2 avx_vnni\n"
        >>> [f.found for f in diagnose(parse(text)).findings if f.topic == "cpu"]
        ['the processor has VNNI: int8 is exact and fast']
    """
    board = boards.identify(readers.compatible(recording))
    found: list[Finding] = []
    # what else is wrong with a board we refuse would only lead astray
    for topic in ("board",) if isinstance(board, boards.RefusedBoard) else topics():
        check = importlib.import_module(f"edgetl_runtime.doctor.checks.{topic}").check
        found += check(recording, need or Need())
    found.sort(key=lambda finding: ORDER.index(finding.level))
    return Diagnosis(
        board=board.name if board else "unknown board",
        profile=profile_name(recording),
        findings=tuple(found),
    )
