"""The one look at test: what was chosen on validation, beside the float model, each at its own thresholds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl.deploy import candidates as room
from edgetl.deploy import judging
from edgetl.deploy.contract import breaches
from edgetl.metrics import escape_statement, flips, overkill_statement

if TYPE_CHECKING:
    from edgetl.deploy.candidates import Candidate, Split
    from edgetl.deploy.contract import Contract
    from edgetl.run import Run


class Look:
    """Test images and what the float model decides on them.

    Args:
        run: Its classes and thresholds.
        contract: What is held on test.
        model: The exported float model.
        test: The split.
    """

    def __init__(self, run: Run, contract: Contract, model: bytes, test: Split) -> None:
        self.run, self.contract, self.test = run, contract, test
        logits = room.logits_of("onnxruntime", model, room.FLOAT, test.images)
        self.reference = judging.reference_of(run, logits, test.labels)

    def confirm(self, candidate: Candidate) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Return a candidate's figures on test and the terms of the contract that they break."""
        at = (candidate.thresholds, candidate.temperature)
        logits = room.evaluated(candidate.backend, candidate.model, candidate.load_options, self.test.images)
        metrics = judging.metrics_of(self.run, logits, self.test.labels, *at, self.test.groups)
        decisions = judging.decisions_of(self.run, logits, *at)
        float_val = self.reference.val
        confirmed = {
            **metrics,
            "float_accuracy": float_val["accuracy"],
            "float_escapes": float_val["escapes"],
            "float_overkill": float_val["overkill"],
            "drop_pp": 100 * (float_val["accuracy"] - metrics["accuracy"]),
            "flips": int(flips((self.reference.verdicts, self.reference.labels), decisions).sum()),
            "test_looks": self.run.test_looks + 1,
        }
        confirmed["statement"] = escape_statement(confirmed)
        confirmed["overkill_statement"] = overkill_statement(confirmed)
        return confirmed, tuple(breaches(self.contract, confirmed, float_val["escapes"]))
