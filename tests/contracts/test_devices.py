"""Every device profile, found in its folder, says what a deployment needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetl import profiles
from edgetl.quantize import recipe
from edgetl_runtime.doctor import boards

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


def test_device_with_power_modes_names_the_one_contracts_assume(path):
    profile = profiles.read(path)
    assert bool(profile.power_modes) == (profile.contract_power_mode is not None)
    assert all(mode.command for mode in profile.power_modes)


def test_device_of_nvidia_names_its_compute_capability(path):
    profile = profiles.read(path)
    for unit in profile.accelerators:
        assert (unit.compute_capability is not None) == (profile.vendor == "nvidia" and unit.kind == "gpu")


def test_device_has_a_recipe_for_every_backend_and_precision(path):
    for backend in profiles.read(path).backends:
        offered = {found.file.precision for found in recipe.for_backend(backend.name)}
        assert set(backend.precisions) <= offered


def test_device_says_not_measured_unless_it_is_this_machine(path):
    profile = profiles.read(path)
    assert profile.measured_here == (profile.status == "measured")


def test_every_known_board_has_a_profile_and_every_jetson_a_board():
    listed = {name for board in boards.known() for name in (board.profile, board.super_profile) if name}
    names = {profile.name for profile in profiles.all_profiles(FOLDER)}
    assert listed <= names
    assert {name for name in names if name.startswith("jetson")} <= listed


def test_every_family_is_used():
    families = {file.stem for file in (FOLDER / "families").glob("*.toml")}
    assert families == {profile.family for profile in profiles.all_profiles(FOLDER)} - {None}
