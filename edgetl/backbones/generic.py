"""Any network of timm, as `timm/<name>`: the spec is read from timm's own record."""

from __future__ import annotations

from edgetl.backbones.spec import BackboneSpec
from edgetl_runtime.errors import UsageError
from edgetl_runtime.schema import nearest


def spec_from_timm(name: str) -> BackboneSpec:
    """Make a spec from timm's record of a network, with or without a weights tag after a dot.

    Raises:
        UsageError: timm has no such network, or it is not an RGB image classifier with one linear classifier.
    """
    import timm.models

    bare, _, tag = name.partition(".")
    known = timm.list_models(bare, pretrained=True) if timm.models.is_model(bare) else []
    if tag and known and name not in known:
        raise UsageError("--backbone", "a network of timm with known weights", f"'timm/{name}'", fix=f"timm/{known[0]}")
    if not timm.models.is_model(bare):
        fix = f"timm/{nearest(bare, timm.list_models())}".replace("timm/'", "'timm/") if bare else "timm/resnet18"
        raise UsageError("--backbone", "a network of timm", f"'timm/{name}'", fix=fix)
    cfg = timm.models.get_pretrained_cfg(name, allow_unregistered=False)
    if cfg is None or not isinstance(cfg.classifier, str) or cfg.input_size[0] != 3:
        must = "an RGB classifier with one linear layer"
        raise UsageError(f"timm/{name}", must, "another kind of network", fix="--backbone tf_efficientnet_lite0")
    return BackboneSpec(
        name=f"timm/{name}",
        timm_name=name,
        input_px=cfg.input_size[-1],
        mean=(cfg.mean[0], cfg.mean[1], cfg.mean[2]),
        std=(cfg.std[0], cfg.std[1], cfg.std[2]),
        interpolation="bilinear" if cfg.interpolation == "bilinear" else "bicubic",
        head=cfg.classifier,
        layout="whole",
        licence=cfg.license or "not stated",
        paper=", ".join([cfg.paper_ids] if isinstance(cfg.paper_ids, str) else cfg.paper_ids or ["not stated"]),
        hub_id=cfg.hf_hub_id,
        min_px=max((cfg.min_input_size or (3, 32, 32))[1:]),
        fixed_size=bool(cfg.fixed_input_size),
    )
