"""What every task must do; a new file in `edgetl_runtime/tasks/` is found here by itself."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from edgetl_runtime import tasks
from edgetl_runtime.errors import BackendError, UsageError
from edgetl_runtime.tasks.base import finite_output


@pytest.mark.parametrize("name", tasks.names())
def test_task_names_its_file_and_has_frozen_labels_and_params(name):
    task = tasks.get(name)
    assert task.name == name
    for cls in (task.labels_type, task.params_type):
        assert dataclasses.is_dataclass(cls)
        assert cls.__dataclass_params__.frozen


def test_get_names_the_nearest():
    with pytest.raises(UsageError, match="Try: 'inspection' instead of 'inspecton'"):
        tasks.get("inspecton")
    assert not {"base", "softmax"} & set(tasks.names())


def test_finite_output_gives_the_output_or_says_what_is_wrong():
    good = np.zeros((2, 3), np.float32)
    assert finite_output({"map": good}, "map", (3,)) is good
    with pytest.raises(BackendError, match="outputs must be with map; got none"):
        finite_output({}, "map", (3,))
    with pytest.raises(BackendError, match=r"map must be of shape \(N, 4\); got shape \(2, 3\)"):
        finite_output({"map": good}, "map", (4,))
    with pytest.raises(BackendError, match="map must be finite"):
        finite_output({"map": good + np.inf}, "map", (3,))
