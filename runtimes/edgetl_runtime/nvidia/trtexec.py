"""The second way to build: `trtexec`, which JetPack installs even where the Python module's builder is missing."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl_runtime import children
from edgetl_runtime.errors import BackendError, BackendMissingError
from edgetl_runtime.nvidia.builder import one_line
from edgetl_runtime.nvidia.dialect import Dialect, dialect_of
from edgetl_runtime.nvidia.process import WORK_PREFIX, disk_error, refuse
from edgetl_runtime.nvidia.request import BuildOptions, Built, Limits, Refusal

if TYPE_CHECKING:
    from collections.abc import Sequence

PLACES = (Path("/usr/src/tensorrt/bin/trtexec"), Path("/usr/local/tensorrt/bin/trtexec"))
BANNER_S = 30
_BANNER = re.compile(r"TensorRT v(\d{1,9})\b")


def find(places: Sequence[Path] = PLACES) -> Path | None:
    """Return where `trtexec` is; None if nowhere."""
    named = shutil.which("trtexec")
    # a PATH with relative folders may name a program in the folder that the command was called from
    return (
        Path(named) if named and Path(named).is_absolute() else next((path for path in places if path.is_file()), None)
    )


def dialect(program: Path) -> Dialect:
    """Ask the program for its release.

    Raises:
        BackendMissingError: It does not say, or is of a release that is not supported.
    """
    try:
        done = _run([str(program), "--help"], BANNER_S)
        banner = _BANNER.search(done.stdout)
    except (OSError, subprocess.TimeoutExpired):
        banner = None
    if banner is None:
        got = "a program without TensorRT's banner"
        raise BackendMissingError(str(program), "trtexec", got, fix="sudo apt-get install --reinstall tensorrt")
    return dialect_of(None, "tensorrt", _version(int(banner[1])))


def _run(words: list[str], limit_s: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, capture_output=True, text=True, timeout=limit_s, check=False,
        cwd=children.FOLDER, env=children.environment(),
    )  # fmt: skip


def _version(number: int) -> str:
    """Return the version of the banner's number: 100300 and 101303 since TensorRT 10.

    Example:
        >>> _version(100300), _version(8502)
        ('10.3.0', '8.5.2')
    """
    step = 100 if number >= 100000 else 0
    if step:
        return f"{number // 10000}.{number // 100 % 100}.{number % 100}"
    return f"{number // 1000}.{number // 100 % 10}.{number % 100}"


def command(program: Path, known: Dialect, options: BuildOptions, *, folder: Path, shape: tuple[int, ...]) -> list[str]:
    """Return the command line that builds what `BuildOptions` says.

    Args:
        program: Of `find`.
        known: Of `dialect`.
        options: What to build.
        folder: Holds `model.onnx` and `timing.cache`; gets `engine.plan`.
        shape: Of the input, with the batch.
    """
    words = [
        str(program),
        f"--onnx={folder / 'model.onnx'}",
        f"--saveEngine={folder / 'engine.plan'}",
        f"--timingCacheFile={folder / 'timing.cache'}",
        f"--shapes=image:{'x'.join(map(str, shape))}",
        f"--memPoolSize=workspace:{options.workspace_mb}",
        f"--builderOptimizationLevel={options.optimization_level}",
        "--skipInference",
    ]
    if known.release.strong_typing_flag:
        words.append("--stronglyTyped")
    if not options.tf32:
        words.append("--noTF32")
    if options.dla_core is not None:
        known.check_dla(quantized=False)
        words += [f"--useDLACore={options.dla_core}", "--allowGPUFallback"]
    return words


def build(
    program: Path, model: bytes, options: BuildOptions, *, limits: Limits, shape: tuple[int, ...], folder: Path
) -> Built:
    """Build an engine with the program.

    Raises:
        BackendError: The graph is refused, the time is up, or the disk is full.
    """
    known = dialect(program)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=WORK_PREFIX, dir=folder) as made:
        work = Path(made).absolute()
        try:
            (work / "model.onnx").write_bytes(model)
            words = command(program, known, options, folder=work, shape=shape)
            done = _run(words, limits.time_s)
            if done.returncode:
                _refused(done.stdout + done.stderr, known)
            timing = work / "timing.cache"
            return Built(
                plan=(work / "engine.plan").read_bytes(),
                timing=timing.read_bytes() if timing.exists() else b"",
                title=known.title,
                layers=0,
                seconds=time.monotonic() - started,
                peak_mb=0.0,
            )
        except subprocess.TimeoutExpired as error:
            must, got = f"done within {limits.time_s:g} s", "trtexec still at work"
            raise BackendError("the build of the engine", must, got, fix="a longer --time-limit-s") from error
        except OSError as error:
            raise disk_error(error, folder) from error


def _refused(output: str, known: Dialect) -> None:
    """Raise the parser's first complaint."""
    lines = [line.partition("[E]")[2] for line in output.splitlines() if "[E]" in line]
    node = re.search(r"Invalid Node - (\S+)", output)
    kept = [words for line in lines if (words := one_line(line))]
    words = "; ".join(dict.fromkeys(kept))[:300] or "no reason"
    refuse(Refusal(kind="parser", words=words, title=known.title, node=node[1] if node else "", operator="trtexec"))
