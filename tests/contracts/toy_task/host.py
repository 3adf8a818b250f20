"""The toy's other half. Copied to `edgetl/tasks/shouting/__init__.py`."""

from __future__ import annotations

from edgetl.tasks.sorting import Sorting


class Shouting(Sorting):
    """Sorting that is only done when it is asked for, with options of its own name."""

    name = "shouting"
    training_options = ()
    contract_options = ()

    def claims(self, classes):
        return 1

    def mistake(self, labels, *, truth, answer, verdict):
        return super().mistake(labels, truth=truth.upper(), answer=answer, verdict=verdict)


TASK = Shouting()
