"""Two copies, the newest valid one wins; numbers and phases follow from the state."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from crash_model import QuickDisk

from edgetl_runtime.errors import InstallError
from edgetl_runtime.install.log import DeploymentLog
from edgetl_runtime.install.state import EVENTS_KEPT, Generation, State, StateFile, Trial, decode, encode

GENERATION = Generation(
    name="000001-abc", line="a", sequence=1, manifest_sha256="0" * 64, variant="null-f32", key_id=None
)
EVENT = {
    "deployment": "d", "result": "TRIAL", "reason": "r", "source": None, "target": None, "key_id": None,
    "who": "w", "time": "t",
}  # fmt: skip


def test_write_alternates_between_the_copies_and_reads_the_newest(tmp_path):
    file = StateFile(tmp_path, QuickDisk())
    assert file.read() is None
    assert not file.exists
    for floor in range(1, 5):
        file.write(State(floor=floor))
        assert file.read().floor == floor
    assert [decode(path.read_bytes(), where="x").serial for path in file.paths] == [3, 4]


def test_mark_changes_with_every_write_and_with_nothing_else(tmp_path):
    file = StateFile(tmp_path, QuickDisk())
    marks = [file.mark()]
    for _ in range(4):
        file.write(State())
        file.read()
        marks.append(file.mark())
        assert marks[-1] == file.mark()
    assert len(set(marks)) == 5


@pytest.mark.parametrize("damage", [b"", b"garbage", b"\0" * 64, None])
def test_a_damaged_copy_is_overwritten_first(damage, tmp_path):
    file = StateFile(tmp_path, QuickDisk())
    file.write(State(floor=1))
    file.write(State(floor=2))
    file.paths[1].write_bytes(file.paths[1].read_bytes()[:-3] if damage is None else damage)
    assert file.damaged
    assert file.read().floor == 1
    assert file.write(State(floor=3)).serial == 2
    assert not file.damaged
    assert decode(file.paths[0].read_bytes(), where="x").floor == 1


def test_every_flipped_bit_of_a_copy_is_noticed():
    data = bytearray(encode(State(line="a", committed=GENERATION, trial=Trial(generation=GENERATION, deployment="d"))))
    assert decode(bytes(data), where="x").trial.attempts_left == 3
    for position in range(0, 8 * len(data), 3):
        data[position // 8] ^= 1 << position % 8
        assert decode(bytes(data), where="x") is None
        data[position // 8] ^= 1 << position % 8


def test_a_newer_copy_is_refused(tmp_path):
    file = StateFile(tmp_path, QuickDisk())
    file.write(dataclasses.replace(State(), schema_version=2))
    with pytest.raises(InstallError, match="of version 1 or older; got 2"):
        file.read()


def test_with_event_numbers_them_and_keeps_the_latest():
    state = State()
    for _ in range(EVENTS_KEPT + 3):
        state = state.with_event(**EVENT)
    assert [event.number for event in state.events] == list(range(4, EVENTS_KEPT + 4))


def test_phase_desired_and_kept():
    other = dataclasses.replace(GENERATION, name="000002-def")
    assert State().phase == "IDLE"
    state = State(committed=GENERATION, trial=Trial(generation=other, deployment="d"))
    assert (state.phase, state.desired, state.kept) == ("TRIAL", other, (other, GENERATION))
    state = State(committed=GENERATION).with_event(**{**EVENT, "result": "COMMITTED"})
    assert (state.phase, state.desired) == ("COMMITTED", GENERATION)
    assert State(inconsistent="x").phase == "INCONSISTENT"


@pytest.mark.parametrize("body", [b"[" * 10**5, b"1", b'{"serial": ' + b"9" * 5000 + b"}", b'"\\ud800"'])
def test_a_copy_that_nobody_wrote_is_damaged_though_its_checksum_fits(body, tmp_path):
    states = StateFile(tmp_path, QuickDisk())
    states.write(State())
    states.write(State())
    states.paths[0].write_bytes(hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
    assert states.damaged
    assert states.read().serial == 2
    line = body.decode()
    path = tmp_path / "deployments.jsonl"
    path.write_text(f"{hashlib.sha256(body).hexdigest()[:16]} {line}\n")
    assert DeploymentLog(tmp_path, QuickDisk()).entries() == []
