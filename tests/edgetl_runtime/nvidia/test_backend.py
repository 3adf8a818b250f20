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
        "s = load(); say(shape=s.infer(np.zeros((1, 16, 16, 3), np.uint8))['logits'].shape, again=made()['built'])",
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


# a device below `cache`, what installing and serving on it built, and the engines that it keeps
DEVICE = """
from edgetl_runtime.errors import GoldenError
from edgetl_runtime.install import selftest
from edgetl_runtime.install.device import Device
from edgetl_runtime.install.installer import Installer, InstallOptions
from edgetl_runtime.install.live_session import LiveSession
from edgetl_runtime.nvidia import process
device, builds, phases = Device(cache), [], []
build = process.build
def counted(*rest, **named):
    builds.append(device.busy_phase())
    return build(*rest, **named)
process.build = counted
def install(self_test=None):
    return Installer(device, self_test=self_test).install(Path(sys.argv[1]), InstallOptions(allow_unsigned=True))
def serve():
    with LiveSession(device) as live: return live.predict(np.zeros((24, 24, 3), np.uint8)).verdict
def engines(): return sorted(str(p.relative_to(cache)) for p in cache.rglob("*.plan"))
"""


def test_installing_builds_the_engine_before_the_self_test_and_the_service_finds_it(on_stub, stub_bundle, tmp_path):
    found = on_stub(
        DEVICE + "done = install(); verdict = serve()\n"
        "say(result=done.result, engine=done.proof['engine']['built'], memory=done.proof['memory_source'],\n"
        "    golden=done.proof['golden']['count'], verdict=verdict, builds=builds, engines=engines())",
        cache=tmp_path / "root", model=stub_bundle, XDG_CACHE_HOME=tmp_path / "hidden",
    )  # fmt: skip
    assert (found["result"], found["golden"], found["engine"]) == ("TRIAL", 16, True)
    assert found["builds"] == ["BUILDING"]  # once, in a step of its own: neither self-test nor service built again
    assert found["verdict"] in ("OK", "NOK")
    assert len(found["engines"]) == 1
    assert found["engines"][0].startswith("cache/engines-")
    assert not (tmp_path / "hidden").exists()


def test_a_failed_self_test_leaves_the_engine_for_the_next_try(on_stub, stub_bundle, tmp_path):
    found = on_stub(
        DEVICE + "failed = lambda *_: {'passed': False, 'reason': 'too warm', 'breaches': []}\n"
        "words = sentence(lambda: install(failed)); left = engines(); done = install()\n"
        "say(words=words, left=left, engine=done.proof['engine'], builds=len(builds))",
        cache=tmp_path / "root", model=stub_bundle,
    )  # fmt: skip
    assert found["words"].startswith("the bundle on this device must be proven by its self-test; got too warm")
    assert len(found["left"]) == 1
    assert (found["engine"]["built"], found["engine"]["reason"], found["builds"]) == (False, "the kept one fits", 1)


def test_after_an_update_of_the_driver_one_start_builds_again_in_the_same_place(on_stub, stub_bundle, tmp_path):
    where = {"cache": tmp_path / "root", "model": stub_bundle, "XDG_CACHE_HOME": tmp_path / "hidden"}
    before = on_stub(DEVICE + "install(); device.commit(); say(engines=engines())", **where)
    for builds in (1, 0, 0):  # the first start after the update, and those that follow
        found = on_stub(
            DEVICE + "say(verdict=serve(), builds=len(builds), engines=engines())", **where, STUB_DRIVER=13000
        )
        assert (found["builds"], found["engines"]) == (builds, before["engines"])
    assert not (tmp_path / "hidden").exists()


def test_build_with_the_root_of_a_device_fills_the_folder_that_installing_reads(on_stub, stub_bundle, tmp_path):
    found = on_stub(
        DEVICE + "from edgetl_runtime.__main__ import main\n"
        "code = main(['build', sys.argv[1], '--root', sys.argv[2]])\n"
        "made = len(builds); done = install()\n"
        "say(code=code, made=made, again=len(builds) - made, reason=done.proof['engine']['reason'])",
        cache=tmp_path / "root", model=stub_bundle,
    )  # fmt: skip
    assert found == {"code": 0, "made": 1, "again": 0, "reason": "the kept one fits"}


@pytest.mark.parametrize("integrated", [0, 1])
def test_what_the_gpu_took_of_the_machines_memory_is_asked_for_where_both_share_it(on_stub, integrated):
    found = on_stub("say(unseen=load().unseen_mb > 0)", STUB_INTEGRATED=integrated)
    assert found["unseen"] == bool(integrated)
