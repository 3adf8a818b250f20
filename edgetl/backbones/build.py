"""Build a network of timm, put pretrained weights on it, divide it into segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgetl.backbones.layouts import LAYOUTS
from edgetl.backbones.state import read_state
from edgetl.errors import WeightsError
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn

    from edgetl.backbones.spec import BackboneSpec
    from edgetl.backbones.weights import Weights

MAX_NAMED = 5


def build(
    spec: BackboneSpec,
    *,
    num_classes: int,
    weights: Weights | None,
    image_px: int | None = None,
    drop_rate: float = 0.0,
    keep_classifier: bool = False,
) -> nn.Module:
    """Build the network of a backbone with a classifier for `num_classes`.

    Args:
        spec: The backbone.
        num_classes: Width of the classifier.
        weights: Pretrained weights, or None for random ones. Seed torch before the call: a new classifier is random.
        image_px: Side of the square input; default `spec.input_px`. Position embeddings are resampled to it.
        drop_rate: Dropout before the classifier, 0 to 1.
        keep_classifier: Keep the pretrained classifier; `num_classes` must be its width.

    Returns:
        A timm network in training mode; input float32 (N, 3, image_px, image_px), output (N, num_classes).

    Raises:
        UsageError: The input size does not suit the backbone.
        WeightsError: The weights do not fit the network exactly.
    """
    if num_classes < 2:
        raise UsageError("num_classes", "at least 2", str(num_classes), fix="give images of two classes")
    image_px = image_px or spec.input_px
    spec.check_size(image_px)
    kwargs = dict(spec.create_kwargs, drop_rate=drop_rate)
    if spec.size_argument:
        kwargs[spec.size_argument] = image_px
    if weights is None:
        return _create(spec, num_classes=num_classes, **kwargs)
    model = _pretrained(spec, weights, kwargs, keep_classifier=keep_classifier)
    width = classifier(model).out_features
    if not keep_classifier:
        model.reset_classifier(num_classes)  # type: ignore[operator]  # timm's networks all have it
    elif width != num_classes:
        must = f"{width}, the width of the kept classifier"
        raise WeightsError("num_classes", must, str(num_classes), fix="keep_classifier=False")
    return model.train()


def classifier(model: nn.Module) -> nn.Linear:
    """Return the classifier of a network made by `build`: the layer after the last segment.

    Raises:
        UsageError: The network has no single linear classifier; only `timm/<name>` networks may lack it.
    """
    from torch import nn

    found = model.get_classifier()  # type: ignore[operator]  # timm's networks all have it
    if not isinstance(found, nn.Linear):
        got = type(found).__name__
        raise UsageError("the backbone's classifier", "one linear layer", got, fix="--backbone tf_efficientnet_lite0")
    return found


def segments(spec: BackboneSpec, model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Divide a network into groups from the input to the pooled features, for freezing and feature caches.

    Args:
        spec: The backbone `model` was built from.
        model: What `build` returned.

    Returns:
        (name, module) in running order; the modules share the network's parameters. `classifier(segments(x))`, each
        applied to the result of the one before, is `model(x)`.
    """
    return LAYOUTS[spec.layout](model)


def features(model: nn.Module) -> nn.Module:
    """Wrap a network so that it returns its pooled features, (N, width), instead of logits.

    The wrapper shares the network's parameters; its own `parameters()` leave the classifier out.
    """
    from edgetl.backbones.parts import Features

    return Features(model)


def _create(spec: BackboneSpec, **kwargs: Any) -> nn.Module:  # noqa: ANN401  (timm ships no types)
    import timm

    model: nn.Module = timm.create_model(spec.timm_name, **kwargs)
    return model


def _pretrained(spec: BackboneSpec, weights: Weights, kwargs: dict[str, Any], *, keep_classifier: bool) -> nn.Module:
    """Build with every tensor of the file in place; timm's own filters resample positions and split old layouts.

    timm is lenient when the classifier's width differs from its record, so it is told the file's own width, and the
    classifier is replaced afterwards.
    """
    template = _create(spec, **kwargs).state_dict()
    state = read_state(spec, weights, template)
    head = f"{spec.head}.weight"
    if head not in state:
        if keep_classifier:
            raise _misfit(spec, weights, "a file without a classifier to keep")
        state |= {k: template[k] for k in template if k.startswith(f"{spec.head}.")}  # replaced by the caller
    width = state[head].shape[0]
    if spec.ignored_keys:  # timm loads these leniently
        _check_names(spec, weights, state, template)
    overlay = {"state_dict": state, "num_classes": width, "label_offset": 0}
    try:
        model = _create(spec, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=width, **kwargs)
    except (RuntimeError, KeyError) as error:  # what load_state_dict and timm's filters raise
        _check_names(spec, weights, state, template)
        raise _misfit(spec, weights, str(error).splitlines()[-1].strip()) from error
    _forget_state(model)
    return model


def _forget_state(model: nn.Module) -> None:
    """Drop the copy of the weights that timm keeps in its configuration."""
    for name in ("pretrained_cfg", "default_cfg"):
        configuration = getattr(model, name, None)
        if isinstance(configuration, dict):
            configuration.pop("state_dict", None)


def _check_names(
    spec: BackboneSpec, weights: Weights, state: dict[str, torch.Tensor], template: dict[str, torch.Tensor]
) -> None:
    missing = [k for k in template if k not in state]
    unknown = [k for k in state if k not in template]
    shapes = [
        k for k in state if k in template and state[k].shape != template[k].shape and not k.startswith(f"{spec.head}.")
    ]
    for words, keys in (("without", missing), ("with unknown", unknown), ("with other shapes of", shapes)):
        if keys:
            more = f" and {len(keys) - MAX_NAMED} more" if len(keys) > MAX_NAMED else ""
            raise _misfit(spec, weights, f"a file {words} {', '.join(keys[:MAX_NAMED])}{more}")


def _misfit(spec: BackboneSpec, weights: Weights, got: str) -> WeightsError:
    fix = "choose the backbone these weights were saved from"
    return WeightsError(f"weights {weights.path}", f"those of {spec.name} ({spec.timm_name})", got, fix=fix)
