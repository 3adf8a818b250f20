"""`edgetl devices list` and `edgetl devices show NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl import profiles
from edgetl_runtime.cli.lines import columns, wrapped
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the two forms of the command."""
    parser.add_argument("action", choices=("list", "show"), help="name every target, or print one profile")
    parser.add_argument("name", nargs="?", metavar="NAME", help="name or alias of the device to show")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Read the profiles.

    Raises:
        UsageError: The name is missing, superfluous or unknown, or a profile is wrong.
    """
    if args.action == "show":
        if args.name is None:
            raise UsageError("NAME", "given to 'devices show'", "nothing", fix="edgetl devices show local")
        return {"schema": "edgetl.devices.show/1", "device": to_mapping(profiles.get(args.name))}
    if args.name is not None:
        fix = f"edgetl devices show {args.name}"
        raise UsageError("NAME", "given to 'devices show' only", f"'{args.name}'", fix=fix)
    listed = profiles.all_profiles()
    return {"schema": "edgetl.devices.list/1", "devices": [to_mapping(profile) for profile in listed]}


def show(result: Mapping[str, Any]) -> str:
    """Return the profiles as text."""
    if "device" in result:
        return "\n".join(_lines(result["device"], 0))
    return "\n".join(line for device in result["devices"] for line in wrapped(_row(device), columns()))


def _row(device: Mapping[str, Any]) -> str:
    backends = ", ".join(backend["name"] for backend in device["backends"])
    names = device["name"] + (f" ({', '.join(device['aliases'])})" if device["aliases"] else "")
    return f"{names:<28} {backends:<24} {device['status']:<13} {device['description']}"


def _lines(mapping: Mapping[str, Any], depth: int) -> list[str]:
    """Lay nested tables out as indented lines; what is absent is left out."""
    lines: list[str] = []
    indent = "  " * depth
    for key, value in mapping.items():
        if value is None or value == []:
            continue
        if isinstance(value, dict):
            lines += [f"{indent}{key}", *_lines(value, depth + 1)]
        elif isinstance(value, list) and isinstance(value[0], dict):
            for item in value:
                lines += [f"{indent}{key}", *_lines(item, depth + 1)]
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            lines.append(f"{indent}{key:<20} {text}")
    return lines
