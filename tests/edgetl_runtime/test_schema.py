from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal

import pytest

from edgetl_runtime.errors import BundleError, UsageError
from edgetl_runtime.schema import from_json, from_mapping, nearest, to_mapping


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    width_px: int
    height_px: int = 224

    def __post_init__(self):
        if self.width_px < 1:
            raise UsageError("width_px", "at least 1", str(self.width_px), fix="width_px = 224")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    number: float
    count: int
    flag: bool
    word: str
    kind: Literal["a", "b", 1]
    size: Size
    names: tuple[str, ...] = ()
    box: tuple[int, int] | None = None
    sizes: list[Size] = dataclasses.field(default_factory=list)
    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    table: Mapping[str, float] = dataclasses.field(default_factory=dict)
    either: int | str = 0
    free: Any = None


FULL = {
    "number": 0.5,
    "count": 3,
    "flag": True,
    "word": "ü",
    "kind": "b",
    "size": {"width_px": 32, "height_px": 24},
    "names": ["x", "y"],
    "box": [1, 2],
    "sizes": [{"width_px": 1, "height_px": 224}],
    "counts": {"ok": 2},
    "table": {"ok": 0.5},
    "either": "seven",
    "free": {"any": [1, None]},
}


def test_from_mapping_is_the_inverse_of_to_mapping():
    value = from_mapping(Everything, FULL, where="here")
    assert value.names == ("x", "y")
    assert value.sizes == [Size(width_px=1)]
    assert to_mapping(value) == FULL
    assert from_mapping(Everything, json.loads(json.dumps(to_mapping(value))), where="here") == value


def test_from_mapping_fills_defaults():
    needed = {key: FULL[key] for key in ("number", "count", "flag", "word", "kind", "size")}
    value = from_mapping(Everything, needed, where="here")
    assert (value.names, value.box, value.counts, value.either) == ((), None, {}, 0)


@pytest.mark.parametrize(
    ("key", "bad", "message"),
    [
        ("number", "1", "here: number must be of type float; got '1'"),
        ("number", True, "here: number must be of type float; got True"),
        ("number", None, "here: number must be of type float; got None"),
        ("number", float("nan"), "here: number must be a finite number; got nan"),
        ("number", float("inf"), "here: number must be a finite number; got inf"),
        ("number", 10**400, "here: number must be a finite number; got 1000"),
        ("count", 1.0, "here: count must be of type int; got 1.0"),
        ("count", True, "here: count must be of type int; got True"),
        ("flag", 1, "here: flag must be of type bool; got 1"),
        ("word", 1, "here: word must be of type str; got 1"),
        ("kind", "c", "here: kind must be one of 'a', 'b', 1; got 'c'"),
        ("kind", True, "here: kind must be one of 'a', 'b', 1; got True"),
        ("kind", [], "here: kind must be one of 'a', 'b', 1"),
        ("size", 3, "here: size must be a table of keys and values; got 3"),
        ("size", {"width": 3}, "key 'width' in here: size must be a known key"),
        ("size", {}, "key 'width_px' in here: size must be present; got nothing"),
        ("size", {"width_px": 0}, "here: size: width_px must be at least 1; got 0"),
        ("names", "xy", "here: names must be a list; got 'xy'"),
        ("names", ["x", 1], r"here: names\[1\] must be of type str; got 1"),
        ("box", [1], "here: box must be a list of 2 values; got 1"),
        ("box", [1, "2"], r"here: box\[1\] must be of type int"),
        ("sizes", [{}], r"key 'width_px' in here: sizes\[0\] must be present"),
        ("counts", ["ok"], "here: counts must be a table of keys and values"),
        ("counts", {"ok": "2"}, r"here: counts\.ok must be of type int; got '2'"),
        ("table", {"ok": "2"}, r"here: table\.ok must be of type float; got '2'"),
        ("either", 1.5, "here: either must be of type str; got 1.5"),
        ("sizs", [], "key 'sizs' in here must be a known key; got an unknown one"),
    ],
)
def test_from_mapping_refuses_and_says_where(key, bad, message):
    with pytest.raises(BundleError, match=message):
        from_mapping(Everything, {**FULL, key: bad}, where="here", error=BundleError)


@pytest.mark.parametrize("key", ["number", "word", "kind", "size", "names"])
def test_from_mapping_names_a_number_that_python_does_not_write(key):
    with pytest.raises(BundleError, match=rf"here: {key} must be .*; got a number of thousands of digits"):
        from_mapping(Everything, {**FULL, key: 10**5000}, where="here", error=BundleError)


@pytest.mark.parametrize("mapping", [None, [], "x", 1])
def test_from_mapping_refuses_what_is_not_a_table(mapping):
    with pytest.raises(UsageError, match="here must be a table of keys and values"):
        from_mapping(Size, mapping, where="here")


def test_from_mapping_names_the_nearest_key():
    with pytest.raises(UsageError, match="Try: 'width_px' instead of 'widthpx'"):
        from_mapping(Size, {"widthpx": 1}, where="here")


def test_nearest_lists_everything_when_nothing_is_near():
    assert nearest("zzz", ["seed", "preset"]) == "one of preset, seed"
    assert nearest("sed", ["seed", "preset"]) == "'seed' instead of 'sed'"


@pytest.mark.parametrize(
    "text", ["[1, -9223372036854775808, 9223372036854775807]", '{"a": 1e308}', '"\\ud834\\udd1e ü"', "null"]
)
def test_from_json_reads_what_json_reads(text):
    assert from_json(text.encode(), where="here", fix="x") == json.loads(text)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "here must be JSON in UTF-8"),
        (b"\xff", "here must be JSON in UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "here must be JSON in UTF-8"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "here must be without twin keys; got one key twice"),
        (b"[NaN]", "here must be of finite numbers; got NaN"),
        (b"[-1e999]", "here must be of finite numbers; got -1e999"),
        (b"[9223372036854775808]", "here must be of whole numbers of at most 64 bits; got one of 19 digits"),
        (b"[" + b"9" * 10**5 + b"]", "here must be of whole numbers of at most 64 bits; got one of 100000 digits"),
        (b"[" * 65 + b"]" * 65, "here must be nested at most 64 levels deep; got more"),
        (b"[" * 10**5, "here must be JSON in UTF-8"),
        (b'["\\ud834"]', "here must be JSON in UTF-8"),
        (b'{"\\udcff": 1}', "here must be JSON in UTF-8"),
    ],
)
def test_from_json_refuses_what_readers_may_understand_differently(data, words):
    with pytest.raises(BundleError, match=words):
        from_json(data, where="here", error=BundleError, fix="x")
