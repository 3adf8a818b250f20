"""What every call from Python has in common: one at a time, and errors that speak Python."""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from edgetl.errors import InUseError
from edgetl_runtime.errors import EdgetlError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

AnyPath = str | os.PathLike[str]
Ask = Callable[[str], Sequence[str]]  # a question for a person → the words of the answer
_AT_WORK = threading.Lock()
_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z0-9]*(?:-[a-z0-9]+)*)(?: (?=[\d.])([\d.]+))?")
_WHERE = re.compile(r"the options(?: of --task \w+)?: ")
FLAGS = frozenset({
    "allow-disturbed", "allow-unproven", "allow-unsigned", "embed-engine", "force", "resume", "retrain", "search",
    "skip-bad", "stage-only",
})  # fmt: skip


@contextlib.contextmanager
def calling(name: str, *, alone: bool = True) -> Iterator[None]:
    """Surround the work of a public function.

    Args:
        name: Of the function, for those who call another one meanwhile.
        alone: Training seeds generators that belong to the whole process, and what is measured beside other work is
            not worth measuring: a second call from another thread is refused.

    Raises:
        InUseError: Another call is at work in this process.
        EdgetlError: What the work raised, options spelled as keywords.
    """
    if alone and not _AT_WORK.acquire(blocking=False):
        fix = "one call after the other, or one process for each"
        raise InUseError(name, "the only call in this process", "another one still at work", fix=fix)
    try:
        yield
    except EdgetlError as error:
        _respell(error)
        raise
    finally:
        if alone:
            _AT_WORK.release()


def as_keyword(words: str) -> str:
    """Return words in which options stand as a command line has them with the keywords of Python instead.

    A whole command is left as it is.

    Example:
        >>> as_keyword("--escape-cost 5"), as_keyword("--force to replace it"), as_keyword("edgetl deploy RUN --search")
        ('escape_cost=5', 'force=True to replace it', 'edgetl deploy RUN --search')
    """
    if re.search(r"\bedgetl(-runtime)? [a-z]", words):
        return words
    return _OPTION.sub(_keyword, _WHERE.sub("", words))


def _keyword(found: re.Match[str]) -> str:
    name = found[1].replace("-", "_")
    if found[2] is not None:
        return f"{name}={found[2]}"
    return f"{name}=True" if found[1] in FLAGS else name


def _respell(error: EdgetlError) -> None:
    what, must, got, fix = (as_keyword(words) for words in (error.what, error.must, error.got, error.fix))
    # once more, so that what subclasses added is kept
    sentence = as_keyword(error.own_sentence) if error.own_sentence else None
    EdgetlError.__init__(error, what.replace("=True", ""), must, got, fix=fix, sentence=sentence)


def options_of(cls: type[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a function's arguments that are fields of `cls`, plain: paths as text, one word as a tuple.

    Args:
        cls: A configuration.
        given: The function's `locals()`.
    """
    fields = cls.__dataclass_fields__
    return {name: plain(value, str(fields[name].type)) for name, value in given.items() if name in fields}


def plain(value: object, hint: str) -> object:
    """Return a value as a configuration of that type holds it: a path as text, one word as a tuple."""
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    return (value,) if hint.startswith("tuple[") and isinstance(value, (str, int)) else value
