"""The systemd unit of a station's service: what it may reach, and what has to be made before it starts."""

from __future__ import annotations

import contextlib
import dataclasses
import grp
import importlib.util
import pwd
import re
import shlex
import sys
from pathlib import Path

from edgetl_runtime.errors import UsageError
from edgetl_runtime.install.service import START_S

WATCHDOG_S = 30
DEFAULT_USER = "edgetl"
# what the unit hides, and by which of its lines
HIDDEN = {
    "/home": "ProtectHome=yes", "/root": "ProtectHome=yes", "/run/user": "ProtectHome=yes",
    "/tmp": "PrivateTmp=yes", "/var/tmp": "PrivateTmp=yes",  # noqa: S108  (named, not written to)
}  # fmt: skip
_GPU_NODES = ("/dev/nvidiactl", "/dev/nvmap", "/dev/nvhost-ctrl", "/dev/nvgpu")
_GPU_GROUPS = ("video", "render")
_SEARCHED = ("edgetl_runtime", "numpy", "cv2")

UNIT = """\
{header}
[Unit]
Description=edgetl station service ({root_words})
After=local-fs.target
RequiresMountsFor={paths}
# a station nobody may log into: it never stops trying; a trial has three starts
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
User={user}
{groups}ExecStart={command}
Restart=always
RestartSec=2
WatchdogSec={watchdog_s}
TimeoutStartSec={start_s}
TimeoutStopSec=5
MemoryMax={memory_max}
TasksMax=256
NoNewPrivileges=yes
CapabilityBoundingSet=
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
SystemCallArchitectures=native
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
ProtectSystem=strict
ProtectHome={home}
PrivateTmp={tmp}
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
# no MemoryDenyWriteExecute: engines compile code while they load
{devices}
{network}
ReadWritePaths={paths}

[Install]
WantedBy=multi-user.target
"""
_ALONE = "PrivateNetwork=yes\nIPAddressDeny=any\nRestrictAddressFamilies=AF_UNIX"
_NETWORK = "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6"
_GPU = "# no PrivateDevices: a GPU is used through its files below /dev, which their groups open"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnitOptions:
    """What a station's service may have.

    Attributes:
        user: That it runs as; None takes the owner of the root unless that is root, else `edgetl`.
        memory_max: As systemd's `MemoryMax`.
        network: It may reach one; the service itself needs none.
        gpu: It may reach one; None looks for NVIDIA's device files.
        allow_home: It sees home and temporary folders: for a desk, not for a station.
    """

    user: str | None = None
    memory_max: str = "75%"
    network: bool = False
    gpu: bool | None = None
    allow_home: bool = False

    def __post_init__(self) -> None:
        if self.user is not None and not re.fullmatch(r"[a-z_][a-z0-9_-]{0,30}", self.user):
            raise UsageError("--user", "the name of a user", repr(self.user), fix=f"--user {DEFAULT_USER}")
        if not re.fullmatch(r"[0-9]+[KMGT%]?|infinity", self.memory_max):
            raise UsageError("--memory-max", "bytes or a share", repr(self.memory_max), fix="--memory-max 600M")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A unit as it is printed.

    Attributes:
        text: Of the file, what has to be done before it starts included, as comments.
        setup: Commands for root, once.
        notes: What its confinement means.
    """

    text: str
    setup: tuple[str, ...]
    notes: tuple[str, ...]


def make_unit(*, root: Path, images: Path, out: Path, options: UnitOptions) -> Unit:
    """Return the unit that runs the service with this interpreter.

    Args:
        root: Of the device.
        images: Folder in which images arrive.
        out: Folder for results.
        options: What it may have.

    Raises:
        UsageError: The unit would hide the interpreter or a folder from the service, or a name cannot be printed.
    """
    folders = {"--root": root.resolve(), "--images": images.resolve(), "--out": out.resolve()}
    # the path itself, not what it links to: a virtual environment is found by it
    python = Path(sys.executable).absolute()
    for option, path in folders.items():
        if not str(path).isprintable():
            raise UsageError(option, "printable", repr(str(path)), fix="a folder with a plain name")
    if not options.allow_home:
        _refuse_hidden(folders)
    user = options.user or _owner(folders["--root"])
    gpu = any(Path(node).exists() for node in _GPU_NODES) if options.gpu is None else options.gpu
    groups = [name for name in _GPU_GROUPS if _has_group(name)] if gpu else []
    setup, notes = _setup(user, folders, python), _notes(options, gpu=gpu)
    arguments = [str(python), "-m", "edgetl_runtime", "service", "run"]
    arguments += [word for option, path in folders.items() for word in (option, str(path))]
    return Unit(
        text=UNIT.format(
            header="\n".join(f"# {line}".rstrip() for line in _header(setup, notes)),
            root_words=str(folders["--root"]).replace("%", "%%"),
            paths=" ".join(_quoted(str(path)) for path in folders.values()),
            command=" ".join(_quoted(word).replace("$", "$$") for word in arguments),
            user=user,
            groups=f"SupplementaryGroups={' '.join(groups)}\n" if groups else "",
            watchdog_s=WATCHDOG_S,
            start_s=START_S,
            memory_max=options.memory_max,
            home="no" if options.allow_home else "yes",
            tmp="no" if options.allow_home else "yes",
            devices=_GPU if gpu else "PrivateDevices=yes",
            network=_NETWORK if options.network else _ALONE,
        ),
        setup=setup,
        notes=notes,
    )


def _refuse_hidden(folders: dict[str, Path]) -> None:
    places = [("the interpreter", path, _fix_python()) for path in _interpreter()]
    places += [(option, path, f"{option} /srv/station/{option.strip('-')}") for option, path in folders.items()]
    for what, path, fix in places:
        for hidden, line in HIDDEN.items():
            if path.is_relative_to(hidden):
                must = f"outside {hidden}, which the unit hides ({line})"
                raise UsageError(what, must, str(path), fix=f"{fix}; --allow-home prints a unit for a desk")


def _fix_python() -> str:
    return 'python3 -m venv /opt/edgetl, with the system\'s python3, and /opt/edgetl/bin/pip install "edgetl-runtime"'


def _interpreter() -> list[Path]:
    """Return where the interpreter and what it imports lie: a virtual environment is links to another place."""
    python = Path(sys.executable).absolute()
    places = [python, python.resolve(), Path(sys.prefix), Path(sys.base_prefix)]
    for name in _SEARCHED:
        found = importlib.util.find_spec(name)
        if found is not None and found.origin is not None:
            places.append(Path(found.origin).resolve())
    return places


def _owner(root: Path) -> str:
    with contextlib.suppress(FileNotFoundError, KeyError):
        found = pwd.getpwuid(root.stat().st_uid)
        if found.pw_uid != 0:
            return found.pw_name
    return DEFAULT_USER


def _has_group(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(grp.getgrnam(name))
    return False


def _setup(user: str, folders: dict[str, Path], python: Path) -> tuple[str, ...]:
    root, images, out = (shlex.quote(str(path)) for path in folders.values())
    return (
        f"id {user} || useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {user}",
        f"mkdir -p {root} {images} {out}",
        f"chown -R {user}: {root}",
        f"chown {user}: {images} {out}",
        f"chmod 2775 {images}",
        f"cd / && sudo -u {user} {shlex.quote(str(python))} -m edgetl_runtime install BUNDLE --root {root}",
    )


def _notes(options: UnitOptions, *, gpu: bool) -> tuple[str, ...]:
    notes = [
        "the root has one user, the service's: other commands that change the device are run as this user too",
        "who fills the folder of images is in the user's group, writes under another name and renames",
    ]
    if options.allow_home:
        notes.append("home and temporary folders are visible to this unit: for a desk, not for a station")
    else:
        notes.append("the service sees no home and its own /tmp: nothing of it may lie there, links included")
    if gpu:
        notes.append("the files of the GPU are reached through the groups of the unit; not yet tried on a board")
    return tuple(notes)


def _header(setup: tuple[str, ...], notes: tuple[str, ...]) -> list[str]:
    return ["Once, as root, before it is enabled:", *(f"  {line}" for line in setup), *(f"{note}." for note in notes)]


def _quoted(word: str) -> str:
    """Return a word as systemd reads it."""
    text = word.replace("\\", "\\\\").replace("%", "%%")
    return '"' + text.replace('"', '\\"') + '"' if re.search(r"""[\s"'\\;]""", text) else text
