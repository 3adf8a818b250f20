"""The command line of the device: `edgetl-runtime`, or `python -m edgetl_runtime`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from edgetl_runtime import __version__
from edgetl_runtime.cli import driver

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = {
    "predict": ("edgetl_runtime.cli.predict", "Decide on image files or folders"),
    "verify": (
        "edgetl_runtime.cli.verify",
        "Check every byte of a bundle and reproduce its golden vectors here",
    ),
    "build": ("edgetl_runtime.cli.build", "Build the engines of a bundle ahead of its use"),
    "doctor": ("edgetl_runtime.cli.doctor", "Examine this machine, and say what mends it"),
    "info": ("edgetl_runtime.cli.info", "Say what is inside a bundle"),
    "bench": ("edgetl_runtime.cli.bench", "Measure accuracy and latency of a bundle in fresh processes"),
    "compare": (
        "edgetl_runtime.cli.compare",
        "Say whether a bundle is slower than another, interleaved on this machine",
    ),
    "install": ("edgetl_runtime.cli.install", "Verify a bundle, prove it on this device, put it on trial"),
    "status": ("edgetl_runtime.cli.status", "Say which generation runs and how far a deployment is"),
    "trial": ("edgetl_runtime.cli.trial", "Run the trial here, on the golden vectors; commit or roll back"),
    "commit": ("edgetl_runtime.cli.commit", "Keep the generation on trial"),
    "rollback": ("edgetl_runtime.cli.rollback", "End the trial, or go back to the generation before"),
    "gc": ("edgetl_runtime.cli.gc", "Recover, then remove what no generation needs"),
    "log": ("edgetl_runtime.cli.log", "List what was deployed here, by whom, with which result"),
    "trust": ("edgetl_runtime.cli.trust", "Say whose signatures count on this device"),
    "unpack": ("edgetl_runtime.cli.unpack", "Write a bundle's members as files, for other tools"),
    "service": ("edgetl_runtime.cli.service", "Run the current generation as a service, or print its systemd unit"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    return driver.run("edgetl-runtime", COMMANDS, argv, version=__version__)


if __name__ == "__main__":
    sys.exit(main())
