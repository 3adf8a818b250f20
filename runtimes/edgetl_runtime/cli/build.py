"""`edgetl-runtime build`: make the engines of a bundle ahead of its use, so that no first decision waits for them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from edgetl_runtime.bundle import Bundle
    from edgetl_runtime.manifest import VariantManifest

BAR = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("bundle", metavar="BUNDLE", help="the .edgetl file")
    add("--variant", help="build this variant only; default all that this machine can run")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--root", type=Path, metavar="DIR", help="the device's folder, where 'install' and the service look for engines"
    )
    where.add_argument(
        "--cache-dir", type=Path, metavar="DIR", help="where engines are kept; default in the user's cache folder"
    )
    add("--force", action="store_true", help="build again even if the kept engine fits")
    add("--time-limit-s", type=float, default=3600.0, help="longest time for one engine; default 3600")
    add("--memory-limit-mb", type=int, help="resident memory of a build; default four fifths of the machine's")
    add("--dla-core", type=int, help="prefer this core of the deep learning accelerator (Orin NX, AGX Orin)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Build what must be built."""
    from edgetl_runtime import session
    from edgetl_runtime.backends.base import BuildSettings
    from edgetl_runtime.bundle import open_bundle

    if args.time_limit_s <= 0:
        raise UsageError("--time-limit-s", "above 0", str(args.time_limit_s), fix="--time-limit-s 3600")
    if args.root is not None and args.dla_core is not None:
        fix = "--cache-dir DIR, to measure the accelerator"
        raise UsageError(
            "--dla-core", "left out where --root is given", "both: the service loads no such engine", fix=fix
        )
    settings = BuildSettings(
        time_limit_s=args.time_limit_s, memory_limit_mb=args.memory_limit_mb, dla_core=args.dla_core
    )
    engines: dict[str, Any] = {}
    with open_bundle(args.bundle) as bundle:
        chosen = session.pick(bundle.manifest, variant=args.variant) if args.variant else None
        for variant in (chosen,) if chosen else bundle.manifest.variants:
            reason = session.unfit(variant)
            if reason is not None:
                engines[variant.id] = {"skipped": reason}
                continue
            made = session.prepare(
                bundle,
                variant,
                cache_dir=_folder(args, bundle, variant),
                force=args.force,
                progress=_Bar(variant.id),
                settings=settings,
            )
            engines[variant.id] = made if made is not None else {"skipped": "its backend builds nothing"}
    return {"schema": "edgetl.build/1", "bundle": str(args.bundle), "engines": engines}


def _folder(args: argparse.Namespace, bundle: Bundle, variant: VariantManifest) -> Path | None:
    """Return where the engine of a variant is kept; None leaves it to the backend."""
    from edgetl_runtime import backends
    from edgetl_runtime.install import engine_cache

    if args.root is None or not backends.get(variant.backend).keeps_engines:
        folder: Path | None = args.cache_dir
        return folder
    return engine_cache.prepare(args.root, engine_cache.key_of(bundle, variant))


def show(result: Mapping[str, Any]) -> str:
    """Return one line for each variant."""
    lines = []
    for name, engine in result["engines"].items():
        if "skipped" in engine:
            lines.append(f"{name}: no engine, {engine['skipped']}")
        elif engine["built"]:
            megabytes = engine["plan_bytes"] / 1e6
            lines.append(f"{name}: built in {engine['seconds']:.0f} s ({engine['reason']}), {megabytes:.1f} MB")
        else:
            lines.append(f"{name}: kept, {engine['plan_bytes'] / 1e6:.1f} MB")
    return "\n".join(lines)


class _Bar:
    """One line on a terminal, overwritten; nothing elsewhere."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._shown = -1

    def __call__(self, phase: str, share: float) -> None:
        filled = int(BAR * share)
        if filled == self._shown or not sys.stderr.isatty():
            return
        self._shown = filled
        bar = "#" * filled + "." * (BAR - filled)
        sys.stderr.write(f"\r{self._name} [{bar}] {phase:.40}\x1b[K" + ("\n" if share >= 1 else ""))
        sys.stderr.flush()
