"""The one tree of errors; the host's errors hang below the same root.

    EdgetlError                    exit 1
    ├── UsageError (ValueError)    exit 2   an argument, option or configuration key is wrong
    ├── ImageError (ValueError)    exit 1   a file or array is not an image this model can read
    ├── BundleError (ValueError)   exit 1   a bundle is damaged, altered or from a newer edgetl
    │   ├── OutdatedError          exit 1   whole, but from a newer edgetl than this runtime
    │   └── SignatureError         exit 1   unsigned, or signed by nobody this machine trusts
    ├── InstallError (RuntimeError) exit 1  a device cannot take, keep or leave a generation
    │   └── BusyError              exit 1   another installation is at work
    ├── ShapeError (ValueError)    exit 1   a tensor has the wrong shape or dtype
    ├── BackendError (RuntimeError) exit 1  a backend failed
    │   └── BackendMissingError (ImportError)   its package is not installed or cannot run here
    ├── GoldenError (RuntimeError) exit 1   this machine does not reproduce the golden vectors
    ├── ContractError              exit 3   the contract was not met; nothing was shipped
    └── UnfitError                 exit 4   inconclusive, or the environment is unfit to judge

Every message is one sentence, "`what` must be `condition`; got `value`.", followed by what to try.
"""

from __future__ import annotations

from typing import Any


def printable(words: str) -> str:
    """Escape what a terminal would obey or could not show; file names may hold anything but NUL."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in words)


class EdgetlError(Exception):
    r"""Root of all errors edgetl raises on purpose.

    Args:
        what: The thing that is wrong: an option, a file, a tensor.
        must: What it must be; completes "must be …".
        got: What it is instead.
        fix: A command or an edit that mends it; printed after "Try:".

    Example:
        >>> str(EdgetlError("--seed", "an integer", "'abc'", fix="--seed 7"))
        "--seed must be an integer; got 'abc'.\nTry: --seed 7"
    """

    exit_code = 1

    def __init__(self, what: str, must: str, got: str, *, fix: str) -> None:
        self.what, self.must, self.got = (printable(word) for word in (what, must, got))
        self.sentence = f"{self.what} must be {self.must}; got {self.got}."
        self.fix = printable(fix)
        super().__init__(f"{self.sentence}\nTry: {self.fix}")

    def to_mapping(self) -> dict[str, Any]:
        """Return the error as the `error` object of `--json`."""
        return {"type": type(self).__name__, "message": self.sentence, "try": self.fix}


class UsageError(EdgetlError, ValueError):
    """An argument, option or configuration key is wrong."""

    exit_code = 2


class ImageError(EdgetlError, ValueError):
    """A file or array is not an image this model can read."""


class BundleError(EdgetlError, ValueError):
    """A bundle is damaged, altered, hostile or from a newer edgetl."""


class OutdatedError(BundleError):
    """A bundle is from a newer edgetl than this runtime reads: nothing is wrong with the bundle."""


class SignatureError(BundleError):
    """A bundle or statement is unsigned, or signed by nobody this machine trusts."""


class InstallError(EdgetlError, RuntimeError):
    """A device cannot take, keep or leave a generation."""


class BusyError(InstallError):
    """Another installation is at work."""


class ShapeError(EdgetlError, ValueError):
    """A tensor has the wrong shape or dtype."""


class BackendError(EdgetlError, RuntimeError):
    """A backend failed to compile, load or run a model."""


class BackendMissingError(BackendError, ImportError):
    """A backend's package is not installed or cannot run on this machine."""


class GoldenError(EdgetlError, RuntimeError):
    """This machine does not reproduce the bundle's golden vectors."""


class ContractError(EdgetlError):
    """No candidate keeps the contract; nothing was shipped."""

    exit_code = 3


class UnfitError(EdgetlError):
    """The result is inconclusive or the environment is unfit to judge."""

    exit_code = 4
