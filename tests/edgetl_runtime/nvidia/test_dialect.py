"""The table of releases."""

import pytest

from edgetl_runtime.errors import BackendError, BackendMissingError
from edgetl_runtime.nvidia import dialect
from edgetl_runtime.nvidia.dialect import dialect_of


@pytest.mark.parametrize(
    ("version", "flag", "dla"),
    [
        ("10.3.0", True, "float"),
        ("10.7.0.23", True, "float"),
        ("10.8.0", True, "none"),
        ("10.16.1", True, "none"),
        ("11.0.0", False, "none"),
        ("11.4.0.106", False, "none"),
        ("11.4.1", False, "all"),
    ],
)
def test_a_version_has_one_release(version, flag, dla):
    release = dialect_of(None, "tensorrt", version).release
    assert (release.strong_typing_flag, release.dla) == (flag, dla)
    assert not release.compute_capabilities
    matching = [r for r in dialect.RELEASES if r.flavour == "tensorrt" and r.since <= (10, 5) < r.before]
    assert len(matching) == 1


def test_tensorrt_for_rtx_names_gpus():
    assert dialect_of(None, "tensorrt_rtx", "1.7.1.116").release.compute_capabilities


@pytest.mark.parametrize(
    ("version", "fix"),
    [
        ("8.5.2", "JetPack 6 or newer; Xavier (JetPack 5) and Nano (JetPack 4) are out of support upstream"),
        ("10.2.0", "JetPack 6 or newer"),
        ("12.0.0", "pip install -U edgetl-runtime"),
    ],
)
def test_other_versions_are_refused_with_the_reason(version, fix):
    with pytest.raises(BackendMissingError, match=r"TensorRT must be from 10\.3 up to 11\.x; got") as caught:
        dialect_of(None, "tensorrt", version)
    assert caught.value.fix.startswith(fix)


@pytest.mark.parametrize(("version", "quantized"), [("10.3.0", True), ("10.9.0", False), ("11.4.0", False)])
def test_dla_is_refused_where_the_release_cannot_feed_it(version, quantized):
    with pytest.raises(BackendError, match="TensorRT for DLA must be a release whose DLA takes the graph"):
        dialect_of(None, "tensorrt", version).check_dla(quantized=quantized)


@pytest.mark.parametrize(("version", "quantized"), [("10.3.0", False), ("11.4.1", True), ("11.4.1", False)])
def test_dla_is_taken_where_it_can(version, quantized):
    dialect_of(None, "tensorrt", version).check_dla(quantized=quantized)
