"""The service of a station: decides on the images that arrive in a folder, under systemd's watchdog.

`READY=1` is sent when a generation is loaded and warm, `WATCHDOG=1` only after a decision was made: a station without
parts decides on a golden image instead, so that a hanging model is never mistaken for a quiet line. Before `READY=1`
systemd counts no watchdog, and is asked for more time while an installation is at work.

What may go wrong, and what happens:

    an image is damaged, unreadable, too large, or a model fails on it    FAULT; the next image is decided on
    it ended the process twice                                           FAULT/quarantine, not decided a third time
    its name is taken or no UTF-8                                        it gets another; the line names both
    it is gone before it was read                                        no decision
    it cannot be removed where it arrived                                decided once, said, left there
    a link, pipe or folder is named like an image                        left there, said once
    results cannot be written (disk full, read-only, away)               no decision; waits, says so, goes on by itself
    the folder of images is away                                         waits, says so, goes on by itself
    the folders are wrong at the start                                   exit 2, before a start of the trial is counted
    the session is lost                                                  exit 1; systemd starts anew, the image waits
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import json
import logging
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import BusyError, EdgetlError, InstallError
from edgetl_runtime.install.evidence import (
    QUARANTINE,
    TRIES,
    ImageLeftError,
    NoPlaceError,
    mark_of,
    printable,
)
from edgetl_runtime.tasks.base import is_folder_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from edgetl_runtime.install.evidence import Evidence, Mark, Part
    from edgetl_runtime.install.live_session import LiveSession

START_S = 300  # that systemd waits for a model to load
HEARTBEAT_S = 5.0
IDLE_S = 0.05
RETRY_S = 1.0
_log = logging.getLogger(__name__)


def notify(*lines: str) -> bool:
    """Tell systemd; return whether anybody listens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        try:
            channel.connect(address)
            channel.sendall("\n".join(lines).encode())
        except OSError:  # systemd restarts itself: the next word arrives
            return False
    return True


@contextlib.contextmanager
def more_time() -> Iterator[None]:
    """Ask systemd for more time as long as something with a limit of its own goes on before `READY=1`."""
    done = threading.Event()

    def ask() -> None:
        while not done.wait(START_S / 4):
            notify(f"EXTEND_TIMEOUT_USEC={START_S * 1_000_000}", "STATUS=building an engine")

    asking = threading.Thread(target=ask, name="edgetl-more-time", daemon=True)
    asking.start()
    try:
        yield
    finally:
        done.set()
        asking.join()


def opened(live: LiveSession, *, stop: Callable[[], bool]) -> bool:
    """Open a session as soon as no installation is at work; False if told to stop before.

    Raises:
        BusyError: Another service runs on this root.
        InstallError: Nothing is installed, or nothing that is whole.
    """
    said = False
    while not stop():
        notify(f"EXTEND_TIMEOUT_USEC={START_S * 1_000_000}")  # from now on, for loading too
        try:
            live.open()
        except BusyError:
            if live.device.service_runs():
                raise
        else:
            return True
        words = f"waiting: {live.device.busy_phase() or 'another command'} is at work"
        notify(f"STATUS={words}")
        if not said:
            _log.info("%s", words)
        said = True
        time.sleep(RETRY_S)
    return False


def serve(live: LiveSession, evidence: Evidence, *, stop: Callable[[], bool]) -> int:
    """Decide on every image that arrives, until told to stop.

    Each image is moved to the folder of its verdict after its decision was logged. What cannot be decided goes to
    FAULT: never among the good parts. A disk that refuses is waited for, while golden images keep the model watched.

    Args:
        live: Open.
        evidence: Open.
        stop: Asked between two images.

    Returns:
        How many images were decided on.
    """
    notify("READY=1", f"STATUS={_status(live)}")
    _log.info("ready: %s, images of %s to %s", _status(live), evidence.images, evidence.out)
    service = _Service(live, evidence, stop)
    service.run()
    notify("STOPPING=1")
    _log.info("stopped, decided on %d images", service.count)
    return service.count


class _Service:
    def __init__(self, live: LiveSession, evidence: Evidence, stop: Callable[[], bool]) -> None:
        self.live = live
        self.evidence = evidence
        self.stop = stop
        self.count = 0
        self._progressed_s = time.monotonic()
        self._trouble = ""  # that was said last
        self._strange: set[str] = set()
        self._left: dict[str, Mark] = {}  # decided on, but cannot be moved away

    def run(self) -> None:
        if (part := self.evidence.unfinished()) is not None:
            self._handle(part)
        while not self.stop():
            waiting = self._arrived()
            for path in waiting:
                part = self.evidence.read(path)
                if part is not None:
                    self._handle(part)
                if self.stop():
                    break
            if not waiting:
                self._idle(IDLE_S)

    def _arrived(self) -> list[Path]:
        try:
            images, strange = self.evidence.arrived()
        except OSError as error:  # unmounted, or a network that is away: images wait elsewhere
            self._say(f"waiting: {self.evidence.images}: {error.strerror}")
            return []
        self._say("")
        for name in sorted(set(strange) - self._strange):
            _log.warning("left alone, no plain file: %s", printable(name))
        self._strange = set(strange)
        if self._left:
            left = {path.name for path in images if path.name in self._left and self._left[path.name] == mark_of(path)}
            self._left = {name: mark for name, mark in self._left.items() if name in left}
        return [path for path in images if path.name not in self._left]

    def _handle(self, part: Part) -> None:
        """Decide on an image, log, move, in this order; a service that is told to stop meanwhile goes on later."""
        if part.file is None:
            entry = self._decided(part)
            if entry is None or not self._recorded(part, entry, self.evidence.place):
                self.evidence.withdraw()
                return
        else:  # decided and logged before the service ended
            entry = {}
        if self._moved(part, entry):
            self.count += 1
        self._beat()

    def _decided(self, part: Part) -> dict[str, Any] | None:
        before = self.live.generation
        entry: dict[str, Any] = {"id": part.id, "image": printable(part.path.name), "verdict": "FAULT"}
        if part.tries > TRIES:
            entry["error"] = f"The image ended the service {TRIES} times while it was being decided."
        elif not self._insist(lambda: self.evidence.intend(part)):
            return None
        elif part.data is None:
            entry["error"] = f"The image must be readable; got {part.fault}."
        else:
            entry |= self._verdict(part.data)
        after = self.live.generation  # unknown where it was swapped in just this moment
        return entry | {"generation": after.name if before == after and after is not None else None}

    def _verdict(self, data: bytes) -> dict[str, Any]:
        try:
            found = self.live.predict(data).to_mapping()
            json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
        except InstallError:  # about the session, which systemd starts anew; the image waits
            self.evidence.withdraw()
            raise
        except EdgetlError as error:  # an image that cannot be read, or a model that failed: this part is not good
            found = {"verdict": "FAULT", "error": error.sentence}
        except Exception as error:  # whatever it is, it is about this one image and the next one may be good
            words = f"{type(error).__name__}: {error}".encode(errors="backslashreplace").decode()
            found = {"verdict": "FAULT", "error": words}
        self._progress()
        known = is_folder_name(str(found.get("verdict") or ""))
        return found if known else {"verdict": "FAULT", "error": f"no verdict: {found.get('verdict')}"}

    def _recorded(self, part: Part, entry: dict[str, Any], place: Callable[[str, Part], str]) -> bool:
        folder = QUARANTINE if part.tries > TRIES else str(entry["verdict"])

        def put() -> None:
            entry["file"] = place(folder, part)

        if not self._insist(put):  # a folder may have to be made for it
            return False
        now = dt.datetime.now(dt.timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"time": now, **entry}, ensure_ascii=False, allow_nan=False)
        if "error" in entry:
            _log.warning("%s: %s", entry["file"], " ".join(str(entry["error"]).split()))
        return self._insist(lambda: self.evidence.record(line))

    def _moved(self, part: Part, entry: dict[str, Any]) -> bool:
        file = part.file or str(entry["file"])
        try:
            return self._insist(lambda: self.evidence.move(part, file))
        except ImageLeftError as error:
            _log.error("%s stays where it arrived, decided on: %s", printable(part.path.name), error)
            self._left[part.path.name] = part.mark
            return True
        except NoPlaceError as error:
            if part.file is not None:  # its line is of an earlier start: decide again, under another name
                return self._moved_anew(dataclasses.replace(part, file=None), self._decided(part))
            _log.warning("%s needs another name: %s", file, error)
            return self._moved_anew(part, entry)

    def _moved_anew(self, part: Part, entry: dict[str, Any] | None) -> bool:
        recorded = entry is not None and self._recorded(part, entry, self.evidence.plain_place)
        return recorded and entry is not None and self._moved(part, entry)

    def _insist(self, change: Callable[[], None]) -> bool:
        """Change the disk as soon as it lets us; False if told to stop before."""
        while True:
            try:
                change()
            except OSError as error:
                self._say(f"waiting: {error.filename or self.evidence.out}: {error.strerror}")
            else:
                return True
            if self.stop():
                return False
            self._idle(RETRY_S)

    def _say(self, trouble: str) -> None:
        """Say what keeps the service from deciding, once; and once that it is over."""
        if trouble != self._trouble:
            _log.error("%s", trouble or "going on")
            self._trouble = trouble
            notify(f"STATUS={trouble or _status(self.live)}")

    def _idle(self, seconds: float) -> None:
        self._beat()
        time.sleep(seconds)

    def _beat(self) -> None:
        """Decide on a golden image where no other was decided on for a while."""
        if time.monotonic() - self._progressed_s > HEARTBEAT_S:
            self.live.heartbeat()
            self._progress()

    def _progress(self) -> None:
        self._progressed_s = time.monotonic()
        notify("WATCHDOG=1", f"STATUS={self._trouble or _status(self.live)}")


def _status(live: LiveSession) -> str:
    generation = live.generation
    return f"generation {generation.name}, variant {generation.variant}" if generation else "swapping generations"
