"""What a deployment is asked for, and what came out of it."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from edgetl.deploy.candidates import Candidate
from edgetl.deploy.notes import Note
from edgetl_runtime.contract import Term


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeployConfig:
    """What `edgetl deploy` is asked for, beside the contract.

    Attributes:
        target: Name or alias of a device profile.
        precision: Only this one, beside the float model; missing the contract with it is an error.
        backend: Only this one of the target's.
        threads: Only this many instead of those that are tried.
        rungs: How far the INT8 ladder is climbed at most; None climbs as far as needed.
        retrain: The ladder's last rung may train the float model against rounding; takes minutes and changes weights.
        line: Product line of the bundle; None takes the name of the run's folder.
        data: Folder the run's images are in now, if they were moved since; their digests are compared.
        golden: Folder of images for the golden vectors instead of validation images.
        embed_engine: Put an engine compiled ahead of time beside the model, for targets with TensorRT for RTX.
        allow_disturbed: Take what was fastest where the measurement does not decide it to within 3 %.
        allow_unproven: Write the bundle even if a term of the contract is neither kept nor missed.
    """

    target: str = "local"
    precision: Literal["f32", "bf16", "f16", "int8"] | None = None
    backend: str | None = None
    threads: int | None = None
    rungs: int | None = None
    retrain: bool = False
    line: str | None = None
    data: str | None = None
    golden: str | None = None
    embed_engine: bool = False
    allow_disturbed: bool = False
    allow_unproven: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What came out.

    Attributes:
        chosen: Id of the candidate that ships.
        confirmed: Its figures on test.
        candidates: All that were tried, best first.
        reference: Metrics of the float model on validation.
        notes: What a person must know about the choice.
        memory_mb: Peak resident memory of the fresh process that decided; None where none could run a variant.
        terms: How each bound that only a measurement settles ended for what ships.
        parity: Report of the export.
    """

    chosen: str
    confirmed: dict[str, Any]
    candidates: tuple[Candidate, ...]
    reference: dict[str, Any]
    notes: tuple[Note, ...]
    memory_mb: float | None
    terms: tuple[Term, ...]
    parity: dict[str, Any]
