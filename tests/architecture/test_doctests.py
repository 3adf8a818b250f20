"""Every example in a docstring runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def modules_with_examples(root: Path) -> list[str]:
    return [
        ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")
        for base, package in ((root, "edgetl"), (root / "runtimes", "edgetl_runtime"))
        for path in sorted((base / package).rglob("*.py"))
        if _has_example(path.read_text(encoding="utf-8"))
    ]


def _has_example(source: str) -> bool:
    """One that runs: an example that needs a real bundle says +SKIP on its first line."""
    firsts = [line for line in source.splitlines() if line.strip().startswith(">>> ")]
    return any("+SKIP" not in line for line in firsts)


@pytest.mark.parametrize("name", modules_with_examples(ROOT))
def test_examples_of_the_module_run(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried.attempted > 0
    assert tried.failed == 0


def test_a_wrong_example_fails(tmp_path):
    parser = doctest.DocTestParser()
    wrong = parser.get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    assert doctest.DocTestRunner(verbose=False).run(wrong, out=lambda _: None).failed == 1
