"""One line at the end of `make test`: how many tests were skipped, why, and the command that would mend it.

Each part of the suite leaves its reasons as a JSON list (`EDGETL_SKIPS`, see conftest.py); a reason is what is missing
and, where something can be done about it, a colon and the command.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

MAX_CHARACTERS = 150


def summary(files: list[Path]) -> str:
    """Return the line for the parts that the files are named after."""
    reasons: Counter[str] = Counter()
    silent = []
    for file in files:
        try:
            reasons.update(reason.partition("\n")[0][:MAX_CHARACTERS] for reason in json.loads(file.read_text("utf-8")))
        except (OSError, ValueError):
            silent.append(file.stem)
    total = sum(reasons.values())
    words = f"{total} test{'' if total == 1 else 's'} skipped" if total else "no test skipped"
    words += ": " * bool(total) + "; ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return words + (f"; nothing is known of {', '.join(silent)}" if silent else "")


if __name__ == "__main__":
    print(summary([Path(name) for name in sys.argv[1:]]))
