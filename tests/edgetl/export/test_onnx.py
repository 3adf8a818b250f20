import hashlib
import warnings

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from edgetl import backbones
from edgetl.backbones.build import build, features
from edgetl.errors import ExportError
from edgetl.export.onnx import deployable, export_onnx

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
SIZE_PX = (24, 32)


def _network(seed=0):
    torch.manual_seed(seed)
    convolution = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return nn.Sequential(convolution, nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 3))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    # training mode and channels-last, as a trainer leaves it
    model = _network().train().to(memory_format=torch.channels_last)
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = export_onnx(model, mean=MEAN, std=STD, size_px=SIZE_PX, path=path)
    return model, path, result


def _run(path, batch):
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"image": batch})[0]


def test_input_and_output_are_as_promised(exported):
    graph = onnx.load(exported[1]).graph
    (given,), (result,) = graph.input, graph.output
    assert (given.name, given.type.tensor_type.elem_type) == ("image", onnx.TensorProto.UINT8)
    assert [d.dim_param or d.dim_value for d in given.type.tensor_type.shape.dim] == ["N", 24, 32, 3]
    assert (result.name, result.type.tensor_type.elem_type) == ("logits", onnx.TensorProto.FLOAT)
    assert [d.dim_param or d.dim_value for d in result.type.tensor_type.shape.dim] == ["N", 3]


def test_normalisation_comes_first_and_is_not_folded_into_the_convolution(exported):
    _, path, result = exported
    nodes = onnx.load(path).graph.node
    assert [n.op_type for n in nodes[:5]] == ["Cast", "Transpose", "Sub", "Mul", "Conv"]
    assert result.normalisation_nodes == tuple(n.name for n in nodes[:4])
    assert len({n.name for n in nodes}) == len(nodes) == result.node_count


def test_normalisation_constants_are_those_of_the_backbone(exported):
    graph = onnx.load(exported[1]).graph
    constants = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
    sub, mul = graph.node[2], graph.node[3]
    assert np.allclose(constants[sub.input[1]].ravel(), np.array(MEAN) * 255, rtol=1e-6)
    assert np.allclose(constants[mul.input[1]].ravel(), 1 / (np.array(STD) * 255), rtol=1e-6)


def test_the_file_holds_no_paths_notes_or_external_data(exported):
    model = onnx.load(exported[1], load_external_data=False)
    assert not model.metadata_props
    assert not model.graph.metadata_props
    assert not any(n.metadata_props or n.doc_string for n in model.graph.node)
    assert all(i.data_location == onnx.TensorProto.DEFAULT for i in model.graph.initializer)
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 18)]
    assert b"/" + b"torch" not in exported[1].read_bytes()


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_any_batch_size_gives_the_networks_logits(exported, count):
    model, path, _ = exported
    batch = np.random.default_rng(count).integers(0, 256, (count, *SIZE_PX, 3), np.uint8)
    x = torch.from_numpy(batch).float().permute(0, 3, 1, 2) / 255
    x = (x - torch.tensor(MEAN).reshape(1, 3, 1, 1)) / torch.tensor(STD).reshape(1, 3, 1, 1)
    model.eval()
    with torch.inference_mode():
        expected = model(x).numpy()
    model.train()
    assert np.abs(_run(path, batch) - expected).max() <= 1e-5


def test_the_network_is_left_as_it_was(exported):
    model = exported[0]
    assert model.training
    assert model[0][0].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(p.requires_grad for p in model.parameters())


def test_the_same_network_gives_the_same_bytes(exported, tmp_path):
    _, path, result = exported
    again = export_onnx(_network(), mean=MEAN, std=STD, size_px=SIZE_PX, path=tmp_path / "again.onnx")
    assert again.sha256 == result.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert again.size_bytes == path.stat().st_size


def test_a_network_that_cannot_be_traced_leaves_nothing_behind(tmp_path):
    class Branch(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))

    with pytest.raises(ExportError, match="the network must be one that torch can export"):
        export_onnx(Branch(), mean=MEAN, std=STD, size_px=SIZE_PX, path=tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_fixes_the_batch_is_refused(tmp_path):
    class Fixed(nn.Module):
        def forward(self, x):
            return x.mean((2, 3)).reshape(2, 3)

    with pytest.raises(ExportError):
        export_onnx(Fixed(), mean=MEAN, std=STD, size_px=SIZE_PX, path=tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_features_can_be_exported_for_the_deployment_engine(tmp_path):
    spec = backbones.get("timm/resnet10t")
    model = build(spec, num_classes=2, weights=None).to(memory_format=torch.channels_last)
    extractor = features(model)
    export_onnx(extractor, mean=spec.mean, std=spec.std, size_px=(48, 48), path=tmp_path / "features.onnx")
    batch = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 3), np.uint8)
    with torch.inference_mode():
        expected = deployable(extractor, mean=spec.mean, std=spec.std)(torch.from_numpy(batch)).numpy()
    assert expected.shape == (2, 512)
    assert np.abs(_run(tmp_path / "features.onnx", batch) - expected).max() <= 1e-4
    assert "Gather" not in {n.op_type for n in onnx.load(tmp_path / "features.onnx").graph.node}
