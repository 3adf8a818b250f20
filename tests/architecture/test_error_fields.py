"""No control flow reads the words of an error: classes, fields of facts, enums and errno decide."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
SOURCES = ("edgetl", "runtimes/edgetl_runtime", "benchmarks", "examples")
FIELDS = {"sentence", "what", "must", "got", "fix", "args"}
READERS = {"partition", "rpartition", "startswith", "endswith", "find", "rfind", "index", "count", "split", "rsplit"}
SEARCHES = {"search", "match", "fullmatch", "findall", "finditer"}


def violations(tree: ast.Module) -> Iterator[int]:
    """Yield the lines in which the words of an error decide or are taken apart."""
    caught = {node.name for node in ast.walk(tree) if isinstance(node, ast.ExceptHandler) and node.name}
    for node in ast.walk(tree):
        if any(_words(part, caught) for part in _read(node)):
            yield node.lineno  # type: ignore[attr-defined]


def _read(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the expressions whose text a node compares, searches or takes apart."""
    if isinstance(node, ast.Compare):
        yield from (node.left, *node.comparators)
    elif isinstance(node, ast.Match):
        yield node.subject
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        if node.func.attr in READERS and node.args:  # `split()` without a word only joins lines for people
            yield node.func.value
        elif node.func.attr in SEARCHES:
            yield from node.args


def _words(node: ast.expr, caught: set[str]) -> bool:
    """Whether an expression is made of an error's words, however they are cut or cased."""
    if isinstance(node, ast.Call):
        if isinstance(node.func, ast.Name) and node.func.id in ("str", "repr") and node.args:
            return _named(node.args[0], caught)
        return isinstance(node.func, ast.Attribute) and _words(node.func.value, caught)
    if isinstance(node, ast.JoinedStr):
        return any(isinstance(v, ast.FormattedValue) and _named(v.value, caught) for v in node.values)
    if isinstance(node, ast.Attribute):
        return node.attr == "sentence" or (node.attr in FIELDS and _named(node.value, caught))
    if isinstance(node, ast.Subscript):
        told = isinstance(node.slice, ast.Constant) and node.slice.value == "message"
        return told or _words(node.value, caught)
    if isinstance(node, ast.BinOp):
        return _words(node.left, caught) or _words(node.right, caught)
    return False


def _named(node: ast.expr, caught: set[str]) -> bool:
    return isinstance(node, ast.Name) and (node.id in caught or node.id in ("error", "exception", "exc"))


def sources() -> Iterator[Path]:
    for folder in SOURCES:
        yield from sorted((ROOT / folder).rglob("*.py"))


def test_nothing_decides_by_the_words_of_an_error():
    found = []
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        found += [f"{name}:{line}" for line in violations(ast.parse(path.read_text(encoding="utf-8")))]
    assert not found, "a class, a field of facts, an enum or errno must decide, not words: " + ", ".join(found)


@pytest.mark.parametrize(
    "planted",
    [
        'if "disturbed" in str(error): pass',
        "if error.sentence == 'no': pass",
        "if failed.sentence.lower().strip() != 'no': pass",
        "what, _, rest = told['message'].partition(' must be ')",
        "if error.what.startswith(('the build', 'the folder')): pass",
        "found = 1 if error.must.endswith('on test') else 2",
        "if error.args == ('no',): pass",
        "if error.args[0] == 'no': pass",
        "if f'{error}' in known: pass",
        "re.search('space', str(error))",
        "str(error).lower().index('space')",
        "match error.got:\n    case 'no': pass",
        "try: pass\nexcept OSError as lost:\n    if 'space' in str(lost)[:80]: pass",
        "while 'x' + str(error) == 'xy': pass",
    ],
)
def test_a_planted_violation_is_found(planted):
    assert list(violations(ast.parse(planted)))


@pytest.mark.parametrize(
    "allowed",
    [
        "got = ' '.join(str(error).split())[:200]",
        "if error.errno == errno.ENOSPC: pass",
        "if isinstance(error, BusyError): pass",
        "text = error.sentence",
        "must, got = fault.args",
        "if words.startswith('#'): pass",
    ],
)
def test_showing_words_and_reading_facts_is_allowed(allowed):
    assert not list(violations(ast.parse(allowed)))


USELESS = {"drop it", "check the path", "report this", "correct the file", "check it", "try again", "again", "fix it"}


def useless_fixes(tree: ast.Module) -> Iterator[int]:
    """Yield the lines whose `fix` is neither an edit nor a command."""
    for node in ast.walk(tree):
        for keyword in node.keywords if isinstance(node, ast.Call) else ():
            if keyword.arg == "fix" and isinstance(keyword.value, ast.Constant):
                words = str(keyword.value.value)
                if words in USELESS or words.endswith("--debug"):
                    yield keyword.value.lineno


def test_every_fix_is_an_edit_or_a_command():
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sources()
        for line in useless_fixes(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert not found


@pytest.mark.parametrize("fix", ["drop it", "--debug", "edgetl deploy --debug", "check the path"])
def test_a_planted_useless_fix_is_found(fix):
    assert list(useless_fixes(ast.parse(f"raise UsageError('a', 'b', 'c', fix={fix!r})")))
