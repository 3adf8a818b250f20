"""Every device profile, found in its folder, says what a deployment needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetl import profiles
from edgetl.quantize import recipe

FOLDER = Path(__file__).parents[2] / "devices"


@pytest.fixture(params=sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def path(request) -> Path:
    return request.param


def test_device_file_is_named_vendor_board(path):
    profile = profiles.read(path)
    assert path.stem.startswith(f"{profile.vendor}-")
    assert path.stem.removeprefix(f"{profile.vendor}-").split("-")[0] in profile.name


def test_device_names_a_source_for_every_figure(path):
    profile = profiles.read(path)
    sources = [backend.source for backend in profile.backends] + [unit.source for unit in profile.accelerators]
    sources += [figure.source for figure in (profile.memory_mb, profile.thread_cap) if figure]
    sources += [mode.power_w.source for mode in profile.power_modes if mode.power_w] + [profile.system.source]
    assert all(len(source) > 10 for source in sources)


def test_device_has_a_recipe_for_every_backend_and_precision(path):
    for backend in profiles.read(path).backends:
        offered = {found.file.precision for found in recipe.for_backend(backend.name)}
        assert set(backend.precisions) <= offered


def test_device_says_not_measured_unless_it_is_this_machine(path):
    profile = profiles.read(path)
    assert (profile.latency_note is None) == profile.measured_here == (profile.status == "measured")
