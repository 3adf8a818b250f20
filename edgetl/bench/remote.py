"""Measure on a device over SSH: its own edgetl-runtime runs the rounds, the record comes back."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl.files import write_whole
from edgetl_runtime.bench.record import read_record
from edgetl_runtime.bench.text import record_markdown
from edgetl_runtime.errors import EdgetlError, UsageError

if TYPE_CHECKING:
    import argparse

    from edgetl.transport import Remote, Settings
    from edgetl_runtime.bench.record import Record

ROUND_S = 120.0  # a slow board loads and warms up for long
# option → attribute of the parsed arguments, passed on as they are
PASSED_ON = (
    "variant", "backend", "rounds", "iterations", "seconds", "warmup", "rate", "deadline_ms", "neighbours", "cache_dir",
    "p50_ms", "p99_ms", "max_memory_mb", "max_start_ms", "max_late_pct", "max_escapes", "max_overkill",
)  # fmt: skip


def bench_on(args: argparse.Namespace, settings: Settings | None = None) -> tuple[dict[str, Any], Record]:
    """Send the bundle to `args.host`, measure there, fetch the record; what was sent is removed again.

    Args:
        args: Of `edgetl bench`.
        settings: Of the connection.

    Returns:
        What `--json` prints, and the record.

    Raises:
        UsageError: `--data` was given: a folder of images stays where it is; the golden images are used.
        TransportError: The device cannot be reached, or the connection broke.
        EdgetlError: What its edgetl-runtime said.
    """
    from edgetl.transport import connect
    from edgetl_runtime.bench import options

    if args.data is not None:
        fix = "leave --data out: the bundle's golden images are used; or run edgetl-runtime bench there"
        raise UsageError("--data with --host", "left out", str(args.data), fix=fix)
    for option, path in (("--out", args.out), ("--summary", args.summary)):
        options.check_out(option, path, force=args.force)
    with connect(args.host, settings) as remote:
        folder = f".cache/edgetl-bench/{secrets.token_hex(8)}"
        try:
            return _measure(args, remote, folder)
        finally:
            remote.run(["rm", "-rf", "--", folder], limit_s=30, check=False)


def _measure(args: argparse.Namespace, remote: Remote, folder: str) -> tuple[dict[str, Any], Record]:
    import tempfile

    from edgetl.transport import fetch, send

    bundle, there = f"{folder}/{args.bundle.name}", f"{folder}/record.bench.json.gz"
    send(remote, args.bundle, bundle)
    words = [args.runtime, "bench", bundle, "--out", there, "--json", *_options(args)]
    done = remote.run(words, limit_s=ROUND_S * (2 + 1.5 * args.rounds), check=False)
    result = _answer(done.stdout, done.stderr, done.code, args.runtime)
    if "error" in result:
        raise EdgetlError.from_mapping(result["error"], where="on the device", exit_code=done.code)
    with tempfile.TemporaryDirectory(prefix="edgetl-bench-") as local:
        record_file = Path(local) / "record.bench.json.gz"
        fetch(remote, there, record_file)
        record = read_record(record_file)
        if args.out is not None:
            write_whole(args.out, record_file.read_bytes())
    if args.summary is not None:
        args.summary.write_text(record_markdown(record), encoding="utf-8")
    here = {"bundle": str(args.bundle), "record": args.out and str(args.out), "host": args.host}
    return {**result, **here}, record


def _options(args: argparse.Namespace) -> list[str]:
    given = [(name, getattr(args, name)) for name in PASSED_ON]
    words = [word for name, value in given if value is not None for word in ("--" + name.replace("_", "-"), str(value))]
    return [*words, *(["--allow-disturbed"] if args.allow_disturbed else [])]


def _answer(stdout: str, stderr: str, code: int, runtime: str) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = json.loads(stdout.splitlines()[-1])
    except (ValueError, IndexError):
        words = (stderr.strip().splitlines() or [f"exit {code}"])[-1]
        fix = "install edgetl-runtime there, and name it with --runtime if it is not on the login's PATH"
        raise EdgetlError(f"{runtime} on the device", "able to bench", f"{words:.200}", fix=fix) from None
    return answer
