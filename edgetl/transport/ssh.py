"""One connection to a device, over which commands run one after the other.

A master ssh process holds the connection (and ends with this process, however that ends); each command is a session of
its own over it, so that logging in costs time once.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import select
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

from edgetl.errors import ConnectionLostError, HostUnreachableError, RemoteError, RemoteTimeoutError, TransportError
from edgetl.transport import refusal
from edgetl.transport.address import Address, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType
    from typing import Self

READY = "edgetl-ready"
MAX_OUTPUT_BYTES = 64 * 2**20
KEPT_LINES = 400
GRACE_S = 20  # for the device's own time limit to act before ours does
SSH_FAILED = 255
TIMED_OUT = (124, 137)
# The command ends when its limit is over or when the connection is: standard input ends, and the watcher kills it.
WATCHED = (
    'exec 3<&0; timeout -k 5 "$@" </dev/null 3<&- & child=$!; '
    "{ cat <&3; kill $child; } >/dev/null 2>&1 & watcher=$!; "
    "exec 3<&-; wait $child; code=$?; kill $watcher 2>/dev/null; exit $code"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to connect; all else is the user's ssh configuration.

    Attributes:
        config: An ssh configuration file instead of the user's.
        host_keys: `known` refuses hosts never seen; `accept-new` trusts an unknown one at first sight. A changed key
            is refused by both.
        connect_s: Limit for reaching the host and logging in, each.
        silence_s: After so much silence of the device the connection counts as lost.
    """

    config: Path | None = None
    host_keys: Literal["known", "accept-new"] = "known"
    connect_s: int = 10
    silence_s: int = 15

    def options(self) -> list[str]:
        """Return the arguments of ssh."""
        checking = {"known": "yes", "accept-new": "accept-new"}[self.host_keys]
        options = {
            "BatchMode": "yes",  # never a prompt: nobody may be there
            "StrictHostKeyChecking": checking,
            "ConnectTimeout": str(self.connect_s),
            "ServerAliveInterval": str(max(1, self.silence_s // 3)),
            "ServerAliveCountMax": "3",
            "ForwardAgent": "no",
            "ForwardX11": "no",
            "ClearAllForwardings": "yes",
            "PermitLocalCommand": "no",
            "RequestTTY": "no",
            "EscapeChar": "none",
            "LogLevel": "INFO",
        }
        config = ["-F", str(self.config)] if self.config else []
        return [*config, *(word for key, value in options.items() for word in ("-o", f"{key}={value}"))]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that ended by itself.

    Attributes:
        code: Its exit code.
        stdout: What it printed.
        stderr: The last lines it printed there.
        seconds: Wall time, the network included.
    """

    code: int
    stdout: str
    stderr: str
    seconds: float


def connect(address: Address | str, settings: Settings | None = None) -> Remote:
    r"""Log in at a device.

    Args:
        address: `[user@]host[:port]`.
        settings: Default: the user's ssh configuration, known hosts only.

    Returns:
        The connection, a context manager.

    Raises:
        UsageError: The address is not one.
        HostUnreachableError: Nobody answers there.
        HostKeyError: The host's key is unknown or has changed.
        LoginError: The login is refused.
        TransportError: ssh is not installed here, or fails otherwise.

    Example:
        >>> with connect("ops@station-3") as remote:  # doctest: +SKIP
        ...     remote.run(["uname", "-m"], limit_s=10).stdout
        'aarch64\n'
    """
    remote = Remote(parse(address) if isinstance(address, str) else address, settings or Settings())
    remote.reconnect()
    return remote


class Remote:
    """A connection to a device; made by `connect`.

    Attributes:
        address: Of the device.
    """

    def __init__(self, address: Address, settings: Settings) -> None:
        self.address = address
        self._settings = settings
        self._folder: Path | None = None
        self._master: subprocess.Popen[bytes] | None = None
        self._words: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(
        self,
        command: Sequence[str],
        *,
        limit_s: float,
        stdin: bytes | None = None,
        on_line: Callable[[str], None] | None = None,
        check: bool = True,
    ) -> Done:
        r"""Run one command there and wait for it.

        Args:
            command: Program and arguments; quoted for the device's shell here, so nothing in them is expanded.
            limit_s: The device itself ends the command after so many seconds, and when the connection breaks.
            stdin: Given to the command's standard input, which otherwise is empty.
            on_line: Called with each line the command prints on standard error, as it comes; for progress.
            check: Raise if the command fails.

        Raises:
            RemoteTimeoutError: It took longer than `limit_s`.
            RemoteError: It failed and `check` is set, or printed more than 64 MiB.
            ConnectionLostError: The connection broke while it ran.

        Example:
            >>> remote.run(["nvpmodel", "-q"], limit_s=10).stdout  # doctest: +SKIP
            'NV Power Mode: 15W\n0\n'
        """
        if stdin is None:
            words = ["sh", "-c", WATCHED, "edgetl", f"{limit_s:g}", *command]
        else:
            words = ["timeout", "-k", "5", f"{limit_s:g}", *command]
        started = time.monotonic()
        with self.session(words) as process:
            reader = _Reader(process, on_line)
            with contextlib.suppress(BrokenPipeError):  # a command need not read all it is given
                if stdin is not None:
                    _stdin(process).write(stdin)
                    _stdin(process).close()
            if not reader.wait(limit_s + GRACE_S):
                raise self.lost(f"no answer in {limit_s + GRACE_S:.0f} s")
        seconds = time.monotonic() - started
        if process.returncode in TIMED_OUT and seconds >= limit_s:
            fix = "a device with less other work, or a longer limit"
            raise RemoteTimeoutError(self._named(command), f"done in {limit_s:g} s", "no end of it", fix=fix)
        done = Done(code=process.returncode, stdout=reader.stdout, stderr=reader.stderr, seconds=seconds)
        if check and done.code != 0:
            raise self.failed(command, done)
        return done

    @contextlib.contextmanager
    def session(self, words: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
        """Start a command whose streams the caller moves; killed on leaving, unless it has ended.

        Raises:
            ConnectionLostError: The connection was or is broken.
        """
        self.require_open()
        # without the master there is no way to the host: a command never logs in by itself
        options = [*self._settings.options(), "-S", str(self._socket), "-o", "ProxyCommand=exit 255"]
        line = ["ssh", *options, self.address.destination, "--", shlex.join(words)]
        process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()
        )
        try:
            yield process
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
        if process.returncode == SSH_FAILED and self._ended():
            raise self.lost()

    def require_open(self) -> None:
        """Raise ConnectionLostError if the connection is gone."""
        if self._master is None or self._master.poll() is not None:
            raise self.lost()

    def lost(self, got: str | None = None) -> TransportError:
        """Return the error that says that, and why, the connection broke."""
        if got is None:
            return refusal.translate(self.address, "\n".join(self._words), lost=True)
        fix = "the same command again; copies go on where they stopped"
        return ConnectionLostError(f"the connection to {self.address}", "kept until the work is done", got, fix=fix)

    def failed(self, command: Sequence[str], done: Done) -> RemoteError:
        """Return the error that says how a command failed."""
        words = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no word")
        fix = f"ssh {self.address.destination} {shlex.join(command):.300}"
        return RemoteError(self._named(command), "successful", f"exit {done.code}: {words.strip():.300}", fix=fix)

    def reconnect(self) -> None:
        """Log in, again if need be; raises what `connect` raises."""
        self.close()
        if shutil.which("ssh") is None:
            raise TransportError("the program ssh", "installed here", "none", fix="apt-get install openssh-client")
        self._folder = Path(tempfile.mkdtemp(prefix="edgetl-ssh-"))  # mode 0700; short, for socket names are limited
        self._words.clear()
        options = [*self._settings.options(), "-M", "-S", str(self._socket), "-o", "ControlPersist=no"]
        if self.address.port:
            options += ["-p", str(self.address.port)]
        # `cat` ends when this process does, and the master with it
        line = ["ssh", *options, self.address.destination, "--", f"echo {READY}; exec cat >/dev/null"]
        self._master = subprocess.Popen(
            line,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,  # an interrupt at the terminal goes to the commands, then we close
        )
        threading.Thread(target=self._listen, args=(self._master.stderr, self._words), daemon=True).start()
        try:
            self._await_ready(self._master)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up; harmless when done already."""
        if self._master is not None:
            self._master.terminate()
            try:
                self._master.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._master.kill()
                self._master.wait()
            for stream in (self._master.stdin, self._master.stdout):
                if stream is not None:
                    with contextlib.suppress(OSError):
                        stream.close()
            self._master = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @property
    def _socket(self) -> Path:
        return (self._folder or Path()) / "master"

    def _named(self, command: Sequence[str]) -> str:
        return f"'{command[0]}' on {self.address}" if command else f"the command on {self.address}"

    def _await_ready(self, master: subprocess.Popen[bytes]) -> None:
        """Wait until the login shell has answered; what it prints of its own is passed over."""
        deadline = time.monotonic() + 2 * self._settings.connect_s
        seen = b""
        while READY.encode() not in seen:
            left = deadline - time.monotonic()
            stream = master.stdout
            if left <= 0 or stream is None:
                got = f"no answer in {2 * self._settings.connect_s} s"
                fix = f"ssh -v {self.address.destination} true"
                raise HostUnreachableError(f"the device {self.address}", "reachable", got, fix=fix)
            ready, _, _ = select.select([stream], [], [], left)
            chunk = os.read(stream.fileno(), 4096) if ready else b""
            if ready and not chunk:  # ended
                master.wait()
                self._ended()
                raise refusal.translate(self.address, "\n".join(self._words))
            seen = (seen + chunk)[-4096:]

    def _ended(self) -> bool:
        """Say whether the master is gone; it goes a moment after its sessions, and its last words come later still."""
        for _ in range(20):
            if self._master is None or self._master.poll() is not None:
                time.sleep(0.1)
                return True
            time.sleep(0.05)
        return False

    @staticmethod
    def _listen(stream: IO[bytes], words: collections.deque[str]) -> None:
        with stream:
            for line in stream:
                words.append(line.decode(errors="replace").rstrip())


class _Reader:
    """Reads both outputs of a process at once."""

    def __init__(self, process: subprocess.Popen[bytes], on_line: Callable[[str], None] | None) -> None:
        self._process, self._on_line = process, on_line
        self._stdout = bytearray()
        self._stderr: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._read_out, self._read_err)]
        for thread in self._threads:
            thread.start()

    @property
    def stdout(self) -> str:
        return self._stdout.decode(errors="replace")

    @property
    def stderr(self) -> str:
        return "\n".join(self._stderr)

    def wait(self, limit_s: float) -> bool:
        """Wait for the end of both streams; False if it does not come in time."""
        deadline = time.monotonic() + limit_s
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if len(self._stdout) > MAX_OUTPUT_BYTES:
            what, must = "the output of the command", f"at most {MAX_OUTPUT_BYTES // 2**20} MiB"
            raise RemoteError(what, must, "more", fix="fetch a file instead")
        return not any(thread.is_alive() for thread in self._threads)

    def _read_out(self) -> None:
        stream = self._process.stdout
        while stream is not None and len(self._stdout) <= MAX_OUTPUT_BYTES:
            chunk = os.read(stream.fileno(), 65536)
            if not chunk:
                return
            self._stdout += chunk

    def _read_err(self) -> None:
        for line in self._process.stderr or ():
            text = line.decode(errors="replace").rstrip("\r\n")
            self._stderr.append(text)
            if self._on_line is not None:
                self._on_line(text)


def _stdin(process: subprocess.Popen[bytes]) -> IO[bytes]:
    if process.stdin is None:  # for the type checker: every process here is started with a pipe
        raise BrokenPipeError
    return process.stdin


def _environment() -> dict[str, str]:
    """Return this process's environment with ssh's messages in the language the table knows."""
    return {**os.environ, "LC_ALL": "C"}
