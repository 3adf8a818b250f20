"""Prove an installed bundle on this device, in a child process with bounds on memory and time.

The child reproduces the golden vectors with the precision to be used, and measures latency and memory, which are held
against the bundle's contract. A model that crashes, hangs or eats memory takes only the child with it.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime import children
from edgetl_runtime.contract import Contract, Figures, Tally, judge, of_standing
from edgetl_runtime.errors import EdgetlError, InstallError
from edgetl_runtime.memory import Meter, available_mb
from edgetl_runtime.proof import Standing
from edgetl_runtime.schema import from_mapping, to_mapping
from edgetl_runtime.signature import TrustedKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl_runtime.bundle import Bundle
    from edgetl_runtime.manifest import Manifest
    from edgetl_runtime.memory import Taken
    from edgetl_runtime.session import Session

TIMEOUT_S = 300.0
MEMORY_MB = 4096.0  # a fuse against runaway models; the contract's bound is judged
ITERATIONS = 300  # what a p99 needs at least
MORE_ITERATIONS = 100  # at a time, while a bound is neither proved nor broken
MAX_ITERATIONS = 3000
MAX_LATENCY_S = 120.0  # of timed decisions; the rest of the self-test's time is for loading
FEW_ITERATIONS = 50
_PARENT_DIES = 1  # PR_SET_PDEATHSIG
_POLL_S = 0.02
_ANSWER_BYTES = 2**20
_MB = 2**20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestLimits:
    """Bounds of a self-test.

    Attributes:
        timeout_s: Wall time of the whole self-test; engines are built before it.
        memory_mb: Resident memory at which the child is killed.
        contract: The bundle's; memory is the peak, what the GPU takes of the same memory included.
        allow_unproven: A bound of the contract that could not be proved is no failure.
        signer: Key that signed the bundle, as PEM; empty where nobody did. Then an engine in it may be loaded.
    """

    timeout_s: float = TIMEOUT_S
    memory_mb: float = MEMORY_MB
    contract: Contract = dataclasses.field(default_factory=Contract)
    allow_unproven: bool = False
    signer: str = ""


def limits_of(manifest: Manifest, *, allow_unproven: bool = False) -> SelfTestLimits:
    """Return the bounds that a bundle's contract and this machine's memory give."""
    memory_mb = min(max(MEMORY_MB, 1.5 * (manifest.contract.max_memory_mb or 0.0)), 0.8 * available_mb())
    return SelfTestLimits(memory_mb=memory_mb, contract=manifest.contract, allow_unproven=allow_unproven)


def check_memory(bundle: Bundle, variant: str) -> None:
    """Refuse a bundle that cannot fit into the memory that is free now.

    Raises:
        InstallError: The contract's bound, or four times the model, is more than is available.
    """
    manifest, contract = bundle.manifest, bundle.manifest.contract
    member = manifest.variant(variant).files["model"]
    model_mb = next(entry.size for entry in manifest.files if entry.name == member) / _MB
    needed = contract.max_memory_mb or 64 + 4 * model_mb
    free = available_mb()
    if free < needed:
        raise InstallError("free memory", f"at least {needed:.0f} MB", f"{free:.0f} MB", fix="stop other programs")


def run(bundle: Path, variant: str, cache: Path, limits: SelfTestLimits) -> dict[str, Any]:
    """Run the self-test in a child.

    Args:
        bundle: Installed.
        variant: Id of the variant to prove.
        cache: Where its backend may keep what it compiles.
        limits: Bounds.

    Returns:
        `passed`, `reason`, `breaches` of the contract, what of it is `unproven`, and the figures: `golden`,
        `latency_ms`, `memory_mb`.
    """
    words = (str(bundle.absolute()), variant, str(cache.absolute()), json.dumps(to_mapping(limits)))
    command = children.command("edgetl_runtime.install.selftest", *words, bytecode=False)
    start = time.monotonic()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, cwd=children.FOLDER, env=children.environment(),
    ) as child:  # fmt: skip
        answer, complaints = children.Tail(child.stdout, keep_bytes=_ANSWER_BYTES), children.Tail(child.stderr)
        try:
            killed = _watch(child, limits, start + limits.timeout_s)
        finally:  # after its end, what it started; on an interrupt, the child itself must not go on alone
            _kill(child)
    found = _parse(answer.text())
    if killed is not None or found is None:
        tail = " ".join(complaints.text().split())[-200:]
        reason = killed or f"the self-test died with code {child.returncode}: {tail}"
        found = {"passed": False, "reason": reason, "breaches": []}
    return {**found, "variant": variant, "seconds": round(time.monotonic() - start, 3)}


def _watch(child: subprocess.Popen[bytes], limits: SelfTestLimits, deadline: float) -> str | None:
    """Wait for the child; return why it was killed."""
    while child.poll() is None:
        if time.monotonic() > deadline:
            _kill(child)
            return f"no answer within {limits.timeout_s:.0f} s"
        used = _resident_mb(child.pid)
        if used > limits.memory_mb:
            _kill(child)
            return f"it took {used:.0f} MB, more than {limits.memory_mb:.0f} MB"
        time.sleep(_POLL_S)
    return None


def _kill(child: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        child.kill()


def _resident_mb(pid: int) -> float:
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):  # it has just ended
        return 0.0
    return pages * resource.getpagesize() / _MB


def _parse(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text.splitlines()[-1])
    except (ValueError, IndexError):
        return None
    return found if isinstance(found, dict) and isinstance(found.get("passed"), bool) else None


def main(argv: Sequence[str]) -> int:
    """Be the child: prove, print one JSON object."""
    ctypes.CDLL(None).prctl(_PARENT_DIES, signal.SIGKILL, 0, 0, 0)
    answers = children.own_stdout()
    bundle, variant, cache, text = argv
    limits = from_mapping(SelfTestLimits, json.loads(text), where="the self-test's limits")
    # address space that is written to; threads' stacks and reserved arenas count, hence the factor
    bytes_allowed = int(4 * limits.memory_mb * _MB)
    resource.setrlimit(resource.RLIMIT_DATA, (bytes_allowed, bytes_allowed))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        result = prove(Path(bundle), variant, Path(cache), limits)
    except EdgetlError as error:
        result = {"passed": False, "reason": error.sentence, "breaches": []}
    except MemoryError:
        result = {"passed": False, "reason": "it asked for more memory than there is", "breaches": []}
    answers.write(json.dumps(result) + "\n")
    answers.flush()
    return 0


def prove(bundle_path: Path, variant_id: str, cache: Path, limits: SelfTestLimits) -> dict[str, Any]:
    """Reproduce the golden vectors and measure, in this process.

    Returns:
        As `run`, without its two last keys.

    Raises:
        GoldenError: The golden vectors are not reproduced.
        BackendError: The backend refuses the model.
    """
    from edgetl_runtime import golden, session
    from edgetl_runtime.bundle import open_bundle

    meter = Meter()
    with open_bundle(bundle_path, trust=[TrustedKey(pem=limits.signer)] if limits.signer else None) as bundle:
        variant = bundle.manifest.variant(variant_id)
        reason = session.unfit(variant)
        if reason is not None:
            return {"passed": False, "reason": reason, "breaches": []}
        start = time.monotonic()
        opened = session.Session(bundle, variant, session.load(bundle, variant, cache_dir=cache))
        load_ms = 1000 * (time.monotonic() - start)
        report = golden.check(opened, bundle)
        latency, tallies = _latency(opened, bundle, limits.contract)
        memory = meter.read(unseen_mb=opened.unseen_mb)
        opened.close()
    terms = judge(limits.contract, _figures(tallies, memory))
    kept, missed, unproven = (of_standing(terms, one) for one in (Standing.KEPT, Standing.MISSED, Standing.UNPROVEN))
    troubles = missed + unproven
    return {
        "passed": not (missed if limits.allow_unproven else troubles),
        "reason": "; ".join(troubles) or "golden vectors reproduced, contract kept",
        "breaches": missed,
        "unproven": unproven,
        "kept": kept,
        "golden": to_mapping(report),
        "load_ms": round(load_ms, 3),
        "latency_ms": latency,
        "memory_mb": memory.peak_mb,
        "memory_source": memory.source,
    }


def _latency(opened: Session, bundle: Bundle, contract: Contract) -> tuple[dict[str, Any], tuple[Tally, ...]]:
    """Time from encoded image to decision, until every bound of the contract is proved or broken, or time is up."""
    from edgetl_runtime.measure import measure_latency, percentile, time_calls

    images = [bundle.read(name) for name in bundle.manifest.golden.images]
    tallies = contract.tallies()
    record = measure_latency(
        opened.predict,
        images,
        min_iterations=ITERATIONS if tallies else FEW_ITERATIONS,
        min_seconds=0.0,
        max_seconds=MAX_LATENCY_S if tallies else 30.0,
        max_warmup_seconds=2.0 if tallies else 0.5,
        threads=opened.variant.options.threads,
    )
    samples_ms, new = list(record.samples_ms), record.samples_ms
    while True:
        for tally in tallies:
            tally.add(new)
        left_s = MAX_LATENCY_S - sum(samples_ms) / 1000
        undecided = any(tally.standing is Standing.UNPROVEN for tally in tallies)
        if not undecided or left_s <= 0 or len(samples_ms) >= MAX_ITERATIONS:
            break
        new = time_calls(opened.predict, images, min_iterations=MORE_ITERATIONS, min_seconds=0.0, max_seconds=left_s)
        samples_ms += new
    figures = {f"p{percent}": percentile(samples_ms, percent) for percent in (50, 90, 99)}
    about = {"n": len(samples_ms), "steady": record.steady, "conditions": record.conditions}
    return {**figures, "max": max(samples_ms), **about}, tallies


def _figures(tallies: tuple[Tally, ...], memory: Taken) -> Figures:
    least_mb, source = memory.resident_mb or 0.0, memory.source
    return Figures.counted(tallies, memory_mb=memory.peak_mb, least_memory_mb=least_mb, why_no_memory=source)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
