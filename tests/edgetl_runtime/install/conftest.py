"""Devices, small bundles and the fault harness of `benchmarks/`, shared by the tests of installing."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))  # its scripts import each other by name
import faults
from crash_model import QuickDisk, write_tree

from edgetl.deploy.bundle_writer import write_bundle
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.install.device import Device

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> faults.Kit:
    """Signed bundles old, new, third and wrong (1 to 4), and devices in several states to start from."""
    return faults.make_kit(tmp_path_factory.mktemp("kit"))


@pytest.fixture
def device_at(kit: faults.Kit, tmp_path: Path) -> Callable[[str], Device]:
    """Factory of a device in a state of the kit: device_at("old")."""

    def make(start: str) -> Device:
        root = tmp_path / start.replace(" ", "-")
        write_tree(kit.starts[start], root)
        return Device(root, disk=QuickDisk(), who="tests")

    return make


@pytest.fixture
def bounded(kit: faults.Kit, tmp_path: Path) -> Callable[..., Path]:
    """Factory of a bundle of the kit with a contract: bounded("new", p99_ms=1.0)."""

    def make(name: str, **contract: float) -> Path:
        with open_bundle(kit.bundles[name]) as bundle:
            described = dataclasses.replace(bundle.manifest, contract=contract, files=())
            members = {entry: bundle.read(entry) for entry in (file.name for file in bundle.manifest.files)}
        path = tmp_path / f"{name}-bounded.edgetl"
        write_bundle(path, described, members, keys=(kit.key,), replace=True)
        return path

    return make
