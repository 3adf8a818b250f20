"""Sessions on the stub driver: the order of the calls, the numbers, and that nothing is allocated or lost per call."""

import pytest

SUMS = """
images = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
expected = images.reshape(5, -1, 3).sum(axis=1).astype(np.float32)
"""


@pytest.mark.parametrize("integrated", [0, 1])
@pytest.mark.parametrize("version", ["10.3.0", "11.4.1"])
def test_infer_gives_the_engines_numbers_through_one_recorded_graph(on_stub, version, integrated):
    found = on_stub(
        SUMS + "s = load(); logits = s.infer(images)['logits']\n"
        "say(same=bool((logits == expected).all()), dtype=str(logits.dtype), reason=s.graph_reason, batch=s.batch,"
        " trace=stub.stub_trace().decode().split(), **{n: count(n) for n in ('launches', 'kernels', 'uploads')})",
        FAKE_TENSORRT=version,
        STUB_INTEGRATED=integrated,
    )
    assert found["same"]
    assert (found["dtype"], found["reason"], found["batch"]) == ("float32", None, 1)
    once = ["kernel"] if integrated else ["upload", "kernel", "download"]  # shared memory needs no copies
    assert found["trace"] == ["release", *once, "begin", *once, "end"]
    assert found["launches"] == 1 + 5  # once while loading
    assert found["kernels"] == 2 + 5
    assert found["uploads"] == (0 if integrated else 2 + 5)


def test_ten_thousand_calls_allocate_nothing_and_closing_frees_all(on_stub):
    found = on_stub(
        SUMS + "import resource, tracemalloc\n"
        "s = load(); one = images[:1]; s.infer(one)['logits']; before = count('allocations'), count('live')\n"
        "tracemalloc.start(); held = tracemalloc.get_traced_memory()[0]\n"
        "for _ in range(10_000): last = s.infer(one)['logits']\n"
        "grown = tracemalloc.get_traced_memory()[0] - held; tracemalloc.stop()\n"
        "after = count('allocations'), count('live'); s.close(); s.close()\n"
        "say(before=before, after=after, grown=grown, left=count('live'), launches=count('launches'),\n"
        "    same=bool((last == expected[:1]).all()))"
    )
    assert found["after"] == found["before"]
    assert found["grown"] < 16_384  # bytes of Python over 10,000 calls
    assert found["left"] == 0
    assert found["launches"] == 10_002
    assert found["same"]


def test_an_engine_that_cannot_be_recorded_runs_call_by_call(on_stub):
    found = on_stub(
        SUMS + "s = load(); logits = s.infer(images)['logits']; s.close()\n"
        "say(same=bool((logits == expected).all()), reason=s.graph_reason, launches=count('launches'), "
        "left=count('live'))",
        STUB_UNCAPTURABLE=1,
    )
    assert found["same"]
    assert "refusal of execute_async_v3" in found["reason"]
    assert (found["launches"], found["left"]) == (0, 0)


def test_infer_serves_other_threads_and_other_batches(on_stub):
    found = on_stub(
        SUMS + "import threading\ns = load(LoadOptions(batch=4)); got = []\n"
        "t = threading.Thread(target=lambda: got.append(s.infer(images)['logits'])); t.start(); t.join()\n"
        "say(shape=got[0].shape, batch=s.batch)"
    )
    assert found == {"shape": [5, 3], "batch": 4}


def test_decisions_from_four_threads_equal_those_made_alone_also_while_it_is_closed(on_stub):
    found = on_stub(
        SUMS + "import threading\nsys.setswitchinterval(1e-5); s = load(); wrong, raised = [], []\n"
        "def work():\n"
        "  for i in range(250):\n"
        "    found = s.infer(images[i % 5:][:1])['logits']; wrong.extend([i] * int((found != expected[i % 5]).any()))\n"
        "def last():\n"
        "  while True:\n"
        "    try: assert (s.infer(images[:1])['logits'] == expected[:1]).all()\n"
        "    except EdgetlError as error: return raised.append(str(error))\n"
        "def go(*calls):\n"
        "  threads = [threading.Thread(target=call) for call in calls]\n"
        "  [t.start() for t in threads]; [t.join() for t in threads]\n"
        "go(*[work] * 4); go(*[last] * 4, s.close)\n"
        "say(wrong=wrong, raised=sorted(set(raised)), ended=len(raised), left=count('live'))"
    )
    assert found["wrong"] == []
    assert found["raised"] == ["the session of tensorrt must be open; got a closed one.\nTry: open it again"]
    assert (found["ended"], found["left"]) == (4, 0)


def test_a_thread_with_the_number_of_one_that_ended_can_infer_and_close(on_stub):
    """The driver knows a thread's context by the thread; Python gives its number again."""
    found = on_stub(
        SUMS + "import threading\nmade = []\n"
        "def one(call):\n"
        "  t = threading.Thread(target=lambda: made.append(call())); t.start(); t.join()\n"
        "one(load)\n"
        "for _ in range(50): one(lambda: made[0].infer(images))\n"
        "one(made[0].close)\n"
        "say(same=sum(bool((m['logits'] == expected).all()) for m in made[1:-1]), left=count('live'))"
    )
    assert found == {"same": 50, "left": 0}


def test_results_belong_to_the_caller(on_stub):
    found = on_stub(
        SUMS + "s = load(); a = s.infer(images[:1])['logits']; b = a.copy()\n"
        "s.infer(images[1:2])['logits']; say(kept=bool((a == b).all()))"
    )
    assert found["kept"]


@pytest.mark.parametrize(
    ("room", "what"), [(0, "memory of the GPU must be enough"), (2, "memory of the GPU must be enough")]
)
def test_a_full_gpu_is_one_sentence_and_leaves_nothing(on_stub, room, what):
    """`room` allocations succeed: the stream is one of them."""
    found = on_stub("words = sentence(load); say(words=words, left=count('live'))", STUB_ROOM=room)
    assert found["words"].startswith(what)
    assert "CUDA_ERROR_OUT_OF_MEMORY (2)" in found["words"]
    assert found["left"] == 0


def test_no_memory_for_the_engines_activations_is_one_sentence(on_stub):
    found = on_stub("say(words=sentence(load), left=count('live'))", FAKE_FULL=1)
    assert found["words"].startswith("memory of the GPU must be enough for the engine; got none for 4096 bytes")
    assert found["left"] == 0


def test_a_plan_of_another_release_is_refused(on_stub):
    script = "from edgetl_runtime.backends.base import Artifact\n"
    script += "plan = json.dumps({'version': '10.9.0'}).encode()\n"
    script += "say(words=sentence(lambda: backend.load(Artifact(data=plan), options)), left=count('live'))"
    found = on_stub(script)
    assert found["words"].startswith("the engine must be loadable by TensorRT 10.3.0; got an engine of another version")
    assert found["words"].endswith("Try: edgetl-runtime build BUNDLE --force")
    assert found["left"] == 0


def test_a_closed_session_says_so(on_stub):
    found = on_stub(SUMS + "s = load(); s.close(); say(words=sentence(lambda: s.infer(images)['logits']))")
    assert found["words"].startswith("the session of tensorrt must be open; got a closed one")
