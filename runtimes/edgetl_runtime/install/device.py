"""A device's generations: lock, recovery, commit, rollback. Installing itself is in `installer`."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import errno
import getpass
import logging
import os
import pwd
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetl_runtime import locks
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import BundleError, BusyError, EdgetlError, InstallError, OutdatedError, printable
from edgetl_runtime.install.disk import Disk
from edgetl_runtime.install.log import DeploymentLog
from edgetl_runtime.install.recovery import recover
from edgetl_runtime.install.state import Generation, State, StateFile, new_id
from edgetl_runtime.install.trust import TrustStore
from edgetl_runtime.schema import from_json, from_mapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl_runtime.bundle import Bundle
    from edgetl_runtime.install.state import Result, Trial

DEFAULT_ROOT = "/var/lib/edgetl"
BUNDLE_NAME = "bundle.edgetl"
RECORD_NAME = "install.json"
PROOF_NAME = "proof.json"
_log = logging.getLogger(__name__)


def default_root() -> Path:
    """Return `$EDGETL_ROOT`, or the usual place."""
    return Path(os.environ.get("EDGETL_ROOT") or DEFAULT_ROOT)


class Device:
    """The folder of a device's generations.

    Args:
        root: The folder; made on first use.
        disk: Changes it; tests give their own.
        who: For the log; None names the user.
    """

    def __init__(self, root: Path, *, disk: Disk | None = None, who: str | None = None) -> None:
        self.root = Path(root)
        self.disk = disk or Disk()
        self.who = printable(who or _user())
        self.states = StateFile(self.root, self.disk)
        self.log = DeploymentLog(self.root / "log", self.disk)
        self.trust = TrustStore(self.root / "trust.json", self.disk)
        self.state = State()
        self._descriptor = -1  # of the lock, while it is held

    @property
    def generations(self) -> Path:
        """Return the folder of the generations."""
        return self.root / "gen"

    @property
    def current(self) -> Path:
        """Return the link that follows the state."""
        return self.root / "current"

    def folder(self, generation: Generation) -> Path:
        """Return the folder of a generation."""
        return self.generations / generation.name

    def bundle_path(self, generation: Generation) -> Path:
        """Return the bundle of a generation."""
        return self.folder(generation) / BUNDLE_NAME

    @contextlib.contextmanager
    def locked(self, phase: str, *, as_service: bool = False) -> Iterator[State]:
        """Hold the lock, recovered, for as long as something changes.

        Args:
            phase: Shown by `status` to others.
            as_service: The caller is a service that starts a generation: what is wrong with a trial ends it now.

        Raises:
            BusyError: Another process is at work; said at once.
            InstallError: The folder is another user's, or the state was written by a newer edgetl-runtime.
        """
        self.require_owner()
        for name in ("incoming", "staging", "gen", "cache", "log"):
            self.disk.make_folder(self.root / name)
        descriptor = locks.open_lock(self.root / "lock")
        try:
            if not locks.try_lock(descriptor):
                fix = "wait for it, see: edgetl-runtime status"
                raise BusyError(f"{self.root}", "free", f"{self.busy_phase() or 'another command'} at work", fix=fix)
            self._descriptor = descriptor
            self.tell(phase)
            self.state = recover(self, service_runs=not as_service and self.service_runs())
            yield self.state
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)  # the lock goes with it

    def tell(self, phase: str) -> None:
        """Tell `status` how far the work is; not durable, and only while the lock is held."""
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, phase.encode(), 0)

    def busy_phase(self) -> str | None:
        """Return what the holder of the lock is doing, None if nobody holds it.

        Raises:
            PermissionError: The device is another user's, who alone may know.
        """
        words = locks.holder(self.root / "lock")
        return "starting" if words == "" else words

    def service_runs(self) -> bool:
        """Say whether a service runs the current generation; raises PermissionError as `busy_phase` does."""
        return locks.holder(self.root / "service.lock") is not None

    def owner(self) -> str:
        """Return the user whose folder this is; who works in it, the service included, is this one."""
        number = self.root.stat().st_uid
        try:
            return pwd.getpwuid(number).pw_name
        except KeyError:
            return f"#{number}"

    def require_owner(self) -> None:
        """Refuse another user, root included: what it left in the folder the service could not open.

        Raises:
            InstallError: The folder is another user's.
        """
        if self.root.exists() and self.root.stat().st_uid != os.geteuid():
            owner = self.owner()
            got, fix = f"'{_user()}'", f"sudo -u {owner} edgetl-runtime, with the same arguments"
            raise InstallError("the user", f"'{owner}', the owner of {self.root}", got, fix=fix)

    def save(self, state: State) -> None:
        """Make a state durable, let `current` and the log follow."""
        self.state = self.states.write(state)
        self.follow()

    def follow(self) -> None:
        """Let `current` and the log follow the state; nothing happens where they do."""
        desired = self.state.desired
        target = f"gen/{desired.name}" if desired else None
        if self.points_to() != target:
            if target is None:
                self.disk.remove(self.current)
                self.disk.sync_folder(self.root)
            else:
                self.disk.point(self.current, target)
        self.log.follow(self.state)

    def points_to(self) -> str | None:
        """Return where `current` points, None if it does not exist."""
        try:
            return str(self.current.readlink())
        except OSError as error:
            if error.errno == errno.EINVAL:  # somebody put a file or folder there
                return ""
            return None

    def open_generation(self, generation: Generation) -> Bundle:
        """Open the bundle of a generation, which must be the one that was installed.

        Raises:
            BundleError: It is damaged, or another.
        """
        bundle = self.trust.open(self.bundle_path(generation), generation.key_id)
        if bundle.manifest_sha256 != generation.manifest_sha256:
            bundle.close()
            fix = "install it again"
            raise BundleError(f"generation {generation.name}", "as it was installed", "another bundle", fix=fix)
        return bundle

    def fault(self, generation: Generation) -> str | None:
        """Say what is wrong with an installed generation, None if every byte is as it was installed."""
        try:
            with self.open_generation(generation) as bundle:
                bundle.verify()
        except BundleError as error:
            return error.sentence
        return None

    def is_newer(self, generation: Generation) -> bool:
        """Whether an installed generation needs a newer runtime than this one: no damage, whatever else is true."""
        try:
            self.open_generation(generation).close()
        except OutdatedError:
            return True
        except BundleError:
            return False
        return False

    def signature_fault(self, generation: Generation) -> str | None:
        """Say what is wrong with an installed generation's bytes or signature, None if nothing is."""
        try:
            signed = generation.key_id is not None
            with open_bundle(self.bundle_path(generation), trust=self.trust.keys() if signed else None):
                return self.fault(generation)
        except BundleError as error:
            return error.sentence

    def commit(self, *, reason: str = "by hand", deployment: str | None = None) -> State:
        """Commit the generation on trial: it stays, and the floor rises to it.

        Args:
            reason: For the log.
            deployment: Whose trial is meant; None means whichever is on.

        Raises:
            InstallError: Nothing is on trial, or another deployment; or what is on trial is damaged, which ends it.
            BusyError: Another process is at work.
        """
        with self.locked("COMMIT"):
            trial = self.state.trial
            if trial is None:
                fix = "edgetl-runtime install BUNDLE"
                raise InstallError("a commit", "about a generation on trial", self.state.phase, fix=fix)
            self._require(trial, deployment)
            if (fault := self.fault(trial.generation)) is not None:
                self.save(self.ended_trial(self.state, fault))
                raise InstallError(
                    f"generation {trial.generation.name}", "whole", fault, fix="edgetl-runtime install BUNDLE"
                )
            self._commit(reason)
            self.sweep()
            return self.state

    def _commit(self, reason: str) -> None:
        state, trial = self.state, self.state.trial
        if trial is None:
            return
        new = trial.generation
        raises = new.sequence >= state.floor
        settled = dataclasses.replace(
            state,
            line=new.line,
            floor=new.sequence if raises else state.floor,
            floor_sha256=new.manifest_sha256 if raises else state.floor_sha256,
            committed=new,
            previous=state.committed,
            trial=None,
            inconsistent=None,
            permits_used=(*state.permits_used, trial.permit) if trial.permit else state.permits_used,
        )
        self.save(self.event(settled, trial.deployment, "COMMITTED", reason, source=state.committed, target=new))

    def _require(self, trial: Trial | None, deployment: str | None) -> None:
        """Refuse what was meant for a trial that is over."""
        if deployment is not None and (trial is None or trial.deployment != deployment):
            got = f"deployment {trial.deployment}" if trial else "none"
            raise InstallError("the trial", f"that of deployment {deployment}", got, fix="edgetl-runtime status")

    def rollback(self, *, reason: str = "by hand", deployment: str | None = None) -> State:
        """End the trial, or go back to the generation committed before; the floor stays.

        Args:
            reason: For the log.
            deployment: End its trial and do nothing else; None means whatever there is to undo.

        Raises:
            InstallError: There is nothing to go back to, it is damaged, or the deployment's trial is over.
            BusyError: Another process is at work.
        """
        with self.locked("ROLLBACK"):
            state = self.state
            self._require(state.trial, deployment)
            if state.trial is not None:
                self.save(self.ended_trial(state, reason))
            elif state.previous is not None:
                if (fault := self.fault(state.previous)) is not None:
                    raise InstallError(
                        f"generation {state.previous.name}", "whole", fault, fix="edgetl-runtime install BUNDLE"
                    )
                back = dataclasses.replace(state, committed=state.previous, previous=None, inconsistent=None)
                self.save(
                    self.event(back, new_id(), "ROLLED_BACK", reason, source=state.committed, target=state.previous)
                )
            else:
                fix = "edgetl-runtime install OLDER --permit FILE"
                sentence = "there is nothing to roll back to: no generation was committed before this one."
                words = ("a rollback", "to a generation committed before", "none")
                raise InstallError(*words, fix=fix, sentence=sentence)
            self.sweep()
            return self.state

    def ended_trial(self, state: State, reason: str) -> State:
        """Return the state after a trial that failed."""
        if state.trial is None:
            return state
        after = dataclasses.replace(state, trial=None)
        trial = state.trial
        return self.event(
            after, trial.deployment, "ROLLED_BACK", reason, source=trial.generation, target=state.committed
        )

    def event(
        self,
        state: State,
        deployment: str,
        result: Result,
        reason: str,
        *,
        source: Generation | None = None,
        target: Generation | None = None,
        key_id: str | None = None,
    ) -> State:
        """Return the state with the result of a deployment."""
        return state.with_event(
            deployment=deployment,
            result=result,
            reason=printable(reason)[:300],
            source=source.name if source else None,
            target=target.name if target else None,
            key_id=target.key_id if target else key_id,
            who=self.who,
            time=dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds"),
        )

    def begin_attempt(self) -> State:
        """Count a start of the service, before anything is loaded.

        A generation on trial has three starts; then this rolls back.

        Returns:
            The state: its `desired` generation is to be run.

        Raises:
            InstallError: Nothing that is installed is whole.
        """
        with self.locked("START", as_service=True):
            trial = self.state.trial
            if trial is not None:
                left = dataclasses.replace(trial, attempts_left=trial.attempts_left - 1)
                self.save(dataclasses.replace(self.state, trial=left))
            if trial is None and self.state.inconsistent:
                fix = "edgetl-runtime install BUNDLE"
                raise InstallError("the committed generation", "whole", self.state.inconsistent, fix=fix)
            return self.state

    def sweep(self, *, engines: bool = False) -> list[str]:
        """Remove what no generation needs, spare engines only if told to; return what, relative to the root."""
        from edgetl_runtime.install.engine_cache import unneeded

        kept = {generation.name for generation in self.state.kept}
        doomed = [path for path in sorted(self.generations.iterdir()) if path.name not in kept]
        if self.state.inconsistent:  # what is damaged may be all there is; the next commit removes it
            doomed = []
        caches = {cache for generation in self.state.kept if (cache := self.proof(generation).get("cache"))}
        doomed += unneeded(self.root, caches, spare=not engines)
        doomed += sorted((self.root / "staging").iterdir())
        uploads = sorted((self.root / "incoming").iterdir(), key=lambda p: p.lstat().st_mtime)
        doomed += uploads[:-2]  # an upload and its description may be resumed
        for path in doomed:  # not synced: what a power cut brings back is swept again
            self.disk.remove(path)
        return [str(path.relative_to(self.root)) for path in doomed]

    def proof(self, generation: Generation) -> dict[str, Any]:
        """Return what the self-test of a generation found on this device; empty if it is not there."""
        return read_json(self.folder(generation) / PROOF_NAME)

    def installed(self) -> list[Generation]:
        """Return the generations that lie on the disk and say what they are, oldest first."""
        found = []
        for folder in sorted(self.generations.iterdir()) if self.generations.is_dir() else []:
            mapping = read_json(folder / RECORD_NAME).get("generation")
            with contextlib.suppress(EdgetlError):
                found.append(from_mapping(Generation, mapping, where=RECORD_NAME, error=InstallError))
        return sorted(found, key=lambda generation: generation.sequence)


def read_json(path: Path) -> dict[str, Any]:
    """Return a small JSON object, empty where there is none that can be read."""
    try:
        found = from_json(path.read_bytes(), where=path.name, error=InstallError, fix="")
    except (OSError, InstallError):
        return {}
    return found if isinstance(found, dict) else {}


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, in a container
        return f"uid {os.getuid()}"
