"""Latency first: random weights of the right shape, timed in every variant."""

from __future__ import annotations

import numpy as np
import pytest

from edgetl import profiles, tasks
from edgetl.deploy.plan import plan
from edgetl.search.grid import SearchConfig, restricted
from edgetl.search.screen import Shape, screen_shape, too_slow_by_far
from edgetl.tasks import inspection
from edgetl_runtime.contract import Contract
from edgetl_runtime.preprocess import PreprocessSpec


def test_random_weights_are_timed_in_each_variant(blob_parts):
    task, spec = inspection.TASK, PreprocessSpec(width_px=32, height_px=32)
    labels = task.labels_for(("good", "hole"), task.aims({}))
    shape = Shape.of("tf_efficientnet_lite0", spec, task, labels)
    planned = restricted(plan(profiles.get("local"), cores=2), SearchConfig(precisions=("f32",), threads=(1,)))
    encoded = [file.read_bytes() for file in sorted((blob_parts / "good").iterdir())[:4]]
    found = screen_shape(shape, planned, encoded)
    assert found.keys() == {"openvino-f32", "onnxruntime-f32"}
    assert all(median_ms > 0 for median_ms in found.values())


@pytest.mark.parametrize("name", tasks.names())
def test_a_network_that_knows_nothing_decides_by_its_task(name):
    task, spec = tasks.get(name), PreprocessSpec(width_px=32, height_px=32)
    labels = task.labels_for(("good", "hole", "scratch"), task.aims({}))
    shape = Shape.of("tf_efficientnet_lite0", spec, task, labels)
    assert (shape.task, shape.labels) == (name, labels)
    (decision,) = task.device.decide({"logits": np.zeros((1, 3), np.float32)}, shape.labels, shape.params)
    assert decision.verdict in task.device.verdicts(labels)


@pytest.mark.parametrize(
    ("bounds", "median_ms", "words"),
    [
        ({"p99_ms": 5.0}, 5.1, "median 5.10 ms > p99 5.00 ms"),
        ({"p99_ms": 5.0}, 5.0, None),
        ({"p50_ms": 3.0, "p99_ms": 5.0}, 4.0, "median 4.00 ms > p50 3.00 ms"),
        ({"p50_ms": 6.0, "p99_ms": 5.0}, 5.5, "median 5.50 ms > p99 5.00 ms"),
        ({}, 1e9, None),
    ],
)
def test_a_median_beyond_a_bound_settles_it(bounds, median_ms, words):
    assert too_slow_by_far(Contract(**bounds), median_ms) == words
