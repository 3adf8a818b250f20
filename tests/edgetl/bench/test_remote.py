"""Measuring over a real sshd: the bundle goes there, the record comes back, nothing stays."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from edgetl.bench import remote
from edgetl.cli import bench as command
from edgetl_runtime.bench.record import read_record
from edgetl_runtime.errors import BundleError, EdgetlError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

RUNTIME = str(Path(sys.executable).with_name("edgetl-runtime"))
QUICK = ("--rounds", "1", "--iterations", "10", "--seconds", "0", "--warmup", "0.1", "--allow-disturbed")


def login(server: Any) -> str:
    address = server.address
    return f"{address.user}@{address.host}:{address.port}"


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return parser.parse_args(words)


def test_a_record_comes_back_from_the_device(server: Any, tiny_bundle: Callable[..., Path], tmp_path: Path) -> None:
    out = tmp_path / "r.bench.json.gz"
    args = parsed(
        str(tiny_bundle()),
        "--backend",
        "null",
        "--host",
        login(server),
        "--runtime",
        RUNTIME,
        "--out",
        str(out),
        *QUICK,
    )
    result, record = remote.bench_on(args, server.settings())
    assert (result["schema"], result["variant"], result["host"]) == (
        "edgetl.bench.result/1",
        "null-f32",
        login(server),
    )
    assert read_record(out) == record
    assert len(record.rounds[0].decision_ms) == 10
    assert not list((Path.home() / ".cache" / "edgetl-bench").glob("*"))


def test_what_the_device_says_is_raised_here(server: Any, tmp_path: Path) -> None:
    damaged = tmp_path / "part.edgetl"
    damaged.write_bytes(b"nothing")
    with pytest.raises(BundleError, match="on the device: "):
        remote.bench_on(parsed(str(damaged), "--host", login(server), "--runtime", RUNTIME), server.settings())


def test_a_device_without_the_runtime_is_told(server: Any, tiny_bundle: Callable[..., Path]) -> None:
    args = parsed(str(tiny_bundle()), "--host", login(server), "--runtime", "no-such-runtime")
    with pytest.raises(EdgetlError, match="no-such-runtime on the device must be able to bench") as caught:
        remote.bench_on(args, server.settings())
    assert "--runtime" in caught.value.fix


def test_a_folder_of_images_stays_where_it_is(tmp_path: Path) -> None:
    shutil.copy(__file__, tmp_path / "part.edgetl")
    with pytest.raises(UsageError, match="--data with --host must be left out"):
        remote.bench_on(parsed(str(tmp_path / "part.edgetl"), "--host", "x", "--data", str(tmp_path)))
