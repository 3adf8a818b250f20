"""What a process has taken, on file systems made of text: the GPU's share is known, or said not to be."""

from __future__ import annotations

import os

import pytest

from edgetl_runtime import memory
from edgetl_runtime.memory import Meter


@pytest.fixture
def machine(tmp_path):
    """Writer of a machine's /proc: machine(available_mb, anonymous_mb)."""

    def write(available_mb, anonymous_mb, peak_mb=200):
        (tmp_path / "proc/self").mkdir(parents=True, exist_ok=True)
        (tmp_path / "proc/meminfo").write_text(
            f"MemTotal:  7900000 kB\nMemFree: 12 kB\nMemAvailable:  {available_mb * 1024} kB\n"
        )
        (tmp_path / "proc/self/status").write_text(
            f"Name:\tpython3\nVmHWM:\t  {peak_mb * 1024} kB\nRssAnon:\t {anonymous_mb * 1024} kB\nRssShmem:\t 0 kB\n"
            "Threads:\t7\n"
        )
        return tmp_path

    return write


def nvmap(root, *lines):
    path = root / "sys/kernel/debug/nvmap/iovmm/clients"
    path.parent.mkdir(parents=True)
    head = f"{'CLIENT':<18} {'PROCESS':>18} {'PID':>8} {'SIZE':>11}\n"
    rows = [f"{'user':<18} {name:>18} {pid:>8} {size:>10}K\n" for name, pid, size in lines]
    path.write_text(head + "".join(rows) + f"{'total':<18} {'':>18} {'':>8} {999999:>10}K\n")


def test_on_a_cpu_resident_memory_is_all(machine):
    meter = Meter(machine(4000, 50))
    machine(1000, 80)  # whatever others do
    assert meter.read(unseen_mb=0.0) == memory.Taken(peak_mb=200.0, resident_mb=200.0, source="resident")


def test_nvmap_tells_the_gpus_share_of_this_process_alone(machine):
    root = machine(4000, 50)
    nvmap(root, ("gnome shell", 1, 512), ("python3", os.getpid(), 300 * 1024), ("python3", os.getpid(), 20 * 1024))
    found = Meter(root).read(unseen_mb=30.0)
    assert (found.peak_mb, found.source) == (520.0, "resident, and the GPU's by nvmap")


def test_without_nvmap_what_available_memory_fell_by_counts_less_what_the_process_took_itself(machine):
    meter = Meter(machine(4000, 50))
    machine(3500, 150)
    found = meter.read(unseen_mb=30.0)
    assert (found.peak_mb, found.source) == (600.0, "resident, and the GPU's by what MemAvailable fell")


@pytest.mark.parametrize("available_mb", [4100, 3880])
def test_less_than_what_was_certainly_allocated_is_not_known(machine, available_mb):
    """Something else has freed memory meanwhile: no figure is better than one that is too small."""
    meter = Meter(machine(4000, 50))
    nvmap(machine(available_mb, 150), ("python3", os.getpid(), 1024))
    found = meter.read(unseen_mb=30.0)
    assert (found.peak_mb, found.resident_mb) == (None, 200.0)
    assert found.source == "200 MB resident, the GPU's share is not known"


def test_a_kernel_that_does_not_say_is_not_known(machine):
    root = machine(4000, 50)
    meter = Meter(root)
    (root / "proc/self/status").write_text("Name: x\n")
    assert meter.read(unseen_mb=0.0).peak_mb is None
    (root / "proc/meminfo").write_text("MemTotal: 9 kB\n")
    assert memory.available_mb(root) == float("inf")


def test_the_real_machine_says_something():
    assert memory.available_mb() > 10
    assert 5 < (memory.peak_memory_mb() or 0) < 100_000


@pytest.mark.parametrize(("limit", "expected_mb"), [(str(512 * 2**20), 512), ("max", 7714), (None, 7714)])
def test_total_is_the_machines_or_the_control_groups_the_smaller(machine, limit, expected_mb):
    root = machine(4000, 50)
    if limit is not None:
        (root / "sys/fs/cgroup").mkdir(parents=True)
        (root / "sys/fs/cgroup/memory.max").write_text(limit + "\n")
    assert memory.total_mb(root) == expected_mb


def test_total_is_0_where_the_kernel_does_not_say(tmp_path):
    assert memory.total_mb(tmp_path) == 0
