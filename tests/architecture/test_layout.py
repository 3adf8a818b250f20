"""Where things are: top-level names, tests that mirror the tree, and files small enough to read."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
TOP_LEVEL = {
    ".ci", ".gitignore", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
    "benchmarks", "constraints.txt", "devices", "docs", "edgetl", "examples", "pyproject.toml", "runtimes", "tests",
}  # fmt: skip
MAX_SOURCE_LINES, MAX_TEST_LINES, MAX_FUNCTION_LINES = 400, 500, 60
# from this length on a module has its own test file
NEEDS_TEST_LINES = 60
# longer modules without a test file of their own: what tests them instead. A reason that is no longer needed fails.
TESTED_ELSEWHERE = {
    "edgetl_runtime/bench/fixtures.py": "edgetl_runtime/test_pytest_plugin.py runs them in a pytest of its own",
    "edgetl/api/contracts.py": "edgetl/cli/test_contract_options.py and edgetl/test_init.py read contracts through it",
    "edgetl/api/deployment.py": "edgetl/test_init.py and edgetl/cli/test_deploy.py deploy through it",
    "edgetl/api/measurement.py": "edgetl/test_init.py and edgetl/bench/ measure through it",
    "edgetl/api/results.py": "edgetl/test_init.py shows and requires each of them",
    "edgetl/api/search.py": "edgetl/test_init.py searches through it",
    "edgetl/api/training.py": "edgetl/test_init.py and edgetl/cli/test_finetune.py train through it",
    "edgetl/api/delivery.py": "edgetl/cli/test_deliver.py and edgetl/deploy/test_delivery.py deliver through it",
    "edgetl/api/grid_search.py": "edgetl/cli/test_search.py and edgetl/search/ search through it",
    "edgetl/api/text.py": "edgetl/cli/ reads what each command prints",
    "edgetl/backbones/layouts.py": "contracts/test_backbones.py composes the segments of every backbone",
    "edgetl/backbones/parts.py": "the same contract compares them with the network itself",
    "edgetl/finetune/baseline.py": "edgetl/finetune/test_pipeline.py runs every stage alone and all of them",
    "edgetl/finetune/evaluated.py": "the same",
    "edgetl/finetune/prepared.py": "the same",
    "edgetl/finetune/trained.py": "the same; that it goes back to the baseline too",
    "edgetl/deploy/confirmed.py": "edgetl/deploy/test_written.py runs every stage alone, test_pipeline.py all of them",
    "edgetl/deploy/judged.py": "the same",
    "edgetl/data/check.py": "edgetl/data/test_load.py plants each fault and reads the sentence",
}
# broad `except` is allowed where the handler raises again; these swallow, with the reason
SWALLOWS = {
    "runtimes/edgetl_runtime/cli/driver.py": "the program's outer edge: one sentence or JSON",
    "runtimes/edgetl_runtime/install/service.py": "one image's failure is its FAULT, and the next image is decided on",
    "runtimes/edgetl_runtime/cli/trial.py": "a decision that fails is what the trial counts, whatever it raises",
    "runtimes/edgetl_runtime/install/live_session.py": "the keeper's outer edge: every caller gets an error",
}
# who may name the interpreter; everybody else starts processes through `children`, which leave the working directory
INTERPRETER = {
    "runtimes/edgetl_runtime/children.py",
    "runtimes/edgetl_runtime/doctor/recording.py",
    "runtimes/edgetl_runtime/install/unit.py",
}
# who may sync and rename; a device's state has steps of its own, which tests interrupt one by one
DURABLE = {"runtimes/edgetl_runtime/durable.py", "runtimes/edgetl_runtime/install/disk.py"}
TOML, IMAGES = "edgetl/toml.py", "runtimes/edgetl_runtime/image_files.py"
BANNED_FILES = {"utils.py", "util.py", "helpers.py", "common.py", "misc.py"}
# pipelines of stages, frozen values in and out: nobody sets an attribute of theirs, from inside or outside
STAGES = {
    "edgetl/deploy": ("confirmed.py", "judged.py", "pipeline.py", "written.py"),
    "edgetl/finetune": ("baseline.py", "evaluated.py", "pipeline.py", "prepared.py", "trained.py", "work.py"),
}
SOURCES = (("", "edgetl"), ("runtimes", "edgetl_runtime"))


def sources(root: Path) -> list[Path]:
    """Return the source files of both packages, relative to the folder that holds the package."""
    return [
        path.relative_to(root / base)
        for base, package in SOURCES
        for path in sorted((root / base / package).rglob("*.py"))
    ]


def location(root: Path, source: Path) -> Path:
    return root / ("runtimes" if source.parts[0] == "edgetl_runtime" else "") / source


def length(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def mirror_of(source: Path) -> Path:
    stem = source.stem.strip("_")
    return Path("tests") / source.parent / f"test_{stem}.py"


def orphan_tests(root: Path) -> Iterator[str]:
    expected = {mirror_of(source) for source in sources(root)}
    for room in ("edgetl", "edgetl_runtime"):
        for path in sorted((root / "tests" / room).rglob("test_*.py")):
            if path.relative_to(root) not in expected:
                yield f"{path.relative_to(root)} mirrors no source file"


def sources_without_test(root: Path) -> Iterator[str]:
    for source in sources(root):
        tested = (root / mirror_of(source)).exists()
        if not tested and length(location(root, source)) > NEEDS_TEST_LINES and str(source) not in TESTED_ELSEWHERE:
            yield f"{source} has no {mirror_of(source)}"


def long_files(root: Path) -> Iterator[str]:
    for source in sources(root):
        if length(location(root, source)) > MAX_SOURCE_LINES:
            yield f"{source} has more than {MAX_SOURCE_LINES} lines"
    for path in sorted((root / "tests").rglob("*.py")):
        if length(path) > MAX_TEST_LINES:
            yield f"{path.relative_to(root)} has more than {MAX_TEST_LINES} lines"


def vague_names(root: Path) -> Iterator[str]:
    for folder in ("edgetl", "runtimes", "tests", "benchmarks"):
        for path in sorted((root / folder).rglob("*.py")):
            if path.name in BANNED_FILES:
                yield f"{path.relative_to(root)} says nothing about its content"


def careless_code(root: Path) -> Iterator[str]:
    """Long functions, prints in libraries, broad excepts that swallow: what ruff's settings do not see."""
    for source in sources(root):
        path = location(root, source)
        name = path.relative_to(root).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            where = f"{name}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.FunctionDef) and code_lines(node) > MAX_FUNCTION_LINES:
                yield f"{where} {node.name} has more than {MAX_FUNCTION_LINES} lines"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                yield f"{where} prints"
            if (
                isinstance(node, ast.ExceptHandler)
                and _is_broad(node)
                and path.relative_to(root).as_posix() not in SWALLOWS
            ):
                yield f"{where} swallows every exception"


def code_lines(function: ast.FunctionDef) -> int:
    """Return the lines of a function without its docstring: to document every option makes nothing hard to read."""
    said = function.body[0] if ast.get_docstring(function) is not None else None
    return (function.end_lineno or 0) - function.lineno - (0 if said is None else said.end_lineno - said.lineno + 1)


def careless_children(root: Path) -> Iterator[str]:
    for source in sources(root):
        path = location(root, source)
        if "sys.executable" in path.read_text(encoding="utf-8") and str(path.relative_to(root)) not in INTERPRETER:
            yield f"{path.relative_to(root)} starts Python by itself, not through edgetl_runtime.children"


def careless_writes(root: Path) -> Iterator[str]:
    """Syncing and renaming have rules (file, name, folder, in this order), which two modules keep for all."""
    for source in sources(root):
        name = location(root, source).relative_to(root).as_posix()
        if name in DURABLE:
            continue
        for node in ast.walk(ast.parse(location(root, source).read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            renames = node.func.attr in ("rename", "replace") and len(node.args) == 1 and not node.keywords
            if (
                renames
                or node.func.attr in ("fsync", "fdatasync")
                or ast.unparse(node.func) in ("os.replace", "os.rename")
            ):
                yield f"{name}:{node.lineno} makes a file durable by itself, not through edgetl_runtime.durable"


def second_readers(root: Path) -> Iterator[str]:
    """What must be understood alike everywhere is read in one place: TOML, and which names are images."""
    for source in sources(root):
        name = location(root, source).relative_to(root).as_posix()
        for node in ast.walk(ast.parse(location(root, source).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import) and node.names[0].name == "tomllib" and name != TOML:
                yield f"{name}:{node.lineno} reads TOML by itself, not through {TOML}"
            if isinstance(node, ast.Tuple | ast.List | ast.Set) and name != IMAGES:
                suffixes = {e.value for e in node.elts if isinstance(e, ast.Constant)} & {
                    ".png",
                    ".jpg",
                    ".tif",
                    ".bmp",
                }
                if len(suffixes) > 1:
                    yield f"{name}:{node.lineno} has a list of image formats of its own, not that of {IMAGES}"


def attributes_set_in_stages(root: Path) -> Iterator[str]:
    """A stage that keeps what it found on an object hides what the next one needs."""
    for room, names in STAGES.items():
        for path in (root / room / name for name in names):
            tree = ast.parse(path.read_text(encoding="utf-8")) if path.exists() else ast.Module(body=[])
            for node in ast.walk(tree):
                stored = isinstance(node, ast.Attribute) and not isinstance(node.ctx, ast.Load)
                called = isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("setattr", "__setattr__"))
                if stored or called:
                    yield f"{path.relative_to(root)}:{node.lineno} sets an attribute"


def _is_broad(handler: ast.ExceptHandler) -> bool:
    caught = {getattr(n, "id", None) for n in ast.walk(handler.type)} if handler.type else {"BaseException"}
    raises_again = isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None
    return bool(caught & {"Exception", "BaseException"}) and not raises_again


RULES: dict[str, Callable[[Path], Iterator[str]]] = {
    "mirror": orphan_tests,
    "tested": sources_without_test,
    "length": long_files,
    "names": vague_names,
    "care": careless_code,
    "children": careless_children,
    "stages": attributes_set_in_stages,
    "durable": careless_writes,
    "readers": second_readers,
}


@pytest.mark.parametrize("rule", RULES)
def test_the_tree_keeps_the_rule(rule):
    assert list(RULES[rule](ROOT)) == []


@pytest.mark.parametrize(
    ("rule", "file", "text", "words"),
    [
        ("mirror", "tests/edgetl/data/test_nothing.py", "", "mirrors no source file"),
        ("tested", "runtimes/edgetl_runtime/new.py", "x = 1\n" * 61, "has no tests/edgetl_runtime/test_new.py"),
        ("length", "edgetl/new.py", "x = 1\n" * 401, "edgetl/new.py has more than 400"),
        ("length", "tests/edgetl/test_long.py", "x = 1\n" * 501, "more than 500"),
        ("names", "edgetl/utils.py", "", "edgetl/utils.py says nothing"),
        ("care", "edgetl/new.py", "def f():\n" + "    x = 1\n" * 61, "new.py:1 f has more than 60 lines"),
        (
            "care",
            "edgetl/new.py",
            'def f():\n    """Do."""\n' + "    x = 1\n" * 61,
            "new.py:1 f has more than 60 lines",
        ),
        ("care", "edgetl/new.py", "print('x')", "new.py:1 prints"),
        ("care", "edgetl/new.py", "try:\n    f()\nexcept Exception:\n    x = 1", "new.py:3 swallows"),
        ("care", "edgetl/new.py", "try:\n    f()\nexcept (ValueError, Exception):\n    raise E", "swallows"),
        ("durable", "edgetl/new.py", "def f(path):\n    os.fsync(path.descriptor)", "new.py:2 makes a file durable"),
        ("durable", "edgetl/new.py", "part.replace(path)", "not through edgetl_runtime.durable"),
        ("durable", "runtimes/edgetl_runtime/new.py", "os.replace(a, b)", "not through edgetl_runtime.durable"),
        ("readers", "edgetl/new.py", "def f():\n    import tomllib", "new.py:2 reads TOML by itself"),
        (
            "readers",
            "runtimes/edgetl_runtime/new.py",
            "SUFFIXES = ('.png', '.jpg')",
            "a list of image formats of its own",
        ),
        ("stages", "edgetl/deploy/judged.py", "def f(asked):\n    asked.planned = ()", "judged.py:2 sets an attribute"),
        ("stages", "edgetl/finetune/trained.py", "def f(run):\n    setattr(run, 'kept', 1)", "trained.py:2 sets an"),
        ("children", "edgetl/new.py", "run([sys.executable, '-m', 'pip'])", "new.py starts Python by itself"),
    ],
)
def test_the_rule_fires_on_a_planted_violation(rule, file, text, words, tmp_path):
    good = {
        "edgetl/data/load.py": "try:\n    f()\nexcept Exception:\n    undo()\n    raise\n" + "x = 1\n" * 60,
        "tests/edgetl/data/test_load.py": "",
        "runtimes/edgetl_runtime/__init__.py": "",
    }
    for name, content in {**good, file: ""}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if name in good:
            (tmp_path / name).write_text(content)
    assert list(RULES[rule](tmp_path)) == []
    (tmp_path / file).write_text(text)
    found = list(RULES[rule](tmp_path))
    assert len(found) == 1
    assert words in found[0]


def test_every_written_reason_is_still_needed():
    for name, reason in TESTED_ELSEWHERE.items():
        assert len(reason) > 5
        assert length(location(ROOT, Path(name))) > NEEDS_TEST_LINES, name
        assert not (ROOT / mirror_of(Path(name))).exists(), name
    for name in SWALLOWS:
        handlers = [n for n in ast.walk(ast.parse((ROOT / name).read_text())) if isinstance(n, ast.ExceptHandler)]
        assert any(_is_broad(handler) for handler in handlers), name


def test_the_top_level_holds_what_architecture_md_draws():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout: an unpacked source distribution has only a part of the tree")
    assert {line.partition("/")[0] for line in listed.stdout.splitlines()} <= TOP_LEVEL
