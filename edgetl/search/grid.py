"""The grid of a search: which networks are tried, and in which variants. Pure."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgetl.config import FinetuneConfig
from edgetl.profiles import DeviceProfile
from edgetl_runtime.contract import Contract
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.deploy.plan import PlannedCandidate

Precision = Literal["f32", "bf16", "f16", "int8"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """What `edgetl search` is asked for, beside fine-tuning and contract.

    Attributes:
        target: Name or alias of a device profile.
        backbones: Names in the catalogue, or `timm/<name>`; empty takes the one of the fine-tuning configuration.
        image_sizes: Sides of the square input in pixels; empty takes each backbone's own.
        precisions: Those of the target to try; empty tries all.
        backends: Likewise.
        threads: Thread counts to try; empty leaves it to the plan of the target.
        slice_images: Training images on which frozen features rank the networks before any is fine-tuned; 0 trains
            them all.
        slice_margin_pp: A network whose accuracy on the slice is this far below the best one's is not fine-tuned,
            in percentage points.
        max_gap_pp: A candidate may be this far below the most accurate float network of the search on validation, in
            percentage points. The contract's drop counts against the candidate's own float model instead.
    """

    target: str = "local"
    backbones: tuple[str, ...] = ()
    image_sizes: tuple[int, ...] = ()
    precisions: tuple[Precision, ...] = ()
    backends: tuple[str, ...] = ()
    threads: tuple[int, ...] = ()
    slice_images: int = 300
    slice_margin_pp: float = 10.0
    max_gap_pp: float = 2.0

    def __post_init__(self) -> None:
        for name in ("slice_images", "slice_margin_pp", "max_gap_pp"):
            value = getattr(self, name)
            if not value >= 0:
                option = "--" + name.replace("_", "-")
                raise UsageError(
                    option, "0 or above", str(value), fix=f"{option} {self.__dataclass_fields__[name].default}"
                )
        if any(count < 1 for count in self.threads):
            raise UsageError("--threads", "at least 1", str(min(self.threads)), fix="--threads 1,2")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network of the grid.

    Attributes:
        name: Unique in the search; also the name of its folder.
        backbone: Name in the catalogue, or `timm/<name>`.
        image_px: Side of the input; None leaves it to backbone and preset.
        run: Folder of a finished run; None for a network that the search trains itself.
    """

    name: str
    backbone: str
    image_px: int | None = None
    run: Path | None = None


def networks(config: SearchConfig, *, backbone: str) -> tuple[Network, ...]:
    """List the networks to train: every backbone at every resolution.

    Args:
        config: The grid.
        backbone: Stands where the grid names none.

    Raises:
        UsageError: A backbone is unknown, cannot compute a size, or is named twice.

    Example:
        >>> [n.name for n in networks(SearchConfig(image_sizes=(160, 224)), backbone="tf_efficientnet_lite0")]
        ['tf_efficientnet_lite0-160', 'tf_efficientnet_lite0-224']
    """
    from edgetl import backbones

    found = []
    for name in config.backbones or (backbone,):
        spec = backbones.get(name)
        for size in config.image_sizes or (None,):
            if size is not None:
                spec.check_size(size)
            found.append(Network(name=folder_name(name, size), backbone=name, image_px=size))
    names = [network.name for network in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(
            "the networks of the grid", "different", f"{twice[0]} twice", fix=f"--backbones with {twice[0]} once"
        )
    return tuple(found)


def folder_name(backbone: str, image_px: int | None) -> str:
    """Return a plain file name for a network."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", backbone)
    return plain if image_px is None else f"{plain}-{image_px}"


def restricted(
    planned: Sequence[PlannedCandidate], config: SearchConfig, *, without: Sequence[str] = ()
) -> tuple[PlannedCandidate, ...]:
    """Keep of a target's plan what the grid asks for.

    Args:
        planned: Of the target.
        config: The grid.
        without: Variants of the form `backend-precision` that were rejected already.

    Raises:
        UsageError: The target has none of what the grid asks for.
    """
    for option, asked, offered in (
        ("--backends", config.backends, {p.backend for p in planned}),
        ("--precisions", config.precisions, {p.precision for p in planned}),
    ):
        unknown = sorted(set(asked) - offered)
        if unknown:
            fix = f"{option} {','.join(sorted(offered))}"
            raise UsageError(option, f"of the target's: {', '.join(sorted(offered))}", f"'{unknown[0]}'", fix=fix)
    kept = [
        dataclasses.replace(p, threads=config.threads) if config.threads else p
        for p in planned
        if (not config.backends or p.backend in config.backends)
        and (not config.precisions or p.precision in config.precisions)
    ]
    if not kept:
        got = f"{', '.join(config.precisions)} with {', '.join(config.backends)}"
        raise UsageError(
            "the grid",
            "of variants that the target has",
            got,
            fix="edgetl devices show TARGET; or without --precisions, or --backends, for all of them",
        )
    return tuple(p for p in kept if f"{p.backend}-{p.precision}" not in without)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SearchJob:
    """Everything that decides what a search computes.

    Attributes:
        networks: Of the grid.
        config: The grid itself.
        training: How networks without a run are fine-tuned; None where all have one.
        contract: What candidates must keep.
        profile: The target.
    """

    networks: tuple[Network, ...]
    config: SearchConfig
    training: FinetuneConfig | None
    contract: Contract
    profile: DeviceProfile

    def asked(self) -> dict[str, Any]:
        """Return it as plain values, for the state."""
        networks = [to_mapping(n) | {"run": str(n.run) if n.run else None} for n in self.networks]
        parts = {"search": self.config, "finetune": self.training, "contract": self.contract}
        return {name: to_mapping(part) for name, part in parts.items()} | {"networks": networks}
