"""`edgetl deliver BUNDLE`: bring an existing bundle to a device over SSH, or into a folder for a stick."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.api.delivery import ARCHS, DeliveryRequest, hand_out
from edgetl.api.text import delivery_lines
from edgetl.progress import Progress

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


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
    add("--stage-only", action="store_true", help="only upload; somebody there installs it")
    add("--trial-seconds", type=float, default=60.0, metavar="S", help="shortest duration of the trial; default 60")
    add("--allow-unsigned", action="store_true", help="deliver without --key; recorded on the device")
    add("--ssh-config", type=Path, metavar="FILE", help="an ssh configuration instead of the user's")
    add(
        "--offline-package", type=Path, metavar="DIR", help="write a folder for a USB stick: bundle, wheels, install.sh"
    )
    add("--python", default="3.10", metavar="3.N", help="the device's Python, for --offline-package; default 3.10")
    add("--arch", choices=ARCHS, help="the device's machine type; default that of the bundle's target")
    add(
        "--trust",
        type=Path,
        metavar="KEY.pub",
        help="for the package: the key that the device will trust, or a trust file",
    )


def delivery_request(args: argparse.Namespace) -> DeliveryRequest:
    """Return what the options ask for."""
    found = {name: getattr(args, name) for name in DeliveryRequest.__dataclass_fields__}
    return DeliveryRequest(**found | {"key": tuple(args.key or ())})


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Sign, deliver, package; whatever was asked for."""
    return hand_out(args.bundle, delivery_request(args), Progress()).to_mapping()


def show(result: Mapping[str, Any]) -> str:
    """Return one line for each thing that was done."""
    return "\n".join(delivery_lines(result))
