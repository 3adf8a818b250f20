"""Frozen dataclasses to and from plain mappings (JSON, TOML), strictly.

Unknown keys, missing keys and values of the wrong type are refused with the nearest valid name. Stdlib only: the
device has nothing else.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, Union

from edgetl_runtime.errors import EdgetlError, UsageError

T = TypeVar("T")
MAX_JSON_DEPTH = 64  # what reads a value walks it recursively


def nearest(name: str, known: typing.Iterable[str]) -> str:
    """Return "did you mean" words for `name`, or the list of what is known.

    Example:
        >>> nearest("sed", ["seed", "preset"])
        "'seed' instead of 'sed'"
    """
    options = sorted(known)
    close = alike(name, options)
    if close:
        return " or ".join(f"'{c}'" for c in close) + f" instead of '{name}'"
    return "one of " + ", ".join(options)


class _JsonFault(ValueError):  # noqa: N818  (never leaves this module)
    """What strict JSON must be, and what was found."""


def from_json(data: bytes, *, where: str, error: type[EdgetlError] = UsageError, fix: str) -> Any:  # noqa: ANN401  (JSON)
    """Read JSON as one reader cannot understand it otherwise than another.

    UTF-8, no key twice, numbers that a double or a signed word of 64 bits holds, at most 64 levels deep.

    Args:
        data: The text's bytes.
        where: Names the source in errors.
        error: The class of the error raised.
        fix: What to try.

    Raises:
        EdgetlError: Of class `error`.

    Example:
        >>> from_json(b'{"a": [1, 2.5]}', where="here", fix="")
        {'a': [1, 2.5]}
    """
    try:
        text = data.decode()
        value = json.loads(
            text, object_pairs_hook=_without_twins, parse_constant=_constant, parse_float=_float, parse_int=_integer
        )
        _check_depth(value)
        if "\\u" in text:  # half a surrogate pair can only be written so, and never be printed or stored
            json.dumps(value, ensure_ascii=False).encode()
    except _JsonFault as fault:
        must, got = fault.args
        raise error(where, must, got, fix=fix) from fault
    except (ValueError, RecursionError) as fault:
        raise error(where, "JSON in UTF-8", f"{fault!s:.80}", fix=fix) from fault
    return value


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        raise _JsonFault("without twin keys", "one key twice")
    return mapping


def _constant(name: str) -> typing.NoReturn:
    raise _JsonFault("of finite numbers", name)


def _float(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise _JsonFault("of finite numbers", f"{digits:.40}")
    return value


def _integer(digits: str) -> int:
    if len(digits) > 20 or not -(2**63) <= int(digits) < 2**63:  # Python itself refuses to read thousands of digits
        raise _JsonFault("of whole numbers of at most 64 bits", f"one of {len(digits)} digits")
    return int(digits)


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MAX_JSON_DEPTH):
        inside = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, (dict, list))]
        level = [item for items in inside for item in items]
        if not level:
            return
    raise _JsonFault(f"nested at most {MAX_JSON_DEPTH} levels deep", "more")


def alike(name: str, known: typing.Iterable[str]) -> list[str]:
    """Return the one or two of `known` that `name` may have been meant for.

    Example:
        >>> alike("sed", ["seed", "preset"]), alike("colour", ["seed", "preset"])
        (['seed'], [])
    """
    return difflib.get_close_matches(name, sorted(known), n=2, cutoff=0.5)


def from_mapping(cls: type[T], mapping: object, *, where: str, error: type[EdgetlError] = UsageError) -> T:
    """Build the dataclass `cls` from a plain mapping.

    Args:
        cls: A dataclass whose fields are plain, `Literal`, optional, tuple, dict or further dataclass types.
        mapping: What JSON or TOML gave.
        where: Names the source in errors, for instance `manifest.json` or `edgetl.toml [finetune]`.
        error: The class of the error raised.

    Raises:
        EdgetlError: Of class `error`, for an unknown or missing key or a value of the wrong type or range.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Size:
        ...     width_px: int
        >>> from_mapping(Size, {"width_px": 224}, where="here")
        Size(width_px=224)
    """
    if not isinstance(mapping, Mapping):
        raise error(where, "a table of keys and values", _words(mapping), fix=f"write {where} as a table")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in mapping:
        if key not in fields:
            raise error(f"key '{key}' in {where}", "a known key", "an unknown one", fix=nearest(str(key), fields))
    hints = _hints(cls)  # type: ignore[arg-type]  # a class is hashable
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in mapping:
            values[name] = _convert(hints[name], mapping[name], f"{where}: {name}", error)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise error(f"key '{name}' in {where}", "present", "nothing", fix=f"{name} = …, there")
    try:
        return cls(**values)
    except UsageError as fault:  # a class checks its own ranges; in a bundle they are the bundle's fault
        words = (f"{where}: {fault.what}", fault.must, fault.got)
        raise error(*words, fix=fault.fix, sentence=f"{where}: {fault.sentence}") from fault


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Return the fields' types; evaluated once, because a manifest lists dozens of one class."""
    return typing.get_type_hints(cls)


def to_mapping(value: Any) -> Any:  # noqa: ANN401  (the inverse of from_mapping takes and gives any plain value)
    """Turn a dataclass, recursively, into plain dicts, lists and scalars that JSON and TOML can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_mapping(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): to_mapping(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_mapping(v) for v in value]
    return value


def _words(value: object) -> str:
    """Return a value as an error shows it."""
    try:
        return f"{value!r:.80}"
    except ValueError:  # Python writes no number of thousands of digits
        return "a number of thousands of digits"


def _convert(hint: Any, value: Any, where: str, error: type[EdgetlError]) -> Any:  # noqa: ANN401
    origin = typing.get_origin(hint)
    args = typing.get_args(hint)
    if hint is Any or hint is object:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        return _convert_union([a for a in args if a is not type(None)], value, where, error)
    if origin is Literal:
        if value in args and type(value) in {type(a) for a in args}:
            return value
        raise error(
            where,
            "one of " + ", ".join(map(repr, args)),
            _words(value),
            fix=nearest(value if isinstance(value, str) else _words(value), map(str, args)),
        )
    if origin in (tuple, list):
        return _convert_sequence(origin, args, value, where, error)
    if origin in (dict, Mapping) or hint is dict:
        return _convert_dict(args, value, where, error)
    if dataclasses.is_dataclass(hint):
        return from_mapping(hint, value, where=where, error=error)  # type: ignore[arg-type]
    return _convert_scalar(hint, value, where, error)


def _convert_union(options: list[Any], value: Any, where: str, error: type[EdgetlError]) -> Any:  # noqa: ANN401
    for option in options[:-1]:
        try:
            return _convert(option, value, where, error)
        except EdgetlError:  # noqa: PERF203  (a union has two or three members)
            continue
    return _convert(options[-1], value, where, error)


def _convert_sequence(origin: Any, args: tuple[Any, ...], value: Any, where: str, error: type[EdgetlError]) -> Any:  # noqa: ANN401
    if not isinstance(value, (list, tuple)):
        raise error(where, "a list", _words(value), fix=f"{_leaf(where)} = [ … ]")
    if origin is tuple and not (len(args) == 2 and args[1] is Ellipsis):
        if len(value) != len(args):
            raise error(
                where,
                f"a list of {len(args)} values",
                f"{len(value)}",
                fix=f"{_leaf(where)} = [{', '.join(str(_EXAMPLES.get(a, '…')) for a in args)}]",
            )
        return tuple(_convert(a, v, f"{where}[{i}]", error) for i, (a, v) in enumerate(zip(args, value, strict=True)))
    return origin(_convert(args[0], v, f"{where}[{i}]", error) for i, v in enumerate(value))


def _convert_dict(args: tuple[Any, ...], value: Any, where: str, error: type[EdgetlError]) -> dict[str, Any]:  # noqa: ANN401
    if not isinstance(value, Mapping):
        raise error(where, "a table of keys and values", _words(value), fix=f"write {where} as a table")
    item = args[1] if args else Any
    return {str(k): _convert(item, v, f"{where}.{k}", error) for k, v in value.items()}


_EXAMPLES = {float: "1.5", int: "1", str: '"text"', bool: "true"}


def _leaf(where: str) -> str:
    """Return the key that a place in a mapping ends with."""
    return where.rpartition(": ")[2]


def _finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        return False


def _convert_scalar(hint: Any, value: Any, where: str, error: type[EdgetlError]) -> Any:  # noqa: ANN401
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not _finite(value):  # Python's JSON reader lets NaN and Infinity pass
            raise error(where, "a finite number", _words(value), fix=f"{_leaf(where)} = 1.5")
        return float(value)
    if isinstance(value, bool) is (hint is bool) and isinstance(value, hint):
        return value
    raise error(where, f"of type {hint.__name__}", _words(value), fix=f"{_leaf(where)} = {_EXAMPLES.get(hint, '…')}")
