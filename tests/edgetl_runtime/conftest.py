"""A bundle, its images, and a command run as a user runs it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from edgetl_runtime.__main__ import main
from edgetl_runtime.bench import rounds
from edgetl_runtime.bench.processes import LostWorkerError
from edgetl_runtime.bundle import open_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@pytest.fixture(scope="session")
def tiny_path(tiny_bundle: Callable[..., Path]) -> Path:
    return tiny_bundle()


@pytest.fixture
def images(tiny_path: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "deeper").mkdir(parents=True)
    with open_bundle(tiny_path) as bundle:
        for index in range(4):
            (folder / ("deeper" if index == 3 else "") / f"{index}.PNG").write_bytes(
                bundle.read(f"golden/00{index}.png")
            )
    (folder / "notes.txt").write_text("not an image")
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Run a command with --json; return its exit code and what it printed."""

    def call(*argv: str) -> tuple[int, dict[str, Any]]:
        code = main([*argv, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


@pytest.fixture
def play_workers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let worker processes be invented: called with what answers a job, a sentence if it is lost."""

    def play(answer: Callable[[Mapping[str, Any]], dict[str, Any] | str]) -> None:
        class Invented:
            pid = 1

            def __init__(self, job: Mapping[str, Any], *, timeout_s: float) -> None:
                self.said = answer(job)

            def __enter__(self) -> Invented:
                return self

            def __exit__(self, *_: object) -> None:
                return

            def close(self) -> None:
                return

            def go(self, beside: object = ()) -> None:
                return

            def wait_until(self, word: str) -> None:
                if isinstance(self.said, str):
                    raise LostWorkerError(self.said)

            def answer(self) -> dict[str, Any] | str:
                return self.said

        monkeypatch.setattr(rounds, "Worker", Invented)

    return play
