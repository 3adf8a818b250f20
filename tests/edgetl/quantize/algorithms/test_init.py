from __future__ import annotations

import pytest

from edgetl.quantize import algorithms
from edgetl_runtime.errors import UsageError


def test_names_are_the_files_of_the_folder():
    assert algorithms.names() == (
        "as_is", "float16", "nncf_ptq", "ort_qdq", "symmetric_qdq", "symmetric_qdq_f16",
    )  # fmt: skip


@pytest.mark.parametrize("name", algorithms.names())
def test_every_algorithm_has_default_parameters(name):
    algorithm = algorithms.get(name)
    assert algorithm.Parameters() == algorithm.Parameters()
    assert isinstance(algorithm.USES_IMAGES, bool)


def test_get_names_the_nearest_when_unknown():
    with pytest.raises(UsageError, match="Try: 'nncf_ptq' instead of 'ncf_ptq'"):
        algorithms.get("ncf_ptq")
