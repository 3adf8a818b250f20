"""The host's errors, below the runtime's root.

    EdgetlError (edgetl_runtime.errors)   exit 1
    ├── DataError (ValueError)            exit 1   images, labels or splits cannot be used as they are
    ├── WeightsError (RuntimeError)       exit 1   pretrained weights are absent or do not fit the backbone
    ├── RunError (ValueError)             exit 1   a run folder is missing, incomplete or from another version
    ├── TrainingError (RuntimeError)      exit 1   training diverged or cannot go on
    ├── ExportError (RuntimeError)        exit 1   a model cannot be exported
    │   └── ParityError                   exit 1   two engines disagree about one model; nothing was written
    └── QuantizeError (RuntimeError)      exit 1   a quantization recipe failed on this model

Arguments and configuration keys are the runtime's `UsageError`, exit 2; a contract that no candidate keeps is its
`ContractError`, exit 3.
"""

from __future__ import annotations

from edgetl_runtime.errors import EdgetlError


class DataError(EdgetlError, ValueError):
    """Images, labels or splits cannot be used as they are."""


class WeightsError(EdgetlError, RuntimeError):
    """Pretrained weights are absent or do not fit the backbone."""


class RunError(EdgetlError, ValueError):
    """A run folder is missing, incomplete or from another version."""


class TrainingError(EdgetlError, RuntimeError):
    """Training diverged or cannot go on."""


class ExportError(EdgetlError, RuntimeError):
    """A model cannot be exported."""


class ParityError(ExportError):
    """Two engines disagree about one model; nothing was written."""


class QuantizeError(EdgetlError, RuntimeError):
    """A quantization recipe failed on this model."""
