"""What a bundle's contract assumes of the machine that keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.doctor import readers
from edgetl_runtime.doctor.findings import require_power_mode
from edgetl_runtime.doctor.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgetl_runtime.manifest import Manifest

ROOT = Path("/")
_POWER_FILES = ("/etc/nvpmodel.conf", "/var/lib/nvpmodel/status")


def need_of(manifest: Manifest) -> dict[str, Any]:
    """Return the fields of a `Need` that a bundle's manifest tells.

    Args:
        manifest: Of the bundle that shall run.
    """
    need: dict[str, Any] = {"backends": (manifest.variant(manifest.chosen).backend,)}
    mode = manifest.target.get("contract_power_mode")
    return need | ({"power_mode": mode} if isinstance(mode, str) else {})


def require_power(target: Mapping[str, Any], root: Path | None = None) -> None:
    """Refuse a machine whose power mode is lower than the contract of a target assumes.

    Only nvpmodel's two files are read, so that this costs nothing before a bundle is installed. A machine without them
    has no power modes to be too low.

    Args:
        target: The resolved device profile in a bundle's manifest.
        root: Where the files are; default is this machine's.

    Raises:
        UnfitError: It is lower.

    Example:
        >>> require_power({"contract_power_mode": None})
    """
    wanted = target.get("contract_power_mode")
    here = ROOT if root is None else root
    files = {path: _text(here / path[1:]) for path in _POWER_FILES}
    said = Recording(files={path: text for path, text in files.items() if text}, commands={})
    if isinstance(wanted, str) and readers.power_modes(said) is not None:
        require_power_mode(said, wanted)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:  # not a Jetson, or a container that does not show the file
        return ""
