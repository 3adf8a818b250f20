"""The driver's calls and what is said where they cannot be made."""

import pytest

from edgetl_runtime.nvidia import cuda


def test_the_gpu_is_described(on_stub):
    found = on_stub(
        "from edgetl_runtime.nvidia import cuda; import dataclasses\n"
        "c = cuda.Cuda(); g = c.gpu(); c.close(); say(**dataclasses.asdict(g), left=count('live'))",
        STUB_INTEGRATED=1,
    )
    assert found == {
        "name": "Stub GPU", "compute_capability": "8.7", "driver": "12.6", "integrated": True, "memory_mb": 8192,
        "l4t": cuda.l4t(), "left": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"STUB_INIT": 100}, "no CUDA device was found"),
        ({"STUB_DEVICES": 0}, "no CUDA device was found"),
        ({"STUB_DRIVER": 11040}, "the driver is too old: it offers CUDA 11.4, CUDA 12.0 is needed"),
        ({"STUB_INIT": 803}, "the driver is too old for its GPU or CUDA: update it"),
        ({"STUB_INIT": 999}, "the NVIDIA driver fails to start (error 999)"),
    ],
)
def test_no_usable_gpu_is_one_sentence(on_stub, settings, reason):
    found = on_stub("say(available=backend.available(), words=sentence(load))", **settings)
    assert found["available"] == reason
    assert found["words"].startswith(f"a CUDA device must be usable; got {reason}.")


def test_without_a_driver_the_reason_names_its_library():
    assert cuda.missing() in (None, "no NVIDIA driver (libcuda.so.1) is installed", "no CUDA device was found")


def test_a_graph_that_was_never_launched_and_a_buffer_are_freed_once(on_stub):
    found = on_stub(
        "from edgetl_runtime.nvidia.cuda import Buffer, Cuda, Graph\n"
        "c = Cuda(); s = c.stream(); b = Buffer(c, (2, 3), np.dtype(np.float32), shared=False)\n"
        "b.host[...] = 7; b.upload(s); b.host[...] = 0\n"
        "g = Graph(c, s)\n"
        "with g: b.download(s)\n"
        "first = float(b.host.sum()); g.launch(); second = float(b.host.sum())\n"
        "for _ in range(2): g.close(); b.close()\n"
        "c.call('cuStreamDestroy', s); c.close(); say(first=first, second=second, size=b.size, left=count('live'))"
    )
    assert found == {"first": 0.0, "second": 42.0, "size": 24, "left": 0}


@pytest.mark.parametrize(
    ("text", "release"),
    [
        (
            "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic\n# second line",
            "R36 (release), REVISION: 4.3",
        ),
        ("", ""),
    ],
)
def test_l4t_reads_the_release(tmp_path, text, release):
    path = tmp_path / "nv_tegra_release"
    path.write_text(text)
    assert cuda.l4t(path) == release
    assert cuda.l4t(tmp_path / "absent") == ""
