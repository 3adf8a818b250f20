"""Real virtual environments that hold only edgetl-runtime and one backend, as a station does.

They are kept below pytest's cache folder, keyed by what is installed in them, and get the freshly built wheel each
time. Without a package index the tests are skipped; in CI (CI=true) they fail instead.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import edgetl_runtime

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]
RUNTIMES = ROOT / "runtimes"
NEVER_THERE = ("torch", "torchvision", "timm", "onnx", "onnxscript", "nncf", "sklearn", "edgetl")
pytestmark = pytest.mark.timeout(600)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a station has installed."""

    name: str
    backend: str | None
    constraints: str
    python: str = "python3"

    @property
    def requirement(self) -> str:
        return f"[{self.backend}]" if self.backend else ""


ENVIRONMENTS = (
    Environment(name="onnxruntime", backend="onnxruntime", constraints="constraints.txt"),
    Environment(name="openvino", backend="openvino", constraints="constraints.txt"),
    Environment(
        name="onnxruntime-py310", backend="onnxruntime", constraints="constraints-py310.txt", python="python3.10"
    ),
    Environment(name="no-backend", backend=None, constraints="constraints.txt"),
)
WITH_BACKEND = [environment for environment in ENVIRONMENTS if environment.backend]


def interpreter(name: str) -> str:
    """Return a Python of that version if there is one, else this one."""
    if name == "python3":
        return sys.executable
    version = name.removeprefix("python")
    candidates = [shutil.which(name) or "", *map(str, Path.home().glob(f".pyenv/versions/{version}*/bin/python"))]
    for candidate in filter(None, candidates):
        asked = subprocess.run([candidate, "-c", "import venv"], capture_output=True, check=False)
        if asked.returncode == 0:
            return candidate
    return sys.executable


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    # nothing of this process's Python may leak into the environment
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=clean, check=False, timeout=500)


def pip(*arguments: str | Path) -> None:
    """Run pip; where it cannot reach an index, skip, but fail in CI."""
    done = run(sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", *arguments)
    if done.returncode == 0:
        return
    errors = [line.strip() for line in done.stderr.splitlines() if "ERROR" in line]
    words = "\n".join(errors or done.stderr.splitlines()[-5:])
    unreachable = any(sign in done.stderr for sign in ("No matching distribution", "ConnectionError", "timed out"))
    if unreachable and os.environ.get("CI", "").lower() not in ("1", "true"):
        pytest.skip(f"pip cannot reach a package index: {words}")
    pytest.fail(f"pip {' '.join(map(str, arguments))}: {words}")


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--wheel-dir", folder, RUNTIMES)
    return next(folder.glob("edgetl_runtime-*.whl"))


@pytest.fixture(scope="session")
def python_of(
    wheel: Path, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Environment], Path]:
    """Return the interpreter of an environment; made on first use, and kept for the next session."""
    made: dict[str, Path] = {}

    def make(environment: Environment) -> Path:
        if environment.name not in made:
            cache = request.config.cache
            folder = Path(cache.mkdir("environments")) if cache else tmp_path_factory.mktemp("environments")
            made[environment.name] = _install(environment, wheel, folder)
        return made[environment.name]

    return make


def _install(environment: Environment, wheel: Path, folder: Path) -> Path:
    base = interpreter(environment.python)
    pins = (RUNTIMES / environment.constraints).read_text() + (RUNTIMES / "pyproject.toml").read_text()
    key = hashlib.sha256(f"{os.path.realpath(base)} {environment} {pins}".encode()).hexdigest()[:12]
    place, stamp = folder / f"{environment.name}-{key}", folder / f"{environment.name}-{key}.wheel-sha256"
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    python = place / "bin" / "python"
    if stamp.exists() and stamp.read_text() == digest:
        return python
    if not stamp.exists():
        for old in folder.glob(f"{environment.name}-????????????"):
            shutil.rmtree(old)
        # without pip: the host's installs into it, and the station's environment holds nothing else
        created = run(base, "-m", "venv", "--without-pip", place)
        assert created.returncode == 0, created.stderr
        constraints = RUNTIMES / environment.constraints
        pip("--python", python, "install", "-c", constraints, f"{wheel}{environment.requirement}")
    else:
        pip("--python", python, "install", "--no-deps", "--force-reinstall", wheel)
    stamp.write_text(digest)
    return python


@pytest.fixture(params=WITH_BACKEND, ids=lambda environment: environment.name)
def station(request: pytest.FixtureRequest, python_of: Callable[[Environment], Path]) -> tuple[Environment, Path]:
    return request.param, python_of(request.param)


@pytest.fixture(scope="session")
def bundle(tiny_bundle: Callable[..., Path]) -> Path:
    return tiny_bundle()


@pytest.fixture(scope="session")
def image(bundle: Path) -> Path:
    from edgetl_runtime.bundle import open_bundle

    path = bundle.with_name("part.png")
    with open_bundle(bundle) as opened:
        path.write_bytes(opened.read("golden/003.png"))
    return path


def call(python: Path, *arguments: str | Path) -> tuple[int, dict[str, Any]]:
    """Run the installed `edgetl-runtime` from an empty folder, with --json."""
    done = run(python.with_name("edgetl-runtime"), *arguments, "--json", cwd=python.parent)
    assert "Traceback" not in done.stderr
    return done.returncode, json.loads(done.stdout)


def test_the_environment_holds_nothing_of_the_host(station: tuple[Environment, Path]) -> None:
    environment, python = station
    code = (
        "import importlib.util, json, sys; import edgetl_runtime;"
        "there = [n for n in sys.argv[1].split(',') if importlib.util.find_spec(n)];"
        "print(json.dumps([there, edgetl_runtime.__version__, edgetl_runtime.__file__, list(sys.version_info[:2])]))"
    )
    done = run(python, "-I", "-c", code, ",".join(NEVER_THERE), cwd=python.parent)
    assert done.returncode == 0, done.stderr
    there, version, file, python_version = json.loads(done.stdout)
    assert there == []
    assert version == edgetl_runtime.__version__
    assert Path(file).is_relative_to(python.parents[1])
    if environment.python == "python3.10" and interpreter("python3.10") != sys.executable:
        assert python_version == [3, 10]


def test_versions_are_the_pinned_ones(station: tuple[Environment, Path]) -> None:
    environment, python = station
    pins = dict(
        line.split("==")
        for line in (RUNTIMES / environment.constraints).read_text().splitlines()
        if not line.startswith("#")
    )
    code = (
        "import importlib.metadata as m, json; "
        "print(json.dumps({d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
    )
    installed = json.loads(run(python, "-I", "-c", code).stdout)
    assert {environment.backend, "numpy", "opencv-python-headless", "simplejpeg", "pillow"} <= installed.keys()
    assert {name: pins[name] for name in installed if name != "edgetl-runtime"} == {
        name: version for name, version in installed.items() if name != "edgetl-runtime"
    }


def test_verify_reproduces_the_golden_vectors(station: tuple[Environment, Path], bundle: Path) -> None:
    environment, python = station
    code, result = call(python, "verify", bundle)
    chosen = next(variant for variant in result["variants"] if variant["id"] == result["chosen"])
    assert code == (0 if chosen["ok"] else 4)
    outcome = {variant["backend"]: variant["ok"] for variant in result["variants"]}
    assert outcome[environment.backend or ""] is True
    assert outcome == {name: True if name in (environment.backend, "null") else None for name in outcome}


def test_predict_decides_as_here(station: tuple[Environment, Path], bundle: Path, image: Path) -> None:
    environment, python = station
    code, result = call(python, "predict", bundle, image, "--backend", environment.backend or "")
    assert code == 0
    found = result["decisions"][0]
    with edgetl_runtime.open(bundle, backend=environment.backend) as session:
        here = session.predict(image)
    assert (found["class"], found["verdict"]) == (here.label, here.verdict)
    assert found["defect_score"] == pytest.approx(here.defect_score, abs=1e-5)
    assert found["timings_ms"]["total"] > 0


def test_a_missing_backend_is_the_install_sentence(
    python_of: Callable[[Environment], Path], bundle: Path, image: Path
) -> None:
    for environment in ENVIRONMENTS:
        if environment.backend == "onnxruntime":
            continue
        code, result = call(python_of(environment), "predict", bundle, image)
        assert (code, result["error"]["type"]) == (1, "BackendMissingError")
        assert result["error"]["message"] == (
            "variant onnxruntime-f32 must be able to run on this machine; got the package onnxruntime is not installed."
        )
        assert result["error"]["try"] == 'pip install "edgetl-runtime[onnxruntime]"'


def test_without_a_backend_info_and_help_work(python_of: Callable[[Environment], Path], bundle: Path) -> None:
    python = python_of(next(environment for environment in ENVIRONMENTS if environment.backend is None))
    code, result = call(python, "info", bundle)
    assert code == 0
    assert result["unfit"]["null-f32"] is None
    for name in ("onnxruntime", "openvino"):
        assert result["unfit"][f"{name}-f32"] == f"the package {name} is not installed"
    for command in ("predict", "verify", "info"):
        assert run(python.with_name("edgetl-runtime"), command, "--help").returncode == 0


def test_every_module_loads_without_a_backend(python_of: Callable[[Environment], Path]) -> None:
    """Backends too: they are described before their vendor's library is loaded."""
    python = python_of(next(environment for environment in ENVIRONMENTS if environment.backend is None))
    code = (
        "import edgetl_runtime, importlib, pkgutil;"
        "names = [m.name for m in pkgutil.walk_packages(edgetl_runtime.__path__, 'edgetl_runtime.')];"
        "[importlib.import_module(n) for n in names if not n.endswith('__main__')]; print(len(names))"
    )
    done = run(python, "-I", "-W", "error", "-c", code, cwd=python.parent)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(list((RUNTIMES / "edgetl_runtime").rglob("*.py"))) - 1
