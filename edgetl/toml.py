"""The one reader of TOML files: configurations, device profiles, presets and recipes."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UsageError, unreadable

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, *, where: str) -> dict[str, Any]:
    """Return the content of a TOML file.

    Args:
        path: Of the file.
        where: Names the file in errors.

    Raises:
        UsageError: The file is missing, cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise unreadable(UsageError, where, error, path=path) from error
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or numbers of thousands of digits
        raise UsageError(where, "valid TOML", f"{error!s:.200}", fix=f"correct the line named, in {path}") from error
