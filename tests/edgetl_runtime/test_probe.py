"""Facts are read from given roots, so that boards can be tested here."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

import pytest

from edgetl_runtime import probe

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

X86 = "processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: fpu avx2 avx512f avx512_vnni avx_vnni amx_int8\n\n"
ARM = (
    "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16\n"
    "processor\t: 1\nFeatures\t: fp asimd asimddp\nModel\t: Board 5\n"
)


@pytest.fixture
def root(tmp_path: Path) -> Callable[..., Path]:
    count = iter(range(100))

    def make(cpuinfo: str = X86, memory_kb: int = 8_000_000, cpu_max: str = "", memory_max: str = "") -> Path:
        folder = tmp_path / str(next(count))
        files = {"proc/cpuinfo": cpuinfo, "proc/meminfo": f"MemTotal:  {memory_kb} kB\nMemFree: 1 kB\n"}
        files |= {"sys/fs/cgroup/cpu.max": cpu_max, "sys/fs/cgroup/memory.max": memory_max}
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder

    return make


def test_facts_of_this_machine_name_its_backends() -> None:
    facts = probe.facts()
    assert facts.cores >= 1
    assert facts.memory_mb > 100
    assert facts.backends["onnxruntime"] == importlib.metadata.version("onnxruntime")
    assert len(facts.fingerprint) == 64


def test_facts_read_cpu_and_memory(root: Callable[..., Path]) -> None:
    facts = probe.facts(root())
    assert facts.cpu == "Some CPU"
    assert facts.cpu_flags == ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")
    assert facts.memory_mb == 7812


def test_facts_keep_only_flags_that_every_core_has(root: Callable[..., Path]) -> None:
    facts = probe.facts(root(ARM))
    assert facts.cpu_flags == ("asimddp",)
    assert facts.cpu == "Board 5"


def test_facts_honour_control_groups(root: Callable[..., Path]) -> None:
    facts = probe.facts(root(cpu_max="50000 100000\n", memory_max=str(512 * 2**20)))
    assert (facts.cores, facts.memory_mb) == (1, 512)
    assert probe.facts(root(cpu_max="max 100000\n", memory_max="max\n")).memory_mb == 7812


def test_facts_survive_an_empty_root(tmp_path: Path) -> None:
    facts = probe.facts(tmp_path)
    assert (facts.cpu, facts.cpu_flags, facts.memory_mb) == ("", (), 0)


def test_fingerprint_changes_with_the_cpu_and_not_with_memory(root: Callable[..., Path]) -> None:
    first = probe.facts(root()).fingerprint
    assert probe.facts(root(memory_kb=16_000_000)).fingerprint == first
    assert probe.facts(root(X86.replace("avx_vnni", ""))).fingerprint != first


def test_lacking_takes_alternatives() -> None:
    present = ("avx2", "avx_vnni")
    assert probe.lacking(("avx2", "avx512_vnni|avx_vnni"), present) == ()
    assert probe.lacking(("amx_int8", "avx512_vnni|i8mm"), present) == ("amx_int8", "avx512_vnni|i8mm")


def test_package_version_is_none_for_what_is_not_installed() -> None:
    assert probe.package_version("no-such-package-at-all") is None
