"""The one look at test: what was chosen on validation, beside the float model, each as it decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl import tasks
from edgetl.deploy import candidates as room
from edgetl.deploy.judging import compared

if TYPE_CHECKING:
    from edgetl.deploy.candidates import Candidate, Split
    from edgetl.deploy.contract import Judge
    from edgetl.run import Run


class Look:
    """Test images and what the float model decides on them.

    Args:
        run: Its task, labels and parameters.
        against: What is held on test.
        model: The exported float model.
        test: The split.
    """

    def __init__(self, run: Run, against: Judge, model: bytes, test: Split) -> None:
        self.run, self.against, self.test, self.task = run, against, test, tasks.get(run.task)
        outputs = room.outputs_of("onnxruntime", model, room.FLOAT, test.images)
        self.reference = self.task.decided(outputs, test.labels, run.labels, run.params)

    def confirm(self, candidate: Candidate) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return a candidate's figures on test and the terms of the contract that they break."""
        outputs = room.evaluated(candidate.backend, candidate.model, candidate.load_options, self.test.images)
        run, test, floats = self.run, self.test, self.reference
        decided = self.task.decided(outputs, test.labels, run.labels, candidate.params, test.groups)
        confirmed = {
            **compared(self.task, run.labels, floats, decided),
            "float_accuracy": floats.figures["accuracy"],
            **{f"float_{count.key}": floats.figures[count.key] for count in self.task.counts},
            "test_looks": run.test_looks + 1,
        }
        del confirmed["likely_flips"]  # of validation's interest
        confirmed["statements"] = list(self.task.statements(confirmed))
        return confirmed, tuple(self.against.breaches(confirmed, floats.figures))
