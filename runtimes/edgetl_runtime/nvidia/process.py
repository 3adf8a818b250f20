"""Build an engine in a child process, with progress and with limits on time and memory."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import selectors
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from edgetl_runtime import children, memory
from edgetl_runtime.errors import BackendError, EdgetlError, GraphError
from edgetl_runtime.nvidia.request import BuildLimits, BuildOptions, Built, Refusal, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

POLL_S = 0.1
WORK_PREFIX = "build-"
MEMORY_SHARE = 0.8  # of the machine's memory, which a Jetson's GPU shares
_KB_PER_MB = 1024


def build(
    model: bytes,
    options: BuildOptions,
    *,
    timing: bytes = b"",
    limits: BuildLimits | None = None,
    progress: Callable[[Step], None] | None = None,
    folder: Path | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Built:
    """Build an engine in a child process.

    Args:
        model: Bytes of an ONNX model that was walked before.
        options: What to build.
        timing: Bytes of an earlier timing cache.
        limits: On time and memory.
        progress: Called with every step, in this process.
        folder: Where the temporary files go; None takes the system's place.
        clock: Seconds; the limit on time is counted by it.

    Raises:
        BackendError: The graph is refused, or the build broke a limit, was killed, or found the disk full. Nothing is
            left behind.
        BackendMissingError: The compiler is not installed.
    """
    limits = limits or BuildLimits()
    work: Path | None = None
    try:
        work = Path(tempfile.mkdtemp(prefix=WORK_PREFIX, dir=folder))
        (work / "request.json").write_text(json.dumps(dataclasses.asdict(options)), encoding="utf-8")
        (work / "model.onnx").write_bytes(model)
        if timing:
            (work / "timing.cache").write_bytes(timing)
        command = children.command("edgetl_runtime.nvidia.child", str(work.absolute()))
        answer = _run(command, _Watch(limits, clock), progress)
        return _built(answer, work)
    except OSError as error:
        raise disk_error(error, folder or Path(tempfile.gettempdir())) from error
    finally:
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def disk_error(error: OSError, folder: Path) -> BackendError:
    """Turn a failure to write into one sentence."""
    fix = f"free some space in {folder}" if error.errno == errno.ENOSPC else f"check {folder}"
    return BackendError(
        f"the folder of the engines {folder}", "writable and with room", error.strerror or str(error), fix=fix
    )


def _built(answer: dict[str, Any], work: Path) -> Built:
    if "refused" in answer:
        refuse(Refusal(**answer["refused"]))
    if "error" in answer:
        raise EdgetlError.from_mapping(answer["error"])
    if "os_error" in answer:
        raise OSError(answer["errno"], answer["os_error"])
    facts = answer["built"]
    return Built(
        plan=(work / "engine.plan").read_bytes(),
        timing=(work / "timing.cache").read_bytes(),
        **(facts | {"on_gpu": tuple(facts["on_gpu"])}),
    )


def refuse(refusal: Refusal) -> NoReturn:
    """Raise a refusal as one sentence.

    Raises:
        GraphError: Always.
    """
    node = f"node '{refusal.node}' ({refusal.operator})" if refusal.node else "the graph"
    verb = "accepted by the parser of" if refusal.kind == "parser" else "compiled by"
    fix = "edgetl deploy RUN --precision f16, or --precision f32"
    raise GraphError(node, f"{verb} {refusal.title}", refusal.words, fix=fix)


def _run(command: Sequence[str], watch: _Watch, progress: Callable[[Step], None] | None) -> dict[str, Any]:
    """Run the child and return its last line; kill it when it breaks a limit."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        cwd=children.FOLDER, env=children.environment(),
    ) as child:  # fmt: skip
        errors = children.Tail(child.stderr)
        try:
            answer = _listen(child, watch, progress)
            child.wait(timeout=max(1.0, watch.limits.time_s))
        finally:
            child.kill()  # whatever stops us stops it; harmless after its end
        if answer is None:
            _died(child.returncode, errors.text())
        return answer


def _listen(
    child: subprocess.Popen[bytes], watch: _Watch, progress: Callable[[Step], None] | None
) -> dict[str, Any] | None:
    """Read the child's lines until it ends; return the one with the result."""
    if child.stdout is None:
        return None
    watch.begin(child.pid)
    rest = b""
    answer: dict[str, Any] | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            watch.check()
            if not selector.select(POLL_S):
                continue
            piece = os.read(child.stdout.fileno(), 65536)
            if not piece:
                return answer
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                message = json.loads(line)
                if "step" not in message:
                    answer = message
                    continue
                watch.step = Step(**message["step"])
                if progress is not None:
                    progress(watch.step)


class _Watch:
    """Knows how long the child runs and how much memory it holds."""

    def __init__(self, limits: BuildLimits, clock: Callable[[], float]) -> None:
        self.limits, self.clock = limits, clock
        self.memory_mb = limits.memory_mb or int(MEMORY_SHARE * memory.total_mb())
        self.step: Step | None = None

    def begin(self, pid: int) -> None:
        """Count from now what a process takes."""
        self.status = Path(f"/proc/{pid}/status")
        self.started = self.clock()

    def check(self) -> None:
        """Raise where a limit is broken."""
        taken_s = self.clock() - self.started
        at = f"still at '{self.step.phase}', {self.step.done} of {self.step.total}" if self.step else "still starting"
        if taken_s > self.limits.time_s:
            must, fix = f"done within {self.limits.time_s:g} s", "a longer --time-limit-s, or a faster power mode"
            raise BackendError("the build of the engine", must, f"{at} after {taken_s:.0f} s", fix=fix)
        held_mb = self._resident_mb()
        if held_mb > self.memory_mb:
            must, fix = f"within {self.memory_mb} MB of memory", "close other programs, or raise --memory-limit-mb"
            raise BackendError("the build of the engine", must, f"{held_mb} MB, {at}", fix=fix)

    def _resident_mb(self) -> int:
        try:
            lines = self.status.read_text(encoding="ascii").splitlines()
        except OSError:  # it has just ended
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) // _KB_PER_MB


def _died(code: int, words: str) -> NoReturn:
    last = words.strip().splitlines()[-1] if words.strip() else ""
    got = f"killed by signal {-code}" if code < 0 else f"exit {code}: {last:.200}"
    fix = "try again; signal 9 without a reason is the kernel out of memory: close other programs"
    raise BackendError("the build of the engine", "run to its end", got, fix=fix)
