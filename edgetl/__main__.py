"""The command line of the host: `edgetl`, or `python -m edgetl`."""

from __future__ import annotations

import sys

from edgetl import __version__
from edgetl.cli import COMMANDS
from edgetl_runtime.cli.driver import run


def main() -> int:
    """Run one command; see `edgetl --help`."""
    return run("edgetl", COMMANDS, None, version=__version__)


if __name__ == "__main__":
    sys.exit(main())
