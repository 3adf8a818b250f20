"""Names of classes as people mean them."""

from __future__ import annotations

import re
import unicodedata


def plain_form(name: str) -> str:
    """Return a class name without what people do not mean to say: case, spaces, dashes.

    Example:
        >>> plain_form("No Defect") == plain_form("no-defect") == "no_defect"
        True
    """
    return re.sub(r"[\s_\-]+", "_", unicodedata.normalize("NFKC", name).casefold()).strip("_")
