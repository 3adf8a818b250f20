from __future__ import annotations

import dataclasses

import pytest

from edgetl_runtime.doctor import recording
from edgetl_runtime.doctor.checks import engines
from edgetl_runtime.doctor.findings import Need


def said_by(base: recording.Recording, **commands: str) -> recording.Recording:
    outputs = {name.replace("_", "-"): recording.Output(code=0, text=text) for name, text in commands.items()}
    return dataclasses.replace(base, commands=base.commands | outputs)


def test_an_old_tensorrt_is_refused(said):
    old = "installed cuda-cudart-11-4 11.4.298-1\ninstalled libnvinfer8 8.5.2-1+cuda11.4"
    found = list(engines.check(said_by(said("orin-nano-jp6"), packages=old), Need()))
    assert found[1].found == "TensorRT 8.5.2 is older than 10.3"
    assert found[1].level == "fail"


def test_tensorrt_without_its_python_package_names_the_package(said):
    base = said("agx-orin-jp6")
    packages = base.commands["packages"].text.replace("installed python3-libnvinfer 10.3.0.30-1+cuda12.5", "")
    found = [f for f in engines.check(said_by(base, packages=packages), Need()) if f.level == "warn"]
    assert [f.command for f in found] == ["sudo apt-get install python3-libnvinfer"]


@pytest.mark.parametrize(("backends", "level"), [((), "warn"), (("tensorrt_rtx",), "fail")])
def test_a_card_without_driver_matters_where_it_is_needed(backends, level):
    machine = recording.parse("=== command uname 0\n| Linux 6.8 x86_64\n=== command nvidia-smi 9\n")
    found = next(iter(engines.check(machine, Need(backends=backends))))
    assert (found.level, found.found) == (level, "no NVIDIA card answers")


def test_a_card_older_than_turing_is_named(said):
    old = said_by(said("ipc-rtx"), nvidia_smi="NVIDIA GeForce GTX 1060, 570.133.20, 6.1, 6144 MiB")
    found = next(iter(engines.check(old, Need(backends=("tensorrt_rtx",)))))
    assert found.level == "fail"
    assert found.found.endswith("driver 570.133.20: too old for TensorRT-RTX")


def test_openvino_is_asked_for_where_it_is_needed(said):
    base = said("ipc-rtx")
    without = dataclasses.replace(base, commands=base.commands | {"openvino": recording.Output(code=1, text="")})
    found = [f for f in engines.check(without, Need(backends=("openvino",))) if f.level == "fail"]
    assert [f.command for f in found] == ["pip install 'edgetl-runtime[openvino]'"]


def test_a_seen_graphics_unit_needs_no_group(said):
    seen = said_by(said("ipc-rtx"), openvino='{"CPU": "x", "GPU.0": "y"}')
    assert [f.level for f in engines.check(seen, Need())] == ["ok", "ok"]


def test_root_needs_no_group(said):
    found = list(engines.check(said_by(said("orin-nx-jp6"), user="root"), Need()))
    assert [f.level for f in found] == ["ok", "ok"]
