"""The host's errors, below the runtime's root.

    EdgetlError (edgetl_runtime.errors)   exit 1
    ├── DataError (ValueError)            exit 1   images, labels or splits cannot be used as they are
    ├── WeightsError (RuntimeError)       exit 1   pretrained weights are absent or do not fit the backbone
    ├── RunError (ValueError)             exit 1   a run folder is missing, incomplete or from another version
    │   └── StoppedError                  exit 130 a signal asked for a stop; the run can be resumed
    ├── InUseError (RuntimeError)         exit 1   another process works in a folder, or writes a file
    ├── TrainingError (RuntimeError)      exit 1   training diverged or cannot go on
    ├── ExportError (RuntimeError)        exit 1   a model cannot be exported
    │   └── ParityError                   exit 1   two engines disagree about one model; nothing was written
    ├── QuantizeError (RuntimeError)      exit 1   a quantization recipe failed on this model
    └── TransportError (RuntimeError)     exit 1   a device cannot be worked with from here
        ├── HostUnreachableError          exit 1   nobody answers at its address
        ├── HostKeyError                  exit 1   its key is unknown here or has changed
        ├── LoginError                    exit 1   it does not let us in
        ├── ConnectionLostError           exit 1   the connection broke; worth another try
        └── RemoteError                   exit 1   a command failed there
            └── RemoteTimeoutError        exit 1   a command took longer than its limit

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


class StoppedError(RunError):
    """Ctrl-C or SIGTERM stopped a run; it can be resumed."""

    exit_code = 130


class InUseError(EdgetlError, RuntimeError):
    """Another process works in a folder, or writes a file; later the same command may succeed."""


class TrainingError(EdgetlError, RuntimeError):
    """Training diverged or cannot go on."""


class ExportError(EdgetlError, RuntimeError):
    """A model cannot be exported."""


class ParityError(ExportError):
    """Two engines disagree about one model; nothing was written."""


class QuantizeError(EdgetlError, RuntimeError):
    """A quantization recipe failed on this model."""


class TransportError(EdgetlError, RuntimeError):
    """A device cannot be worked with from here."""


class HostUnreachableError(TransportError):
    """Nobody answers at the device's address."""


class HostKeyError(TransportError):
    """The device's key is unknown here or has changed."""


class LoginError(TransportError):
    """The device does not let us in."""


class ConnectionLostError(TransportError):
    """The connection broke while it was needed; another try may succeed."""


class RemoteError(TransportError):
    """A command failed on the device."""


class RemoteTimeoutError(RemoteError):
    """A command on the device took longer than its limit."""
