"""Device profiles: what a target is and can do, one TOML file each in `devices/`; find, read, check.

A profile may name a family, a file in `devices/families/` whose keys it takes over unless it has its own; so what all
boards of a family share is written once. In a source checkout the folder is beside the package, in a wheel it is
`edgetl/_devices`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

from edgetl import toml
from edgetl_runtime.doctor import boards
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import from_mapping, nearest

SCHEMA_VERSION = 1
FAMILIES = "families"
PACKAGE = Path(__file__).parent
PLACES = (PACKAGE / "_devices", PACKAGE.parent / "devices")

Precision = Literal["f32", "bf16", "f16", "int8"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A number and where it was read.

    Attributes:
        value: In the unit of the key's name.
        source: Document, page or measurement that says so.
    """

    value: int | float
    source: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class System:
    """What runs on the device.

    Attributes:
        os: Names and versions that are supported.
        python: Versions that are supported, oldest first.
        jetpack: Range of JetPack versions, on Jetson boards.
        source: Document that says so.
    """

    os: tuple[str, ...]
    python: tuple[str, ...]
    source: str
    jetpack: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """A unit that computes networks beside the CPU.

    Attributes:
        kind: What it is.
        name: The vendor's name.
        compute_capability: Of an NVIDIA GPU.
        source: Document that says so.
    """

    kind: Literal["gpu", "npu", "dla"]
    name: str
    source: str
    compute_capability: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BackendChoice:
    """A backend this device runs.

    Attributes:
        name: Name of the backend.
        precisions: Those to try, the fastest expected first.
        fast: Those of them with hardware behind them; the others are kept for accuracy.
        source: Document or measurement the order was taken from.
        versions: Range of versions of its package.
    """

    name: str
    precisions: tuple[Precision, ...]
    fast: tuple[Precision, ...]
    source: str
    versions: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PowerMode:
    """A power mode the vendor offers.

    Attributes:
        name: As the vendor's tool prints it.
        power_w: Budget of the mode.
        command: Sets it.
    """

    name: str
    power_w: Figure | None = None
    command: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """A target of `edgetl deploy`.

    Attributes:
        schema_version: Of this form.
        name: What `--target` takes.
        aliases: Further names.
        description: One sentence for people.
        vendor: Maker, or `any`.
        board: Board or machine class.
        arch: Machine names as `uname -m` prints them; `any` for this machine's.
        status: Whether latencies of this target have been measured on hardware.
        measured_here: Whether the machine that packages is the target, so that latencies are measured while deploying.
        family: File of `devices/families/` whose keys this profile takes over unless it has its own.
        backends: In order of preference; where latency is measured the measurement decides instead.
        thread_cap: Most threads a variant may use; None for all usable cores.
        memory_mb: Memory of the board.
        system: What runs on it.
        accelerators: Units beside the CPU.
        power_modes: Those the vendor offers.
        contract_power_mode: The one that contracts for this target assume; doctor refuses a lower one.
        install: Command that installs the runtime there.
        notes: What a user must know.
    """

    schema_version: int
    name: str
    description: str
    vendor: str
    board: str
    arch: tuple[Literal["any", "x86_64", "aarch64"], ...]
    status: Literal["measured", "not measured"]
    measured_here: bool
    backends: tuple[BackendChoice, ...]
    system: System
    install: str
    aliases: tuple[str, ...] = ()
    family: str | None = None
    thread_cap: Figure | None = None
    memory_mb: Figure | None = None
    accelerators: tuple[Accelerator, ...] = ()
    power_modes: tuple[PowerMode, ...] = ()
    contract_power_mode: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        where = f"device profile '{self.name}'"
        if self.schema_version != SCHEMA_VERSION:
            fix = f"schema_version = {SCHEMA_VERSION}"
            raise UsageError(f"schema_version of {where}", str(SCHEMA_VERSION), str(self.schema_version), fix=fix)
        for what in ("backends", "arch"):
            if not getattr(self, what):
                raise UsageError(f"{what} of {where}", "at least one", "none", fix=f"add {what}")
        for backend in self.backends:
            if not backend.precisions or not set(backend.fast) <= set(backend.precisions):
                got = f"{list(backend.fast)} of {list(backend.precisions)}"
                fix = "list every fast precision in precisions"
                raise UsageError(f"fast precisions of {backend.name} in {where}", "among its precisions", got, fix=fix)

        modes = {mode.name for mode in self.power_modes}
        if self.contract_power_mode is not None and self.contract_power_mode not in modes:
            got, fix = f"'{self.contract_power_mode}'", nearest(self.contract_power_mode, modes)
            raise UsageError(f"contract_power_mode of {where}", "one of its power modes", got, fix=fix)

    def backend(self, name: str) -> BackendChoice | None:
        """Return the choice for one backend, or None where the device has no use for it."""
        return next((choice for choice in self.backends if choice.name == name), None)


def all_profiles(folder: Path | None = None) -> tuple[DeviceProfile, ...]:
    """Read every profile, sorted by name.

    Raises:
        UsageError: A file is wrong, or two profiles claim one name.
    """
    profiles = [read(path) for path in sorted((folder or _folder()).glob("*.toml"))]
    owner: dict[str, str] = {}
    for profile in profiles:
        for name in (profile.name, *profile.aliases):
            if name in owner:
                got = f"'{name}' in '{owner[name]}' and '{profile.name}'"
                raise UsageError("names and aliases of device profiles", "unique", got, fix="rename one of them")
            owner[name] = profile.name
    return tuple(sorted(profiles, key=lambda profile: profile.name))


def get(name: str, folder: Path | None = None) -> DeviceProfile:
    """Return the profile of that name or alias.

    Raises:
        UsageError: There is none, with the nearest names, or the board is one that is refused, with the reason.

    Example:
        >>> get("jetson").name
        'jetson-orin-nano'
    """
    known: dict[str, DeviceProfile] = {}
    for profile in all_profiles(folder):
        known |= dict.fromkeys((profile.name, *profile.aliases), profile)
    if name not in known:
        board = boards.refused(name)
        if board is not None:
            raise UsageError("target", "a board that is still supported", f"'{name}': {board.reason}", fix=board.fix)
        raise UsageError("target", "a known device", f"'{name}'", fix=nearest(name, known))
    return known[name]


def read(path: Path) -> DeviceProfile:
    """Read and check one profile.

    Raises:
        UsageError: The file is not TOML, or has unknown, missing or wrong keys.
    """
    where = f"devices/{path.name}"
    mapping = toml.read(path, where=where)
    family = mapping.get("family")
    if isinstance(family, str):
        shared = path.parent / FAMILIES / f"{family}.toml"
        if not shared.is_file():
            known = [file.stem for file in shared.parent.glob("*.toml")]
            raise UsageError(
                f"family of {where}", f"a file in devices/{FAMILIES}", f"'{family}'", fix=nearest(family, known)
            )
        mapping = {**toml.read(shared, where=f"devices/{FAMILIES}/{shared.name}"), **mapping}
    return from_mapping(DeviceProfile, mapping, where=where)


def _folder() -> Path:
    for place in PLACES:
        if place.is_dir():
            return place
    raise UsageError(
        "the folder of device profiles", "installed", "nothing", fix="pip install --force-reinstall edgetl"
    )
