"""`edgetl doctor [--host user@device]`: examine this machine, or a device over SSH that needs nothing installed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl import profiles
from edgetl_runtime.cli import doctor
from edgetl_runtime.doctor import findings, recording
from edgetl_runtime.errors import UnfitError, UsageError
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edgetl.profiles import DeviceProfile
    from edgetl_runtime.doctor.recording import Recording

COLLECT_LIMIT_S = 180


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--host", metavar="[USER@]HOST[:PORT]", help="examine a device over SSH; default is this machine"
    )
    parser.add_argument("--target", metavar="NAME", help="device profile to compare with; default the board's own")
    parser.add_argument("--python", metavar="PATH", help="the station's interpreter there; default python3")
    parser.add_argument("--ssh-config", metavar="FILE", help="instead of the user's ssh configuration")
    parser.add_argument("--accept-new-host-key", action="store_true", help="trust a host never seen before")
    doctor.add_arguments(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Examine and judge against a device profile.

    Raises:
        UsageError: An option is wrong.
        TransportError: The device cannot be reached or does not let us in.
    """
    if args.host and args.recorded:
        raise UsageError(
            "--host and --recorded",
            "given one at a time",
            "both",
            fix="edgetl doctor --host HOST, or edgetl doctor --recorded FILE",
        )
    target = profiles.get(args.target) if args.target else None
    said = _said(args)
    if args.record:
        doctor.keep(said, args.record)
    fits = findings.profile_name(said)
    profile = target or (profiles.get(fits) if fits else None)
    needs = _needs(profile) if profile else {}
    result = doctor.examine(said, doctor.need_of(args, **needs))
    mismatch = _mismatch(target, fits)
    if mismatch is not None:
        worst = {"worst": "fail", "exit": UnfitError.exit_code}
        result |= {"findings": [to_mapping(mismatch), *result["findings"]], **worst}
    return {**result, "host": args.host, "target": profile.name if profile else None}


def show(result: Mapping[str, Any]) -> str:
    """Return the findings as text."""
    return (f"{result['host']}: " if result["host"] else "") + doctor.show(result)


def _said(args: argparse.Namespace) -> Recording:
    """Return what the machine says: from a file, from here, or over SSH by a shell script alone."""
    if args.recorded:
        return doctor.read(args.recorded)
    if not args.host:
        return recording.record(python=args.python)
    from edgetl import transport

    settings = transport.Settings(
        config=Path(args.ssh_config) if args.ssh_config else None,
        host_keys="accept-new" if args.accept_new_host_key else "known",
    )
    with transport.connect(args.host, settings) as remote:
        text = recording.script(python=args.python or "python3").encode()
        return recording.parse(remote.run(["sh", "-s"], limit_s=COLLECT_LIMIT_S, stdin=text, check=False).stdout)


def _needs(profile: DeviceProfile) -> dict[str, Any]:
    return {
        "power_mode": profile.contract_power_mode,
        "backends": tuple(choice.name for choice in profile.backends[:1]),
    }


def _mismatch(target: DeviceProfile | None, fits: str | None) -> findings.Finding | None:
    """Say that the board is another than the target, where both are known."""
    if target is None or fits is None or fits == target.name:
        return None
    found = f"this board's profile is {fits}, not {target.name}"
    return findings.Finding(topic="board", level="fail", found=found, command=f"edgetl deploy RUN --target {fits}")
