"""Memory of a candidate: what a fresh process without the host's packages needs to decide with it."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.data.samples import spread
from edgetl.deploy.isolation import BLOCK_HOST
from edgetl_runtime import children
from edgetl_runtime.errors import BackendError
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.data.samples import Sample
    from edgetl.deploy.candidates import Candidate
    from edgetl_runtime.preprocess import PreprocessSpec

TIMEOUT_S = 120
MEMORY_IMAGES = 4
PROGRAM = (
    BLOCK_HOST
    + """
import json
import numpy as np
from edgetl_runtime import backends
from edgetl_runtime.backends.base import LoadOptions
from edgetl_runtime.decode import decode
from edgetl_runtime.memory import peak_memory_mb
from edgetl_runtime.preprocess import PreprocessSpec, preprocess
from edgetl_runtime.schema import from_mapping

asked = json.load(sys.stdin)
spec = from_mapping(PreprocessSpec, asked["preprocess"], where="preprocess")
options = from_mapping(LoadOptions, asked["options"], where="options")
engine = backends.get(asked["backend"])
with open(asked["model"], "rb") as file:
    artifact = engine.compile(file.read(), options)
with engine.load(artifact, options) as session:
    for path in asked["images"]:
        session.infer(preprocess(decode(path, spec), spec, colour="rgb")[np.newaxis])
print(json.dumps(peak_memory_mb()))
"""
)


def memory_images(samples: Sequence[Sample]) -> list[Path]:
    """Return the files that memory is measured with: some of every class, and the largest, which decides the peak."""
    largest = max(samples, key=lambda sample: sample.path.stat().st_size)
    return [sample.path for sample in (*spread(samples, MEMORY_IMAGES), largest)]


def memory_mb(candidate: Candidate, spec: PreprocessSpec, images: Sequence[Path]) -> float | None:
    """Return the peak resident memory of a process that decides with a candidate, in megabytes.

    Args:
        candidate: One that this machine can run.
        spec: From image to tensor.
        images: A few files, decoded and decided one after the other.

    Raises:
        BackendError: The process failed.
    """
    with tempfile.TemporaryDirectory(prefix="edgetl-") as folder:
        model = Path(folder).absolute() / "model.onnx"
        model.write_bytes(candidate.model)
        asked = {
            "backend": candidate.backend,
            "model": str(model),
            "options": to_mapping(candidate.load_options),
            "preprocess": to_mapping(spec),
            "images": [str(path.absolute()) for path in images],
        }
        try:
            done = subprocess.run(
                children.program(PROGRAM),
                input=json.dumps(asked), capture_output=True, text=True, timeout=TIMEOUT_S, check=True,
                cwd=children.FOLDER, env=children.environment(),
            )  # fmt: skip
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            said = str(error.stderr or error).strip().splitlines()[-1][:200]
            what = f"{candidate.id} in a fresh process"
            raise BackendError(
                what, "able to decide", said, fix="edgetl-runtime doctor; then edgetl deploy again"
            ) from error
    figure = json.loads(done.stdout)
    return None if figure is None else float(figure)
