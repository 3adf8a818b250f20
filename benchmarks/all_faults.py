"""All faults of installing, exhaustively: what `make test-faults` runs and records.

    python benchmarks/all_faults.py --fuzz-seconds 600
    python benchmarks/all_faults.py --only strace

Every crash state of every change, every kill point under strace, signals at every step, recovery cut off, removed
syncs, every flipped bit of manifest and envelope, truncations, and a fuzzer of the reader. Each part is recorded with
its conditions. Prints the counts; exits 1 if a promise broke.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import faults
from conditions import conditions, record_path, write_record
from crash_model import crash_states, write_tree

from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import BundleError
from edgetl_runtime.install.device import Device
from edgetl_runtime.install.installer import Installer
from edgetl_runtime.install.options import clean_stop
from edgetl_runtime.signature import TrustedKey

if TYPE_CHECKING:
    from faults import Kit

LONGEST_RECOVERY_S = 2
LARGE_BYTES = 50 * 2**20
CALLS = "write,pwrite64,fsync,rename,mkdir,symlink,unlink,rmdir,ftruncate,openat"
HEAD = ("manifest.json", "signature.json")
RECOVERED = ("install", "end a trial")


def power_cuts(kit: Kit, folder: Path) -> dict[str, Any]:
    """Judge every crash state of every scenario."""
    found: dict[str, Any] = {}
    for scenario in faults.SCENARIOS:
        steps = faults.record(kit, scenario, folder)
        states, broken = faults.explore(kit, scenario, folder, steps=steps, retry_every=10)
        found[scenario.name] = {"steps": len(steps), "states": states, "violations": broken[:5], "broken": len(broken)}
        _say(f"{scenario.name}: {len(steps)} steps, {states} states, {len(broken)} violations")
    return found


def cut_recoveries(kit: Kit, folder: Path) -> dict[str, Any]:
    """I8: cut off every different recovery, and recover again."""
    recoveries = states = 0
    broken: list[str] = []
    for scenario in (s for s in faults.SCENARIOS if s.name in RECOVERED):
        floor = kit.floors[scenario.start]
        for tree, steps in faults.recovery_steps(kit, scenario, folder):
            recoveries += 1
            kit.starts["cut"], kit.floors["cut"] = tree, floor
            again = dataclasses.replace(scenario, start="cut")
            for _, left in crash_states(tree, steps):
                states += 1
                root = folder / "left"
                write_tree(left, root)
                broken += faults.violations(kit, again, root, finished=False, retry=False)
                shutil.rmtree(root)
    _say(f"recovery cut off: {recoveries} recoveries, {states} states, {len(broken)} violations")
    return {"recoveries": recoveries, "states": states, "broken": len(broken), "violations": broken[:5]}


def mutants(kit: Kit, folder: Path) -> dict[str, Any]:
    """F05: remove each sync, and find out."""
    found: dict[str, bool] = {}
    for scenario in (s for s in faults.SCENARIOS if s.name in ("install", "commit", "rollback", "rotate keys")):
        steps = faults.record(kit, scenario, folder)
        variants = {
            f"{scenario.name}: without step {i} {step[0]} {re.sub('[0-9a-f]{16}', 'ID', step[1])}": [
                *steps[:i],
                *steps[i + 1 :],
            ]
            for i, step in enumerate(steps)
            if step[0] in ("fsync", "sync") and step[1] != "."
        }
        variants[f"{scenario.name}: without the syncs of the root"] = [s for s in steps if s != ("sync", ".")]
        for words, mutant in variants.items():
            broken = faults.explore(kit, scenario, folder, steps=mutant, last_first=True, retry_every=10**6)[1]
            found[words] = bool(broken)
    caught = sum(found.values())
    _say(f"mutants: {caught} of {len(found)} noticed")
    return {"mutants": len(found), "noticed": caught, "missed": [words for words, seen in found.items() if not seen]}


def interrupts(kit: Kit, folder: Path) -> dict[str, Any]:
    """F73: a signal before and after every step, as an interrupt."""
    found: dict[str, Any] = {}
    for scenario in faults.SCENARIOS:
        steps, broken = faults.interrupt(kit, scenario, folder)
        found[scenario.name] = {"steps": steps, "broken": len(broken), "violations": broken[:5]}
        _say(f"{scenario.name} interrupted: {steps} steps, {len(broken)} violations")
    return found


def strace_kills(kit: Kit, folder: Path, *, name: str = "KILL") -> dict[str, Any]:
    """F01, F02, F73: send a signal to a real process before each of its durable system calls."""
    if shutil.which("strace") is None:
        return {"skipped": "no strace here"}
    found: dict[str, Any] = {}
    for scenario in faults.SCENARIOS:
        root = folder / "straced"
        points = _points(kit, scenario, root)
        broken: list[str] = []
        for call, number in points:
            write_tree(kit.starts[scenario.start], root)
            inject = f"inject={call}:signal={name}:when={number}"
            _child(kit, scenario, root, ["-e", f"trace={call}", "-e", inject])
            broken += [
                f"{call} {number}: {words}"
                for words in faults.violations(kit, scenario, root, finished=False, retry=number % 5 == 0)
            ]
            shutil.rmtree(root)
        found[scenario.name] = {
            "points" if name != "KILL" else "kill_points": len(points),
            "broken": len(broken),
            "violations": broken[:5],
        }
        _say(f"{scenario.name} under strace, SIG{name}: {len(points)} points, {len(broken)} violations")
    return found


def _points(kit: Kit, scenario: faults.Scenario, root: Path) -> list[tuple[str, int]]:
    """Return the system calls that concern the device: name, and its how-manieth it is in the process."""
    write_tree(kit.starts[scenario.start], root)
    text = _child(kit, scenario, root, ["-y", "-s", "0", "-e", f"trace={CALLS}"])
    shutil.rmtree(root)
    counts: collections.Counter[str] = collections.Counter()
    points = []
    for line in text.splitlines():
        call = line.partition("(")[0]
        if call not in CALLS.split(","):
            continue
        counts[call] += 1
        if str(root) in line and (call != "openat" or "O_CREAT" in line):
            points.append((call, counts[call]))
    return points


def _child(kit: Kit, scenario: faults.Scenario, root: Path, options: list[str]) -> str:
    """Run a scenario in a forked process that strace is attached to; return what strace wrote."""
    log = kit.folder / "strace.log"
    child = os.fork()
    if child == 0:
        try:
            os.kill(os.getpid(), signal.SIGSTOP)
            with clean_stop():
                scenario.run(Device(root, who="tests"), kit)
        finally:
            os._exit(0)
    os.waitpid(child, os.WUNTRACED)
    command = ["strace", "-o", str(log), *options, "-p", str(child)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        for line in tracer.stderr or ():
            if "attached" in line:
                break
        os.kill(child, signal.SIGCONT)
        os.waitpid(child, 0)
    return log.read_text(errors="replace")


def flipped_bits(kit: Kit, folder: Path, *, payload_bits: int) -> dict[str, int]:
    """F21: flip every bit of manifest and envelope, and some of the rest; F20: truncate at every 4 KiB."""
    keys = [TrustedKey(pem=kit.key.pem)]
    path = folder / "flipped.edgetl"
    whole = bytearray(kit.bundles["new"].read_bytes())
    with open_bundle(kit.bundles["new"]) as bundle:
        members = [bundle._members[name] for name in HEAD]
        others = [m for name, m in bundle._members.items() if name not in HEAD]
    head = [8 * at + bit for m in members for at in range(m.start, m.start + m.size) for bit in range(8)]
    rest = [8 * at + bit for m in others for at in range(m.start, m.start + m.size) for bit in range(8)]
    rest = random.Random(0).sample(rest, min(payload_bits, len(rest)))  # noqa: S311
    accepted = 0
    path.write_bytes(whole)
    with path.open("r+b", buffering=0) as file:
        for position in head + rest:
            at = position // 8
            os.pwrite(file.fileno(), bytes([whole[at] ^ 1 << position % 8]), at)
            accepted += _is_accepted(path, keys)
            os.pwrite(file.fileno(), whole[at : at + 1], at)
    large = faults.small_bundle(folder / "mb.edgetl", sequence=2, seed=2, key=kit.key, padding=2**20)
    data = large.read_bytes()
    sizes = sorted({*range(0, len(data), 4096), *range(len(data) - 64, len(data))})
    for size in sizes:
        path.write_bytes(data[:size])
        accepted += _is_accepted(path, keys)
    counts = {"head_bits": len(head), "payload_bits": len(rest), "truncations": len(sizes), "accepted": accepted}
    _say(f"bits and truncations: {counts}")
    return counts


def _is_accepted(path: Path, keys: list[TrustedKey]) -> bool:
    try:
        with open_bundle(path, trust=keys) as bundle:
            bundle.verify()
    except BundleError:
        return False
    return True


def fuzz(kit: Kit, folder: Path, seconds: float) -> dict[str, Any]:
    """Feed the reader altered bundles; anything but a BundleError is a fault."""
    rng = random.Random(time.time_ns())  # noqa: S311
    keys = [TrustedKey(pem=kit.key.pem)]
    whole = kit.bundles["new"].read_bytes()
    path = folder / "fuzzed.edgetl"
    end, count, faults_found = time.monotonic() + seconds, 0, []
    while time.monotonic() < end:
        data = _altered(bytearray(whole), rng)
        path.write_bytes(data)
        count += 1
        try:
            if _is_accepted(path, keys) and data != whole and not _same_content(path, kit):
                faults_found.append(f"accepted after {count}")
        except Exception as error:
            faults_found.append(f"{type(error).__name__}: {error!s:.100}")
            (folder / f"crash{count}.edgetl").write_bytes(data)
    _say(f"fuzzing: {count} inputs in {seconds:.0f} s, {len(faults_found)} faults {faults_found[:3]}")
    return {"inputs": count, "seconds": seconds, "faults": faults_found[:5]}


def _same_content(path: Path, kit: Kit) -> bool:
    """Say whether only what no member holds differs, such as permission bits in the ZIP directory."""
    with open_bundle(path) as bundle, open_bundle(kit.bundles["new"]) as good:
        return all(bundle.member_bytes(name) == good.member_bytes(name) for name in good.names)


def _altered(data: bytearray, rng: random.Random) -> bytes:
    tail = data.rfind(b"PK\x05\x06")
    for _ in range(rng.randint(1, 4)):
        # half of the changes hit the directory, the headers or the envelope, where the reader decides
        at = rng.randrange(tail - 400, len(data)) if rng.random() < 0.5 else rng.randrange(len(data))
        kind = rng.randrange(6)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"PK\x01\x02"])
        elif kind == 2:
            del data[at : at + rng.randint(1, 64)]
        elif kind == 3:
            data[at:at] = rng.randbytes(rng.randint(1, 64))
        elif kind == 4:
            start = rng.randrange(len(data))
            data[at:at] = data[start : start + rng.randint(1, 200)]
        else:
            data[at : at + 2] = rng.randrange(2**16).to_bytes(2, "little")
        tail = max(400, min(tail, len(data) - 1))
        if len(data) < 500:
            break
    return bytes(data)


def large_recovery(kit: Kit, folder: Path) -> dict[str, float]:
    """Recover after a kill in the middle of installing 50 MB over 50 MB."""
    root = folder / "large"
    first = faults.small_bundle(folder / "l1.edgetl", sequence=1, seed=1, key=kit.key, padding=LARGE_BYTES)
    second = faults.small_bundle(folder / "l2.edgetl", sequence=2, seed=2, key=kit.key, padding=LARGE_BYTES)
    device = Device(root, who="tests")
    with device.locked("TRUST"):
        device.trust.add(TrustedKey(pem=kit.key.pem))
    Installer(device, self_test=faults.quick_self_test).install(first)
    device.commit()
    seconds, cpu_seconds = [], []
    for _ in range(3):
        staged = root / "staging" / "cut"
        staged.mkdir()
        shutil.copyfile(second, staged / "bundle.edgetl")
        os.truncate(staged / "bundle.edgetl", LARGE_BYTES // 2)
        start, cpu = time.monotonic(), time.process_time()
        with Device(root).locked("RECOVER") as state:
            seconds.append(time.monotonic() - start)
            cpu_seconds.append(time.process_time() - cpu)
    whole = state.committed is not None and state.committed.sequence == 1
    shutil.rmtree(root)
    best, cpu = min(seconds), min(cpu_seconds)
    _say(f"recovery with 50 MB: {best:.2f} s, {cpu:.2f} s of CPU")
    return {"bundle_mb": 50, "seconds": round(best, 3), "cpu_seconds": round(cpu, 3), "old_kept": float(whole)}


def _say(words: str) -> None:
    sys.stdout.write(words + "\n")
    sys.stdout.flush()


def main() -> int:
    """Run everything, record it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fuzz-seconds", type=float, default=600.0)
    parser.add_argument("--only", help="one part")
    args = parser.parse_args()
    base = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108  (states are judged, not kept)
    with tempfile.TemporaryDirectory(dir=base) as name:
        folder = Path(name)
        (folder / "kit").mkdir()
        kit = faults.make_kit(folder / "kit")
        parts = {
            "power_cuts": lambda: power_cuts(kit, folder),
            "cut_recoveries": lambda: cut_recoveries(kit, folder),
            "mutants": lambda: mutants(kit, folder),
            "interrupts": lambda: interrupts(kit, folder),
            "strace": lambda: strace_kills(kit, folder),
            "strace_term": lambda: strace_kills(kit, folder, name="TERM"),
            "bits": lambda: flipped_bits(kit, folder, payload_bits=2000),
            "recovery": lambda: large_recovery(kit, folder),
            "fuzzing": lambda: fuzz(kit, folder, args.fuzz_seconds),
        }
        found = {}
        for part, run in parts.items():
            if args.only not in (None, part):
                continue
            started = time.monotonic()
            result, taken = run(), time.monotonic() - started
            found[part] = {"found": result, "seconds_taken": round(taken, 1), "conditions": conditions()}
    good = _good(found)
    path = record_path("faults")
    before = json.loads(path.read_text(encoding="utf-8"))["parts"] if path.exists() else {}
    write_record("faults", {"schema": "edgetl.faults/1", "parts": before | found})
    _say(f"recorded in {path}")
    _say("every promise kept" if good else "A PROMISE BROKE: " + json.dumps(found)[:2000])
    return 0 if good else 1


def _good(found: dict[str, Any]) -> bool:
    text = json.dumps(found)
    broken = any(int(number) for number in re.findall(r'"(?:broken|accepted)": (\d+)', text))
    parts = {part: entry["found"] for part, entry in found.items()}
    missed = parts.get("mutants", {}).get("missed") or parts.get("fuzzing", {}).get("faults")
    slow = parts.get("recovery", {}).get("seconds", 0) > LONGEST_RECOVERY_S
    return not (broken or missed or slow)


if __name__ == "__main__":
    sys.exit(main())
