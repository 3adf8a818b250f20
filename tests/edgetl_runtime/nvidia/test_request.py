"""What crosses to the child process and back."""

import dataclasses
import json

from edgetl_runtime.nvidia.request import BuildOptions, Built


def test_options_survive_json_and_float32_means_float32():
    options = BuildOptions(flavour="tensorrt_rtx", compute_capabilities=("SM86", "SM89"), dla_core=1)
    mapping = json.loads(json.dumps(dataclasses.asdict(options)))
    mapping["compute_capabilities"] = tuple(mapping["compute_capabilities"])
    assert BuildOptions(**mapping) == options
    assert not BuildOptions().tf32


def test_evidence_holds_figures_and_no_bytes():
    built = Built(plan=b"x" * 10, timing=b"y", title="TensorRT 10.3.0", layers=3, seconds=1.234, peak_mb=250.6)
    assert built.evidence() == {
        "compiler": "TensorRT 10.3.0", "layers": 3, "seconds": 1.23, "plan_bytes": 10, "peak_mb": 251,
    }  # fmt: skip
    assert "xxxx" not in repr(built)
