"""`edgetl-runtime unpack`: a bundle's members as files, for third-party tools such as `model_signing`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="the .edgetl file")
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="a new folder for the members")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Write every member, checked, and each signature as a file beside the folder."""
    from edgetl_runtime.bundle import open_bundle
    from edgetl_runtime.manifest import MANIFEST_NAME

    if args.folder.exists():
        raise UsageError(f"folder {args.folder}", "a new one", "an existing one", fix="choose another name")
    with open_bundle(args.bundle) as bundle:
        bundle.verify()
        for name in bundle.digests:
            path = args.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(bundle.member_bytes(name) if name == MANIFEST_NAME else bundle.read(name))
        signatures = []
        for number, envelope in enumerate(bundle.signatures):
            path = args.folder.with_name(f"{args.folder.name}{f'.{number}' if number else ''}.sig")
            path.write_text(json.dumps(envelope), encoding="utf-8")
            signatures.append(str(path))
    return {"schema": "edgetl.unpack/1", "folder": str(args.folder), "signatures": signatures}


def show(result: Mapping[str, Any]) -> str:
    """Return where things are, and how to check them."""
    lines = [f"{result['folder']}: every member, as signed"]
    check = f"model_signing verify key {result['folder']} --public_key KEY.pub --signature"
    lines += [f"{check} {path}" for path in result["signatures"]]
    return "\n".join(lines)
