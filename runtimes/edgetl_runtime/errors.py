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
    │   ├── BackendMissingError (ImportError)   its package is not installed or cannot run here
    │   └── GraphError             exit 1   a compiler refuses the graph; another precision may pass
    ├── GoldenError (RuntimeError) exit 1   this machine does not reproduce the golden vectors
    ├── ContractError              exit 3   the contract was not met; nothing was shipped
    └── UnfitError                 exit 4   inconclusive, or the environment is unfit to judge

Every message is one sentence, followed by what to try. Programs read the fields, never the sentence.
"""

from __future__ import annotations

import errno
import os
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MAX_FIELD_CHARACTERS = 2000  # of an error that another program told
EXIT_CODES = range(1, 256)


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
        sentence: Says it where "`what` must be `must`; got `got`." is no English; ends with a full stop.

    Example:
        >>> str(EdgetlError("--seed", "an integer", "'abc'", fix="--seed 7"))
        "--seed must be an integer; got 'abc'.\nTry: --seed 7"
        >>> EdgetlError("the disk", "with room", "none left", fix="df -h", sentence="The disk is full.").sentence
        'The disk is full.'
    """

    exit_code = 1

    def __init__(self, what: str, must: str, got: str, *, fix: str, sentence: str | None = None) -> None:
        self.what, self.must, self.got = (printable(word) for word in (what, must, got))
        self.own_sentence = printable(sentence) if sentence else None
        self.sentence = self.own_sentence or f"{self.what} must be {self.must}; got {self.got}."
        self.fix = printable(fix)
        super().__init__(f"{self.sentence}\nTry: {self.fix}")

    def to_mapping(self) -> dict[str, Any]:
        """Return the error as the `error` object of `--json`.

        Example:
            >>> sorted(EdgetlError("--seed", "an integer", "'abc'", fix="--seed 7").to_mapping())
            ['got', 'message', 'must', 'try', 'type', 'what']
        """
        fields = {"what": self.what, "must": self.must, "got": self.got, "try": self.fix}
        return {"type": type(self).__name__, **fields, "message": self.sentence}

    @classmethod
    def from_mapping(cls, mapping: object, *, where: str = "", exit_code: int | None = None) -> EdgetlError:
        """Rebuild an error that another process or machine told with `to_mapping`.

        Args:
            mapping: What came; a type that is unknown here, or fields that are missing or are no text, do no harm.
            where: Said before the sentence, such as "on the device"; the fields stay as they came.
            exit_code: Of that process; kept where its type is unknown here.

        Returns:
            An error of the type below `cls` that was named, else one of `cls` itself.

        Example:
            >>> told = UsageError("--seed", "an integer", "'abc'", fix="--seed 7").to_mapping()
            >>> EdgetlError.from_mapping(told, where="on the device").sentence
            "on the device: --seed must be an integer; got 'abc'."
            >>> EdgetlError.from_mapping({"type": "LaterError", "message": "No."}, exit_code=3).exit_code
            3
        """
        told = mapping if isinstance(mapping, dict) else {}
        kind = next((known for known in _family(cls) if known.__name__ == told.get("type")), None)
        message = _text(told, "message") or "an error without a word"
        what, must = _text(told, "what") or "the command", _text(told, "must") or "done"
        got = _text(told, "got") or message
        fix = _text(told, "try") or "the same command there, with --debug"
        error = (kind or cls)(what, must, got, fix=fix, sentence=f"{where}: {message}" if where else message)
        if kind is None and exit_code is not None and exit_code in EXIT_CODES:
            error.exit_code = exit_code
        return error


def _family(cls: type[EdgetlError]) -> Iterator[type[EdgetlError]]:
    """Yield an error and all below it that need no more than the fields."""
    if cls.__init__ is EdgetlError.__init__:
        yield cls
    for child in cls.__subclasses__():
        yield from _family(child)


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    return value[:MAX_FIELD_CHARACTERS] if isinstance(value, str) else ""


def unreadable(
    kind: type[EdgetlError], what: str, error: OSError, *, path: object, must: str = "a readable file"
) -> EdgetlError:
    r"""Return the error for a path that the system does not let us read.

    Args:
        kind: Its class.
        what: Names the file as the user knows it, for instance "bundle a.edgetl".
        error: The system's.
        path: The file or folder.
        must: What it must be.

    Example:
        >>> unreadable(UsageError, "--trust a.pub", FileNotFoundError(2, "No such file or directory"), path="a.pub")
        UsageError('cannot read --trust a.pub: No such file or directory.\nTry: correct the path; ls .')
    """
    above = os.path.dirname(str(path))  # noqa: PTH120  (any path, also one that no Path can hold)
    while above and not os.path.exists(above):  # noqa: PTH110  (only what is there can be looked at)
        above = os.path.dirname(above)  # noqa: PTH120
    place, folder = shlex.quote(str(path)), shlex.quote(above or ".")
    reason = error.strerror or type(error).__name__
    fixes = {
        errno.ENOENT: f"correct the path; ls {folder}",
        errno.ENOTDIR: f"correct the path; ls -l {folder}",
        errno.EISDIR: f"name a file in it; ls {place}",
        errno.EACCES: f"chmod u+r {place}, or ask its owner; ls -ld {place}",
    }
    fix = fixes.get(error.errno or 0, f"ls -ld {place}, and copy it again")
    return kind(what, must, reason, fix=fix, sentence=f"cannot read {what}: {reason}.")


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


class GraphError(BackendError):
    """A compiler refuses the graph: nothing is wrong with this machine, and another graph may pass."""


class GoldenError(EdgetlError, RuntimeError):
    """This machine does not reproduce the bundle's golden vectors."""


class ContractError(EdgetlError):
    """No candidate keeps the contract; nothing was shipped."""

    exit_code = 3


class UnfitError(EdgetlError):
    """The result is inconclusive or the environment is unfit to judge."""

    exit_code = 4
