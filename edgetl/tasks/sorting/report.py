"""What a report says of sorting: parts in a wrong class first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl.metrics import binomial_upper, percent_up, trials_needed
from edgetl.tasks.base import Point, no_better_than_one_answer, plural, weak_classes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from edgetl.tasks.sorting import Aims

# judgements of this report, stated in it; a plant's own bound is --max-error-rate
DASH = "\u2013"
UNUSABLE_SHARE = 0.2  # of the parts, in a wrong class or UNSURE
TELLING_RATE = 0.05  # a test that cannot rule out this error rate is small, where no other rate was asked for


def statement(figures: Mapping[str, Any], *, split: str = "test") -> str:
    """Say what the number of sorted parts in a split can support.

    Example:
        >>> statement({"errors": 0, "n": 100, "unsure": 0, "n_sorted": 100, "n_sorted_groups": 100, "error_groups": 0})
        '0 of 100 sorted parts of test in a wrong class: with 95 % confidence the error rate is below 3.0 %'
    """
    n, unsure = figures["n_sorted"], figures["unsure"]
    bound = _bound(figures)
    if bound is None:
        return f"no part of {split} is sorted, all {unsure} are UNSURE: nothing can be said about errors"
    units = figures["n_sorted_groups"]
    in_groups = f" ({plural(units, 'group')})" if units != n else ""
    besides = f", {unsure} UNSURE besides" if unsure else ""
    told = f"{figures['errors']} of {plural(n, 'sorted part')}{in_groups} of {split} in a wrong class{besides}"
    what = "less than {} % of groups hold an error" if in_groups else "the error rate is below {} %"
    return f"{told}: with 95 % confidence {what.format(percent_up(bound))}"


def points(test: Mapping[str, Any], wanted: float | None) -> list[Point]:
    """Say what the figures of test mean for shipping.

    Args:
        test: Figures of test.
        wanted: The error rate asked for, 0 to 1; None where none was.
    """
    found = []
    errors, n_sorted, unsure, n = (test[key] for key in ("errors", "n_sorted", "unsure", "n"))
    if not n_sorted:
        found.append(Point(level="stop", text=f"{statement(test)}."))
    elif wanted is not None and errors > wanted * n_sorted:
        share = f"{100 * errors / n_sorted:.1f} %"
        asked = f"at most {100 * wanted:g} % was asked for"
        text = f"{errors} of {n_sorted} sorted parts are in a wrong class ({share}); {asked}."
        found.append(Point(level="stop", text=text))
    elif errors > UNUSABLE_SHARE * n_sorted:
        text = f"{errors} of {n_sorted} sorted parts ({100 * errors / n_sorted:.0f} %) are in a wrong class."
        found.append(Point(level="stop", text=text))
    elif errors:
        text = f"{plural(errors, 'part')} of test in a wrong class: see the worst errors, and decide."
        found.append(Point(level="care", text=text))
    if unsure > UNUSABLE_SHARE * n:
        text = f"{unsure} of {n} test parts ({100 * unsure / n:.0f} %) are UNSURE: somebody has to sort them by hand."
        found.append(Point(level="care", text=text))
    return [*found, *_on_size(test, wanted), *no_better_than_one_answer(test), *weak_classes(test["per_class"])]


def deployed_points(target: str, confirmed: Mapping[str, Any], test: Mapping[str, Any]) -> list[Point]:
    """Say where a bundle sorts more parts wrongly than the float model, or hardly sorts at all."""
    counts = [confirmed.get(key) for key in ("errors", "n_sorted", "unsure", "n")]
    known = [count for count in counts if isinstance(count, int)]
    if len(known) < len(counts):
        return [Point(level="care", text=f"{target}: what the bundle does on test is not on record.")]
    errors, n_sorted, unsure, n = known
    found = []
    if not n_sorted or errors > UNUSABLE_SHARE * n_sorted:
        text = f"{target}: {errors} of {plural(n_sorted, 'sorted part')} of test are in a wrong class, {unsure} UNSURE."
        found.append(Point(level="stop", text=text))
    elif errors > test["errors"]:
        told = f"{plural(errors, 'part')} of test in a wrong class after optimisation, {test['errors']} before"
        text = f"{target}: {told}."
        found.append(Point(level="care", text=text))
    if n_sorted and unsure > UNUSABLE_SHARE * n:
        found.append(Point(level="care", text=f"{target}: {unsure} of {n} test parts are UNSURE."))
    return found


def _bound(figures: Mapping[str, Any]) -> float | None:
    return binomial_upper(figures["error_groups"], figures["n_sorted_groups"])


def _on_size(test: Mapping[str, Any], wanted: float | None) -> list[Point]:
    bound, claim = _bound(test), wanted or TELLING_RATE
    if bound is None or bound <= claim:
        return []
    needed = " and ".join(
        f"{trials_needed(rate, events=test['error_groups'])} for {100 * rate:g} %"
        for rate in sorted({claim, 0.01}, reverse=True)
    )
    parts = plural(test["n_sorted_groups"], "group" if test["n_sorted_groups"] != test["n_sorted"] else "sorted part")
    told = f"{parts} on test cannot show an error rate below {100 * claim:g} %"
    return [Point(level="care", text=f"{told}: that takes {needed}, with no further error.")]


def section(run: Any, aims: Aims) -> dict[str, Any]:  # noqa: ANN401  (edgetl.run.Run)
    """Return the task's part of the report; see `HostTask.section`."""
    test, bound = run.test, _bound(run.test)
    below = DASH if bound is None else f"{percent_up(bound)}\u00a0%"
    fitted = (
        f"at most {100 * aims.max_error_rate:.1f} % of the sorted parts wrong there"
        if aims.max_error_rate is not None
        else f"a wrong class costs {aims.cost:g} times an UNSURE part"
    )
    claim = "5 %" if not aims.max_error_rate else f"{100 * aims.max_error_rate:.1f} %"
    unsure_below = run.params.unsure_below
    return {
        "tiles": [
            (
                "Wrong class",
                test["errors"],
                test["n_sorted"],
                f"of what was sorted; rate below {below} with 95 % confidence",
            ),
            ("Unsure", test["unsure"], test["n"], "not sorted: the most probable class is not probable enough"),
        ],
        "how": "A part gets its most probable class, or UNSURE below a probability. That bound and the temperature "
        f"were fitted on validation ({fitted}); test was only looked at.",
        "columns": [("errors", "errors", "n_sorted"), ("unsure", "unsure", "n")],
        "plots": [],
        "facts": [
            ("UNSURE below", f"{unsure_below:.6g}" if unsure_below else "never"),
            ("temperature", f"{run.params.temperature:.6g}"),
        ],
        "tags": {},
        "claim": "'stop' where more than 20 % of the sorted parts are in a wrong class, or more than was asked for; "
        f"'settle' where the test cannot rule out an error rate of {claim}",
    }
