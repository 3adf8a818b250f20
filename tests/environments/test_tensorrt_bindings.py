"""Every name of TensorRT that the runtime uses is in NVIDIA's bindings of 10.3 and 11.4; what 11 removed is not used.

The bindings' wheels are real; the libraries they ask for are not to be had and are stood in for by empty functions.
"""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgetl_runtime.nvidia import dialect

ROOM = Path(dialect.__file__).parent
BINDINGS = {"10.3.0": 10, "11.4.0.106": 11}
LIBRARIES = ("nvinfer", "nvonnxparser", "nvinfer_plugin")
FUNCTIONS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParserRefitter_INTERNAL", "createNvOnnxParser_INTERNAL", "getBuilderPluginRegistry",
    "getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins",
)  # fmt: skip
LOOK = """
import functools, json, sys
import tensorrt_bindings as trt
def has(path):
    try: functools.reduce(getattr, path.split("."), trt)
    except AttributeError: return False
    return True
print(json.dumps({"version": trt.__version__, "names": {n: has(n) for n in json.load(sys.stdin)}}))
"""


def used_names():
    """Return "Class.member" of typed variables, and "Enumeration.member" read off the vendor's module."""
    found = set()
    for name in ("builder.py", "execution.py", "dialect.py"):
        tree = ast.parse((ROOM / name).read_text(encoding="utf-8"))
        typed = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.AnnAssign | ast.arg) and node.annotation is not None:
                words = ast.unparse(node.annotation).removesuffix(" | None")
                target = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
                if words.startswith("trt."):
                    typed[target] = words.removeprefix("trt.")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                words = ast.unparse(node)
                head, _, member = words.partition(".")
                if head in typed and "." not in member:
                    found.add(f"{typed[head]}.{member}")
                for prefix in ("module.", "dialect.module.", "self.module."):
                    if words.startswith(prefix) and "(" not in words:
                        found.add(words.removeprefix(prefix))
    return {name for name in found if not name.startswith(("__", "ComputeCapability"))}


@pytest.fixture(scope="module", params=BINDINGS)
def bindings(request, tmp_path_factory):
    """Names → whether the real bindings of a release have them."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.version_info >= (3, 13) or os.uname().machine != "x86_64":
        pytest.skip("needs a C compiler, x86_64 and a Python that both wheels are built for")
    folder, major = tmp_path_factory.mktemp("bindings"), BINDINGS[request.param]
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    done = subprocess.run(
        [*install, f"tensorrt-cu12-bindings=={request.param}"], capture_output=True, timeout=240, check=False
    )
    if done.returncode:
        assert not os.environ.get("CI"), done.stderr
        pytest.skip("the package index is not reached")
    (folder / "empty.c").write_text("\n".join(f"void *{name}(void) {{ return 0; }}" for name in FUNCTIONS))
    for library in LIBRARIES:
        file = f"lib{library}.so.{major}"
        words = ["-shared", "-fPIC", f"-Wl,-soname,{file}", "-o", folder / file, folder / "empty.c"]
        subprocess.run([compiler, *words], check=True, timeout=60)

    def look(names):
        environment = os.environ | {"LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(folder)}
        done = subprocess.run(
            [sys.executable, "-c", LOOK], input=json.dumps(sorted(names)), env=environment, capture_output=True,
            text=True, timeout=120, check=True,
        )  # fmt: skip
        answer = json.loads(done.stdout.splitlines()[-1])
        assert answer["version"].startswith(request.param)
        return answer["names"], major

    return look


def test_every_name_that_is_used_is_in_the_real_bindings(bindings):
    used = used_names()
    assert {"Builder.create_network", "BuilderFlag.TF32", "IExecutionContext.execute_async_v3"} <= used
    assert len(used) > 30
    names, _ = bindings(used)
    assert [name for name, there in names.items() if not there] == []


def test_what_eleven_removed_is_not_used(bindings):
    assert not used_names() & set(dialect.GONE_IN_11)
    names, major = bindings(dialect.GONE_IN_11)
    assert set(names.values()) == {major < 11}
