"""A driver without a GPU (a C file compiled here) and a TensorRT without NVIDIA, for scripts in other processes."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgetl.deploy.bundle_writer import write_bundle
from edgetl_runtime import golden, tasks
from edgetl_runtime.tasks.softmax import probabilities

HERE = Path(__file__).parent
# what a script may use: the session of a model, and what the stub has counted
PRELUDE = """
import ctypes, json, sys
from pathlib import Path
import numpy as np
from edgetl_runtime import backends
from edgetl_runtime.backends.base import BuildSettings, LoadOptions
from edgetl_runtime.errors import EdgetlError
stub = ctypes.CDLL("libcuda.so.1")
stub.stub_count.restype, stub.stub_trace.restype = ctypes.c_long, ctypes.c_char_p
def count(what): return stub.stub_count(what.encode())
backend, options = backends.get("tensorrt"), LoadOptions()
model, cache = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
def load(options=options): return backend.load(backend.compile(model, options, cache), options)
def say(**found): print(json.dumps(found))
def sentence(call):
    try: call()
    except EdgetlError as error: return str(error)
    return "no error"
"""


@pytest.fixture(scope="session")
def stub_folder(tmp_path_factory):
    """The folder of the stub driver."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to make the stub driver with: apt-get install gcc libc6-dev")
    folder = tmp_path_factory.mktemp("driver")
    words = [compiler, "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-Wl,-soname,libcuda.so.1"]
    subprocess.run([*words, "-o", folder / "libcuda.so.1", HERE / "libcuda_stub.c"], check=True, timeout=60)
    return folder


@pytest.fixture(scope="session")
def shared(tmp_path_factory, tiny_onnx):
    """A folder with a model and the engines that earlier tests built."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "model.onnx").write_bytes(tiny_onnx(classes=3))
    return folder


@pytest.fixture
def on_stub(stub_folder, shared):
    """Run a script on the stub driver with the stand-in for TensorRT; returns the JSON it says."""

    def run(script, *, cache=None, model=shared / "model.onnx", **settings):
        version = settings.get("FAKE_TENSORRT", "10.3.0")
        cache = cache or shared / version
        environment = os.environ | {
            "LD_LIBRARY_PATH": str(stub_folder),
            "PYTHONPATH": os.pathsep.join([str(HERE / "fake"), *filter(None, sys.path)]),
            # under a name that reaches the processes which the script starts
            **{f"CUDA_{name}": str(value) for name, value in settings.items()},
        }
        command = [sys.executable, "-W", "error", "-c", PRELUDE + script, str(model), str(cache)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def stub_bundle(tmp_path_factory, tiny_parts):
    """A bundle for TensorRT with the scores that the stub's one kernel gives: sums of colours as logits."""
    fields, members = tiny_parts()
    tensors = np.load(io.BytesIO(members["golden/tensors.npy"]))
    red, green, blue = tensors.reshape(len(tensors), -1, 3).sum(axis=1, dtype=np.float32).T
    scores, buffer = probabilities(np.stack([red + blue, green], axis=1), 1e4).astype(np.float32), io.BytesIO()
    np.save(buffer, scores, allow_pickle=False)
    model = "models/float/model.onnx"
    params = dataclasses.replace(fields.variants[0].params, temperature=1e4)
    variant = dataclasses.replace(
        fields.variant("onnxruntime-f32"),
        id="tensorrt-f32",
        backend="tensorrt",
        params=params,
        golden="golden/trt.npy",
        golden_decisions=golden.decisions_of(tasks.get(fields.task), scores, fields.labels, params),
    )
    shared = [name for name in members if name.endswith(".png") or name == "golden/tensors.npy"]
    used = {model: members[model], "golden/trt.npy": buffer.getvalue(), **{name: members[name] for name in shared}}
    path = tmp_path_factory.mktemp("stub-bundle") / "part.edgetl"
    write_bundle(path, dataclasses.replace(fields, variants=(variant,), chosen="tensorrt-f32"), used)
    return path
