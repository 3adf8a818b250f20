"""The command line of the device: `edgetl-runtime`, or `python -m edgetl_runtime`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from edgetl_runtime.cli import COMMANDS, GROUPS, driver
from edgetl_runtime.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    return driver.run("edgetl-runtime", COMMANDS, argv, version=__version__, groups=GROUPS)


if __name__ == "__main__":
    sys.exit(main())
