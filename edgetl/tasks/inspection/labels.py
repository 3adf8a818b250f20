"""Which classes are good parts and which are defects, as far as their names tell."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Literal

from edgetl.errors import DataError
from edgetl.names import plain_form
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

GOOD = frozenset({"ok", "good", "functional", "free", "pass"})
# what a good part has none of, whatever it is a part of; "no_screw" may be a part whose screw is missing
DEFECT_IN_GENERAL = frozenset(
    {
        "defect",
        "defects",
        "fault",
        "faults",
        "error",
        "errors",
        "anomaly",
        "anomalies",
        "damage",
        "damages",
        "flaw",
        "flaws",
    }
)
NO = "no_"


def kind(name: str) -> Literal["good", "defect", "either"]:
    """Say what a class name means: good parts, a defect, or either.

    Example:
        >>> [kind(name) for name in ("OK", "no_defect", "dent", "no_good", "no_screw")]
        ['good', 'good', 'defect', 'defect', 'either']
    """
    form = plain_form(name)
    if form in GOOD:
        return "good"
    if not form.startswith(NO):
        return "defect"
    without = form.removeprefix(NO)
    if without in DEFECT_IN_GENERAL:
        return "good"
    return "defect" if without in GOOD else "either"


def defect_classes(classes: Sequence[str], chosen: Sequence[str] | None) -> tuple[str, ...]:
    """Say which classes are defects.

    Args:
        classes: All class names.
        chosen: Those the user named; None leaves it to the names: all but those called ok, good, functional, free,
            pass or no_defect.

    Returns:
        In the order of `classes`; never empty, never all of them.

    Raises:
        DataError: No class is named like good parts.
        UsageError: A name may mean either, all are named like good parts, a chosen name is not a class, or nothing or
            everything was chosen.

    Example:
        >>> defect_classes(["OK", "dent", "scratch"], None)
        ('dent', 'scratch')
    """
    if chosen is None:
        return _by_name(classes)
    for name in chosen:
        if name not in classes:
            # never a class of good parts: taken as advice, it would declare them defective
            likely = [c for c in classes if kind(c) != "good"] or classes
            raise UsageError("--defect", "a class of the data", f"'{name}'", fix=nearest(name, likely))
    if not 0 < len(set(chosen)) < len(classes):
        must = f"at least one and not all of {', '.join(classes)}"
        raise UsageError("--defect", must, f"{len(set(chosen))}", fix="--defect CLASS…, naming the defects only")
    return tuple(name for name in classes if name in chosen)


def _by_name(classes: Sequence[str]) -> tuple[str, ...]:
    # no guess anywhere below: the wrong one would declare defects good
    good = [name for name in classes if kind(name) == "good"]
    either = [name for name in classes if kind(name) == "either"]
    fix = f"--defect CLASS…, naming the defects among {', '.join(classes)}"
    if either:
        name, without = either[0], plain_form(either[0]).removeprefix(NO)
        must = "given where a name may mean good parts or a defect"
        got = f"nothing, and '{name}' may be parts without the fault '{without}' or parts that lack their {without}"
        raise UsageError("--defect", must, got, fix=_both_readings(classes, good, either) or fix)
    if not good:
        must = "named ok, good, functional, free, pass or no_defect"
        raise DataError("the good parts", must, "none among " + ", ".join(classes), fix=fix)
    if len(good) == len(classes):
        must, got = "given where all classes are named like good parts", f"nothing, and only {', '.join(good)}"
        raise UsageError("--defect", must, got, fix=fix)
    return tuple(name for name in classes if name not in good)


def _both_readings(classes: Sequence[str], good: Sequence[str], either: Sequence[str]) -> str:
    """Return both command lines that ambiguous names may mean; nothing where there are not two."""
    others = [name for name in classes if name not in good and name not in either]
    absent = {plain_form(name).removeprefix(NO) for name in either}
    whole = [name for name in others if plain_form(name) in absent]  # good parts, if the others lack it
    lacking = [name for name in classes if name in either or (name in others and name not in whole)]
    if len(others) == 1 and len(lacking) == len(classes):
        lacking = list(either)  # of two kinds one is good
    if not others or len(lacking) == len(classes):
        return ""
    named = " and ".join(either)
    return (
        f"--defect {shlex.join(others)} if {named} {'are' if len(either) > 1 else 'is'} good, "
        f"or --defect {shlex.join(lacking)} if not"
    )
