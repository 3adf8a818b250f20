"""Whatever a file holds that is no TOML is one sentence that names it."""

from __future__ import annotations

import pytest

from edgetl import toml
from edgetl_runtime.errors import UsageError


def test_read_returns_tables_and_values(tmp_path):
    (tmp_path / "x.toml").write_text('[a]\nb = "ü"\n', encoding="utf-8")
    assert toml.read(tmp_path / "x.toml", where="x") == {"a": {"b": "ü"}}


@pytest.mark.parametrize(
    "data", [b"a = ", b"a = \xff", b"a = " + b"9" * 5000, b"a = " + b"[" * 10**5], ids=["cut", "utf8", "long", "deep"]
)
def test_what_is_no_toml_is_refused_by_name(data, tmp_path):
    (tmp_path / "x.toml").write_bytes(data)
    with pytest.raises(UsageError, match=r"^recipe x must be valid TOML; got .{1,200}\."):
        toml.read(tmp_path / "x.toml", where="recipe x")


def test_a_missing_file_is_refused_by_name(tmp_path):
    with pytest.raises(UsageError, match=r"^cannot read x: No such file or directory\."):
        toml.read(tmp_path / "x.toml", where="x")
