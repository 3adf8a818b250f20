"""Shared options become settings and limits; an output that cannot be written is refused before any work."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from edgetl_runtime.bench import options
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


def parsed(*words: str, against: bool = True) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.add_round_options(parser)
    options.add_limit_options(parser, against=against)
    return parser.parse_args(words)


def test_defaults_are_those_of_the_settings() -> None:
    from edgetl_runtime.bench.limits import Limits
    from edgetl_runtime.bench.rounds import Settings

    assert options.settings(parsed()) == Settings()
    assert options.limits(parsed()) == options.limits(parsed(against=False)) == Limits()


def test_options_reach_settings_and_limits() -> None:
    args = parsed(
        "--rate", "12.5", "--neighbours", "2", "--p99-ms", "9", "--max-flips-pct", "1.5", "--max-escapes", "0"
    )
    assert (options.settings(args).rate_hz, options.settings(args).neighbours) == (12.5, 2)
    found = options.limits(args)
    assert (found.p99_ms, found.max_flips_pct, found.max_escapes, found.p50_ms) == (9, 1.5, 0, None)


def test_check_out_refuses_what_exists_or_cannot_be_made(tmp_path: Path) -> None:
    options.check_out("--out", None, force=False)
    options.check_out("--out", tmp_path / "new.json", force=False)
    (tmp_path / "old.json").write_text("x")
    options.check_out("--out", tmp_path / "old.json", force=True)
    for path, words in ((tmp_path / "old.json", "a new file"), (tmp_path / "no" / "x.json", "an existing folder")):
        with pytest.raises(UsageError, match=words):
            options.check_out("--out", path, force=False)
    with pytest.raises(UsageError, match="a new file"):
        options.check_out("--out", tmp_path, force=True)
