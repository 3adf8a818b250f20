"""Options win over the file, the file over the defaults, and every wrong key or value is named."""

from __future__ import annotations

import pytest

from edgetl.config import FinetuneConfig, difference, resolve, with_aims
from edgetl_runtime.errors import UsageError


def make(tmp_path, text="", **options):
    file = tmp_path / "edgetl.toml" if text else None
    if file is not None:
        file.write_text(text)
    return resolve(FinetuneConfig, section="finetune", file=file, options=with_aims(options), reshape=with_aims)


def test_resolve_takes_options_over_the_file_over_defaults(tmp_path):
    text = '[finetune]\ndata = "images"\nseed = 3\npreset = "fast"\ndefect = ["crack"]\n[deploy]\ntarget = "local"\n'
    config = make(tmp_path, text, seed=7, image_size=96)
    assert (config.data, config.seed, config.preset, config.image_size) == ("images", 7, "fast", 96)
    assert config.aims == {"defect": ["crack"]}
    assert config.backbone == "tf_efficientnet_lite0"


def test_difference_names_changed_fields(tmp_path):
    old, new = make(tmp_path, data="images"), make(tmp_path, data="images", seed=1)
    assert difference(old, new) == {"seed": (0, 1)}
    assert difference(old, old) == {}


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ('[finetune]\ndata = "x"\nsede = 3', {}, r"key 'sede' in .*edgetl.toml(?s:.)*'seed'"),
        ('[finetune]\ndata = "x"\nseed = "three"', {}, "seed must be of type int; got 'three'"),
        ("[finetune\n", {"data": "x"}, "valid TOML"),
        (f"[finetune]\nseed = {'9' * 5000}\n", {"data": "x"}, "valid TOML"),
        (f"[finetune]\ndata = 'x'\npreset = 0x{'f' * 5000}\n", {}, "got a number of thousands of digits"),
        ("[finetune]\nseed = " + "[" * 10**5, {"data": "x"}, "valid TOML"),
        ("finetune = 3", {"data": "x"}, "a table; got int"),
        ("", {}, "data"),
        ("", {"data": "x", "seed": -1}, "--seed must be 0 or above; got -1"),
        ("", {"data": "x", "resize": "squash"}, "resize"),
        ("", {"data": "x", "bit_depth": 9}, "bit_depth"),
    ],
)
def test_resolve_refuses_what_is_wrong(text, options, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        make(tmp_path, text, **options)


def test_resolve_names_a_missing_file(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read configuration .*absent.toml: No such file"):
        resolve(FinetuneConfig, section="finetune", file=tmp_path / "absent.toml", options={"data": "x"})
