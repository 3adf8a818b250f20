"""What a report says of an inspection: escapes and overkill first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from edgetl.metrics import binomial_upper, percent_up, trials_needed
from edgetl.tasks.base import Point, no_better_than_one_answer, plural, weak_classes
from edgetl.tasks.inspection.metrics import counted, escape_statement, overkill_statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from edgetl.tasks.inspection import Aims

# judgements of this report, stated in it; a plant's own bound is --max-escape-rate
DASH = "\u2013"
UNUSABLE_SHARE = 0.2  # of defects passed, or of good parts rejected: no line runs like that
BEARABLE_SHARE = 0.05  # of good parts rejected: more must be somebody's decision
TELLING_RATE = 0.05  # a test that cannot rule out this escape rate is small, where no other rate was asked for
CHANCE_AUROC = 0.6


def points(test: Mapping[str, Any], wanted: float | None) -> list[Point]:
    """Say what the figures of test mean for shipping.

    Args:
        test: Figures of test.
        wanted: The escape rate asked for, 0 to 1; None where none was.
    """
    return [
        *_on_verdicts(test, wanted),
        *no_better_than_one_answer(test),
        *_on_scores(test),
        *weak_classes(test["per_class"]),
    ]


def deployed_points(target: str, confirmed: Mapping[str, Any], test: Mapping[str, Any]) -> list[Point]:
    """Say where a bundle lets more defects pass than the float model, or rejects too many good parts."""
    found = []
    overkill, n_good = confirmed.get("overkill"), confirmed.get("n_good")
    if isinstance(overkill, int) and isinstance(n_good, int) and overkill > UNUSABLE_SHARE * n_good:
        text = f"{target}: {overkill} of {n_good} good test parts ({100 * overkill / n_good:.0f} %) are rejected."
        found.append(Point(level="stop", text=text))
    unsure, n = confirmed.get("unsure"), confirmed.get("n")
    if isinstance(unsure, int) and isinstance(n, int) and unsure > UNUSABLE_SHARE * n:
        found.append(Point(level="care", text=f"{target}: {unsure} of {n} test parts are UNSURE."))
    escapes = confirmed.get("escapes")
    if isinstance(escapes, int) and escapes > test["escapes"]:
        text = f"{target}: {plural(escapes, 'escape')} on test after optimisation, {test['escapes']} before."
        found.append(Point(level="care", text=text))
    return found


def _on_verdicts(test: Mapping[str, Any], wanted: float | None) -> list[Point]:
    escapes, overkill, n_defect, n_good = (test[k] for k in ("escapes", "overkill", "n_defect", "n_good"))
    found = []
    if not n_defect:
        found.append(Point(level="stop", text=f"{escape_statement(test)}."))
    if not n_good:
        found.append(Point(level="stop", text="The test split holds no good parts: overkill is unknown."))
    if n_good and overkill > UNUSABLE_SHARE * n_good:
        text = f"{overkill} of {n_good} good test parts ({100 * overkill / n_good:.0f} %) are rejected."
        found.append(Point(level="stop", text=text))
    elif n_good and (overkill > BEARABLE_SHARE * n_good or _bound(test, "overkill") > UNUSABLE_SHARE):
        found.append(Point(level="care", text=f"{overkill_statement(test)}. Can the line afford that?"))
    if n_defect:
        found += _on_escapes(test, escapes, n_defect, wanted)
    return found


def _bound(test: Mapping[str, Any], event: Literal["escape", "overkill"]) -> float:
    bound = binomial_upper(*counted(test, event))
    return 1.0 if bound is None else bound


def _on_escapes(test: Mapping[str, Any], escapes: int, n_defect: int, wanted: float | None) -> list[Point]:
    rate, bound = escapes / n_defect, _bound(test, "escape")
    events, units = counted(test, "escape")
    if wanted is not None and rate > wanted:
        text = f"{escapes} of {n_defect} defects pass ({100 * rate:.1f} %); at most {100 * wanted:g} % was asked for."
        return [Point(level="stop", text=text)]
    if rate > UNUSABLE_SHARE:
        return [Point(level="stop", text=f"{escapes} of {n_defect} defects ({100 * rate:.0f} %) pass unseen.")]
    found = []
    if escapes:
        text = f"{plural(escapes, 'escape')} among {n_defect} defects of test: see the worst errors, and decide."
        found.append(Point(level="care", text=text))
    claim = wanted or TELLING_RATE
    if bound > claim:
        apart = f", in {plural(units, 'group')}," if units != n_defect else ""
        needed = " and ".join(
            f"{trials_needed(rate, events=events)}{' groups' if apart else ''} for {100 * rate:g} %"
            for rate in sorted({claim, 0.01}, reverse=True)
        )
        text = (
            f"{plural(n_defect, 'defect')} on test{apart} cannot show an escape rate below {100 * claim:g} %: "
            f"that takes {needed}, with no {'further ' if escapes else ''}escape."
        )
        found.append(Point(level="care", text=text))
    return found


def _on_scores(test: Mapping[str, Any]) -> list[Point]:
    if test["auroc"] is None or test["auroc"] >= CHANCE_AUROC:
        return []
    text = f"The defect score hardly tells defects from good parts (AUROC {test['auroc']:.2f}; chance is 0.5)."
    return [Point(level="stop", text=text)]


def section(
    run: Any,  # noqa: ANN401  (edgetl.run.Run)
    aims: Aims,
    rows: Mapping[str, Sequence[Any]],
) -> dict[str, Any]:
    """Return the task's part of the report; see `HostTask.section`."""
    from edgetl.tasks.inspection import plots

    test, cuts = run.test, run.params.thresholds
    fitted = (
        f"escape rate at most {100 * aims.max_escape_rate:.1f} % there"
        if aims.max_escape_rate is not None
        else f"an escape costs {aims.cost:g} times an overkill"
    )
    pictures = []
    if rows["test"] and test["auroc"] is not None:
        title = "ROC: defects found against good parts rejected"
        pictures.append(
            (title, plots.roc(rows, run), "Every point is a threshold; the dot is the one this run decides with.")
        )
    if rows["test"]:
        caption = f"Right of the dashed line a part is rejected (defect score ≥ {cuts.nok_at:.4g})."
        pictures.append(("Defect scores per class", plots.score_histograms(rows["test"], run), caption))
    claim = "5 %" if not aims.max_escape_rate else f"{100 * aims.max_escape_rate:.1f} %"
    return {
        "tiles": _tiles(test),
        "how": "Escape: a defective part passed. Overkill: a good part rejected. Thresholds and temperature were "
        f"fitted on validation ({fitted}); test was only looked at.",
        "columns": [
            ("AUROC", "auroc", "fixed"),
            ("escapes", "escapes", "n_defect"),
            ("overkill", "overkill", "n_good"),
        ],
        "plots": pictures,
        "facts": [
            ("NOK at / OK below", f"{cuts.nok_at:.6g} / {cuts.ok_below:.6g}"),
            ("temperature", f"{run.params.temperature:.6g}"),
        ],
        "tags": dict.fromkeys(run.labels.defect_classes, "defect"),
        "claim": "'stop' where more than 20 % of defects pass or of good parts are rejected, where the escape rate "
        "asked for is missed, or where the score does not separate defects; 'settle' where the test cannot rule out "
        f"an escape rate of {claim}",
    }


def _tiles(test: Mapping[str, Any]) -> list[tuple[str, int, int, str]]:
    def below(event: Literal["escape", "overkill"]) -> str:
        bound = binomial_upper(*counted(test, event))
        return DASH if bound is None else f"{percent_up(bound)}\u00a0%"

    n_defect, n_good = test["n_defect"], test["n_good"]
    kind = "groups with one" if test.get("n_defect_groups", n_defect) != n_defect else "rate"
    passed = (
        f"defects passed; {kind} below {below('escape')} with 95 % confidence" if n_defect else "no defects on test"
    )
    rejected = (
        f"good parts rejected: {100 * test['overkill'] / n_good:.1f}\u00a0%, "
        f"below {below('overkill')} with 95 % confidence"
        if n_good
        else "no good parts on test"
    )
    tiles = [("Escapes", test["escapes"], n_defect, passed), ("Overkill", test["overkill"], n_good, rejected)]
    if test["unsure"]:
        text = "between the two thresholds: neither passed nor rejected"
        tiles.append(("Unsure", test["unsure"], test["n"], text))
    return tiles
