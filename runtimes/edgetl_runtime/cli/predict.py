"""`edgetl-runtime predict`: decide on image files or folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UsageError
from edgetl_runtime.image_files import SUFFIXES, images_below

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", metavar="BUNDLE", help="the .edgetl file")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files, or folders of them")
    parser.add_argument("--variant", help="id of a variant; default is the bundle's choice")
    parser.add_argument("--backend", help="take the first variant of this backend")
    parser.add_argument(
        "--allow-fallback", action="store_true", help="take another variant where this machine cannot run the first"
    )
    parser.add_argument("--cache-dir", type=Path, help="where the backend may keep compiled code between starts")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Decide on every image; the first that cannot be read is an error."""
    from edgetl_runtime import session

    paths = list(image_paths(args.images))
    with session.open(
        args.bundle,
        variant=args.variant,
        backend=args.backend,
        allow_fallback=args.allow_fallback,
        cache_dir=args.cache_dir,
    ) as opened:
        return {
            "schema": "edgetl.predict/1",
            "bundle": str(args.bundle),
            "variant": opened.variant.id,
            "backend": opened.variant.backend,
            "decisions": [{"image": str(path), **opened.predict(path).to_mapping()} for path in paths],
        }


def show(result: Mapping[str, Any]) -> str:
    """Return one line for each image."""
    lines = []
    for decision in result["decisions"]:
        verdict, label = decision["verdict"], decision["class"]
        figures = f"{decision['score']:.3f}  defect {decision['defect_score']:.3f}"
        lines.append(f"{verdict:<6} {label} {figures}  {decision['timings_ms']['total']:.1f} ms  {decision['image']}")
    return "\n".join(lines)


def image_paths(names: Sequence[str]) -> Iterator[Path]:
    """Yield the files named, and the images of the folders named, sorted.

    Raises:
        UsageError: A folder holds no image.
    """
    for name in names:
        path = Path(name)
        if not path.is_dir():
            yield path  # absent or not an image: said by the decoder
            continue
        inside = images_below(path)
        if not inside:
            raise UsageError(f"folder {name}", "one with images", "none", fix=f"use one of {', '.join(SUFFIXES)}")
        yield from inside
