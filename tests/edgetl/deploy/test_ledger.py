"""Sequence numbers of a line: every one given once, also to deployments at the same time."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgetl.deploy.ledger import check_ledger, ledger_path, numbered
from edgetl.errors import RunError
from edgetl_runtime.errors import UsageError


@pytest.fixture(autouse=True)
def _state(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGETL_STATE", str(tmp_path))


def next_sequence(line):
    with numbered(line) as number:
        number.take()
    return number.value


def test_what_is_refused_takes_no_number():
    with pytest.raises(ZeroDivisionError), numbered("screws"):
        raise ZeroDivisionError
    with numbered("screws"):
        pass
    assert next_sequence("screws") == 1


def test_next_sequence_counts_each_line_alone():
    assert [next_sequence("screws") for _ in range(3)] == [1, 2, 3]
    assert next_sequence("cells") == 1


def test_next_sequence_gives_no_number_twice_to_processes_at_once():
    give = "for _ in range(20):\n  with numbered('x') as number:\n    number.take()\n  print(number.value)"
    code = f"from edgetl.deploy.ledger import numbered\n{give}"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    given = [int(word) for process in running for word in process.communicate(timeout=60)[0].split()]
    assert sorted(given) == list(range(1, 61))


@pytest.mark.parametrize("line", ["", "../x", "a/b", "-x", "x" * 65, "a b"])
def test_ledger_path_refuses_names_that_are_not_plain(line):
    with pytest.raises(UsageError, match=r"a product line is named in .* is not"):
        ledger_path(line)


@pytest.mark.parametrize("content", ["[1]", '{"last": "7"}', "{"])
def test_next_sequence_refuses_a_damaged_ledger(content):
    path = ledger_path("screws")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    with pytest.raises(RunError):
        next_sequence("screws")
    assert path.read_text() == content


def test_state_that_cannot_be_written_is_said_before_any_work(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("EDGETL_STATE", str(tmp_path / "file"))
    with pytest.raises(RunError, match=r"the state folder .*file must be writable") as caught:
        check_ledger("screws")
    assert caught.value.fix == "EDGETL_STATE=FOLDER for another place; it keeps the sequence numbers of every line"


def test_checking_the_ledger_takes_no_number():
    check_ledger("screws")
    assert next_sequence("screws") == 1
