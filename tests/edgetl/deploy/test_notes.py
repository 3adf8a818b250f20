"""Every reason has a note of its own; none hides another."""

from __future__ import annotations

from edgetl.deploy.notes import Note, Reason, joined, of_measuring


def test_disturbed_and_unsteady_are_both_said_and_a_quiet_machine_says_nothing():
    figures = {"a": {"other_work_cores": 0.05, "steady": True}, "b": {"other_work_cores": 0.3, "steady": False}}
    found = of_measuring(figures, cores=2)
    assert [note.reason for note in found] == [Reason.DISTURBED, Reason.UNSTEADY]
    assert "kept 0.3 cores busy" in found[0].text
    assert "never steady while warming up: b;" in found[1].text
    assert of_measuring({"a": figures["a"]}, cores=2) == []
    assert of_measuring({}, cores=2) == []


def test_notes_are_plain_values_and_one_sentence():
    notes = [Note(reason=Reason.NO_INT8, text="one"), Note(reason=Reason.DISTURBED, text="two")]
    assert joined(notes) == "one; two"
    assert notes[1].to_mapping() == {"reason": "disturbed", "text": "two"}
