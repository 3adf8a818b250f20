"""`edgetl export RUN --out FILE.onnx [--check nvidia]`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.api.deployment import new_file
from edgetl.files import reading, write_whole

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edgetl.nvidia.gate import Checked


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("run_folder", metavar="RUN", type=Path, help="folder that 'edgetl finetune' wrote")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE.onnx", help="the file to write")
    parser.add_argument("--force", action="store_true", help="replace an existing file")
    parser.add_argument(
        "--check",
        choices=("nvidia",),
        help="compile it with NVIDIA's compiler first; what that refuses is not written",
    )


def run(args: argparse.Namespace) -> Mapping[str, Any]:
    """Export the run's model, prove it equal to the trained one, and let NVIDIA's compiler take it if asked to.

    Raises:
        BackendMissingError: The compiler is not installed; said before anything is done.
        ExportError: The compiler, or a rule for its graphs, refuses the model; `--out` is as it was.
    """
    who = "edgetl export"
    if args.check:
        from edgetl.nvidia import gate

        gate.require("--check nvidia")
    with new_file(args.out, force=args.force, who=who), reading(args.run_folder, who):
        from edgetl.export.run_export import export_run
        from edgetl.progress import Progress
        from edgetl.run import RunFolder

        folder = RunFolder(args.run_folder)
        with Progress().stage("export and prove parity"):
            exported = export_run(folder, folder.read())
        checked = _check(exported.model) if args.check else None
        write_whole(args.out, exported.model)
    return {
        "schema": "edgetl.export/1",
        "model": str(args.out),
        "size_bytes": len(exported.model),
        "parity": exported.parity,
        **({"check": checked.to_mapping()} if checked else {}),
    }


def _check(model: bytes) -> Checked:
    from edgetl.errors import ExportError
    from edgetl.nvidia import gate
    from edgetl.progress import Progress

    with Progress().stage("compile with NVIDIA's compiler"):
        checked = gate.check(model)
    if not checked.accepted:
        fix = "another backbone, or without --check for other targets"
        raise ExportError("the exported graph", "accepted for NVIDIA", f"a refusal: {checked.reason}", fix=fix)
    return checked


def show(result: Mapping[str, Any]) -> str:
    """Return one line per engine."""
    parity = result["parity"]
    lines = [f"{result['model']}: {result['size_bytes'] / 1e6:.1f} MB; against torch on {parity['count']} images:"]
    lines += [
        f"  {e['engine']:12} largest difference of a probability {e['max_abs']:.1e}, label agreement "
        f"{e['label_agreement']:.4f}, flips {e['flips']}"
        for e in parity["engines"]
    ]
    frames = parity["file_against_frame"]
    lines.append(
        f"  file against camera frame: {frames['tensors_differ']} tensors differ, "
        f"by at most {frames['max_grey_levels']} grey levels; flips {frames['flips']}"
    )
    if "check" in result:
        lines.append(f"  {result['check']['words']}")
    return "\n".join(lines)
