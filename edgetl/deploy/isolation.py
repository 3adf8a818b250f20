"""A fresh interpreter in which nothing that the host alone depends on can be imported, as on a device."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from edgetl_runtime import children
from edgetl_runtime.errors import GoldenError, UnfitError

if TYPE_CHECKING:
    from pathlib import Path

VERIFY_TIMEOUT_S = 300
# what is installed with the host and not with the runtime: a bundle that is proven without them opens on a device
HOST_ONLY = (
    "edgetl", "jinja2", "matplotlib", "nncf", "onnx", "onnxscript", "rich", "safetensors", "scipy", "sklearn",
    "threadpoolctl", "timm", "torch", "torchvision",
)  # fmt: skip
BLOCK_HOST = f"import sys; sys.modules.update(dict.fromkeys({HOST_ONLY!r}))\n"
FRESH = BLOCK_HOST + (
    "from edgetl_runtime.__main__ import main; sys.argv = ['edgetl-runtime', *sys.argv[1:]]; sys.exit(main())"
)


def run(*words: str, timeout_s: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command of `edgetl-runtime` in a fresh interpreter; paths among its words must be absolute.

    Raises:
        TimeoutExpired: It took longer than `timeout_s`.
    """
    command, environment = children.program(FRESH, *words), children.environment()
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout_s, check=False, cwd=children.FOLDER, env=environment
    )


def verify(bundle: Path, *options: str) -> dict[str, Any]:
    """Run `edgetl-runtime verify` on a bundle in a fresh interpreter and return what it prints.

    Raises:
        GoldenError: The bundle was refused, or its golden vectors were not reproduced.
    """
    try:
        done = run("verify", str(bundle.absolute()), "--json", *options, timeout_s=VERIFY_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        got = f"no answer in {VERIFY_TIMEOUT_S} s"
        raise GoldenError(
            "the bundle in a fresh process",
            "proven by its golden vectors",
            got,
            fix="edgetl deploy again, while nothing else keeps this machine busy",
        ) from error
    try:
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        result = {"error": {"message": done.stderr.strip()[-300:] or "no answer"}}
    # exit 4: every variant that this machine can run is proven, but the chosen one is for another
    if done.returncode not in (0, UnfitError.exit_code) or "error" in result:
        got = result.get("error", {}).get("message", f"exit {done.returncode}")
        raise GoldenError(
            "the bundle in a fresh process",
            "proven by its golden vectors",
            got,
            fix="edgetl-runtime doctor; then edgetl deploy again",
        )
    return result
