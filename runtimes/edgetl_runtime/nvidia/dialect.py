"""Where the releases of TensorRT differ, as one table: everything else is the same call in all of them.

Precision lives in the graph (Q/DQ nodes and casts) and every network is strongly typed, so none of the builder flags,
calibrators and per-layer precisions that 11 removed is ever used.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Literal

from edgetl_runtime.errors import BackendError, BackendMissingError

Flavour = Literal["tensorrt", "tensorrt_rtx"]
TITLES: dict[str, str] = {"tensorrt": "TensorRT", "tensorrt_rtx": "TensorRT for RTX"}
# names that 11.0 removed, as "class.member"; a test looks them up in the real bindings of both releases
GONE_IN_11 = (
    "BuilderFlag.FP16",
    "BuilderFlag.INT8",
    "BuilderFlag.OBEY_PRECISION_CONSTRAINTS",
    "IBuilderConfig.int8_calibrator",
    "IBuilderConfig.set_calibration_profile",
    "Builder.platform_has_fast_int8",
    "ICudaEngine.device_memory_size",
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A range of versions that behave alike.

    Attributes:
        flavour: Which of the two products.
        since: First version.
        before: First version that is no longer meant.
        strong_typing_flag: Whether strong typing is asked for by a flag; from 11 on there is nothing else.
        dla: What the deep learning accelerator takes: nothing, graphs without Q/DQ, or all.
        compute_capabilities: Whether the GPU can be named, so that an engine can be built on another machine.
    """

    flavour: Flavour
    since: tuple[int, ...]
    before: tuple[int, ...]
    strong_typing_flag: bool
    dla: Literal["none", "float", "all"] = "none"
    compute_capabilities: bool = False


# NVIDIA's documentation of 11.3, 11.4.0 and 11.4.1, "Working with DLA", "Migrating from TensorRT 10.x to 11.x"
RELEASES = (
    Release(flavour="tensorrt", since=(10, 3), before=(10, 8), strong_typing_flag=True, dla="float"),
    Release(flavour="tensorrt", since=(10, 8), before=(11,), strong_typing_flag=True),
    Release(flavour="tensorrt", since=(11,), before=(11, 4, 1), strong_typing_flag=False),
    Release(flavour="tensorrt", since=(11, 4, 1), before=(12,), strong_typing_flag=False, dla="all"),
    Release(flavour="tensorrt_rtx", since=(1, 0), before=(2,), strong_typing_flag=True, compute_capabilities=True),
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """The library that was found and the release it belongs to.

    Attributes:
        module: The vendor's Python module; None where only its command line is there.
        version: As the vendor writes it.
        release: Row of the table.
    """

    module: Any
    version: str
    release: Release

    @property
    def title(self) -> str:
        """Return product and version, for sentences."""
        return f"{TITLES[self.release.flavour]} {self.version}"

    def network_flags(self) -> int:
        """Return the flags a network is created with."""
        if not self.release.strong_typing_flag:
            return 0
        return 1 << int(self.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    def check_dla(self, *, quantized: bool) -> None:
        """Refuse the deep learning accelerator where this release cannot feed it.

        Args:
            quantized: Whether the graph holds Q/DQ nodes.

        Raises:
            BackendError: Says which releases can.
        """
        if self.release.dla == "all" or (self.release.dla == "float" and not quantized):
            return
        got = f"{self.title} with a {'quantized' if quantized else 'float'} graph"
        must = "a release whose DLA takes the graph (10.3 to 10.7 float graphs, from 11.4.1 on all)"
        raise BackendError("TensorRT for DLA", must, got, fix="build without --dla-core, for the GPU")


def dialect_of(module: Any, flavour: Flavour, version: str | None = None) -> Dialect:  # noqa: ANN401  (a module)
    """Look a library up in the table.

    Args:
        module: The vendor's module; None with `version` where only its command line is there.
        flavour: Which of the two products it is.
        version: Of the command line.

    Raises:
        BackendMissingError: The version is older or newer than what is supported.

    Example:
        >>> dialect_of(None, "tensorrt", "10.3.0").release.strong_typing_flag
        True
    """
    text = str(version or module.__version__)
    number = tuple(int(part) for part in re.findall(r"\d+", text)[:3])
    for release in RELEASES:
        if release.flavour == flavour and release.since <= number < release.before:
            return Dialect(module=module, version=text, release=release)
    first = next(row for row in RELEASES if row.flavour == flavour)
    last = [row for row in RELEASES if row.flavour == flavour][-1]
    must = f"from {'.'.join(map(str, first.since))} up to {last.before[0] - 1}.x"
    fix = "pip install -U edgetl-runtime"
    if number < first.since:
        fix = "JetPack 6 or newer; Xavier (JetPack 5) and Nano (JetPack 4) are out of support upstream"
    raise BackendMissingError(TITLES[flavour], must, text, fix=fix)
