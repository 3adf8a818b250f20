"""A toy: parts are sorted, and verdicts are shouted. Copied to `edgetl_runtime/tasks/shouting.py`."""

from __future__ import annotations

import dataclasses

from edgetl_runtime.tasks import sorting


class Shouting(sorting.Sorting):
    """Sorting whose verdicts are not the names of the classes."""

    name = "shouting"

    def verdicts(self, labels):
        return (*map(str.upper, labels.classes), sorting.UNSURE)

    def right_verdict(self, labels, truth):
        return truth.upper()

    def decided(self, scores, labels, params):
        found = super().decided(scores, labels, params)
        return [dataclasses.replace(one, verdict=one.verdict.upper()) for one in found]

    def count(self, labels, *, truth, found):
        return super().count(labels, truth=[name.upper() for name in truth], found=found)


TASK = Shouting()
