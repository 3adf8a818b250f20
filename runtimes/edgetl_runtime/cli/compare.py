"""`edgetl-runtime compare A B`: is B slower than A? Interleaved fresh processes and a three-way verdict."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime.bench import options
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from edgetl_runtime.bench.measuring import Comparison
    from edgetl_runtime.bench.rounds import Target
    from edgetl_runtime.bench.statistics import Design


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("a", metavar="A", type=Path, help="the trusted bundle, or a record of it that 'bench --out' wrote")
    add("b", metavar="B", type=Path, nargs="?", help="the new bundle; may be A itself with another variant")
    add("--aa", action="store_true", help="compare A with itself, to find and keep the noise floor of this machine")
    add("--variant", help="id of a variant, of both")
    add("--backend", help="the first variant of this backend, of both")
    add("--variant-b", help="variant of B, if it is another")
    add("--backend-b", help="backend of B, if it is another")
    add("--gate", choices=("decision", "network", "both"), default="decision", help="what decides; default decision")
    add("--looks", metavar="N,N,N", help="numbers of pairs after which to judge; default 10,20,40")
    add("--margin-pct", type=float, help="PASS proves that B is less than this slower; default 5")
    add("--min-effect-pct", type=float, help="a smaller change does not matter; default 2, or the noise floor")
    add("--slow-b-pct", type=float, default=0.0, metavar="PCT", help="slow B on purpose, to see the gate fail")
    add("--seed", type=int, default=0, help="seed of the order of rounds; default 0")
    add("--out", type=Path, metavar="DIR", help="folder for the records of both, with every sample")
    add("--summary", type=Path, metavar="FILE", help="the result as Markdown, for a job summary or a merge request")
    add("--force", action="store_true", help="replace existing files")
    options.add_round_options(parser)
    options.add_limit_options(parser, against=True)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Compare; the result is the interface of `--json`."""
    return compared(args)[0]


def compared(
    args: argparse.Namespace, progress: Callable[[int, int], None] | None = None
) -> tuple[dict[str, Any], Comparison]:
    """Compare, write what was asked for; return what `--json` prints, and the comparison."""
    from edgetl_runtime.bench import floors, text
    from edgetl_runtime.bench.record import write_record
    from edgetl_runtime.bench.statistics import resolution
    from edgetl_runtime.schema import to_mapping

    _check(args)
    found = _compare(args, progress)
    if args.aa and found.verdict != "REGRESSED" and "disturbed" not in (found.a.verdict, found.b.verdict):
        pairs = found.differences["network" if args.gate == "network" else "decision"]
        floors.write(aa=resolution(pairs, found.design.error))
    if args.out is not None:
        args.out.mkdir(exist_ok=True)
        for name, record in (("a", found.a), ("b", found.b)):
            write_record(args.out / f"{name}.bench.json.gz", record)
    if args.summary is not None:
        args.summary.write_text(text.comparison_markdown(found), encoding="utf-8")
    result = {
        "schema": "edgetl.compare/1",
        "exit": found.exit_code,
        "verdict": found.verdict,
        "a": str(args.a),
        "b": str(args.a if args.aa else args.b),
        "how": found.how,
        "metrics": to_mapping(found.metrics),
        "breaches": found.breaches,
        "unknown": found.unknown,
        "tail": to_mapping(found.tail),
        "decisions": found.decisions,
        "design": to_mapping(found.design),
        "summary": {"a": found.a.summary, "b": found.b.summary},
        "discarded": [list(r.disturbed) for record in (found.a, found.b) for r in record.discarded],
        "notes": found.notes,
        "text": text.comparison_text(found),
    }
    return result, found


def show(result: Mapping[str, Any]) -> str:
    """Return the comparison in words."""
    return str(result["text"])


def _check(args: argparse.Namespace) -> None:
    if args.aa is (args.b is not None):
        got = "both" if args.aa else "neither"
        raise UsageError("B", "given, or --aa instead", got, fix="edgetl compare OLD.edgetl NEW.edgetl")
    options.check_out("--summary", args.summary, force=args.force)
    if args.out is not None and args.out.exists() and (not args.out.is_dir() or not args.force):
        raise UsageError(f"--out {args.out}", "a new folder", "an existing one", fix="--force, or another name")


def _compare(args: argparse.Namespace, progress: Callable[[int, int], None] | None) -> Comparison:
    from edgetl_runtime.bench import measuring, rounds

    settings, bounds = options.settings(args), options.limits(args)
    gate = ("decision", "network") if args.gate == "both" else (args.gate,)
    b = rounds.target(
        args.a if args.aa else args.b,
        variant=args.variant_b or (None if args.backend_b else args.variant),
        backend=args.backend_b or (None if args.variant_b else args.backend),
        slower_pct=args.slow_b_pct,
    )
    if _is_record(args.a):
        return _with_record(args, b, gate, progress)
    a = rounds.target(args.a, variant=args.variant, backend=args.backend)
    return measuring.compare(
        a,
        b,
        data=args.data,
        design=_design(args),
        gate=gate,
        settings=settings,
        bounds=bounds,
        seed=args.seed,
        progress=progress,
    )


def _with_record(
    args: argparse.Namespace, b: Target, gate: tuple[str, ...], progress: Callable[[int, int], None] | None
) -> Comparison:
    from edgetl_runtime.bench import measuring
    from edgetl_runtime.bench.record import read_record

    if args.aa or args.looks or args.margin_pct is not None or args.min_effect_pct is not None:
        fix = "leave --aa, --looks, --margin-pct and --min-effect-pct out, or give the bundle itself"
        raise UsageError("A", "a bundle for these options", "a record", fix=fix)
    return measuring.compare_with_record(
        read_record(args.a),
        b,
        data=args.data,
        settings=options.settings(args),
        bounds=options.limits(args),
        gate=gate,
        progress=progress,
    )


def _is_record(path: Path) -> bool:
    return path.name.endswith((".json", ".json.gz"))


def _design(args: argparse.Namespace) -> Design:
    from edgetl_runtime.bench.measuring import default_design
    from edgetl_runtime.bench.statistics import Design

    given: dict[str, Any] = {}
    if args.looks:
        words = args.looks.split(",")
        if not all(word.strip().isdigit() for word in words):
            raise UsageError("--looks", "numbers of pairs", f"'{args.looks}'", fix="--looks 10,20,40")
        given["looks"] = tuple(int(word) for word in words)
    if args.margin_pct is not None:
        given["margin"] = args.margin_pct / 100
    if args.min_effect_pct is not None:
        given["min_effect"] = args.min_effect_pct / 100
    # finding the floor must not depend on the one found before
    base = Design() if args.aa or "min_effect" in given or "margin" in given else default_design()
    return dataclasses.replace(base, **given)
