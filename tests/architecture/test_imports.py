"""Who may import whom, as ARCHITECTURE.md's table says: a static check in which imports inside functions count.

Every rule is a function from a tree to sentences; each is run on the real tree and on a planted violation.
"""

from __future__ import annotations

import ast
import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
STDLIB = frozenset(sys.stdlib_module_names)
DEVICE, HOST = "edgetl_runtime", "edgetl"
HEAVY = frozenset({"torch", "torchvision", "timm", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf", "tensorrt"})
FREE_AT_START = (
    "api", "cli", "config", "profiles", "errors", "progress", "versions", "files", "toml", "__init__", "__main__",
)  # fmt: skip
LIGHT = (*FREE_AT_START, "deploy", "backbones", "run", "metrics", "tasks", "report", "search", "transport")
# rooms of the host, lowest first: an import goes down or stays; same floor means no import between them. A module may
# stand apart from its room: exporting a run needs the run, while training needs the graph that is exported
FLOORS = (
    {"version", "errors", "names", "toml"},
    {"files", "metrics", "plotting", "progress", "versions", "profiles"},
    {"tasks"},
    {"config"},
    {"run", "transport"},
    {"backbones", "data", "quantize", "export"},
    {"nvidia"},
    {"finetune"},
    {"edgetl.export.run_export"},
    {"deploy", "report"},
    {"search", "bench"},
    {"api"},
    {"__init__"},
    {"cli"},
    {"__main__"},
)
# the same for the runtime; what tells one floor from the next is what a reader must know before
DEVICE_FLOORS = (
    {"version", "errors"},
    {"schema", "children", "durable", "locks", "proof", "memory", "measure", "image_files", "onnx_walk", "preprocess"},
    {"signature", "tiff", "tasks"},
    {"contract", "jpeg"},
    {"decode", "manifest"},
    {"bundle", "golden", f"{DEVICE}.backends.base"},
    {"nvidia"},
    {"backends"},
    {"probe"},
    {"session"},
    {"doctor"},
    {"bench", "install"},
    {"cli", "pytest_plugin"},
    {"__init__", "__main__"},
)
# rooms of the runtime that several backends of one vendor share: what they may import, inside functions only
VENDOR_ROOMS = {f"{DEVICE}.nvidia": ("tensorrt", "cuda")}
# libraries that one module of the core wraps, with their reasons in runtimes/pyproject.toml; inside functions only
WRAPPED = {f"{DEVICE}.signature": "cryptography", f"{DEVICE}.jpeg": "simplejpeg", f"{DEVICE}.tiff": "PIL"}
# the plugin runs inside pytest; on a station nobody imports it, and it imports pytest only when pytest asks
PYTEST_INSIDE = (f"{DEVICE}.pytest_plugin", f"{DEVICE}.bench.fixtures")
# modules of light rooms that need a heavy library at module level, with the reason; nothing may load them early
HEAVY_BY_NEED = {"edgetl.backbones.parts": "subclasses of torch.nn.Module cannot be written without torch"}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """One import statement, or a call of import_module with a literal name."""

    module: str
    line: int
    at_module_level: bool
    for_types_only: bool

    @property
    def top(self) -> str:
        return self.module.partition(".")[0]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One source file and what it imports."""

    name: str
    path: Path
    imports: tuple[Import, ...]
    lazy: bool  # loads on first use what it shows to type checkers

    @property
    def room(self) -> str:
        return "__init__" if "." not in self.name else self.name.split(".")[1]

    def at(self, found: Import, words: str) -> str:
        return f"{self.path}:{found.line}: {words} {found.module}"


def modules(root: Path, package: str) -> dict[str, Module]:
    base = root / "runtimes" if package == DEVICE else root
    found = {}
    for path in sorted((base / package).rglob("*.py")):
        name = ".".join(path.relative_to(base).with_suffix("").parts)
        name = name.removesuffix(".__init__") if name.count(".") > 1 else name
        tree = ast.parse(path.read_text(encoding="utf-8"))
        own = "" if name.endswith("__init__") and name.count(".") == 1 else name
        imports = tuple(_imports(tree, own, at_module_level=True, for_types_only=False))
        lazy = any(isinstance(node, ast.FunctionDef) and node.name == "__getattr__" for node in tree.body)
        found[name] = Module(name=name, path=path.relative_to(root), imports=imports, lazy=lazy)
    return found


def _imports(node: ast.AST, own: str, *, at_module_level: bool, for_types_only: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        for name in _imported(child, own):
            yield Import(module=name, line=child.lineno, at_module_level=at_module_level, for_types_only=for_types_only)
        inside_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        types_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
        yield from _imports(
            child,
            own,
            at_module_level=at_module_level and not inside_function,
            for_types_only=for_types_only or types_only,
        )


def _imported(node: ast.AST, own: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).endswith(("import_module", "__import__")):
        parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
        if isinstance(parts[0], ast.FormattedValue) and ast.unparse(parts[0].value) == "__name__":
            parts = [ast.Constant(own + str(getattr(parts[1], "value", "")))]
        if isinstance(parts[0], ast.Constant) and isinstance(parts[0].value, str):
            return [f"{parts[0].value}*" if parts[0].value.endswith(".") else parts[0].value]
    return []


def device_core_violations(root: Path) -> Iterator[str]:
    """The core: standard library, numpy, OpenCV inside functions; each wrapped library inside those of one module."""
    for module in modules(root, DEVICE).values():
        if module.name.startswith(f"{DEVICE}.backends.") and module.name != f"{DEVICE}.backends.base":
            continue
        for found in module.imports:
            third_party = found.top not in STDLIB | {DEVICE, "numpy"}
            opencv_inside = found.top == "cv2" and not found.at_module_level
            if found.top == "pytest" and module.name in PYTEST_INSIDE and not _at_start(found):
                continue
            words_for_types = found.for_types_only and found.top == "typing_extensions"
            lazy = not found.at_module_level or found.for_types_only
            wrapped = lazy and WRAPPED.get(module.name) == found.top
            in_room = next((room for room in VENDOR_ROOMS if f"{module.name}.".startswith(f"{room}.")), "")
            vendor = lazy and found.top in VENDOR_ROOMS.get(in_room, ())
            if third_party and not (opencv_inside or words_for_types or wrapped or vendor):
                yield module.at(found, "the runtime's core imports")
            if not in_room and any(f"{found.module}.".startswith(f"{room}.") for room in VENDOR_ROOMS):
                yield module.at(found, "only a backend may use a vendor's room; the core imports")
            if found.module.startswith(f"{DEVICE}.backends.") and module.name != f"{DEVICE}.backends":
                named = found.module.split(".")[2]
                if (root / "runtimes" / DEVICE / "backends" / f"{named}.py").exists() and named != "base":
                    yield module.at(found, "only backends.get() may name a backend; the core imports")


def _at_start(found: Import) -> bool:
    return found.at_module_level and not found.for_types_only


def backend_violations(root: Path) -> Iterator[str]:
    """A backend: the core and its own vendor's library, the latter inside functions; never another backend."""
    for module in modules(root, DEVICE).values():
        if not module.name.startswith(f"{DEVICE}.backends.") or module.name == f"{DEVICE}.backends.base":
            continue
        vendor = _vendor((root / module.path).read_text(encoding="utf-8"))
        for found in module.imports:
            if found.top not in STDLIB | {DEVICE, "numpy", vendor}:
                yield module.at(found, "a backend imports")
            if found.top == vendor and found.at_module_level and not found.for_types_only:
                yield module.at(found, "a backend's file must load without its vendor's library; it imports")
            if found.module.startswith(f"{DEVICE}.backends.") and found.module.split(".")[2] != "base":
                yield module.at(found, "a backend imports another:")


def _vendor(source: str) -> str:
    """Return the import name in the file's BackendInfo."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "module" and isinstance(node.value, ast.Constant):
            return str(node.value.value).partition(".")[0]
    return ""


def device_imports_host_violations(root: Path) -> Iterator[str]:
    """The one arrow between the installables, type hints included."""
    for module in modules(root, DEVICE).values():
        yield from (module.at(found, "the device imports") for found in module.imports if found.top == HOST)


def light_room_violations(root: Path) -> Iterator[str]:
    """Light rooms: no heavy library at module level, directly or through a module that they load."""
    tree = modules(root, HOST)
    for module in tree.values():
        if module.room not in LIGHT or module.name in HEAVY_BY_NEED:
            continue
        banned = HEAVY if module.room not in FREE_AT_START else None
        for chain in _loaded_chains(tree, module):
            top = chain[-1].partition(".")[0]
            if top in HEAVY if banned else top not in STDLIB | {HOST, DEVICE}:
                yield f"{module.path}: loading it loads {' -> '.join(chain)}"


def _loaded_chains(tree: dict[str, Module], start: Module) -> Iterator[list[str]]:
    """Yield how each module outside the host is reached by imports at module level."""
    todo, seen = [[start.name]], {start.name}
    while todo:
        chain = todo.pop()
        for found in tree[chain[-1]].imports:
            if not found.at_module_level or found.for_types_only:
                continue
            if found.top != HOST:
                yield [*chain, found.module]
                continue
            name = next((n for n in (found.module, found.module.rpartition(".")[0]) if n in tree), None)
            if name and name not in seen:
                seen.add(name)
                todo.append([*chain, name])


def floor_violations(root: Path) -> Iterator[str]:
    """Rooms import downwards only, inside functions too, so they can be understood one by one."""
    yield from _floor_violations(root, HOST, FLOORS)
    yield from _floor_violations(root, DEVICE, DEVICE_FLOORS)


def _floor_violations(root: Path, package: str, floors: tuple[set[str], ...]) -> Iterator[str]:
    floor = {room: level for level, rooms in enumerate(floors) for room in rooms}
    for module in modules(root, package).values():
        own = floor.get(module.name, floor.get(module.room))
        if own is None:
            yield f"{module.path}: room {module.room} stands on no floor of this test"
            continue
        for found in module.imports:
            if found.top != package or (found.for_types_only and not module.lazy):
                continue
            target = found.module.partition(".")[2].partition(".")[0]
            level = next(
                (floor[name] for name in (found.module, found.module.rpartition(".")[0], target) if name in floor), own
            )
            if target != module.room and level >= own and target in floor:
                yield module.at(found, f"{module.room} must import downwards; it imports")


def circle_violations(root: Path) -> Iterator[str]:
    """No module needs itself: imports inside functions, of discovered files and of a lazy door count, types do not."""
    tree = {name.removesuffix(".__init__"): module for p in (DEVICE, HOST) for name, module in modules(root, p).items()}
    needs = {name: set(_needed(tree, name)) for name in tree}
    while free := {name for name in needs if not needs[name]}:  # what needs nothing is in no circle
        needs = {name: needed - free for name, needed in needs.items() if name not in free}
    while needs:
        chain = [min(needs)]
        while chain[-1] not in chain[:-1]:
            chain.append(min(needs[chain[-1]]))
        circle = chain[chain.index(chain[-1]) :]
        yield f"{tree[circle[0]].path}: a circle of imports: {' -> '.join(circle)}"
        needs.pop(circle[0])
        while free := {name for name in needs if not needs[name] & needs.keys()}:
            needs = {name: needed for name, needed in needs.items() if name not in free}
        needs = {name: needed & needs.keys() for name, needed in needs.items()}


def _needed(tree: dict[str, Module], name: str) -> Iterator[str]:
    for found in tree[name].imports:
        if found.for_types_only and not tree[name].lazy:
            continue
        package = found.module.removesuffix("*")
        if package != found.module:
            yield from (other for other in tree if other.rpartition(".")[0] == package.rstrip("."))
        else:
            target = next((n for n in (found.module, found.module.rpartition(".")[0]) if n in tree), name)
            yield from {target} - {name}


RULES: dict[str, Callable[[Path], Iterator[str]]] = {
    "device core": device_core_violations,
    "backend": backend_violations,
    "device to host": device_imports_host_violations,
    "light room": light_room_violations,
    "floors": floor_violations,
    "circles": circle_violations,
}


@pytest.mark.parametrize("rule", RULES)
def test_the_tree_keeps_the_rule(rule):
    assert list(RULES[rule](ROOT)) == []


@pytest.mark.parametrize(
    ("rule", "file", "source", "words"),
    [
        ("device core", "runtimes/edgetl_runtime/x.py", "def f():\n    import torch", "x.py:2: the runtime's core"),
        ("device core", "runtimes/edgetl_runtime/x.py", "import cv2", "imports cv2"),
        ("device core", "runtimes/edgetl_runtime/x.py", "def f():\n    import pytest", "imports pytest"),
        ("device core", "runtimes/edgetl_runtime/pytest_plugin.py", "import pytest", "imports pytest"),
        ("device core", "runtimes/edgetl_runtime/x.py", "def f():\n    import cryptography", "imports cryptography"),
        ("device core", "runtimes/edgetl_runtime/signature.py", "import cryptography", "imports cryptography"),
        ("device core", "runtimes/edgetl_runtime/x.py", "def f():\n    import simplejpeg", "imports simplejpeg"),
        ("device core", "runtimes/edgetl_runtime/jpeg.py", "def f():\n    import PIL", "imports PIL"),
        ("device core", "runtimes/edgetl_runtime/x.py", "def f():\n    import onnxruntime", "imports onnxruntime"),
        ("device core", "runtimes/edgetl_runtime/nvidia/x.py", "import cuda.bindings.driver", "imports cuda"),
        ("device core", "runtimes/edgetl_runtime/nvidia/x.py", "def f():\n    import torch", "imports torch"),
        (
            "device core",
            "runtimes/edgetl_runtime/x.py",
            "def f():\n    import edgetl_runtime.nvidia.cuda",
            "vendor's room",
        ),
        ("device core", "runtimes/edgetl_runtime/x.py", "import importlib\nimportlib.import_module('timm')", "timm"),
        ("device core", "runtimes/edgetl_runtime/x.py", "from edgetl_runtime.backends import alpha", "may name"),
        ("backend", "runtimes/edgetl_runtime/backends/x.py", "def f():\n    import torch", "a backend imports torch"),
        (
            "backend",
            "runtimes/edgetl_runtime/backends/x.py",
            "import vendor\nBackendInfo(module='vendor')",
            "must load without",
        ),
        (
            "backend",
            "runtimes/edgetl_runtime/backends/x.py",
            "from edgetl_runtime.backends.alpha import A",
            "imports another",
        ),
        (
            "device to host",
            "runtimes/edgetl_runtime/x.py",
            "if TYPE_CHECKING:\n    from edgetl.run import Run",
            "x.py:2: the device imports edgetl.run.Run",
        ),
        ("light room", "edgetl/deploy/x.py", "import torch", "loads edgetl.deploy.x -> torch"),
        ("light room", "edgetl/cli/x.py", "import numpy as np", "-> numpy"),
        ("light room", "edgetl/cli/x.py", "import edgetl.data.heavy", "edgetl.data.heavy -> torch"),
        ("light room", "edgetl/cli/x.py", "from edgetl.data.heavy import f", "edgetl.data.heavy -> torch"),
        ("light room", "edgetl/config.py", "try:\n    import timm\nexcept ImportError:\n    pass", "-> timm"),
        ("floors", "edgetl/data/x.py", "def f():\n    from edgetl.deploy import plan", "must import downwards"),
        ("floors", "edgetl/finetune/x.py", "import edgetl.cli", "finetune must import downwards"),
        ("floors", "edgetl/newroom/x.py", "", "stands on no floor"),
        ("floors", "runtimes/edgetl_runtime/bench/x.py", "def f():\n    import edgetl_runtime.cli.x", "downwards"),
        ("floors", "runtimes/edgetl_runtime/memory.py", "from edgetl_runtime import backends", "downwards"),
        ("floors", "runtimes/edgetl_runtime/newroom.py", "", "stands on no floor"),
        (
            "circles",
            "edgetl/data/heavy.py",
            "def f():\n    import edgetl.cli.lazy",
            "edgetl.cli.lazy -> edgetl.data.heavy",
        ),
        (
            "circles",
            "runtimes/edgetl_runtime/backends/alpha.py",
            "from edgetl_runtime.backends import get",
            "-> edgetl_runtime.backends",
        ),
        (
            "circles",
            "runtimes/edgetl_runtime/session.py",
            "from edgetl_runtime import __version__",
            "edgetl_runtime -> edgetl_runtime.session",
        ),
    ],
)
def test_the_rule_fires_on_a_planted_violation(rule, file, source, words, tmp_path):
    planted = {
        "runtimes/edgetl_runtime/backends/alpha.py": "BackendInfo(module='vendor')\ndef f():\n    import vendor.core",
        "runtimes/edgetl_runtime/backends/__init__.py": "import_module(f'{__name__}.{name}')",
        "runtimes/edgetl_runtime/session.py": "import numpy as np\ndef f():\n    import cv2",
        "runtimes/edgetl_runtime/__init__.py": "if TYPE_CHECKING:\n    from edgetl_runtime.session import open\n"
        "def __getattr__(name): ...",
        "edgetl/data/heavy.py": "import torch",
        "edgetl/cli/lazy.py": "def run():\n    import edgetl.data.heavy, torch",
    }
    for name, text in planted.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert list(RULES[rule](tmp_path)) == []
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(source)
    found = list(RULES[rule](tmp_path))
    assert len(found) == 1
    assert words in found[0]


def test_every_exception_to_the_rules_is_still_needed():
    tree = modules(ROOT, HOST)
    for name in HEAVY_BY_NEED:
        assert any(found.top in HEAVY and found.at_module_level for found in tree[name].imports)
        loaders = [m for m in tree.values() if any(f.at_module_level and f.module.startswith(name) for f in m.imports)]
        assert loaders == []


@pytest.mark.parametrize("floors", [FLOORS, DEVICE_FLOORS])
def test_the_arrows_of_architecture_md_are_the_floors_of_this_guard(floors):
    named = [sorted(filter(None, map(drawn_as, floor))) for floor in floors]
    drawn = " < ".join(f"`{' '.join(rooms)}`" for rooms in named if rooms)
    text = " ".join((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").split())
    assert drawn in text


def drawn_as(name: str) -> str:
    """Return how a page names a room, or a module that stands apart from its own."""
    return "" if name.startswith("__") else name if "." not in name else "/".join(name.split(".")[1:]) + ".py"
