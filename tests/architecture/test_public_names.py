"""The public door and the versions: what other people's code and files may rely on."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[2]
PACKAGES = {"edgetl": ROOT / "edgetl", "edgetl_runtime": ROOT / "runtimes" / "edgetl_runtime"}
CONSTRAINTS = {
    name: dict(line.lower().split("==") for line in (ROOT / name).read_text().splitlines() if not line.startswith("#"))
    for name in ("constraints.txt", "runtimes/constraints.txt", "runtimes/constraints-py310.txt")
}


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_typed_and_says_what_is_public(package):
    assert (PACKAGES[package] / "py.typed").read_bytes() == b""
    module = importlib.import_module(package)
    assert "Public are" in module.__doc__
    names = getattr(module, "__all__", ["__version__"])
    assert list(names) == sorted(names)
    assert all(getattr(module, name) is not None for name in names)


@pytest.mark.parametrize("package", PACKAGES)
def test_version_is_the_changelogs_newest(package):
    newest = re.search(r"^## (\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest
    version = importlib.import_module(package).__version__
    assert version == newest[1] == importlib.metadata.version(package.replace("_", "-"))


def _requirements() -> list[Requirement]:
    found = []
    for file in ("pyproject.toml", "runtimes/pyproject.toml"):
        project = tomllib.loads((ROOT / file).read_text())["project"]
        extras = project["optional-dependencies"].values()
        found += [Requirement(words) for words in [*project["dependencies"], *(w for extra in extras for w in extra)]]
    return [requirement for requirement in found if requirement.name != "edgetl-runtime"]


@pytest.mark.parametrize("requirement", _requirements(), ids=lambda requirement: requirement.name)
def test_every_requirement_is_pinned_within_its_range(requirement):
    assert CONSTRAINTS["constraints.txt"][requirement.name] in requirement.specifier
    for pins in CONSTRAINTS.values():
        assert pins.get(requirement.name, CONSTRAINTS["constraints.txt"][requirement.name]) in requirement.specifier


def test_the_stations_newest_pins_are_the_hosts():
    assert CONSTRAINTS["runtimes/constraints.txt"].items() <= CONSTRAINTS["constraints.txt"].items()


def test_the_pins_are_what_is_tested_here():
    differing = {}
    for name, pinned in CONSTRAINTS["constraints.txt"].items():
        here = importlib.metadata.version(name).partition("+")[0]
        if here != pinned:
            differing[name] = (pinned, here)
    assert differing == {}, "run make install, or pin what was tested"


@pytest.mark.parametrize(("file", "lowest"), [("pyproject.toml", "3.11"), ("runtimes/pyproject.toml", "3.10")])
def test_python_versions_agree_with_what_ruff_checks(file, lowest):
    settings = tomllib.loads((ROOT / file).read_text())
    assert settings["project"]["requires-python"] == f">={lowest}"
    assert settings["tool"]["ruff"]["target-version"] == "py" + lowest.replace(".", "")
    assert SpecifierSet(settings["project"]["requires-python"]).contains(lowest)
