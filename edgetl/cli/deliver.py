"""`edgetl deliver BUNDLE`: bring an existing bundle to a device over SSH, or into a folder for a stick."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

    from edgetl.deploy.signing import SigningKey
    from edgetl.progress import Progress

ARCHS = ("x86_64", "aarch64")


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
    add("--arch", choices=ARCHS, help="the device's machine type; default that of the bundle's target")
    add("--trust", type=Path, metavar="KEY.pub", help="for the package: whom the device trusts; or a trust file")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Sign, deliver, package; whatever was asked for."""
    from edgetl.progress import Progress

    keys = check_delivery(args, arch=_target_arch(args.bundle) if args.offline_package else ())
    if not (args.key or args.host or args.offline_package):
        fix = "--host user@device"
        raise UsageError("edgetl deliver", "given --host, --offline-package or --key", "none of them", fix=fix)
    return {"schema": "edgetl.deliver/1", "bundle": str(args.bundle), **hand_over(args.bundle, keys, args, Progress())}


def check_delivery(args: argparse.Namespace, *, arch: Sequence[str]) -> tuple[SigningKey, ...]:
    """Read the keys, and refuse options that cannot work, before minutes of other work.

    Args:
        args: The parsed arguments.
        arch: Machine types of the target.

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
        package_arch(args.arch, arch)
        if args.trust is not None:
            from edgetl.deploy.offline import read_trust

            read_trust(args.trust)
    elif args.trust is not None:
        raise UsageError("--trust", "with --offline-package", "no package", fix="--offline-package stick")
    return keys


def package_arch(given: str | None, target: Sequence[str]) -> str:
    """Return the machine type that a package is for: the one given, else the target's.

    Args:
        given: By `--arch`.
        target: What the target's profile says: `any` is this machine's, unless another is given; empty is unknown.

    Raises:
        UsageError: It is another one than the target's, or nobody says it.
    """
    import platform

    known = [platform.machine() if name == "any" else name for name in target]
    if given is None and len(known) == 1:
        return known[0]
    if given is None:
        must, got = "with --arch", "several machine types" if known else "a bundle that names no machine type"
        raise UsageError("--offline-package", must, got, fix=f"--arch {' or --arch '.join(known or ARCHS)}")
    if target and given not in known and "any" not in target:
        fix = f"--arch {known[0]}, or deploy for a target with {given}: edgetl devices list"
        raise UsageError("--arch", f"that of the bundle's target, {' or '.join(known)}", given, fix=fix)
    return given


def _target_arch(bundle: Path) -> tuple[str, ...]:
    from edgetl_runtime.bundle import open_bundle

    with open_bundle(bundle) as opened:
        arch = opened.manifest.target.get("arch", ())
    return tuple(str(name) for name in arch) if isinstance(arch, (list, tuple)) else ()


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

        arch = package_arch(args.arch, _target_arch(bundle))
        with progress.stage(f"wheels for Python {args.python} on {arch}"):
            package = write_package(
                bundle, args.offline_package, python=args.python, arch=arch, trust=args.trust,
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
