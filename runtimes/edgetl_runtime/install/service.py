"""The service of a station: decides on the images that arrive in a folder, under systemd's watchdog.

`READY=1` is sent when a generation is loaded and warm, `WATCHDOG=1` only after a decision was made: a station without
parts decides on a golden image instead, so that a hanging model is never mistaken for a quiet line.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl_runtime.errors import EdgetlError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgetl_runtime.install.live import LiveSession

IMAGE_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
WATCHDOG_S = 30
STARTS_IN_A_ROW = 3
HEARTBEAT_S = 5.0
IDLE_S = 0.05

UNIT = """\
[Unit]
Description=edgetl inspection service ({root})
After=local-fs.target
StartLimitIntervalSec=300
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart={python} -m edgetl_runtime service run --root {root} --images {images} --out {out}
Restart=always
RestartSec=2
WatchdogSec={watchdog_s}
TimeoutStartSec=300
TimeoutStopSec=5
MemoryMax={memory_max}
TasksMax=256
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
ReadWritePaths={root} {images} {out}

[Install]
WantedBy=multi-user.target
"""


def unit(*, root: Path, images: Path, out: Path, memory_max: str = "75%") -> str:
    """Return the systemd unit that runs the service with this interpreter.

    Args:
        root: Of the device.
        images: Folder in which images arrive.
        out: Folder for results.
        memory_max: As systemd's `MemoryMax`.
    """
    paths = {"root": root.resolve(), "images": images.resolve(), "out": out.resolve()}
    # the path itself, not what it links to: a virtual environment is found by it
    python = Path(sys.executable).absolute()
    quoted = {name: _quoted(path) for name, path in {**paths, "python": python}.items()}
    return UNIT.format(**quoted, watchdog_s=WATCHDOG_S, memory_max=memory_max)


def _quoted(path: Path) -> str:
    """Return a path as systemd reads it."""
    text = str(path).replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    return '"' + text.replace('"', '\\"') + '"' if " " in text or '"' in text else text


def notify(*lines: str) -> bool:
    """Tell systemd; return whether anybody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.connect(address)
        channel.sendall("\n".join(lines).encode())
    return True


def serve(live: LiveSession, images: Path, out: Path, *, stop: Callable[[], bool]) -> int:
    """Decide on every image that arrives, until told to stop.

    Each image is moved to `out/<verdict>/`, and its decision appended to `out/decisions.jsonl`. What cannot be decided
    goes to `out/FAULT/`: never among the good parts.

    Args:
        live: Open.
        images: Where images arrive, complete: written under another name and renamed.
        out: For results; on the same file system.
        stop: Asked between two images.

    Returns:
        How many images were decided on.
    """
    for verdict in ("OK", "NOK", "UNSURE", "FAULT"):
        (out / verdict).mkdir(parents=True, exist_ok=True)
    notify("READY=1", f"STATUS={_status(live)}")
    count, progressed = 0, time.monotonic()
    with (out / "decisions.jsonl").open("a", encoding="utf-8") as results:
        while not stop():
            waiting = sorted(p for p in images.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            for path in waiting:
                results.write(_decide(live, path, out) + "\n")
                results.flush()
                count, progressed = count + 1, time.monotonic()
                notify("WATCHDOG=1", f"STATUS={_status(live)}")
                if stop():
                    break
            if not waiting:
                if time.monotonic() - progressed > HEARTBEAT_S:
                    live.heartbeat()
                    progressed = time.monotonic()
                    notify("WATCHDOG=1", f"STATUS={_status(live)}")
                time.sleep(IDLE_S)
    notify("STOPPING=1")
    return count


def _decide(live: LiveSession, path: Path, out: Path) -> str:
    generation = live.generation
    entry: dict[str, object] = {"image": path.name, "generation": generation.name if generation else None}
    verdict: str
    try:
        decision = live.predict(path)
        entry |= decision.to_mapping()
        verdict = decision.verdict
    except EdgetlError as error:  # an image that cannot be read, or a model that failed: this part is not good
        entry |= {"verdict": "FAULT", "error": error.sentence}
        verdict = "FAULT"
    path.replace(out / verdict / path.name)
    return json.dumps(entry, ensure_ascii=False)


def _status(live: LiveSession) -> str:
    generation = live.generation
    return f"generation {generation.name}, variant {generation.variant}" if generation else "swapping generations"
