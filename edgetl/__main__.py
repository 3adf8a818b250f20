"""The command line of the host: `edgetl`, or `python -m edgetl`."""

from __future__ import annotations

import os
import sys

from edgetl.cli import COMMANDS, GROUPS, HINTS
from edgetl.version import __version__
from edgetl_runtime.cli.driver import run


def main() -> int:
    """Run one command; see `edgetl --help`."""
    # torch's threads must sleep, not spin, while they wait: beside OpenVINO's threads or any other work spinning takes
    # two thirds of the processor for nothing. Read when torch's OpenMP is loaded, so it is said here.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    return run("edgetl", COMMANDS, None, version=__version__, groups=GROUPS, hints=HINTS)


if __name__ == "__main__":
    sys.exit(main())
