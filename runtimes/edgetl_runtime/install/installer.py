"""Install a bundle: receive, verify, keep, prove on this device, put on trial.

Until the trial begins nothing that runs has changed; whatever fails or is cut off before leaves the old generation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime import session, signature
from edgetl_runtime.bundle import MAX_BUNDLE_BYTES, open_bundle
from edgetl_runtime.doctor import contract
from edgetl_runtime.errors import (
    BundleError,
    ContractError,
    EdgetlError,
    GoldenError,
    InstallError,
    UnfitError,
    printable,
    unreadable,
)
from edgetl_runtime.install import engine_cache, selftest
from edgetl_runtime.install.device import BUNDLE_NAME, PROOF_NAME, RECORD_NAME, Device
from edgetl_runtime.install.state import Active, Generation, Trial, new_id
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgetl_runtime.bundle import Bundle
    from edgetl_runtime.install.selftest import SelfTestLimits
    from edgetl_runtime.install.state import Result

    SelfTest = Callable[[Path, str, Path, SelfTestLimits], dict[str, Any]]

RESERVE_BYTES = 16 * 2**20  # left free for logs and state
RESERVE_INODES = 64
MAX_JUMP = 10_000  # a sequence that leaps further would lock out all that come after
_CHUNK_BYTES = 2**20
_MB = 2**20


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class InstallOptions:
    """What the user asked for.

    Attributes:
        allow_unsigned: Take a bundle that nobody signed; recorded.
        allow_jump: Take a sequence far above the floor.
        allow_unproven: Take a bundle with a bound that could not be proved here; recorded, and its trial may commit so.
        permit: What `edgetl keys permit` wrote, parsed; allows one commit below the floor.
        variant: Id of the variant to run; None takes the bundle's choice, else the first that this machine can run.
        line: Product line that must be the bundle's; None takes the device's own, or any at first.
    """

    allow_unsigned: bool = False
    allow_jump: bool = False
    allow_unproven: bool = False
    permit: object = None
    variant: str | None = None
    line: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an installation that was not refused.

    Attributes:
        deployment: Its id; empty where nothing was to do.
        result: `TRIAL`, or `UNCHANGED` where this very bundle is committed or on trial already.
        generation: Of the bundle.
        proof: What the self-test found here.
    """

    deployment: str
    result: str
    generation: Generation
    proof: dict[str, Any]


class Installer:
    """One installation after the other on a device.

    Args:
        device: Where.
        self_test: Proves an installed bundle; tests give one that starts no process.
    """

    def __init__(self, device: Device, *, self_test: SelfTest | None = None) -> None:
        self.device = device
        self._self_test = self_test or selftest.run

    def install(self, source: Path, options: InstallOptions | None = None) -> Outcome:
        """Install a bundle and put it on trial.

        Args:
            source: The bundle's file; it is copied, and only the copy is looked at.
            options: What was asked for.

        Raises:
            BusyError: Another process is at work.
            BundleError: The bundle is damaged, hostile, or not signed by a key this device trusts.
            InstallError: It does not fit this device: line, sequence, disk, memory, or a trial is still on.
            GoldenError: It does not decide here as it should.
            ContractError: It is too slow or too large here.
            UnfitError: Whether it is could not be proved here, and nobody allowed that.
        """
        source, options = Path(source), options or InstallOptions()
        with self.device.locked("RECEIVING") as state:
            if state.trial is None:
                return self._deploy(source, options)
            return self._again(source, state.trial)

    def _again(self, source: Path, trial: Trial) -> Outcome:
        """A plain retry of the bundle on trial is no error; another bundle must wait."""
        with open_bundle(source) as bundle:
            if bundle.manifest_sha256 != trial.generation.manifest_sha256:
                fix = "edgetl-runtime commit or edgetl-runtime rollback"
                raise InstallError("the device", "without a trial", f"{trial.generation.name} on trial", fix=fix)
        proof = self.device.proof(trial.generation)
        return Outcome(deployment=trial.deployment, result="TRIAL", generation=trial.generation, proof=proof)

    def _deploy(self, source: Path, options: InstallOptions) -> Outcome:
        device, deployment = self.device, new_id()
        size = self._preflight(source)
        active = Active(deployment=deployment, bundle=printable(source.name)[:200], who=device.who)
        device.save(dataclasses.replace(device.state, active=active))
        work = _Work(staging=device.root / "staging" / deployment)
        try:
            return self._steps(source, size, options, deployment, work)
        except EdgetlError as error:
            self._undo(work, deployment, "REFUSED", error.sentence)
            raise
        except OSError as error:  # the disk is full, or broken
            with contextlib.suppress(OSError):  # then recovery says it, at the next command
                self._undo(work, deployment, "REFUSED", f"{error.strerror or error}")
            raise
        except BaseException:  # an interrupt: nothing half-done stays, and the log says what it was
            with contextlib.suppress(OSError):
                self._undo(work, deployment, "INTERRUPTED", "stopped by a signal; the generation before keeps running")
            raise

    def _undo(self, work: _Work, deployment: str, result: Result, reason: str) -> None:
        device = self.device
        if device.state.active is None:  # the trial has begun: it stands
            return
        for path in (work.staging, work.folder):
            if path is not None:
                device.disk.remove(path)
        idle = dataclasses.replace(device.state, active=None)
        device.save(device.event(idle, deployment, result, reason, source=idle.committed, key_id=work.key_id))
        device.sweep()

    def _steps(self, source: Path, size: int, options: InstallOptions, deployment: str, work: _Work) -> Outcome:
        device = self.device
        device.disk.make_scratch(work.staging)
        copy = work.staging / BUNDLE_NAME
        device.disk.create(copy, _chunks(source, size))
        device.tell("VERIFYING")
        with self._verified(copy, options) as bundle:
            work.key_id = bundle.signed_by.id if bundle.signed_by else None
            permit = self._fits(bundle, options)
            generation = self._generation(bundle, options)
            done = self._unchanged(generation)
            if done is not None:
                self._undo(work, deployment, "UNCHANGED", "this very bundle is committed already")
                return done
            limits = selftest.limits_of(bundle.manifest, allow_unproven=options.allow_unproven)
            limits = dataclasses.replace(limits, signer=bundle.signed_by.pem if bundle.signed_by else "")
            selftest.check_memory(bundle, generation.variant)
            contract.require_power(bundle.manifest.target)
            key = engine_cache.key_of(bundle, bundle.manifest.variant(generation.variant))
        device.tell("STAGED")
        record = {
            "schema_version": 1,
            "generation": to_mapping(generation),
            "deployment": deployment,
            "who": device.who,
        }
        device.disk.create(work.staging / RECORD_NAME, [_json(record)])
        work.folder = device.folder(generation)
        device.disk.move(work.staging, work.folder)
        proof = self._prove(generation, key, limits)
        device.tell("TRIAL")
        trial = Trial(
            generation=generation, deployment=deployment, permit=permit, allow_unproven=options.allow_unproven
        )
        state = dataclasses.replace(device.state, active=None, trial=trial)
        unsigned = [] if generation.key_id else ["unsigned, as --allow-unsigned said"]
        unproven = [f"{words}, as --allow-unproven said" for words in proof.get("unproven", ())]
        reason = "; ".join(["self-test passed", *unsigned, *unproven])
        device.save(device.event(state, deployment, "TRIAL", reason, source=state.committed, target=generation))
        return Outcome(deployment=deployment, result="TRIAL", generation=generation, proof=proof)

    def _build(self, generation: Generation, key: str) -> dict[str, Any] | None:
        """Build the engine where the backend has any, with limits of its own: the self-test's are for the proof."""
        device = self.device

        def progress(_phase: str, share: float) -> None:
            device.tell(f"BUILDING {share:.0%}")

        device.tell("BUILDING")
        cache = engine_cache.prepare(device.root, key)
        with device.open_generation(generation) as bundle:
            return engine_cache.build(bundle, bundle.manifest.variant(generation.variant), cache, progress=progress)

    def _prove(self, generation: Generation, key: str, limits: SelfTestLimits) -> dict[str, Any]:
        """Prove the installed copy and put the proof beside it, durably, before anything may depend on it."""
        device, engine = self.device, self._build(generation, key)
        device.tell("SELF_TEST")
        cache = engine_cache.prepare(device.root, key)
        proof = self._self_test(device.bundle_path(generation), generation.variant, cache, limits)
        engine_cache.seal(device.root, key)
        built = {"engine": engine} if engine else {}
        proof = {**proof, **built, "cache": key, "manifest_sha256": generation.manifest_sha256}
        folder = device.folder(generation)
        device.disk.create(folder / PROOF_NAME, [_json(proof)])
        device.disk.sync_folder(folder)  # the three names in it, before the state says that they are there
        if not proof["passed"]:
            fix = "edgetl deploy for this device, or a wider contract"
            error: type[EdgetlError] = ContractError if proof["breaches"] else GoldenError
            if proof.get("unproven") and not proof["breaches"]:
                error, fix = UnfitError, "again on a quieter machine, or --allow-unproven"
            raise error("the bundle on this device", "proven by its self-test", proof["reason"], fix=fix)
        return proof

    def _preflight(self, source: Path) -> int:
        """Refuse before anything is written: a bundle that cannot be read or does not fit on the disk."""
        try:
            status = source.stat()
        except OSError as error:
            raise unreadable(BundleError, f"bundle {source}", error, path=source) from error
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BUNDLE_BYTES:
            must = f"a regular file of at most {MAX_BUNDLE_BYTES} bytes"
            raise BundleError(f"bundle {source}", must, "another", fix=f"name a file of edgetl deploy; ls -ld {source}")
        room = os.statvfs(self.device.root)
        free, needed = (
            room.f_bavail * room.f_frsize,
            2 * status.st_size + RESERVE_BYTES,
        )  # the copy and what is compiled
        if free < needed:
            got, fix = f"{free // _MB} MB", "edgetl-runtime gc, or a larger disk"
            raise InstallError(f"free space at {self.device.root}", f"at least {needed // _MB + 1} MB", got, fix=fix)
        if room.f_files and room.f_favail < RESERVE_INODES:
            got = f"{room.f_favail} inodes"
            raise InstallError(
                f"free inodes at {self.device.root}", f"at least {RESERVE_INODES}", got, fix="edgetl-runtime gc; df -i"
            )
        return status.st_size

    def _verified(self, copy: Path, options: InstallOptions) -> Bundle:
        """Open the copy and check signature and every byte."""
        keys = self.device.trust.keys()
        bundle = open_bundle(copy, trust=keys, allow_unsigned=options.allow_unsigned)
        try:
            bundle.verify()
        except BaseException:
            bundle.close()
            raise
        return bundle

    def _fits(self, bundle: Bundle, options: InstallOptions) -> str | None:
        """Check line and sequence; return the id of the permit that was needed."""
        state, manifest = self.device.state, bundle.manifest
        for line in (state.line, options.line):
            if line is not None and manifest.line != line:
                fix = "a bundle of that line, or another --root"
                raise InstallError("the bundle", f"of product line '{line}'", f"'{manifest.line}'", fix=fix)
        if manifest.sequence < 1:
            raise InstallError(
                "the sequence", "1 or above", f"{manifest.sequence}", fix="edgetl deploy RUN again, on the host"
            )
        if manifest.sequence > state.floor + MAX_JUMP and not options.allow_jump:
            must = f"at most {MAX_JUMP} above the floor {state.floor}"
            raise InstallError("the sequence", must, f"{manifest.sequence}", fix="--allow-jump")
        if manifest.sequence > state.floor:
            return None
        if manifest.sequence == state.floor:
            if bundle.manifest_sha256 == state.floor_sha256:
                return None
            got = f"another bundle of sequence {state.floor}"
            fix = "edgetl deploy RUN again, on the host: it takes the next number"
            raise InstallError("the bundle", f"newer than the floor {state.floor}", got, fix=fix)
        if options.permit is None:
            must, got = f"at or above the floor {state.floor}", f"sequence {manifest.sequence}"
            raise InstallError("the bundle", must, got, fix="edgetl keys permit, then --permit FILE.json")
        return self._permitted(bundle, options.permit)

    def _permitted(self, bundle: Bundle, permit: object) -> str:
        state = self.device.state
        key, statement = signature.verify_envelope(permit, self.device.trust.keys(), signature.PERMIT_PREDICATE)
        predicate = statement["predicate"]
        fix = f"edgetl keys permit BUNDLE --floor {state.floor}"
        if signature.subject_digest(statement) != bundle.manifest_sha256:
            raise InstallError("the permit", "for this bundle", "one for another", fix=fix)
        if key.lines and bundle.manifest.line not in key.lines:
            raise InstallError("the permit", f"by a key of line '{bundle.manifest.line}'", "another", fix=fix)
        if predicate.get("floor") != state.floor:
            raise InstallError("the permit", f"for the floor {state.floor}", f"{predicate.get('floor')}", fix=fix)
        permit_id = predicate.get("id")
        if not isinstance(permit_id, str) or not permit_id or permit_id in state.permits_used:
            raise InstallError("the permit", "one that was not used before", f"{permit_id!s:.40}", fix=fix)
        return permit_id

    def _generation(self, bundle: Bundle, options: InstallOptions) -> Generation:
        manifest = bundle.manifest
        picked = session.pick(manifest, variant=options.variant, allow_fallback=options.variant is None)
        digest = bundle.manifest_sha256
        name = f"{manifest.sequence:06d}-{digest[:12]}"
        while (self.device.generations / name).exists():  # a damaged one of the same bundle may still lie there
            name += "x"
        return Generation(
            name=name,
            line=manifest.line,
            sequence=manifest.sequence,
            manifest_sha256=digest,
            variant=picked.id,
            key_id=bundle.signed_by.id if bundle.signed_by else None,
        )

    def _unchanged(self, new: Generation) -> Outcome | None:
        """Return the committed generation if it is this very bundle, whole, and runs the same variant."""
        old = self.device.state.committed
        if old is None or (old.manifest_sha256, old.variant) != (new.manifest_sha256, new.variant):
            return None
        return Outcome(deployment="", result="UNCHANGED", generation=old, proof=self.device.proof(old))


@dataclasses.dataclass(slots=True, kw_only=True)
class _Work:
    """What an installation has put on the disk so far."""

    staging: Path
    folder: Path | None = None
    key_id: str | None = None


def _json(mapping: dict[str, Any]) -> bytes:
    return (json.dumps(mapping, indent=1) + "\n").encode()


def _chunks(source: Path, size: int) -> Iterator[bytes]:
    """Yield the file's bytes, no more than were asked for space."""
    left = size
    with source.open("rb") as file:
        while left and (chunk := file.read(min(_CHUNK_BYTES, left))):
            left -= len(chunk)
            yield chunk
