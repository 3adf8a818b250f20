"""`edgetl-runtime doctor`: what this machine is, and what is wrong with it for inspection."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UnfitError, UsageError, unreadable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edgetl_runtime.doctor.findings import Need
    from edgetl_runtime.doctor.recording import Recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--bundle", metavar="BUNDLE", help="judge by what this bundle's contract and variant need")
    parser.add_argument(
        "--power-mode", metavar="MODE", help="the lowest power mode that the contract assumes, such as 25W"
    )
    parser.add_argument("--memory-mb", type=int, metavar="MB", help="memory that must be free; default 500")
    parser.add_argument("--disk-mb", type=int, metavar="MB", help="disk space that must be free; default 1000")
    parser.add_argument("--record", metavar="FILE", help="also keep what the machine said, as one readable text")
    parser.add_argument("--recorded", metavar="FILE", help="examine such a text instead of a machine")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Examine this machine.

    Raises:
        UsageError: A file cannot be read or written.
    """
    from edgetl_runtime.doctor import recording

    said = read(args.recorded) if args.recorded else recording.record()
    if args.record:
        keep(said, args.record)
    return examine(said, need_of(args))


def need_of(args: argparse.Namespace, **other: Any) -> Need:  # noqa: ANN401  (fields of Need)
    """Return what the options and the bundle ask for.

    Raises:
        BundleError: The bundle cannot be read.
    """
    from edgetl_runtime.doctor.findings import Need

    if args.bundle:
        from edgetl_runtime.bundle import open_bundle
        from edgetl_runtime.doctor import contract

        with open_bundle(args.bundle) as bundle:
            other |= contract.need_of(bundle.manifest)
    given = {"power_mode": args.power_mode, "memory_mb": args.memory_mb, "disk_mb": args.disk_mb}
    return Need(**other | {key: value for key, value in given.items() if value is not None})


def read(path: str) -> Recording:
    """Read a recording.

    Raises:
        UsageError: The file cannot be read.
    """
    from edgetl_runtime.doctor import recording

    try:
        return recording.parse(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise unreadable(UsageError, f"--recorded {path}", error, path=path) from error
    except UnicodeDecodeError as error:
        fix = f"edgetl-runtime doctor --record {path}.new, on the device"
        raise UsageError(f"--recorded {path}", "a recording in UTF-8", "other bytes", fix=fix) from error


def keep(said: Recording, path: str) -> None:
    """Write a recording.

    Raises:
        UsageError: The file exists or cannot be written.
    """
    try:
        with Path(path).open("x", encoding="utf-8") as file:
            file.write(said.to_text())
    except OSError as error:
        got = f"{path}: {error.strerror}"
        raise UsageError("--record", "a new file", got, fix="--record with the name of a new file") from error


def examine(said: Recording, need: Need) -> dict[str, Any]:
    """Return the result of the command: facts, findings and the exit code."""
    from edgetl_runtime.doctor import readers
    from edgetl_runtime.doctor.diagnosis import diagnose
    from edgetl_runtime.schema import to_mapping

    diagnosis = diagnose(said, need)
    return {
        "schema": "edgetl.doctor/1",
        "exit": UnfitError.exit_code if diagnosis.worst == "fail" else 0,
        "board": diagnosis.board,
        "profile": diagnosis.profile,
        "worst": diagnosis.worst,
        "facts": readers.summary(said),
        "findings": to_mapping(diagnosis.findings),
    }


def show(result: Mapping[str, Any]) -> str:
    """Return the findings as text, the worst first, each with the command that mends it below."""
    lines = [f"{result['board']}, profile {result['profile'] or 'none'}"]
    for finding in result["findings"]:
        lines.append(f"  {finding['level']:<8} {finding['topic']:<8} {finding['found']}")
        if finding["command"]:
            lines.append(f"{'':20} > {finding['command']}")
    return "\n".join(lines)
