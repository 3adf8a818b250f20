"""The building process, which `process` starts with a folder.

It reads `request.json`, `model.onnx` and `timing.cache` in the folder, writes `engine.plan` and `timing.cache` there
and tells progress and result as lines of JSON. A vendor's library that crashes, hangs or eats memory takes only
this process along.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any

from edgetl_runtime import children
from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.nvidia import builder, library
from edgetl_runtime.nvidia.request import BuildOptions, Step

_PR_SET_PDEATHSIG = 1
_KB_PER_MB = 1024


def main(folder: Path) -> int:
    """Build what the folder asks for; return the exit code."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nobody waits for it once the parent is gone
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = children.own_stdout()

    def tell(mapping: dict[str, Any]) -> None:
        answers.write(json.dumps(mapping) + "\n")
        answers.flush()

    try:
        tell({"built": _build(folder, tell)})
    except builder.RefusedError as refused:
        tell({"refused": dataclasses.asdict(refused.refusal)})
    except EdgetlError as error:
        tell({"error": error.to_mapping()})
    except OSError as error:  # most likely a full disk
        tell({"os_error": error.strerror or str(error), "errno": error.errno})
    return 0


def _build(folder: Path, tell: Any) -> dict[str, Any]:  # noqa: ANN401  (a function of one mapping)
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    request["compute_capabilities"] = tuple(request["compute_capabilities"])
    options = BuildOptions(**request)
    timing = folder / "timing.cache"

    def report(step: Step) -> None:
        tell({"step": dataclasses.asdict(step)})

    built = builder.build(
        library.load(options.flavour),
        (folder / "model.onnx").read_bytes(),
        options,
        timing=timing.read_bytes() if timing.exists() else b"",
        report=report,
    )
    (folder / "engine.plan").write_bytes(built.plan)
    timing.write_bytes(built.timing)
    peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "title": built.title,
        "layers": built.layers,
        "seconds": built.seconds,
        "peak_mb": peak_kb / _KB_PER_MB,
        "on_gpu": list(built.on_gpu),
    }


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
