"""Backbones exported once for all contracts: exporting takes longer than what is asked of the graph."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
import torch

from edgetl import backbones
from edgetl.backbones.build import build
from edgetl.backbones.spec import BackboneSpec
from edgetl.export.onnx import ExportResult, export_onnx

# exported by `make test`; the others by `make test-catalogue` (EDGETL_CATALOGUE=1)
ALWAYS = ("mobilenetv3_small_100", "mobilenetv4_conv_small", "resnet18")
SMALLEST_PX = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportedBackbone:
    """A backbone with random weights and three classes, and its ONNX file."""

    spec: BackboneSpec
    network: torch.nn.Module
    image_px: int
    path: Path
    result: ExportResult


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Export a backbone of the catalogue, once; skip those that only `make test-catalogue` exports."""
    done = {}

    def export(name):
        if name not in ALWAYS and not os.environ.get("EDGETL_CATALOGUE"):
            pytest.skip("exported on request: make test-catalogue")
        if name not in done:
            done[name] = _export(name, tmp_path_factory.mktemp(name) / "model.onnx")
        return done[name]

    return export


def _export(name, path):
    spec = backbones.get(name)
    torch.manual_seed(0)
    image_px = -(-max(spec.min_px, SMALLEST_PX) // spec.step_px) * spec.step_px
    network = build(spec, num_classes=3, weights=None, image_px=image_px)
    result = export_onnx(network, mean=spec.mean, std=spec.std, size_px=(image_px, image_px), path=path)
    return ExportedBackbone(spec=spec, network=network, image_px=image_px, path=path, result=result)
