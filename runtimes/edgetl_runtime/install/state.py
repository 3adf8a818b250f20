"""What a device knows of its generations: one record, kept in two copies, the newest valid one wins."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any, Literal

from edgetl_runtime.errors import BundleError, EdgetlError, InstallError
from edgetl_runtime.schema import from_json, from_mapping, to_mapping

if TYPE_CHECKING:
    from pathlib import Path

    from edgetl_runtime.install.disk import Disk

SCHEMA_VERSION = 1
EVENTS_KEPT = 16
ATTEMPTS = 3

Result = Literal["TRIAL", "COMMITTED", "ROLLED_BACK", "REFUSED", "INTERRUPTED", "UNCHANGED"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One installed bundle.

    Attributes:
        name: Of its folder below `gen/`.
        line: Product line.
        sequence: Place in the line's ledger.
        manifest_sha256: Identifies the bundle.
        variant: That this machine runs.
        key_id: Who signed it; None where it was installed unsigned.
    """

    name: str
    line: str
    sequence: int
    manifest_sha256: str
    variant: str
    key_id: str | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A generation that runs, but is not committed yet.

    Attributes:
        generation: Running.
        deployment: Id of the deployment that brought it.
        attempts_left: Starts of the service before it counts as a crash loop.
        permit: Id of the rollback permit that allowed it.
        allow_unproven: A bound of the contract that nobody could prove was allowed; a broken one is not.
    """

    generation: Generation
    deployment: str
    attempts_left: int = ATTEMPTS
    permit: str | None = None
    allow_unproven: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Active:
    """A deployment that has begun and has no result yet."""

    deployment: str
    bundle: str
    who: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the deployment log.

    Attributes:
        number: Rises by one.
        deployment: Id; has exactly one result other than TRIAL.
        result: What became of it.
        reason: One clause.
        source: Generation before, None if there was none.
        target: Generation that the deployment was about, None if it never became one.
        key_id: Who signed it, None if nobody or not known.
        who: User, and how the command came.
        time: By this device's clock, which may be wrong.
        floor: Sequence floor after it.
    """

    number: int
    deployment: str
    result: Result
    reason: str
    source: str | None
    target: str | None
    key_id: str | None
    who: str
    time: str
    floor: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything that must survive.

    Attributes:
        schema_version: Of this format.
        serial: Rises with every write.
        line: Product line, fixed by the first commit.
        floor: Highest sequence ever committed; never falls.
        floor_sha256: Manifest of the bundle that set it.
        committed: Generation to run, unless one is on trial.
        previous: Committed before; what `rollback` goes to.
        trial: Generation on trial.
        active: Deployment under way.
        inconsistent: Why nothing can be run; None if all is well.
        permits_used: Ids of all rollback permits that were used up by a commit.
        events: The latest, for the log.
    """

    schema_version: int = SCHEMA_VERSION
    serial: int = 0
    line: str | None = None
    floor: int = 0
    floor_sha256: str | None = None
    committed: Generation | None = None
    previous: Generation | None = None
    trial: Trial | None = None
    active: Active | None = None
    inconsistent: str | None = None
    permits_used: tuple[str, ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def desired(self) -> Generation | None:
        """Return the generation that `current` must point to."""
        return self.trial.generation if self.trial else self.committed

    @property
    def kept(self) -> tuple[Generation, ...]:
        """Return the generations that may not be removed."""
        trial = self.trial.generation if self.trial else None
        return tuple(g for g in (trial, self.committed, self.previous) if g is not None)

    @property
    def phase(self) -> str:
        """Return the state's name for people."""
        if self.trial:
            return "TRIAL"
        if self.inconsistent:
            return "INCONSISTENT"
        last = next((e.result for e in reversed(self.events) if e.result in ("COMMITTED", "ROLLED_BACK")), None)
        return last if last and self.committed else "IDLE"

    def with_event(self, **fields: Any) -> State:  # noqa: ANN401  (the fields of Event)
        """Return the state with one more event; its number and floor follow."""
        number = self.events[-1].number + 1 if self.events else 1
        event = Event(number=number, floor=self.floor, **fields)
        return dataclasses.replace(self, events=(*self.events, event)[-EVENTS_KEPT:])


def new_id() -> str:
    """Return an id for a deployment; random, because the clock may stand still."""
    return secrets.token_hex(8)


def encode(state: State) -> bytes:
    """Return a copy's bytes: the SHA-256 of the rest on the first line, then JSON."""
    body = (json.dumps(to_mapping(state), ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n").encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def decode(data: bytes, *, where: str) -> State | None:
    """Return the state of a copy, None if it is damaged.

    Raises:
        InstallError: It is whole, but written by a newer edgetl-runtime.
    """
    head, _, body = data.partition(b"\n")
    if head != hashlib.sha256(body).hexdigest().encode():
        return None
    try:
        mapping = from_json(body, where=where, error=BundleError, fix="")
    except BundleError:  # its checksum fits, yet nobody wrote this
        return None
    version = mapping.get("schema_version") if isinstance(mapping, dict) else None
    if version is None:
        return None
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        fix = "update edgetl-runtime again; the present generation keeps running"
        raise InstallError(f"the state in {where}", f"of version {SCHEMA_VERSION} or older", f"{version}", fix=fix)
    return from_mapping(State, mapping, where=where, error=InstallError)


class StateFile:
    """The two copies.

    Args:
        root: Folder that holds them.
        disk: Writes them.
    """

    def __init__(self, root: Path, disk: Disk) -> None:
        self.paths = (root / "state.a.json", root / "state.b.json")
        self._disk = disk

    def read(self) -> State | None:
        """Return the newest valid copy, None if there is none.

        Raises:
            InstallError: A copy was written by a newer edgetl-runtime.
        """
        return max((s for s in self._copies() if s is not None), key=lambda s: s.serial, default=None)

    def mark(self) -> tuple[object, ...]:
        """Return what changes with every write, at the price of two system calls: a service looks often."""
        return tuple(_mark(path) for path in self.paths)

    @property
    def damaged(self) -> bool:
        """Say whether a copy is there but not valid."""
        return any(path.exists() and copy is None for path, copy in zip(self.paths, self._copies(), strict=True))

    @property
    def exists(self) -> bool:
        """Say whether there is a copy, valid or not."""
        return any(path.exists() for path in self.paths)

    def write(self, state: State) -> State:
        """Write the state over the older or damaged copy; durable on return.

        Returns:
            The state with its serial.
        """
        serials = [-1 if copy is None else copy.serial for copy in self._copies()]
        state = dataclasses.replace(state, serial=max(*serials, state.serial) + 1)
        self._disk.replace(self.paths[serials.index(min(serials))], encode(state))
        return state

    def _copies(self) -> list[State | None]:
        return [_copy(path) for path in self.paths]


def _mark(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _copy(path: Path) -> State | None:
    try:
        return decode(path.read_bytes(), where=path.name)
    except (OSError, ValueError) as error:
        if isinstance(error, EdgetlError):
            raise
        return None  # unreadable is as good as absent: the other copy, the log and the disk remain
