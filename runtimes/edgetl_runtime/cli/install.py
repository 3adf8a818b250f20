"""`edgetl-runtime install`: verify a bundle, prove it on this device, put it on trial."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UsageError, unreadable
from edgetl_runtime.install.options import add_root, clean_stop, device_of, summary, words
from edgetl_runtime.schema import from_json

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


MAX_PERMIT_BYTES = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="the .edgetl file")
    add_root(parser)
    parser.add_argument("--line", help="refuse a bundle of another product line")
    parser.add_argument(
        "--variant", help="id of the variant to run; default the bundle's choice, else one that runs here"
    )
    parser.add_argument(
        "--permit", type=Path, metavar="FILE.json", help="signed permit to install an older bundle, once"
    )
    parser.add_argument(
        "--allow-unsigned", action="store_true", help="accept a bundle that nobody signed; this is recorded"
    )
    parser.add_argument(
        "--allow-unproven", action="store_true", help="accept a bundle whose bounds are unproven here; this is recorded"
    )
    parser.add_argument(
        "--allow-jump", action="store_true", help="accept a sequence number far above the last one committed"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Install the bundle."""
    from edgetl_runtime.install.installer import Installer, InstallOptions
    from edgetl_runtime.schema import to_mapping

    device = device_of(args)
    options = InstallOptions(
        allow_unsigned=args.allow_unsigned,
        allow_jump=args.allow_jump,
        allow_unproven=args.allow_unproven,
        permit=_permit(args.permit) if args.permit else None,
        variant=args.variant,
        line=args.line,
    )
    with clean_stop():
        outcome = Installer(device).install(args.bundle, options)
    return {
        "schema": "edgetl.install/1",
        "deployment": outcome.deployment,
        "result": outcome.result,
        "generation": to_mapping(outcome.generation),
        "proof": outcome.proof,
        **summary(device, device.state),
    }


def _permit(path: Path) -> Any:  # noqa: ANN401  (checked by the installer)
    try:
        with path.open("rb") as file:
            data = file.read(MAX_PERMIT_BYTES)
    except OSError as error:
        raise unreadable(UsageError, f"--permit {path}", error, path=path) from error
    return from_json(
        data, where=f"--permit {path}", fix="edgetl keys permit --help, on the host, shows how one is made"
    )


def show(result: Mapping[str, Any]) -> str:
    """Return what happened and what comes next."""
    name, proof = result["generation"]["name"], result["proof"]
    if result["result"] == "UNCHANGED":
        return f"{name} is committed already"
    latency, memory = proof.get("latency_ms", {}), proof.get("memory_mb")
    figures = f"p50 {latency['p50']:.2f} ms, {memory:.0f} MB" if latency.get("p50") and memory else "not measured"
    signed = result["generation"]["key_id"]
    return "\n".join(
        [
            f"{name}: {proof.get('reason', '')} ({figures})",
            f"signed by {signed[:16]}" if signed else "unsigned, as --allow-unsigned said; recorded",
            words(dict(result)),
            "the service decides the trial; without one: edgetl-runtime trial",
        ]
    )
