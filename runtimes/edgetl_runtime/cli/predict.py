"""`edgetl-runtime predict`: decide on image files or folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.cli.tally import check_csv, label_of, tally, tally_lines, write_csv
from edgetl_runtime.errors import EdgetlError, ImageError, UsageError
from edgetl_runtime.image_files import SUFFIXES, images_below

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Mapping, Sequence

    from edgetl_runtime.session import Session
    from edgetl_runtime.tasks.base import Decision


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("bundle", metavar="BUNDLE", help="the .edgetl file")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files, or folders of them")
    parser.add_argument("--variant", help="id of a variant; default is the bundle's choice")
    parser.add_argument("--backend", help="take the first variant of this backend")
    parser.add_argument(
        "--allow-fallback", action="store_true", help="use another variant if this machine cannot run the first"
    )
    parser.add_argument("--cache-dir", type=Path, help="where the backend may keep compiled code between starts")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="also write one row for each image")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Decide on every image.

    An image of a folder that cannot be read is listed, and the exit code is 1: the others were decided on. A file that
    was named is asked for, so that one is an error at once.
    """
    from edgetl_runtime import session

    if args.csv is not None:
        check_csv(args.csv)
    found = list(image_paths(args.images))
    with session.open(
        args.bundle,
        variant=args.variant,
        backend=args.backend,
        allow_fallback=args.allow_fallback,
        cache_dir=args.cache_dir,
    ) as opened:
        decided, failed = _decide(opened, found)
        summary = tally(opened.task, opened.manifest.labels, [(decision, truth) for _, decision, truth in decided])
        variant = opened.variant
    decisions = [{"image": str(path), **decision.to_mapping()} for path, decision, _ in decided]
    details = list(decided[0][1].details()) if decided else []
    if args.csv is not None:
        rows: list[dict[str, Any]] = [
            {**shown, "label": truth, "total_ms": round(decision.timings_ms["total"], 3)}
            for shown, (_, decision, truth) in zip(decisions, decided, strict=True)
        ]
        rows += [{"image": f["image"], "error": f["message"]} for f in failed]
        write_csv(args.csv, rows, details=details)
    return {
        "schema": "edgetl.predict/1",
        "exit": EdgetlError.exit_code if failed else 0,
        "bundle": str(args.bundle),
        "variant": variant.id,
        "backend": variant.backend,
        "decisions": decisions,
        "details": details,
        "failed": failed,
        "summary": summary,
        "csv": None if args.csv is None else str(args.csv),
    }


def _decide(
    opened: Session, found: Sequence[tuple[Path, Path | None]]
) -> tuple[list[tuple[Path, Decision, str | None]], list[dict[str, str]]]:
    """Return images with their decisions and true classes, and the images of folders that could not be read."""
    decided: list[tuple[Path, Decision, str | None]] = []
    failed: list[dict[str, str]] = []
    classes = opened.task.classes(opened.manifest.labels)
    for path, folder in found:
        try:
            decision = opened.predict(path)
        except ImageError as error:
            if folder is None:
                raise
            failed.append({"image": str(path), **error.to_mapping()})
            continue
        decided.append((path, decision, None if folder is None else label_of(path, folder, classes)))
    return decided, failed


def show(result: Mapping[str, Any]) -> str:
    """Return one line for each image; more than one get a header, and a summary at the end."""
    many = len(result["decisions"]) + len(result["failed"]) > 1
    width = max([len("class"), *(len(decision["class"]) for decision in result["decisions"])])
    first = max([len("verdict"), *(len(decision["verdict"]) for decision in result["decisions"])])
    details = {name: name.removesuffix("_score") for name in result["details"]}
    titles = "".join(f"{title:>8}" for title in ("score", *details.values()))
    lines = [f"{'verdict':<{first}} {'class':<{width}}{titles}{'ms':>9}  image"] if many else []
    for decision in result["decisions"]:
        figures = "".join(f"{decision[name]:>8.3f}" for name in ("score", *details))
        times = f"{decision['timings_ms']['total']:>9.1f}"
        words = f"{decision['verdict']:<{first}} {decision['class']:<{width}}"
        lines.append(f"{words}{figures}{times}  {decision['image']}")
    lines += ["", *tally_lines(result["summary"])] if many else []
    if result["failed"]:
        lines.append(f"NOT DECIDED: {len(result['failed'])} images could not be read")
        lines += [f"  {failure['message']}" for failure in result["failed"]]
    return "\n".join(lines)


def image_paths(names: Sequence[str]) -> Iterator[tuple[Path, Path | None]]:
    """Yield the files named, and the images of the folders named, sorted; each with the folder it was found below.

    Raises:
        UsageError: A folder holds no image.
    """
    for name in names:
        path = Path(name)
        if not path.is_dir():
            yield path, None  # absent or not an image: said by the decoder
            continue
        inside = images_below(path)
        if not inside:
            raise UsageError(f"folder {name}", "one with images", "none", fix=f"use one of {', '.join(SUFFIXES)}")
        yield from ((image, path) for image in inside)
