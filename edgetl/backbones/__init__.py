"""The catalogue of backbones: the `SPECS` tuples of the modules in `catalogue/`, found by filename.

A new backbone is an entry or a file there; the contract tests discover it. Any other network of timm works as
`timm/<name>`. Nothing here imports torch or timm until a backbone is built.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from pathlib import Path

from edgetl.backbones.spec import BackboneSpec
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import nearest

__all__ = ["BackboneSpec", "get", "names"]

GENERIC_PREFIX = "timm/"


@functools.cache
def _catalogue() -> dict[str, BackboneSpec]:
    found: dict[str, BackboneSpec] = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent / "catalogue")]):
        family = importlib.import_module(f"{__name__}.catalogue.{module.name}")
        found |= {spec.name: spec for spec in family.SPECS}
    return found


def names() -> tuple[str, ...]:
    """Return the names of the catalogue, sorted."""
    return tuple(sorted(_catalogue()))


def get(name: str) -> BackboneSpec:
    """Return the spec of a backbone.

    Args:
        name: A name of the catalogue, or `timm/<name>` for any other network of timm.

    Raises:
        UsageError: There is no such backbone; names the nearest.

    Example:
        >>> get("tf_efficientnet_lite0").input_px
        224
    """
    if name.startswith(GENERIC_PREFIX):
        from edgetl.backbones.generic import spec_from_timm

        bare = name.removeprefix(GENERIC_PREFIX)
        return _catalogue().get(bare) or spec_from_timm(bare)
    if name not in _catalogue():
        fix = f"{nearest(name, names())}, or timm/<name> for any other network of timm"
        raise UsageError("--backbone", "a name of the catalogue", repr(name), fix=fix)
    return _catalogue()[name]
