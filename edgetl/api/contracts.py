"""The contract as a file, and as the options that say the same."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl import tasks
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from edgetl.tasks.base import Option
    from edgetl_runtime.contract import Contract


def contract_of(given: object) -> Contract:
    """Return a contract: itself, the one in a TOML file with a table [contract], or the one that stands by default.

    Raises:
        UsageError: It is something else, or the file, a key or a value is wrong.
    """
    from edgetl.config import resolve
    from edgetl_runtime.contract import Contract

    if isinstance(given, Contract):
        return given
    if given is None:
        return Contract()
    if not isinstance(given, (str, os.PathLike)):
        must, got = "an edgetl.Contract, or the path of a TOML file", f"{given!r:.60}"
        raise UsageError("contract", must, got, fix="contract=edgetl.Contract(p99_ms=8)")
    return resolve(Contract, section="contract", file=Path(given), options={}, must_be_there=True, reshape=below_task)


def contract_words(contract: Contract) -> list[str]:
    """Return the options that say what a contract says; none of what stands by default."""
    from edgetl_runtime.contract import Contract as Default

    found: list[str] = []
    usual = Default()
    for field in dataclasses.fields(contract):
        value = getattr(contract, field.name)
        if field.name != "of_task" and value != getattr(usual, field.name):
            found += _words(field.name, repr(value))
    for name, value in contract.of_task.items():
        pairs = [f"{key}={n}" for key, n in value.items()] if isinstance(value, Mapping) else [str(value)]
        found += _words(name, *pairs)
    return found


def _words(name: str, *values: str) -> list[str]:
    return ["--" + name.replace("_", "-"), *values]


def terms_of_tasks() -> list[Option]:
    """Return the options for terms that only a task knows."""
    return [one for task in map(tasks.get, tasks.names()) for one in task.contract_options]


def below_task(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as a person writes them, with terms of a task below `of_task`."""
    known = {one.field for one in terms_of_tasks()}
    own = {name: value for name, value in values.items() if name in known}
    rest = {name: value for name, value in values.items() if name not in known}
    given = rest.pop("of_task", None)
    if given is not None and not isinstance(given, Mapping):
        raise UsageError("of_task", "a table of terms", f"{given!r:.40}", fix="the terms themselves, beside p99_ms")
    both = {**(given or {}), **own}
    return rest | ({"of_task": both} if both else {})
