"""What the builder asks of the library in both branches of the table, and what it makes of the vendor's words."""

import pytest

from edgetl_runtime.nvidia.builder import one_line

BUILD = """
from edgetl_runtime.nvidia import process
from edgetl_runtime.nvidia.request import BuildOptions
built = lambda **o: process.build(model, BuildOptions(**o))
"""


@pytest.mark.parametrize("version", ["10.3.0", "11.4.1"])
def test_both_branches_ask_for_strong_typing_in_their_own_way(on_stub, version):
    """The stand-in refuses to make a network with the other release's flags."""
    found = on_stub(
        BUILD + "b = built(batch=2); plan = json.loads(b.plan)\n"
        "say(title=b.title, image=plan['image'], calls=plan['calls'], timing=b.timing.decode(), on_gpu=b.on_gpu)",
        FAKE_TENSORRT=version,
    )
    assert found == {
        "title": f"TensorRT {version}",
        "image": [2, 16, 16, 3],
        "calls": [["workspace", 512 * 2**20], ["clear", "TF32"]],
        "timing": "timings",
        "on_gpu": [],
    }


def test_dla_lists_the_layers_that_fall_back(on_stub):
    found = on_stub(
        BUILD + "b = built(dla_core=0); say(on_gpu=b.on_gpu, calls=json.loads(b.plan)['calls'])",
        FAKE_TENSORRT="11.4.1",
    )
    assert found["on_gpu"] == ["layer_1"]
    assert ["set", "GPU_FALLBACK"] in found["calls"]


def test_dla_is_refused_by_releases_without_it(on_stub):
    found = on_stub(BUILD + "say(words=sentence(lambda: built(dla_core=0)))", FAKE_TENSORRT="10.9.0")
    assert "TensorRT for DLA must be a release whose DLA takes the graph" in found["words"]


def test_a_parser_error_is_one_sentence_naming_the_node(on_stub):
    found = on_stub(BUILD + "say(words=sentence(built))", FAKE_REFUSES=1)
    sentence = "node 'bad' (Conv) must be accepted by the parser of TensorRT 10.3.0; got only for tests."
    assert found["words"].startswith(sentence)


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ("Invalid Node - a\nNon-zero zero point is not supported.\n", "Non-zero zero point is not supported"),
        (
            "Invalid Node - a\nITensor::getDimensions: Error Code 4: API Usage Error (x has type Int32)\n"
            "[checkMacros.cpp::catchCudaError::250] Error Code 1: Cuda Runtime (cudaError 35)",
            "Error Code 4: API Usage Error (x has type Int32)",
        ),
        ("cudaError 35", "cudaError 35"),  # nothing else was said
    ],
)
def test_one_line_keeps_what_the_graph_is_to_blame_for(words, kept):
    assert one_line(words, without="Invalid Node - a") == kept
