"""`edgetl-runtime verify`: every byte of a bundle, and its golden vectors on this machine."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UnfitError, UsageError
from edgetl_runtime.install.options import add_root
from edgetl_runtime.memory import peak_memory_mb

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edgetl_runtime.bundle import Bundle
    from edgetl_runtime.manifest import VariantManifest

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", metavar="BUNDLE", nargs="?", help="the .edgetl file")
    parser.add_argument(
        "--installed", action="store_true", help="check the device's generations instead: signatures and every byte"
    )
    add_root(parser)
    parser.add_argument("--variant", help="check this variant only; default is every one this machine can run")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check the bundle.

    Raises:
        UnfitError: The bytes are right, but this machine can run no variant.
    """
    from edgetl_runtime.bundle import open_bundle
    from edgetl_runtime.session import model_of

    if bool(args.bundle) == args.installed:
        fix = "edgetl-runtime verify BUNDLE, or edgetl-runtime verify --installed"
        raise UsageError("verify", "given a bundle or --installed", "both" if args.bundle else "neither", fix=fix)
    if args.installed:
        return _installed(args)
    with open_bundle(args.bundle) as bundle:
        bundle.verify()
        manifest = bundle.manifest
        variants = (manifest.variant(args.variant),) if args.variant else manifest.variants
        for variant in variants:  # also of those that cannot run here
            model_of(bundle, variant)
        results = [_check(bundle, variant) for variant in variants]
        if not any(result["ok"] for result in results):
            reasons = "; ".join(f"{result['id']}: {result['why']}" for result in results)
            fix = "install a backend of the bundle; its bytes are right"
            raise UnfitError("this machine", "able to run a variant of the bundle", reasons, fix=fix)
        chosen = next((r for r in results if r["id"] == manifest.chosen), None)
        return {
            "schema": "edgetl.verify/1",
            "exit": UnfitError.exit_code if chosen is not None and not chosen["ok"] else 0,
            "bundle": str(args.bundle),
            "manifest_sha256": bundle.manifest_sha256,
            "members": len(bundle.names),
            "signed": bool(bundle.signatures),
            "chosen": manifest.chosen,
            "variants": results,
            "memory_mb": peak_memory_mb(),
        }


def _installed(args: argparse.Namespace) -> dict[str, Any]:
    """Check what lies on the device, and who signed it; damage is exit 1, and told, not mended."""
    from edgetl_runtime.install.options import device_of

    device = device_of(args)
    state = device.states.read()
    found = []
    for generation in state.kept if state else ():
        fault = device.signature_fault(generation)
        found.append({"name": generation.name, "signed": generation.key_id is not None, "fault": fault})
    bad = any(entry["fault"] for entry in found) or (state is not None and state.inconsistent is not None)
    return {
        "schema": "edgetl.verify_installed/1",
        "exit": 1 if bad else 0,
        "root": str(device.root),
        "generations": found,
        "inconsistent": state.inconsistent if state else None,
    }


def _show_installed(result: Mapping[str, Any]) -> str:
    whole = {True: "every byte as signed", False: "every byte as installed, unsigned"}
    lines = [f"{entry['name']}: {entry['fault'] or whole[entry['signed']]}" for entry in result["generations"]]
    if result["inconsistent"]:
        lines.append(f"INCONSISTENT: {result['inconsistent']}")
    return "\n".join(lines) or "nothing is installed"


def show(result: Mapping[str, Any]) -> str:
    """Return one line for the bytes and one for each variant, or one for each generation."""
    if "generations" in result:
        return _show_installed(result)
    signed = "signed" if result["signed"] else "not signed"
    lines = [f"{result['bundle']}: {result['members']} members as the manifest says, {signed}"]
    for variant in result["variants"]:
        mark = " (chosen)" if variant["id"] == result["chosen"] else ""
        lines.append(f"{variant['id']}{mark}: {_words(variant)}")
    return "\n".join(lines)


def _words(variant: Mapping[str, Any]) -> str:
    golden = variant["golden"]
    if golden is None:
        return f"not run: {variant['why']}"
    words = (
        f"{golden['count']} golden vectors reproduced, scores within {golden['max_abs']:.2g} of {golden['tolerance']}"
    )
    if not golden["tensors_equal"]:
        words += f"; pixels differ by up to {golden['max_grey_levels']} (OpenCV {golden['opencv_here']} here)"
    return words


def _check(bundle: Bundle, variant: VariantManifest) -> dict[str, Any]:
    """Reproduce the golden vectors of one variant, or say why it cannot run here."""
    from edgetl_runtime import golden, session
    from edgetl_runtime.schema import to_mapping

    common = {"id": variant.id, "backend": variant.backend, "precision": variant.precision}
    reason = session.unfit(variant)
    if reason is not None:
        return {**common, "ok": None, "why": reason, "golden": None}
    _log.info("checking variant %s", variant.id)
    with session.load(bundle, variant) as model:
        report = golden.check(session.Session(bundle, variant, model), bundle)
    return {**common, "ok": True, "why": None, "golden": to_mapping(report)}
