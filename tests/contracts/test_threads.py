"""What every backend must do for several threads on one session: every decision equals the one made alone.

Backends are discovered, as in `test_backends.py`. The interpreter is told to change threads far sooner than usual, so
that what two threads share by mistake is seen in a few thousand calls.
"""

from __future__ import annotations

import dataclasses
import itertools
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import edgetl_runtime
from edgetl.deploy.bundle_writer import write_bundle
from edgetl_runtime import backends
from edgetl_runtime.backends.base import BackendSession, LoadOptions
from edgetl_runtime.errors import BackendError, EdgetlError
from edgetl_runtime.install.device import Device
from edgetl_runtime.install.installer import Installer, InstallOptions
from edgetl_runtime.install.live_session import LiveSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from edgetl_runtime.session import Session
    from edgetl_runtime.tasks.base import Decision

DECISIONS, THREADS, SIZE_PX = 1000, 4, 24
LONGEST_S = 120.0


@pytest.fixture(params=backends.names())
def usable(request: pytest.FixtureRequest) -> str:
    reason = backends.get(request.param).available()
    if reason is not None:
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture(autouse=True)
def _eager_threads() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def load(name: str, model: bytes, **options: Any) -> BackendSession:
    backend, chosen = backends.get(name), LoadOptions(threads=1, **options)
    return backend.load(backend.compile(model, chosen), chosen)


def images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (count, SIZE_PX, SIZE_PX, 3), np.uint8)


def in_threads(*work: Callable[[], None]) -> list[BaseException]:
    """Do each in a thread of its own, begun at the same time; return what was raised."""
    begin, raised = threading.Barrier(len(work)), []

    def do(call: Callable[[], None]) -> None:
        begin.wait()
        try:
            call()
        except BaseException as error:
            raised.append(error)

    threads = [threading.Thread(target=do, args=(call,), daemon=True) for call in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST_S)
    assert not any(thread.is_alive() for thread in threads), "a thread waits for ever"
    return raised


def bundle_of(name: str, parts: Callable[[], Any], path: Path, **changes: Any) -> Path:
    """Write a bundle whose only variant is of this backend."""
    fields, members = parts()
    variant = next((v for v in fields.variants if v.backend == name), fields.variants[0])
    params = dataclasses.replace(variant.params, temperature=changes.pop("temperature", 1.0))
    variant = dataclasses.replace(variant, id=name, backend=name, params=params)
    write_bundle(path, dataclasses.replace(fields, variants=(variant,), chosen=name, **changes), members)
    return path


def answer(decision: Decision) -> Decision:
    return dataclasses.replace(decision, timings_ms={})


def golden_images(session: Session) -> list[bytes]:
    return [session.bundle.read(name) for name in session.manifest.golden.images]


@pytest.mark.parametrize("fixed", [1, 4, None])
def test_infer_from_four_threads_equals_infer_alone(usable: str, fixed: int | None, conv_net: bytes) -> None:
    batches = images(DECISIONS)[:, None]
    with load(usable, conv_net, batch=fixed) as session:
        alone = [session.infer(batch)["logits"] for batch in batches]
        together: list[Any] = [None] * DECISIONS

        def work(first: int) -> None:
            for index in range(first, DECISIONS, THREADS):
                together[index] = session.infer(batches[index])["logits"]

        raised = in_threads(*(lambda first=first: work(first) for first in range(THREADS)))  # type: ignore[misc]
    assert raised == []
    assert sum(not np.array_equal(a, t) for a, t in zip(alone, together, strict=True)) == 0


def test_infer_many_beside_infer_equals_each_alone(usable: str, conv_net: bytes) -> None:
    batches = images(3 * 200).reshape(200, 3, SIZE_PX, SIZE_PX, 3)
    wrong: list[int] = []
    with load(usable, conv_net, batch=3, hint="throughput") as session:
        # a batch of another size takes the way of slices
        mixed = [batch if index % 5 else batch[:2] for index, batch in enumerate(batches)]
        alone = [session.infer(batch)["logits"] for batch in mixed]

        def many() -> None:
            found = session.infer_many(iter(mixed))
            wrong.extend(i for i, outputs in enumerate(found) if not np.array_equal(outputs["logits"], alone[i]))

        def single() -> None:
            wrong.extend(
                i for i, batch in enumerate(mixed) if not np.array_equal(session.infer(batch)["logits"], alone[i])
            )

        assert in_threads(many, many, single, single) == []
    assert wrong == []


def test_decisions_from_four_threads_equal_those_made_alone(
    usable: str, tiny_parts: Callable[[], Any], tmp_path: Path
) -> None:
    with edgetl_runtime.open(bundle_of(usable, tiny_parts, tmp_path / "a.edgetl")) as session:
        encoded = golden_images(session)
        alone = [answer(session.predict(image)) for image in encoded]
        wrong: list[int] = []

        def work() -> None:
            for index in range(DECISIONS // THREADS):
                which = index % len(encoded)
                if answer(session.predict(encoded[which])) != alone[which]:
                    wrong.append(which)

        assert in_threads(*[work] * THREADS) == []
    assert wrong == []


def test_decisions_beside_a_hot_swap_equal_those_made_alone(
    usable: str, tiny_parts: Callable[[], Any], tmp_path: Path
) -> None:
    bundles = [
        bundle_of(usable, tiny_parts, tmp_path / f"{n}.edgetl", sequence=n, temperature=float(n)) for n in (1, 2)
    ]
    alone: list[list[Decision]] = []
    for path in bundles:
        with edgetl_runtime.open(path) as session:
            encoded = golden_images(session)
            alone.append([answer(session.predict(image)) for image in encoded])
    passed = {"passed": True, "reason": "", "breaches": []}
    installer = Installer(Device(tmp_path / "root"), self_test=lambda *_: passed)
    options = InstallOptions(allow_unsigned=True)
    installer.install(bundles[0], options)
    installer.device.commit()
    found: list[tuple[int, Decision]] = []
    enough, seen_new = threading.Event(), threading.Event()

    def decide(live: LiveSession) -> None:
        while not (enough.is_set() and seen_new.is_set()):
            which = len(found) % len(encoded)
            decision = answer(live.predict(encoded[which]))
            found.append((which, decision))
            if len(found) > DECISIONS // 2 and decision == alone[1][which]:
                seen_new.set()
            if len(found) >= DECISIONS:
                enough.set()

    with LiveSession(Device(tmp_path / "root"), trial_inferences=10**9, poll_s=0.01) as live:
        work = [lambda: decide(live)] * THREADS
        raised = in_threads(*work, lambda: installer.install(bundles[1], options) and None)
    assert raised == []
    assert sum(decision not in (alone[0][which], alone[1][which]) for which, decision in found) == 0
    assert alone[0][0] != alone[1][0]
    assert len(found) >= DECISIONS


def test_close_while_others_infer_gives_a_finished_decision_or_an_error(usable: str, conv_net: bytes) -> None:
    batches = images(8)[:, None]
    wrong, errors = [], []
    for _ in range(20):
        session = load(usable, conv_net)
        alone = [session.infer(batch)["logits"] for batch in batches]
        busy, closed = threading.Event(), threading.Event()

        def work(session: Any = session, alone: Any = alone, busy: Any = busy, closed: Any = closed) -> None:
            for index in itertools.count():
                which, over = index % len(batches), closed.is_set()
                try:
                    logits = session.infer(batches[which])["logits"]
                except EdgetlError as error:
                    errors.append(error)
                    return
                finally:
                    busy.set()
                assert not over, "a closed session decides"
                if not np.array_equal(logits, alone[which]):
                    wrong.append(which)

        def close(session: Any = session, busy: Any = busy, closed: Any = closed) -> None:
            busy.wait(LONGEST_S)
            session.close()
            closed.set()

        assert in_threads(*[work] * THREADS, close, close) == []
    assert wrong == []
    assert len(errors) == 20 * THREADS
    assert {str(error) for error in errors} == {str(closed_error(usable))}


def closed_error(name: str) -> BackendError:
    return BackendError(f"the session of {name}", "open", "a closed one", fix="open it again")


def test_infer_after_close_is_an_error(usable: str, conv_net: bytes) -> None:
    session = load(usable, conv_net)
    session.close()
    for call in (lambda: session.infer(images(1)), lambda: list(session.infer_many([images(1)]))):
        with pytest.raises(BackendError, match=r"^the session of \w+ must be open; got a closed one"):
            call()
