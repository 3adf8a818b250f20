"""`edgetl-runtime info`: what is inside a bundle, without loading a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", metavar="BUNDLE", help="the .edgetl file")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Read the manifest and ask which variants this machine can run."""
    from edgetl_runtime import session, tasks
    from edgetl_runtime.bundle import open_bundle
    from edgetl_runtime.schema import to_mapping

    with open_bundle(args.bundle) as bundle:
        manifest = bundle.manifest
        return {
            "schema": "edgetl.info/1",
            "bundle": str(args.bundle),
            "bytes": bundle.path.stat().st_size,
            "manifest_sha256": bundle.manifest_sha256,
            "signed": bool(bundle.signatures),
            "unfit": {variant.id: session.unfit(variant) for variant in manifest.variants},
            "decides": tasks.get(manifest.task).describe(manifest.labels, manifest.variant(manifest.chosen).params),
            "manifest": to_mapping(manifest),
        }


def show(result: Mapping[str, Any]) -> str:
    """Return the main facts as text."""
    manifest = result["manifest"]
    spec, golden = manifest["preprocess"], manifest["golden"]
    signed = "signed" if result["signed"] else "not signed"
    lines = [
        f"bundle      {result['bundle']}, {result['bytes'] / 1e6:.1f} MB, {signed}",
        f"made        {manifest['created']} by edgetl {manifest['edgetl_version']}",
        f"line        {manifest['line']}, sequence {manifest['sequence']}",
        f"task        {manifest['task']}",
        *result["decides"],
        f"input       {spec['width_px']}x{spec['height_px']} px, {spec['resize']}, {spec['interpolation']}; "
        f"arrays are {spec['colour'].upper()}, {spec['bit_depth']} bit",
        f"golden      {golden['count']} vectors, licence {golden['licence']}",
        *(f"licence     {what}: {licence}" for what, licence in manifest["licences"].items()),
        "variants",
    ]
    for variant in manifest["variants"]:
        mark = "chosen" if variant["id"] == manifest["chosen"] else ""
        reason = result["unfit"][variant["id"]]
        able = "can run here" if reason is None else f"cannot run here: {reason}"
        lines.append(f"  {variant['id']:<20} {variant['backend']:<12} {variant['precision']:<5} {mark:<7} {able}")
    return "\n".join(lines)
