import subprocess
import sys

import pytest

from edgetl import backbones
from edgetl_runtime.errors import UsageError


def test_names_hold_the_families_promised():
    wanted = {
        "mobilenetv2_100",
        "mobilenetv3_small_100",
        "mobilenetv3_large_100",
        "mobilenetv4_conv_small",
        "mobilenetv4_conv_medium",
        "tf_efficientnet_lite0",
        "tf_efficientnet_lite1",
        "tf_efficientnet_lite2",
        "efficientnet_b0",
        "resnet18",
        "resnet50",
        "vgg16_bn",
        "inception_v3",
        "deit_tiny_patch16_224",
        "vit_tiny_patch16_224",
    }
    assert wanted <= set(backbones.names())
    assert list(backbones.names()) == sorted(backbones.names())


def test_get_refuses_an_unknown_name_with_the_nearest():
    with pytest.raises(UsageError, match="--backbone must be a name of the catalogue; got 'resnet81'") as caught:
        backbones.get("resnet81")
    assert (
        caught.value.fix
        == "'resnet18' or 'resnet50' instead of 'resnet81', or timm/<name> for any other network of timm"
    )


def test_get_prefers_the_catalogue_for_the_same_network():
    assert backbones.get("timm/resnet18") is backbones.get("resnet18")


def test_catalogue_loads_nothing_third_party():
    code = (
        "import sys; from edgetl import backbones; backbones.get('resnet18'); "
        "print(sorted({'torch', 'timm', 'numpy', 'safetensors', 'huggingface_hub'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
