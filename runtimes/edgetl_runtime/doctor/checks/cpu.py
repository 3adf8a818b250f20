"""Whether the cores have the instructions that make int8 exact and fast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetl_runtime.doctor import readers
from edgetl_runtime.doctor.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl_runtime.doctor.findings import Need
    from edgetl_runtime.doctor.recording import Recording

VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})


def check(recording: Recording, need: Need) -> Iterator[Finding]:
    """Look for VNNI on x86-64 and for the dot product on Arm."""
    _, flags = readers.cpu(recording)
    if not recording.file("/proc/cpuinfo"):
        yield Finding(topic="cpu", level="unknown", found="/proc/cpuinfo cannot be read")
    elif readers.arch(recording) == "aarch64":
        if "asimddp" in flags:
            yield Finding(topic="cpu", level="ok", found="the cores have the int8 dot product")
        else:
            found = "the cores lack the int8 dot product: int8 is no faster than float on the CPU"
            yield Finding(topic="cpu", level="warn", found=found, command="edgetl deploy RUN --target generic-arm64")
    elif flags & VNNI:
        yield Finding(topic="cpu", level="ok", found="the processor has VNNI: int8 is exact and fast")
    elif "avx2" in flags:
        found = "the processor lacks VNNI: int8 variants with 8-bit weights would saturate and are refused here"
        yield Finding(topic="cpu", level="warn", found=found, command="edgetl deploy RUN --target generic-x86-64")
    else:
        found = "the processor lacks AVX2: float runs several times slower than on newer ones"
        yield Finding(topic="cpu", level="warn", found=found, command="edgetl deploy RUN --target generic-x86-64")
