from __future__ import annotations

from pathlib import Path

import pytest

from edgetl import profiles
from edgetl_runtime.errors import UsageError

GOOD = (Path(__file__).parents[2] / "devices" / "any-local.toml").read_text(encoding="utf-8")


def write(folder: Path, text: str, name: str = "any-x.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_get_finds_by_alias():
    assert profiles.get("jetson") == profiles.get("jetson-orin-nano")


@pytest.mark.parametrize("name", ["jetson-nano", "jetson-xavier-nx", "jetson-agx-xavier", "jetson-tx2"])
def test_get_refuses_old_boards_with_the_reason(name):
    with pytest.raises(UsageError) as caught:
        profiles.get(name)
    assert f"got '{name}': its last system is JetPack" in caught.value.sentence
    assert "which NVIDIA no longer supports." in caught.value.sentence
    assert caught.value.fix == "a Jetson Orin, for instance --target jetson-orin-nano"


def test_get_names_the_nearest_when_unknown():
    with pytest.raises(UsageError, match=r"target must be a known device; got 'jetsn'\.\nTry: 'jetson'"):
        profiles.get("jetsn")


def test_all_profiles_are_sorted_and_hold_the_four_targets():
    names = [profile.name for profile in profiles.all_profiles()]
    assert names == sorted(names)
    assert {"local", "ipc-openvino", "ipc-onnxruntime", "jetson-orin-nano"} <= set(names)


def test_backend_returns_none_for_one_the_device_lacks():
    jetson = profiles.get("jetson")
    assert jetson.backend("openvino") is None
    assert jetson.backend("tensorrt").fast == ("int8", "f16")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("schema_version = 1", "schema_version = 2"), "schema_version of device profile 'local' must be 1; got 2"),
        (('vendor = "any"', 'vendr = "any"'), "key 'vendr' in devices/any-x.toml must be a known key"),
        (('status = "measured"', 'status = "guessed"'), "status must be one of 'measured', 'not measured'"),
        (('fast = ["int8"]', 'fast = ["f16"]'), "fast precisions of openvino in device profile 'local' must be among"),
        (('arch = ["any"]', "arch = []"), "arch of device profile 'local' must be at least one; got none"),
        (('name = "local"', "name = local"), "devices/any-x.toml must be valid TOML"),
    ],
    ids=["schema", "key", "status", "fast", "arch", "toml"],
)
def test_read_refuses_with_one_sentence(tmp_path, change, sentence):
    with pytest.raises(UsageError) as caught:
        profiles.read(write(tmp_path, GOOD.replace(*change)))
    assert sentence in str(caught.value)


def test_read_takes_what_is_not_its_own_from_the_family(tmp_path):
    (tmp_path / "families").mkdir()
    write(tmp_path / "families", GOOD.replace('name = "local"\n', ""), "base.toml")
    own = 'name = "mine"\nfamily = "base"\nstatus = "not measured"\n'
    profile = profiles.read(write(tmp_path, own))
    assert (profile.name, profile.status, profile.board) == ("mine", "not measured", "this machine")
    assert [choice.name for choice in profile.backends] == ["openvino", "onnxruntime"]
    assert [found.name for found in profiles.all_profiles(tmp_path)] == ["mine"]


def test_read_refuses_an_unknown_family(tmp_path):
    (tmp_path / "families").mkdir()
    write(tmp_path / "families", "", "jetson-orin.toml")
    with pytest.raises(UsageError, match=r"family of devices/any-x\.toml must be a file in devices/families") as caught:
        profiles.read(write(tmp_path, 'family = "jetson-orn"\n' + GOOD))
    assert caught.value.fix == "'jetson-orin' instead of 'jetson-orn'"


def test_read_refuses_a_contract_power_mode_that_the_device_lacks(tmp_path):
    with pytest.raises(
        UsageError, match=r"contract_power_mode of device profile 'local' must be one of its power modes"
    ):
        profiles.read(write(tmp_path, 'contract_power_mode = "15W"\n' + GOOD))


def test_read_refuses_a_missing_file(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*: No such file"):
        profiles.read(tmp_path / "absent.toml")


def test_all_profiles_refuses_two_files_with_one_name(tmp_path):
    write(tmp_path, GOOD, "a.toml")
    write(tmp_path, GOOD, "b.toml")
    with pytest.raises(UsageError, match="names and aliases of device profiles must be unique"):
        profiles.all_profiles(tmp_path)


def test_all_profiles_reads_the_wheels_folder_first(tmp_path, monkeypatch):
    write(tmp_path, GOOD)
    monkeypatch.setattr(profiles, "PLACES", (tmp_path, Path("/nonexistent")))
    assert [profile.name for profile in profiles.all_profiles()] == ["local"]
    monkeypatch.setattr(profiles, "PLACES", (Path("/nonexistent"),))
    with pytest.raises(UsageError, match="must be installed"):
        profiles.all_profiles()
