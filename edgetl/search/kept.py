"""Candidates on disk: what timing them needs, so that another process can go on after this one was killed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from edgetl import tasks
from edgetl.deploy.candidates import Candidate
from edgetl.errors import RunError
from edgetl.files import write_whole
from edgetl_runtime.manifest import Requires, VariantOptions
from edgetl_runtime.schema import from_mapping, to_mapping

if TYPE_CHECKING:
    from pathlib import Path


def keep(candidate: Candidate, models: Path) -> dict[str, Any]:
    """Write the model of a candidate, once however many share it, and return the rest as plain values.

    Args:
        candidate: Judged, not timed.
        models: Folder of the models; made if need be.
    """
    models.mkdir(exist_ok=True)
    name = hashlib.sha256(candidate.model).hexdigest()
    if not (models / name).is_file():
        write_whole(models / name, candidate.model)
    return {
        "figures": candidate.to_mapping() | {"evidence": candidate.evidence},
        "options": to_mapping(candidate.options),
        "requires": to_mapping(candidate.requires),
        "task": candidate.task,
        "params": to_mapping(candidate.params),
        "model": name,
    }


def revive(kept: dict[str, Any], models: Path) -> Candidate:
    """Return a candidate that can be timed.

    Raises:
        RunError: Its model is gone or damaged.
    """
    path, figures = models / kept["model"], kept["figures"]
    try:
        model = path.read_bytes()
    except OSError as error:
        got = error.strerror or type(error).__name__
        raise RunError(str(path), "a model of the search", got, fix="search again with --force") from error
    if hashlib.sha256(model).hexdigest() != kept["model"]:
        raise RunError(str(path), "as it was written", "another content", fix="search again with --force")
    params = tasks.get(kept["task"]).device.params_type
    parts = {"options": VariantOptions, "requires": Requires, "params": params}
    read: dict[str, Any] = {
        name: from_mapping(cls, kept[name], where=name, error=RunError) for name, cls in parts.items()
    }
    return Candidate(
        id=figures["id"],
        backend=figures["backend"],
        precision=figures["precision"],
        model=model,
        evidence={},
        task=kept["task"],
        val={},
        drop_pp=figures["drop_pp"],
        flips=figures["flips"],
        **read,
    )
