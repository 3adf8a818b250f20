"""`edgetl-runtime verify`: every byte of a bundle, and its golden vectors on this machine."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UnfitError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edgetl_runtime.bundle import Bundle
    from edgetl_runtime.manifest import VariantManifest

_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", metavar="BUNDLE", help="the .edgetl file")
    parser.add_argument("--variant", help="check this variant only; default is every one this machine can run")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check the bundle.

    Raises:
        UnfitError: The bytes are right, but this machine can run no variant.
    """
    from edgetl_runtime.bundle import open_bundle

    with open_bundle(args.bundle) as bundle:
        bundle.verify()
        manifest = bundle.manifest
        variants = (manifest.variant(args.variant),) if args.variant else manifest.variants
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


def peak_memory_mb(status: Path = Path("/proc/self/status")) -> float | None:
    """Return the largest resident memory of this process so far, in MB; None where the kernel does not say.

    Not `ru_maxrss`: that one starts at the size of the parent, so that a large parent makes every child look large.
    """
    for line in status.read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024  # the kernel counts in KiB
    return None


def show(result: Mapping[str, Any]) -> str:
    """Return one line for the bytes and one for each variant."""
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
