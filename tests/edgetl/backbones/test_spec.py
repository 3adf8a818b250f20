import pytest

from edgetl import backbones
from edgetl.backbones.spec import BackboneSpec
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import from_mapping, to_mapping


@pytest.mark.parametrize(
    ("name", "image_px", "condition"),
    [
        ("resnet18", 16, "at least 32"),
        ("inception_v3", 64, "at least 75"),
        ("deit_tiny_patch16_224", 100, "a multiple of 16"),
        ("timm/swin_tiny_patch4_window7_224", 256, "224"),
    ],
)
def test_check_size_refuses_what_the_network_cannot_compute(name, image_px, condition):
    spec = backbones.get(name)
    with pytest.raises(UsageError, match=f"--image-size for {name} must be {condition}; got {image_px}") as caught:
        spec.check_size(image_px)
    assert caught.value.fix == f"--image-size {spec.input_px}"


@pytest.mark.parametrize("name", backbones.names())
def test_specs_survive_the_way_through_a_mapping(name):
    spec = backbones.get(name)
    assert from_mapping(BackboneSpec, to_mapping(spec), where="spec") == spec
