"""A bundle that answers wrongly while it is timed gets no figures, however fast it is."""

from __future__ import annotations

import dataclasses
import io
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

import edgetl_runtime
from edgetl_runtime.bench import worker
from edgetl_runtime.errors import GoldenError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np

    from edgetl_runtime.session import Session


@pytest.fixture
def images(tiny_path: Path) -> list[bytes]:
    with edgetl_runtime.open(tiny_path, backend="null") as session:
        return [session.bundle.read(name) for name in session.manifest.golden.images]


class HurriedModel:
    """A model that is right at leisure and wrong under load: every call after the first `right` until told."""

    def __init__(self, session: Session, wrong: range) -> None:
        self.inner, self.calls, self.wrong = session._model, 0, wrong

    def infer(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        self.calls += 1
        logits = self.inner.infer(batch)["logits"]
        return {"logits": -logits if self.calls in self.wrong else logits}

    def close(self) -> None:
        self.inner.close()


def test_wrong_answers_under_load_are_refused(tiny_path: Path, images: list[bytes]) -> None:
    with edgetl_runtime.open(tiny_path, backend="null") as session:
        session._model = HurriedModel(session, wrong=range(3, 9))  # type: ignore[assignment]
        timed = [(i, session.predict(image)) for i, image in enumerate(images)]
        with pytest.raises(GoldenError, match=r"decision on image \d+ while it was timed must be"):
            worker._check_answers(session, images, timed)


def test_wrong_answers_at_any_time_are_refused(tiny_path: Path, images: list[bytes]) -> None:
    with edgetl_runtime.open(tiny_path, backend="null") as session:
        session._model = HurriedModel(session, wrong=range(1, 99))  # type: ignore[assignment]
        with pytest.raises(GoldenError, match="golden scores"):
            worker._check_answers(session, images, [])


def test_right_answers_give_one_digest_for_equal_decisions(tiny_path: Path, images: list[bytes]) -> None:
    with edgetl_runtime.open(tiny_path, backend="null") as session:
        first = worker._check_answers(session, images, [(0, session.predict(images[0]))])
        assert first == worker._check_answers(session, images, [])
        assert first != worker._check_answers(session, images[::-1], [])


def job(bundle: Path, **fields: object) -> str:
    return json.dumps({"kind": "round", "bundle": str(bundle), "variant": "null-f32", **fields}) + "\n"


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[[str], tuple[int, dict]]:
    def call(line: str) -> tuple[int, dict]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(line + "go\n" * 2))
        code = worker.main()
        return code, json.loads(capsys.readouterr().out.splitlines()[-1])

    return call


class SlowLine:
    """A session whose decisions take a millisecond of a clock; every look at it takes a microsecond more."""

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        self.now_ns += 1000
        return self.now_ns

    def predict(self, _: bytes) -> None:
        self.now_ns += 1_000_000

    infer = predict


@pytest.mark.parametrize(("slower_pct", "took_ms"), [(0.0, 1.0), (50.0, 1.5), (300.0, 4.0)])
def test_slower_spins_after_every_decision(monkeypatch: Any, slower_pct: float, took_ms: float) -> None:
    line = SlowLine()
    monkeypatch.setattr(worker, "time", line)
    timed = worker._Timed(line, [b""], worker.Job(kind="round", bundle="x", slower_pct=slower_pct))  # type: ignore[arg-type]
    for call in (timed.decide, timed.infer):
        begin = line.now_ns
        call(0)
        assert (line.now_ns - begin) / 1e6 == pytest.approx(took_ms, rel=0.02)


def test_a_round_is_told_in_one_json_line(work: Callable[[str], tuple[int, dict]], tiny_path: Path) -> None:
    code, found = work(job(tiny_path, iterations=20, seconds=0, warmup_s=0.05, network=False))
    assert (code, len(found["decision_ms"]), len(found["inside_ms"])) == (0, 20, 20)


def test_an_error_is_one_json_line_with_its_exit_code(work: Callable[[str], tuple[int, dict]], tmp_path: Path) -> None:
    code, found = work(job(tmp_path / "absent.edgetl"))
    assert (code, found["error"]["type"]) == (1, "BundleError")
    assert {"what", "must", "got", "try"} <= found["error"].keys()


def test_accuracy_decides_once_on_every_image(
    work: Callable[[str], tuple[int, dict]], tiny_path: Path, images: list[bytes], tmp_path: Path
) -> None:
    paths = []
    for i, data in enumerate(images):
        (tmp_path / f"{i}.png").write_bytes(data)
        paths.append(str(tmp_path / f"{i}.png"))
    _, found = work(job(tiny_path, kind="accuracy", images=paths, truth=["bad"] * len(paths)))
    with edgetl_runtime.open(tiny_path, backend="null") as session:
        decisions = [session.predict(data) for data in images]
    assert found["labels"] == [d.label for d in decisions]
    assert found["verdicts"] == [d.verdict for d in decisions]
    assert found["counts"]["escapes"] == found["verdicts"].count("OK")
    assert found["counts"]["n_defect"] == len(paths)


def test_a_job_is_read_strictly() -> None:
    assert {f.name for f in dataclasses.fields(worker.Job)} >= {"bundle", "rate_hz", "slower_pct"}
    assert set(worker.KINDS) == {"round", "accuracy", "neighbour"}
