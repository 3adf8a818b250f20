"""From a model to a session: what is kept, what is built again and why, and what is refused."""

import re

import pytest

PREPARE = "made = lambda **o: backend.prepare(model, options, cache, **o)\n"


def test_the_second_session_takes_the_kept_engine(on_stub, tmp_path):
    found = on_stub(
        PREPARE + "shares = []\nfirst = made(progress=lambda phase, share: shares.append(share)); second = made()\n"
        "third = made(force=True); say(first=first, second=second, third=third, shares=shares)",
        cache=tmp_path,
    )
    assert (found["first"]["built"], found["first"]["reason"]) == (True, "none was built yet")
    assert found["first"]["compiler"] == "TensorRT 10.3.0"
    assert (found["second"]["built"], found["second"]["reason"]) == (False, "the kept one fits")
    assert (found["third"]["built"], found["third"]["reason"]) == (True, "asked to")
    assert found["shares"] == sorted(found["shares"])
    assert 0 < found["shares"][-1] <= 1


def test_an_update_of_jetpack_builds_again_with_the_reason(on_stub, tmp_path):
    on_stub(PREPARE + "made(); say()", cache=tmp_path)
    found = on_stub(PREPARE + "say(**made())", cache=tmp_path, FAKE_TENSORRT="11.4.1")
    assert found["built"]
    assert found["reason"] == "TensorRT changed from TensorRT 10.3.0 to TensorRT 11.4.1"
    found = on_stub(PREPARE + "say(**made())", cache=tmp_path, FAKE_TENSORRT="11.4.1", STUB_DRIVER=13000)
    assert found["reason"] == "the driver changed from 12.6 to 13.0"


def test_a_tampered_plan_is_built_again_and_never_loaded(on_stub, tmp_path):
    found = on_stub(
        PREPARE + "made(); path = next(cache.glob('*.plan')); path.write_bytes(b'{}' + path.read_bytes())\n"
        "s = load(); say(shape=s.infer(np.zeros((1, 16, 16, 3), np.uint8)).shape, again=made()['built'])",
        cache=tmp_path,
    )
    assert found == {"shape": [1, 3], "again": False}


def test_limits_reach_the_child_and_nothing_is_kept(on_stub, tmp_path):
    found = on_stub(
        PREPARE + "late, large = (sentence(lambda: made(settings=BuildSettings(**limit)))\n"
        "    for limit in ({'time_limit_s': 0.02}, {'memory_limit_mb': 1}))\n"
        "say(late=late, large=large, left=[p.name for p in cache.iterdir()])",
        cache=tmp_path, FAKE_HANGS=1,
    )  # fmt: skip
    assert found["late"].startswith("the build of the engine must be done within 0.02 s; got still ")
    assert re.match(r"the build of the engine must be within 1 MB of memory; got \d+ MB, still ", found["large"])
    assert found["left"] == ["lock"]


def test_a_refused_graph_is_no_engine(on_stub, tmp_path):
    found = on_stub("say(words=sentence(load), left=[p.name for p in cache.iterdir()])", cache=tmp_path, FAKE_REFUSES=1)
    assert found["words"].startswith("node 'bad' (Conv) must be accepted by the parser of TensorRT 10.3.0")
    assert found["left"] == ["lock"]


@pytest.mark.parametrize("bad", ["b''", "b'rubbish'"])
def test_a_model_that_is_none_is_one_sentence(on_stub, tmp_path, bad):
    found = on_stub(f"model = {bad}\nsay(words=sentence(load))", cache=tmp_path)
    assert " must be " in found["words"]
