"""`edgetl deliver BUNDLE`: bring an existing bundle to a device over SSH, or into a folder for a stick."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edgetl.deploy.signing import SigningKey
    from edgetl.progress import Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", metavar="BUNDLE", type=Path, help="the .edgetl file")
    add_delivery_options(parser)


def add_delivery_options(parser: argparse.ArgumentParser) -> None:
    """Declare what `deploy` offers too."""
    add = parser.add_argument_group("signature and device").add_argument
    add("--key", metavar="NAME.key", type=Path, action="append", help="sign the bundle; twice during a rotation")
    add("--host", metavar="[USER@]DEVICE[:PORT]", help="install there over SSH, and wait for the trial")
    add("--root", default="/var/lib/edgetl", metavar="DIR", help="the device's folder; default /var/lib/edgetl")
    add("--runtime", default="edgetl-runtime", metavar="COMMAND", help="how edgetl-runtime is called there")
    add("--stage-only", action="store_true", help="upload, and leave the installation to somebody there")
    add("--trial-seconds", type=float, default=60.0, metavar="S", help="a trial lasts at least so long; default 60")
    add("--allow-unsigned", action="store_true", help="deliver without --key; recorded on the device")
    add("--ssh-config", type=Path, metavar="FILE", help="an ssh configuration instead of the user's")
    add("--offline-package", type=Path, metavar="DIR", help="write a folder for a stick: bundle, wheels, install.sh")
    add("--python", default="3.10", metavar="3.N", help="the device's Python, for --offline-package; default 3.10")
    add("--arch", choices=("x86_64", "aarch64"), help="the device's machine type, for --offline-package")
    add("--trust", type=Path, metavar="FILE.json", help="keys for the device's first installation, for the package")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Sign, deliver, package; whatever was asked for."""
    from edgetl.progress import Progress

    keys = check_delivery(args)
    if not (args.key or args.host or args.offline_package):
        fix = "--host user@device"
        raise UsageError("edgetl deliver", "given --host, --offline-package or --key", "none of them", fix=fix)
    return {"schema": "edgetl.deliver/1", "bundle": str(args.bundle), **hand_over(args.bundle, keys, args, Progress())}


def check_delivery(args: argparse.Namespace) -> tuple[SigningKey, ...]:
    """Read the keys, and refuse options that cannot work, before minutes of other work.

    Raises:
        UsageError: A key cannot be used, or an option needs another.
    """
    from edgetl.deploy.signing import load_key

    keys = tuple(load_key(path) for path in args.key or ())
    if args.stage_only and not args.host:
        raise UsageError("--stage-only", "with --host", "no host", fix="--host user@device")
    if args.offline_package is not None:
        if args.offline_package.exists():
            what = f"--offline-package {args.offline_package}"
            raise UsageError(what, "a new folder", "an existing one", fix="choose another name")
        if args.arch is None:
            raise UsageError("--offline-package", "with --arch", "no machine type", fix="--arch aarch64")
    return keys


def hand_over(
    bundle: Path, keys: tuple[SigningKey, ...], args: argparse.Namespace, progress: Progress
) -> dict[str, Any]:
    """Sign a bundle, bring it to the device, write the package; as asked for.

    Returns:
        `signed_by` (ids, empty for an unsigned bundle), `delivery` and `package` (None where not asked for), `exit`.
    """
    from edgetl.deploy.signing import sign_bundle

    if keys:
        sign_bundle(bundle, keys)
    delivery = package = None
    if args.offline_package is not None:
        from edgetl.deploy.offline import write_package

        with progress.stage(f"wheels for Python {args.python} on {args.arch}"):
            package = write_package(
                bundle, args.offline_package, python=args.python, arch=args.arch, trust=args.trust,
                allow_unsigned=args.allow_unsigned,
            )  # fmt: skip
    if args.host:
        from edgetl.deploy.delivery import DeliveryOptions, deliver
        from edgetl.transport import Settings

        options = DeliveryOptions(
            root=args.root,
            runtime=tuple(shlex.split(args.runtime)),
            stage_only=args.stage_only,
            allow_unsigned=args.allow_unsigned,
            trial_s=args.trial_seconds,
        )
        settings = Settings(config=args.ssh_config) if args.ssh_config else None
        delivery = deliver(bundle, args.host, options, progress, settings=settings)
    return {
        "signed_by": [key.id for key in keys],
        "delivery": delivery,
        "package": package,
        "exit": 1 if delivery and delivery["result"] == "ROLLED_BACK" else 0,
    }


def show(result: Mapping[str, Any]) -> str:
    """Return one line for each thing that was done."""
    return "\n".join(delivery_lines(result))


def delivery_lines(result: Mapping[str, Any]) -> list[str]:
    """Return what became of the bundle, as lines."""
    signed = ", ".join(key_id[:16] for key_id in result["signed_by"])
    lines = [f"signed by {signed}"] if signed else []
    if result["package"]:
        package = result["package"]
        lines.append(f"{package['folder']}: {package['size_bytes'] / 1e6:.0f} MB; on the device: sh install.sh")
    delivery = result["delivery"]
    if delivery:
        lines.append(f"{delivery['host']}: {delivery['result']}, {delivery['reason']}")
        latency = delivery.get("proof", {}).get("latency_ms") or {}
        if latency.get("p50") is not None:
            p99 = f", p99 {latency['p99']:.2f} ms" if latency.get("p99") is not None else ""
            lines.append(f"measured there: p50 {latency['p50']:.2f} ms{p99}, {delivery['proof']['memory_mb']:.0f} MB")
    return lines
