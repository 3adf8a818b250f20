"""One command line for host and device: a static table, help for free, one JSON object, one sentence per error.

A command is a module with `add_arguments(parser)`, `run(args) -> Mapping` and `show(result) -> str`. The result
carries `schema`; a key `exit` in it becomes the exit code. Only the chosen command's module is imported. A module may
hold `HINTS`, options that people expect and that do not exist → what to do instead.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import json
import math
import os
import shlex
import sys
import traceback
import types
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast

from edgetl_runtime.errors import EdgetlError, UsageError, printable
from edgetl_runtime.schema import alike, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
CommandTable = Mapping[str, tuple[str, str]]
CommandGroups = Mapping[str, CommandTable]


class Command(Protocol):
    """What a command's module offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the options."""

    def run(self, args: argparse.Namespace) -> Mapping[str, Any]:
        """Do the work; return what `--json` prints."""

    def show(self, result: Mapping[str, Any]) -> str:
        """Return the result as text for people."""


class _OutputLostError(Exception):
    """Standard output could not be written to, so not even JSON can say so."""

    def __init__(self, reason: OSError) -> None:
        self.reason = reason
        super().__init__(str(reason))


def _finite_number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"'{text}' is no finite number")
    return value


class _Parser(argparse.ArgumentParser):
    """An argument parser that raises our errors instead of exiting, and names what would have been understood.

    Attributes:
        words: What was typed after the command; empty where nothing was typed.
        hints: Option → what to do instead, for options that people expect and that do not exist.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  (argparse's signature)
        super().__init__(*args, **kwargs)
        self.register("type", float, _finite_number)  # no option takes NaN or infinity

    words: Sequence[str] = ()
    hints: Mapping[str, str] = types.MappingProxyType({})

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse, and say what to type instead of words that nothing takes."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            raise self._refusal(f"unrecognized arguments: {' '.join(unknown)}", fix=self._instead_of(unknown))
        return parsed

    def error(self, message: str) -> NoReturn:
        """Turn argparse's words into a UsageError that says what to type instead."""
        fault = sys.exc_info()[1]
        of_one = isinstance(fault, argparse.ArgumentError) and fault.argument_name is not None
        missing = [a for a in self._actions if a.required and a.option_strings and not self._typed(a)]
        fix = self._with_option(missing[0]) if len(missing) == 1 and not of_one else f"{self.prog} --help"
        raise self._refusal(message, fix=fix)

    def _refusal(self, words: str, *, fix: str) -> UsageError:
        what, sentence = f"the arguments of {self.prog}", f"{self.prog}: {words.rstrip('.')}."
        return UsageError(what, "as its --help says", words, fix=fix, sentence=sentence)

    def _typed(self, action: argparse.Action) -> bool:
        return any(word.partition("=")[0] in action.option_strings for word in self.words)

    def _check_value(self, action: argparse.Action, value: Any) -> None:  # noqa: ANN401  (argparse's signature)
        """Name the choices, and the nearest of them."""
        if action.choices is not None and value not in action.choices:
            what = "/".join(action.option_strings) or str(action.metavar or action.dest)
            known = [str(choice) for choice in action.choices]
            fix = nearest(str(value), known)
            raise UsageError(f"{what} of {self.prog}", "one of " + ", ".join(known), f"'{value}'", fix=fix)

    def _surplus(self) -> list[str]:
        """Return the words that nothing takes, whole: argparse joins them by spaces."""
        required = [action for action in self._actions if action.required and action.option_strings]
        for action in required:
            action.required = False
        try:
            return self.parse_known_args(list(self.words))[1]
        except (UsageError, SystemExit):
            return []
        finally:
            for action in required:
                action.required = True

    def _instead_of(self, unknown: Sequence[str]) -> str:
        option = next((word.partition("=")[0] for word in unknown if word.startswith("-")), None)
        if option is None:  # too many words: the command without them
            return self._line([word for word in self.words if word not in unknown])
        if option in self.hints:
            return self.hints[option]
        parser = self._deepest()
        known = [o for p in {self, parser} for o in p._option_string_actions if o.startswith("--")]
        return nearest(option, known) if alike(option, known) else f"{parser.prog} --help"

    def _with_option(self, action: argparse.Action) -> str:
        """Return the command line with the option that is missing; a word too many was probably meant for it."""
        surplus = self._surplus()
        value = surplus[0] if surplus and not surplus[0].startswith("-") else str(action.metavar or "VALUE")
        kept = [word for word in self.words if word not in surplus[:1]]
        return f"{self._line(kept)} {action.option_strings[0]} {shlex.quote(value)}"

    def _line(self, words: Sequence[str]) -> str:
        return " ".join([self.prog, *map(shlex.quote, words)])

    def _deepest(self) -> _Parser:
        """Return the parser of the action that was typed, else this one."""
        choices = next((a.choices for a in self._actions if isinstance(a, argparse._SubParsersAction)), {})
        return next((cast("_Parser", choices[word]) for word in self.words if word in choices), self)


def run(
    prog: str,
    table: CommandTable,
    argv: Sequence[str] | None,
    *,
    version: str,
    groups: CommandGroups | None = None,
    hints: Mapping[str, str] | None = None,
) -> int:
    """Run one command of `table`.

    Args:
        prog: Name of the program, as typed.
        table: Command → (module, one-line summary).
        argv: Arguments without the program's name; None takes the process's.
        version: Printed by `--version`.
        groups: Heading → its part of the table, for the help; None lists the table under one heading.
        hints: Command that people expect here and that does not exist → what to type instead.

    Returns:
        The exit code: 0 done, 1 failed, 2 usage, 3 contract not met, 4 unfit, 130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    as_json, debug = "--json" in arguments, "--debug" in arguments
    try:
        first = arguments[0] if arguments else "--help"
        if first == "--version":
            _write(f"{prog} {version}")
            return 0
        if first in ("--help", "-h", "help"):
            _write(_help(prog, groups or {"commands": table}))
            return 0
        return _dispatch(prog, table, arguments, hints or {})
    except SystemExit as done:  # argparse's --help
        return int(done.code or 0)
    except _OutputLostError as lost:
        if isinstance(lost.reason, BrokenPipeError):  # the reader of our output (`| head`) has left: nobody to tell
            return EXIT_FAILED
        return _fail(lost.reason, EXIT_FAILED, as_json=False, debug=debug)
    except KeyboardInterrupt as error:
        return _fail(error, EXIT_INTERRUPTED, as_json=as_json, debug=debug)
    except EdgetlError as error:
        return _fail(error, error.exit_code, as_json=as_json, debug=debug)
    except Exception as error:  # the program's outer edge: machines get JSON, people one sentence, --debug the rest
        return _fail(error, EXIT_FAILED, as_json=as_json, debug=debug)


def _dispatch(prog: str, table: CommandTable, arguments: list[str], hints: Mapping[str, str]) -> int:
    name = arguments[0]
    if name.startswith("-"):
        raise UsageError(f"the first argument of {prog}", "a command", f"'{name}'", fix=f"{prog} --help")
    if name not in table:
        raise UsageError("the command", f"known to {prog}", f"'{name}'", fix=hints.get(name) or nearest(name, table))
    module, summary = table[name]
    command = cast("Command", importlib.import_module(module))
    parser = _Parser(prog=f"{prog} {name}", description=summary + ".", allow_abbrev=False)
    parser.words, parser.hints = arguments[1:], getattr(command, "HINTS", parser.hints)
    command.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--debug", action="store_true", help="print the traceback of an error")
    args = parser.parse_args(arguments[1:])
    result = command.run(args)
    _write(to_json(result) if args.json else _shown(command.show(result)))
    return int(result.get("exit", 0))


def share_options(parsers: Iterable[argparse.ArgumentParser]) -> None:
    """Let the actions of a command take `--json` and `--debug` too, wherever they stand on the line."""
    for parser in parsers:
        parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")
        parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="print the traceback")


def _help(prog: str, groups: CommandGroups) -> str:
    width = max((len(name) for table in groups.values() for name in table), default=0)
    lines = [f"usage: {prog} COMMAND [OPTIONS]"]
    for title, table in groups.items():
        lines += ["", title, *(f"  {name:<{width}}  {summary}" for name, (_, summary) in table.items())]
    lines += [
        "",
        f"'{prog} COMMAND --help' lists a command's options; '{prog} --version' prints the version.",
    ]
    return "\n".join(lines)


def _shown(text: str) -> str:
    """Escape, line by line, what a terminal would obey: names in a bundle and of files are others' words."""
    return "\n".join(printable(line) for line in text.split("\n"))


def _write(text: str) -> None:
    try:
        sys.stdout.write(_writable(text, sys.stdout.encoding or "utf-8") + "\n" if text else "")
        sys.stdout.flush()
    except OSError as error:
        _drop_stdout()
        raise _OutputLostError(error) from error


def _writable(text: str, encoding: str) -> str:
    """Escape, as JSON does, what standard output cannot hold: other alphabets than its own, names that are no text."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return "".join(c if _fits(c, encoding) else json.dumps(c)[1:-1] for c in text)
    return text


def _fits(character: str, encoding: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def to_json(result: Mapping[str, Any]) -> str:
    """Return `result` as one line of valid JSON: NaN and infinity become null, numpy scalars numbers, paths strings."""
    text = json.dumps(_plain(result), ensure_ascii=False, allow_nan=False)
    # JSON itself leaves some characters alone that a terminal obeys
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _plain(value: Any) -> Any:  # noqa: ANN401  (any result)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if hasattr(value, "tolist"):  # a numpy scalar or array, without importing numpy
        return _plain(value.tolist())
    return str(value)


def _fail(error: BaseException, code: int, *, as_json: bool, debug: bool) -> int:
    if debug:
        traceback.print_exception(type(error), error, error.__traceback__, file=sys.stderr)
    mapping = _error_mapping(error)
    if as_json:
        try:
            _write(to_json({"schema": "edgetl.error/1", "error": mapping, "exit": code}))
        except _OutputLostError:  # people still get their sentence
            as_json = False
    if not as_json:
        sys.stderr.write(f"{mapping['type']}: {mapping['message']}\nTry: {mapping['try']}\n")
    return code


def _drop_stdout() -> None:
    """Send what is still buffered nowhere, or the interpreter would fail once more when it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _error_mapping(error: BaseException) -> dict[str, Any]:
    told = error if isinstance(error, EdgetlError) else _unforeseen(error)
    return told.to_mapping() | ({} if told is error else {"type": type(error).__name__})


def _unforeseen(error: BaseException) -> EdgetlError:
    """Say in our words what somebody else raised."""
    if isinstance(error, KeyboardInterrupt):
        words = ("the command", "run to its end", "an interrupt")
        return EdgetlError(*words, fix="run it again", sentence="The command was interrupted before its end.")
    if isinstance(error, MemoryError):
        words = ("free memory", "enough for the command", "none left")
        return EdgetlError(*words, fix="close other programs; free -m", sentence="The machine ran out of memory.")
    if isinstance(error, OSError):
        return _system_error(error)
    words = ("the program", "without faults", f"{error!s:.300}")
    fix = "report it, with what the same command prints with --debug added"
    return EdgetlError(*words, fix=fix, sentence=f"The program failed: {error!s:.300}.")


def _system_error(error: OSError) -> EdgetlError:
    at = str(error.filename) if error.filename else ""
    place, reason = (shlex.quote(at) if at else "."), error.strerror or str(error)
    if error.errno == errno.ENOSPC:
        sentence = f"The disk is full: nothing more can be written{at and f' to {at}'}."
        return EdgetlError("the disk", "with room", reason, fix=f"free some space; df -h {place}", sentence=sentence)
    if error.errno == errno.EFBIG:
        fix = "write to another file system, or lift the limit: ulimit -f unlimited"
    elif error.errno == errno.ENOENT:
        fix = "correct the path, or make what it names"
    else:
        fix = f"ls -ld {place}   # who may read and write there"
    what = at or "a file or device"
    return EdgetlError(what, "usable", reason, fix=fix, sentence=f"The system refused to use {what}: {reason}.")
