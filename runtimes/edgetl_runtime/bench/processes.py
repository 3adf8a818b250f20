"""Worker processes: started with a job, led through their turns line by line, and never left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime import children
from edgetl_runtime.errors import EdgetlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from typing_extensions import Self

WORKER = "edgetl_runtime.bench.worker"


class LostWorkerError(Exception):
    """A worker was killed or did not answer: not its own fault, so what it did may be repeated. Never leaves bench."""


class Worker:
    """A process of `bench.worker`; a context manager that ends it.

    Args:
        job: Fields of `worker.Job`.
        timeout_s: It is ended if an answer takes longer.

    Example:
        >>> with Worker({"kind": "accuracy", "bundle": "part.edgetl"}, timeout_s=60) as worker:  # doctest: +SKIP
        ...     decisions = worker.answer()
    """

    def __init__(self, job: Mapping[str, Any], *, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._late = False
        command, environment, job = children.command(WORKER), children.environment(), _absolute(job)
        spawned_ns = time.monotonic_ns()
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=children.FOLDER, env=environment,
        )  # fmt: skip
        self._errors = children.Tail(self._process.stderr)
        self._say(json.dumps({**job, "spawned_ns": spawned_ns}))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    def wait_until(self, word: str) -> None:
        """Wait for the worker to say a word.

        Raises:
            LostWorkerError: It was killed, or too slow.
            EdgetlError: The worker's own, of its class.
        """
        line = self._line()
        if line.strip() != word:
            self._concluded(line)
            raise EdgetlError(
                "a worker",
                f"{word} by now",
                f"{line:.80}",
                fix="edgetl-runtime doctor; if all is well there, report it with its output",
            )

    def go(self, beside: Iterable[int] = ()) -> None:
        """Let the worker begin what comes next, beside processes of these ids."""
        self._say(" ".join(["go", *(str(pid) for pid in beside)]))

    def answer(self) -> dict[str, Any]:
        """Return what the worker says at its end; raises as `wait_until`."""
        return self._concluded(self._line())

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # what it should have read is lost with it
                    continue
        self._process.wait()

    def _say(self, line: str) -> None:
        if self._process.stdin is not None:
            try:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
            except BrokenPipeError:
                return  # it has ended: its answer, or the lack of one, says why

    def _line(self) -> str:
        timer = threading.Timer(self._timeout_s, self._expire)
        timer.start()
        try:
            return self._process.stdout.readline() if self._process.stdout is not None else ""
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._late = True
        self._process.kill()

    def _concluded(self, line: str) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            raise self._ended() from None
        if "error" in answer:
            raise EdgetlError.from_mapping(answer["error"])
        return answer

    def _ended(self) -> Exception:
        """Return why there is no answer."""
        code = self._process.wait()
        if self._late:
            return LostWorkerError(f"the round gave no answer within {self._timeout_s:g} s")
        if code < 0:
            return LostWorkerError(f"the round was killed by {signal.Signals(-code).name}")
        words = self._errors.text().strip().splitlines() or ["nothing"]
        return EdgetlError(
            "a round",
            "answered",
            f"exit {code}: {words[-1]:.200}",
            fix="edgetl-runtime doctor; if all is well there, report it with its output",
        )


def _absolute(job: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job whose paths do not depend on the folder that the worker works in."""
    paths = {name: str(Path(job[name]).absolute()) for name in ("bundle", "cache_dir") if job.get(name)}
    return {**job, **paths, "images": [str(Path(path).absolute()) for path in job.get("images", ())]}
