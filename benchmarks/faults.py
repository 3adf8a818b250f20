"""Changes of a device, and the promises that must hold wherever they are cut off.

Used by the tests of installing and by `all_faults.py`, which `make test-faults` runs.
"""

from __future__ import annotations

import dataclasses
import io
import itertools
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from crash_model import InterruptedDisk, QuickDisk, Recorder, Step, Tree, crash_states, digest, read_tree, write_tree

from edgetl.deploy.bundle_writer import write_bundle
from edgetl.deploy.signing import SigningKey, new_key, rotation
from edgetl_runtime import golden, manifest, session
from edgetl_runtime.backends import get
from edgetl_runtime.backends.base import LoadOptions
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.decode import decode
from edgetl_runtime.errors import EdgetlError, GoldenError
from edgetl_runtime.install.device import Device
from edgetl_runtime.install.installer import Installer
from edgetl_runtime.preprocess import PreprocessSpec, preprocess
from edgetl_runtime.signature import TrustedKey
from edgetl_runtime.tasks.inspection import TASK, Labels, Params, Thresholds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator  # noqa: TC004  (dataclasses' words only)

SIZE_PX = 8
TERMINAL = ("COMMITTED", "ROLLED_BACK", "REFUSED", "INTERRUPTED", "UNCHANGED")


def npy(array: np.ndarray) -> bytes:
    """Return the bytes of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def small_bundle(
    path: Path, *, sequence: int, seed: int, key: SigningKey, wrong: bool = False, padding: int = 0,
    latency_ms: float = 0.0,
) -> Path:  # fmt: skip
    """Write a signed bundle of some kilobytes for the null backend; every seed gives other answers.

    Args:
        path: Of the bundle.
        sequence: Of its line.
        seed: Of the model.
        key: That signs it.
        wrong: Its golden scores are those of another model, so that its self-test fails.
        padding: Bytes of a further member.
        latency_ms: That its model takes for every answer.
    """
    spec = PreprocessSpec(width_px=SIZE_PX, height_px=SIZE_PX)
    rng = np.random.default_rng(1)
    images = [cv2.imencode(".png", rng.integers(0, 256, (9, 9, 3)).astype(np.uint8))[1].tobytes() for _ in range(2)]
    tensors = np.stack([preprocess(decode(data, spec), spec, colour="rgb") for data in images])
    model = b'{"classes": 2, "seed": %d, "latency_ms": %r}'
    members = {"model.json": model % (seed, latency_ms), "tensors.npy": npy(tensors)}
    backend, options = get("null"), LoadOptions(threads=1)
    model %= (999 if wrong else seed, 0.0)
    with backend.load(backend.compile(model, options), options) as opened:
        outputs = opened.infer(tensors)
    labels = Labels(classes=("bad", "ok"), defect_classes=("bad",))
    params = Params(thresholds=Thresholds(nok_at=0.5, ok_below=0.5), temperature=1.0)
    scores = TASK.scores(outputs, labels, params).astype(np.float32)
    members["scores.npy"] = npy(scores)
    members |= {f"{index}.png": data for index, data in enumerate(images)}
    if padding:
        members["padding.bin"] = np.random.default_rng(2).bytes(padding)
    variant = manifest.VariantManifest(
        id="null-f32", backend="null", precision="f32", files={"model": "model.json"}, golden="scores.npy",
        params=params, golden_tolerance=manifest.GoldenTolerance(max_abs=1e-6),
        golden_decisions=golden.decisions_of(TASK, scores, labels, params),
    )  # fmt: skip
    described = manifest.Manifest(
        min_runtime="0.1.0", created="2026-01-01", edgetl_version="0.1.0", task="inspection", line="small",
        sequence=sequence, labels=labels, outputs=TASK.outputs(labels), preprocess=spec, variants=(variant,),
        chosen="null-f32", versions={"opencv": cv2.__version__},
        golden=manifest.GoldenManifest(
            count=2, images=("0.png", "1.png"), tensors="tensors.npy", licence="CC0-1.0",
            tensor_sha256=golden.tensor_digest(tensors),
        ),
    )  # fmt: skip
    write_bundle(path, described, members, keys=(key,), replace=True)
    return path


def quick_self_test(bundle_path: Path, variant: str, _cache: Path, _limits: object) -> dict[str, Any]:
    """Reproduce the golden vectors in this process: what the child does, without its measurements."""
    try:
        with open_bundle(bundle_path) as bundle:
            chosen = bundle.manifest.variant(variant)
            report = golden.check(session.Session(bundle, chosen, session.load(bundle, chosen)), bundle)
    except GoldenError as error:
        return {"passed": False, "reason": error.sentence, "breaches": []}
    return {"passed": True, "reason": "golden vectors reproduced", "breaches": [], "golden": report.count}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """Bundles, keys and a device with an old generation, to start scenarios from.

    Attributes:
        folder: Of it all.
        key: Trusted by the devices.
        next_key: That a rotation goes to.
        bundles: Name → file: old, new, third, wrong.
        answers: Manifest digest → scores of the first golden image.
        starts: Name → tree of a device before a scenario.
        floors: Name → its sequence floor.
    """

    folder: Path
    key: SigningKey
    next_key: SigningKey
    bundles: dict[str, Path]
    answers: dict[str, tuple[float, ...]]
    starts: dict[str, Tree]
    floors: dict[str, int]


def answer(bundle_path: Path) -> tuple[str, tuple[float, ...]]:
    """Return a bundle's digest, and its scores of the first golden image."""
    with session.open(bundle_path) as opened:
        scores = opened.predict(opened.bundle.read("0.png")).scores
        return opened.bundle.manifest_sha256, tuple(float(value) for value in scores.values())


def make_kit(folder: Path) -> Kit:
    """Make bundles and devices that the scenarios start from."""
    key, next_key = new_key(folder / "line.key"), new_key(folder / "next.key")
    bundles = {
        name: small_bundle(folder / f"{name}.edgetl", sequence=number, seed=number, key=key, wrong=name == "wrong")
        for number, name in enumerate(("old", "new", "third", "wrong"), start=1)
    }
    kit = Kit(
        folder=folder, key=key, next_key=next_key, bundles=bundles, starts={}, floors={},
        answers=dict(answer(path) for path in bundles.values()),
    )  # fmt: skip
    device = Device(folder / "device", disk=QuickDisk(), who="tests")
    with device.locked("TRUST"):
        device.trust.add(TrustedKey(pem=key.pem))
    installer = Installer(device, self_test=quick_self_test)

    def keep(name: str) -> None:
        kit.starts[name] = read_tree(device.root)
        kit.floors[name] = device.state.floor

    keep("empty")
    installer.install(bundles["old"])
    keep("first trial")
    device.commit()
    keep("old")
    installer.install(bundles["new"])
    keep("trial")
    device.commit()
    keep("new")
    installer.install(bundles["third"])
    keep("third trial")
    return kit


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One change of a device.

    Attributes:
        name: For people.
        start: Which device it starts from.
        run: The change; gets the device and the kit.
        may_be: Bundles that may be current after a cut, whenever it comes.
        at_end: Bundle that must be current once the change has returned; None where nothing is.
    """

    name: str
    start: str
    run: Callable[[Device, Kit], object]
    may_be: tuple[str | None, ...]
    at_end: str | None


def _install(name: str) -> Callable[[Device, Kit], object]:
    return lambda device, kit: Installer(device, self_test=quick_self_test).install(kit.bundles[name])


def _refused(device: Device, kit: Kit) -> None:
    try:
        _install("wrong")(device, kit)
    except GoldenError:
        return
    message = "a bundle with wrong golden vectors was installed"
    raise RuntimeError(message)


def _rotate(device: Device, kit: Kit) -> None:
    with device.locked("TRUST"):
        device.trust.rotate(rotation(kit.key, kit.next_key.pem))


def _gc(device: Device, _kit: Kit) -> None:
    with device.locked("GC") as state:
        device.save(dataclasses.replace(state, previous=None))
        device.sweep()


def _crash_loop(device: Device, _kit: Kit) -> None:
    for _ in range(4):
        device.begin_attempt()


SCENARIOS = (
    Scenario(name="first install", start="empty", run=_install("old"), may_be=(None, "old"), at_end="old"),
    Scenario(name="install", start="old", run=_install("new"), may_be=("old", "new"), at_end="new"),
    Scenario(name="refused install", start="old", run=_refused, may_be=("old",), at_end="old"),
    Scenario(name="commit", start="third trial", run=lambda d, _: d.commit(), may_be=("third",), at_end="third"),
    Scenario(name="end a trial", start="trial", run=lambda d, _: d.rollback(), may_be=("old", "new"), at_end="old"),
    Scenario(name="rollback", start="new", run=lambda d, _: d.rollback(), may_be=("old", "new"), at_end="old"),
    Scenario(name="collect garbage", start="new", run=_gc, may_be=("new",), at_end="new"),
    Scenario(name="crash loop", start="trial", run=_crash_loop, may_be=("old", "new"), at_end="old"),
    Scenario(name="rotate keys", start="old", run=_rotate, may_be=("old",), at_end="old"),
)


def record(kit: Kit, scenario: Scenario, folder: Path) -> list[Step]:
    """Run a scenario on a copy of its device and return its steps."""
    root = folder / "recorded"
    write_tree(kit.starts[scenario.start], root)
    recorder = Recorder(root)
    try:
        scenario.run(Device(root, disk=recorder, who="tests"), kit)
    finally:
        shutil.rmtree(root)
    return recorder.steps


def violations(kit: Kit, scenario: Scenario, root: Path, *, finished: bool, retry: bool = True) -> Iterator[str]:
    """Recover what lies in a folder, and yield every broken promise.

    Args:
        kit: What the scenario used.
        scenario: That was cut off.
        root: What the cut left.
        finished: The change had returned: its result must be there.
        retry: Install a bundle afterwards, as a plain retry does, and commit it.
    """
    floor = kit.floors[scenario.start]
    device = Device(root, disk=QuickDisk(), who="tests")
    yield from _unrecovered_faults(device, finished=finished)
    try:
        with device.locked("RECOVER") as state:
            pass
    except EdgetlError as error:
        yield f"recovery failed: {error.sentence}"
        return
    names = {_sha(kit, name): name for name in kit.bundles}
    desired = state.desired
    found = names.get(desired.manifest_sha256) if desired else None
    allowed = (scenario.at_end,) if finished else scenario.may_be
    if found not in allowed:
        yield f"I1: current is {found}, not {' or '.join(map(str, allowed))}; {state.inconsistent or state.phase}"
    if desired is not None:
        yield from _current_faults(kit, device)
    yield from _state_faults(device, floor)
    before = digest(read_tree(root))
    with device.locked("RECOVER"):
        pass
    if digest(read_tree(root)) != before:
        yield "I4: a second recovery changed something"
    yield from _trust_faults(kit, scenario, device, finished=finished)
    if retry:
        yield from _retry_faults(kit, device)


def _unrecovered_faults(device: Device, *, finished: bool) -> Iterator[str]:
    """What must hold before any recovery: both copies whole, and what was reported as done in the log."""
    if device.states.damaged:
        yield "P2: a copy of the state is torn"
    state, last = device.states.read(), device.log.last()
    if finished and state is not None and state.events and (last or {}).get("number") != state.events[-1].number:
        yield "P12: what was reported as done is not in the log"


def _sha(kit: Kit, name: str) -> str:
    return list(kit.answers)[list(kit.bundles).index(name)]


def _current_faults(kit: Kit, device: Device) -> Iterator[str]:
    desired = device.state.desired
    if desired is None:
        return
    if device.points_to() != f"gen/{desired.name}":
        yield f"I1: current points to {device.points_to()}, not to {desired.name}"
    fault = device.fault(desired)
    if fault is not None:
        yield f"I1: current is damaged: {fault}"
        return
    if desired not in device.installed():
        yield "P12: current does not say who installed it"
    if not device.proof(desired).get("passed"):
        yield "P6: current never passed its self-test"
    sha, scores = answer(device.current / "bundle.edgetl")
    if kit.answers.get(sha) != scores:
        yield "I2: current answers otherwise than its bundle"


def _state_faults(device: Device, floor: int) -> Iterator[str]:
    state = device.state
    committed = state.committed.sequence if state.committed else 0
    if state.floor < floor:
        yield f"I6: the floor fell from {floor} to {state.floor}"
    if state.floor > max(floor, committed):
        yield f"I6: the floor rose to {state.floor} without a commit"
    kept = {generation.name for generation in state.kept}
    there = {path.name for path in device.generations.iterdir()}
    if there != kept:
        yield f"I4: gen holds {sorted(there)}, the state needs {sorted(kept)}"
    left = [*(device.root / "staging").iterdir(), *device.root.glob("*.tmp")]
    if left:
        yield f"I4: left behind: {left[0].name}"
    if state.active is not None:
        yield "I5: a deployment has no result"
    results: dict[str, list[str]] = {}
    numbers = []
    for entry in device.log.entries():
        numbers.append(entry["number"])
        results.setdefault(entry["deployment"], []).append(entry["result"])
    if numbers != sorted(set(numbers)):
        yield f"I5: the log's numbers are {numbers}"
    for deployment, found in results.items():
        ended = [result for result in found if result in TERMINAL]
        open_trial = state.trial is not None and state.trial.deployment == deployment
        if len(ended) != (0 if open_trial else 1):
            yield f"I5: deployment {deployment} has the results {found}"


def _trust_faults(kit: Kit, scenario: Scenario, device: Device, *, finished: bool) -> Iterator[str]:
    try:
        ids = {key.id for key in device.trust.keys()}  # noqa: SIM118  (not a mapping)
    except EdgetlError as error:
        yield f"P3: nobody is trusted any more: {error.sentence}"
        return
    rotated = {kit.key.id, kit.next_key.id}
    allowed = [{kit.key.id}] if scenario.run is not _rotate else [rotated] if finished else [{kit.key.id}, rotated]
    if ids not in allowed:
        yield f"P3: the trusted keys are {sorted(ids)}"


def _retry_faults(kit: Kit, device: Device) -> Iterator[str]:
    """I7: a plain retry succeeds with no cleaning, to the end."""
    wanted = "third" if device.state.floor >= 2 else "new"
    try:
        if device.state.trial is not None:
            device.commit()
        Installer(device, self_test=quick_self_test).install(kit.bundles[wanted])
        if device.state.trial is not None:
            device.commit()
    except (EdgetlError, OSError) as error:
        yield f"I7: the retry failed: {error}"
        return
    committed = device.state.committed
    if committed is None or committed.manifest_sha256 != _sha(kit, wanted):
        yield "I7: the retry did not commit the bundle"


def explore(
    kit: Kit,
    scenario: Scenario,
    folder: Path,
    *,
    steps: list[Step] | None = None,
    retry_every: int = 1,
    every: int = 1,
    last_first: bool = False,
) -> tuple[int, list[str]]:
    """Judge the crash states of a scenario.

    Args:
        kit: What the scenario uses.
        scenario: To cut off.
        folder: For work; states live in it one after the other.
        steps: Of a record; None records them.
        retry_every: Every so many states a retry is played to its end.
        every: Only every so many states.
        last_first: Begin with the states after the last step, and return as soon as a promise is broken.

    Returns:
        How many states were judged, and the broken promises.
    """
    steps = record(kit, scenario, folder) if steps is None else steps
    broken: list[str] = []
    judged = 0
    states = enumerate(crash_states(kit.starts[scenario.start], steps))
    for index, (done, tree) in reversed(list(states)) if last_first else states:
        finished = done == len(steps)
        if index % every and not finished:
            continue
        judged += 1
        root = folder / "state"
        write_tree(tree, root)
        try:
            where = f"{scenario.name}, cut after step {done} {steps[done - 1][:2] if done else ''}"
            retry = index % retry_every == 0
            broken += [f"{where}: {w}" for w in violations(kit, scenario, root, finished=finished, retry=retry)]
        finally:
            shutil.rmtree(root)
        if broken and last_first:
            break
    return judged, broken


def interrupt(kit: Kit, scenario: Scenario, folder: Path, *, every: int = 1) -> tuple[int, list[str]]:
    """Let a signal arrive before and after each step of a scenario, its own clean-up included, and judge the end.

    Args:
        kit: What the scenario uses.
        scenario: To interrupt.
        folder: For work.
        every: Only every so many steps.

    Returns:
        How many steps were interrupted, and the broken promises.
    """
    root, count = folder / "interrupted", 0
    broken: list[str] = []
    for after in (False, True):
        for at in itertools.count(step=every):
            write_tree(kit.starts[scenario.start], root)
            try:
                scenario.run(Device(root, disk=InterruptedDisk(at, after=after), who="tests"), kit)
                break  # it has no such step
            except KeyboardInterrupt:
                count += 1
                where = f"{scenario.name}, signal {'after' if after else 'before'} step {at}"
                retry = at % 5 == 0
                broken += [f"{where}: {w}" for w in violations(kit, scenario, root, finished=False, retry=retry)]
            finally:
                shutil.rmtree(root)
    return count, broken


def recovery_steps(kit: Kit, scenario: Scenario, folder: Path) -> Iterator[tuple[Tree, list[Step]]]:
    """Yield different states that a cut leaves, with the steps of their recovery: it may be cut off as well."""
    steps = record(kit, scenario, folder)
    seen = set()
    for _, tree in crash_states(kit.starts[scenario.start], steps):
        root = folder / "recovering"
        write_tree(tree, root)
        recorder = Recorder(root)
        with Device(root, disk=recorder, who="tests").locked("RECOVER"):
            pass
        shutil.rmtree(root)
        shape = tuple(step[:2] for step in recorder.steps)
        if shape and shape not in seen:
            seen.add(shape)
            yield tree, recorder.steps
