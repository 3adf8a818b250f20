from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgetl.report.deployments import deployment_from_json, newest, read_deployments

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_deployment_from_json_puts_the_chosen_first_and_the_rejected_last(deployment_json: dict) -> None:
    found = deployment_from_json(deployment_json)
    assert [c.id for c in found.candidates] == ["openvino-int8-t1", "openvino-f32-t1", "onnxruntime-int8-t1"]
    assert found.shipped is not None
    assert (found.shipped.p50_ms, found.shipped.p99_ms, found.shipped.size_mb) == (4.5, 5.75, 3.6)
    assert (found.measured, found.size_mb) == (True, 18.0)


def test_deployment_from_json_takes_the_least_the_interface_promises(deployment_json: dict) -> None:
    kept = ("target", "bundle", "chosen", "confirmed", "candidates")
    least = {k: deployment_json[k] for k in kept}
    least["candidates"] = [
        {k: c[k] for k in ("id", "backend", "precision", "accuracy", "accepted")} for c in deployment_json["candidates"]
    ]
    found = deployment_from_json(least)
    assert found.measured is False
    assert found.candidates[0].measured_on == "not measured on hardware"


def test_read_deployments_names_files_that_are_none(fake_run: Callable) -> None:
    fake = fake_run()
    fake.deploy("b")
    fake.deploy("a", target="local")
    folder: Path = fake.folder.path / "deployments"
    (folder / "list.json").write_text("[1]", encoding="utf-8")
    (folder / "empty.json").write_text("", encoding="utf-8")
    found, damaged = read_deployments(folder)
    assert [d.target for d in found] == ["local", "ipc-openvino"]
    assert damaged == ["empty.json", "list.json"]


@pytest.mark.parametrize("key", ["target", "chosen", "candidates", "confirmed"])
def test_deployment_from_json_refuses_another_interface(deployment_json: dict, key: str) -> None:
    del deployment_json[key]
    with pytest.raises(KeyError):
        deployment_from_json(deployment_json)


def test_read_deployments_is_empty_without_a_folder(tmp_path: Path) -> None:
    assert read_deployments(tmp_path / "none") == ([], [])


def test_deployments_for_one_target_stand_beside_each_other_newest_first(fake_run: Callable) -> None:
    fake = fake_run()
    for name, day in (("a", "2026-01-02"), ("b", "2026-03-04"), ("c", "2026-02-03")):
        fake.deploy(name, bundle=f"{name}.edgetl", deployed_at=f"{day}T05:06:07+00:00", target="local")
    fake.deploy("old", target="jetson")
    found, _ = read_deployments(fake.folder.path / "deployments")
    assert [d.bundle for d in found] == ["b.edgetl", "c.edgetl", "a.edgetl", "part.edgetl"]
    assert [d.bundle for d in newest(found)] == ["b.edgetl", "part.edgetl"]
