"""Bring a bundle to a device over SSH: preflight, upload that resumes, install, self-test, trial, evidence back."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any

from edgetl.transport import connect, send
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import EdgetlError, InstallError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from edgetl.progress import Progress
    from edgetl.transport import Remote, Settings

COMMAND_S = 60.0
INSTALL_S = 4200.0  # an engine may take an hour, the self-test five minutes
POLL_S = 1.0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOptions:
    """How a bundle goes to a device.

    Attributes:
        root: The device's folder of generations.
        runtime: How edgetl-runtime is called there, program and arguments.
        stage_only: Only upload; somebody there installs it.
        allow_unsigned: Install a bundle that nobody signed; recorded on the device.
        trial_s: Shortest duration of the trial, in seconds.
        trial_inferences: And at least so many decisions.
    """

    root: str = "/var/lib/edgetl"
    runtime: tuple[str, ...] = ("edgetl-runtime",)
    stage_only: bool = False
    allow_unsigned: bool = False
    trial_s: float = 60.0
    trial_inferences: int = 200


def deliver(
    bundle: Path, host: str, options: DeliveryOptions, progress: Progress, *, settings: Settings | None = None
) -> dict[str, Any]:
    """Deliver a bundle, wait for the outcome of its trial.

    Args:
        bundle: The file here.
        host: `[user@]host[:port]`.
        options: How.
        progress: Shows the stages.
        settings: Of the connection.

    Returns:
        `result` (STAGED, UNCHANGED, COMMITTED or ROLLED_BACK), `reason`, and what the device measured as `proof`. Where
        this bundle is on trial there already, the trial is ended and nothing is sent.

    Raises:
        InstallError: The device refuses the bundle: line, sequence, space, memory, or a trial is on.
        GoldenError: It decides otherwise there.
        ContractError: It is too slow or too large there.
        UnfitError: Whether it is could not be proved there.
        TransportError: The device cannot be reached, or the connection is lost for good.
    """
    with open_bundle(bundle) as opened:
        line, sequence = opened.manifest.line, opened.manifest.sequence
        digest, signed = opened.manifest_sha256, bool(opened.signatures)
    if not signed and not options.allow_unsigned and not options.stage_only:
        raise UsageError("the bundle", "signed", "unsigned", fix="--key NAME.key, or --allow-unsigned")
    with connect(host, settings) as remote:
        station = _RemoteStation(remote, options)
        with progress.stage(f"{host}: preflight"):
            status = station.status()
            waiting = None if options.stage_only else _on_trial(status, digest)
            if waiting is None:
                station.preflight(status, line, sequence, bundle.stat().st_size)
        if waiting is not None:  # the connection was lost after the self-test: only the verdict is missing
            with progress.stage(f"{host}: trial"):
                return {"host": host, **station.trial(waiting["deployment"]), **waiting, "upload": None}
        target = f"{options.root}/incoming/{digest[:12]}.edgetl"
        with progress.stage(f"{host}: upload", unit="B") as advance:
            copied = send(remote, bundle, target, advance=advance)
        upload = {"moved_bytes": copied.moved_bytes, "seconds": copied.seconds, "interruptions": copied.interruptions}
        if options.stage_only:
            return {"host": host, "result": "STAGED", "reason": target, "upload": upload}
        return {"host": host, **_put_to_work(station, target, line, host, progress), "upload": upload}


def _put_to_work(station: _RemoteStation, target: str, line: str, host: str, progress: Progress) -> dict[str, Any]:
    """Install what was uploaded and wait for the outcome of its trial."""
    with progress.stage(f"{host}: install, self-test"):
        installed = station.install(target, line)
    station.remote.run(["rm", "-f", "--", target], limit_s=COMMAND_S)
    outcome = {"result": installed["result"], "reason": "committed before"}
    if installed["result"] == "TRIAL":
        with progress.stage(f"{host}: trial"):
            outcome = station.trial(installed["deployment"])
    return {**outcome, **{key: installed[key] for key in ("deployment", "generation", "proof")}}


class _RemoteStation:
    """edgetl-runtime on a device."""

    def __init__(self, remote: Remote, options: DeliveryOptions) -> None:
        self.remote = remote
        self.options = options

    def status(self) -> dict[str, Any]:
        """Return the device's state; refuse a device without the runtime."""
        done = self.remote.run([*self.options.runtime, "--version"], limit_s=COMMAND_S, check=False)
        if done.code != 0:
            fix = 'there: pip install "edgetl-runtime[install,onnxruntime]", or --offline-package'
            words = done.stderr.strip().splitlines()[-1:] or [f"exit {done.code}"]
            raise InstallError("edgetl-runtime on the device", "installed", words[0][:120], fix=fix)
        return self.call("status", limit_s=COMMAND_S)

    def preflight(self, status: dict[str, Any], line: str, sequence: int, size: int) -> None:
        """Refuse with a reason before a byte is sent."""
        if status["trial"] is not None:
            fix = "edgetl-runtime commit or edgetl-runtime rollback, there"
            raise InstallError("the device", "without a trial", status["trial"]["generation"]["name"], fix=fix)
        if status["line"] not in (None, line):
            must = f"of product line '{status['line']}'"
            raise InstallError("the bundle", must, f"'{line}'", fix="--line, or another --root")
        if sequence < status["floor"]:
            must = f"at or above the device's floor {status['floor']}"
            raise InstallError("the bundle", must, f"sequence {sequence}", fix="deploy again: it takes the next number")
        folder = f"{self.options.root}/incoming"
        self.remote.run(["mkdir", "-p", "--", folder], limit_s=COMMAND_S)
        words = self.remote.run(["df", "-Pk", "--", folder], limit_s=COMMAND_S).stdout.split()
        free = 1024 * int(words[-3]) if len(words) > 6 and words[-3].isdigit() else None
        needed = 4 * size  # the upload, the copy, what is compiled from it
        if free is not None and free < needed:
            must = f"at least {needed // 2**20 + 1} MB"
            raise InstallError("free space on the device", must, f"{free // 2**20} MB", fix="edgetl-runtime gc, there")

    def install(self, target: str, line: str) -> dict[str, Any]:
        """Install what was uploaded."""
        words = ["install", target, "--line", line]
        if self.options.allow_unsigned:
            words.append("--allow-unsigned")
        return self.call(*words, limit_s=INSTALL_S)

    def trial(self, deployment: str) -> dict[str, str]:
        """Wait for the service's verdict; where no service runs, try the generation on its golden images."""
        limit_s = self.options.trial_s + INSTALL_S
        if not self.call("status", limit_s=COMMAND_S)["service"]:
            words = ["--seconds", f"{self.options.trial_s:g}", "--inferences", str(self.options.trial_inferences)]
            done = self.call("trial", *words, limit_s=limit_s, may_fail=True)
            return {"result": done["result"], "reason": done["reason"]}
        deadline = time.monotonic() + limit_s
        while time.monotonic() < deadline:
            for entry in reversed(self.call("log", limit_s=COMMAND_S)["entries"]):
                if entry["deployment"] == deployment and entry["result"] != "TRIAL":
                    return {"result": entry["result"], "reason": entry["reason"]}
            time.sleep(POLL_S)
        return {"result": "TRIAL", "reason": f"the service has not decided within {limit_s:.0f} s; it goes on there"}

    def call(self, *words: str, limit_s: float, may_fail: bool = False) -> dict[str, Any]:
        """Run a command of edgetl-runtime and return its JSON; its errors are raised here as what they are."""
        command = [*self.options.runtime, *words, "--json", "--root", self.options.root]
        done = self.remote.run(command, limit_s=limit_s, check=False)
        try:
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        except (ValueError, IndexError):
            raise self.remote.failed(command, done) from None
        if "error" in found:
            raise EdgetlError.from_mapping(found["error"], where="on the device", exit_code=done.code)
        if done.code != 0 and not may_fail and words[0] != "status":
            raise self.remote.failed(command, done)
        return found


def _on_trial(status: dict[str, Any], manifest_sha256: str) -> dict[str, Any] | None:
    """Return deployment, generation and proof if this very bundle is on trial there."""
    trial = status["trial"]
    if trial is None or trial["generation"]["manifest_sha256"] != manifest_sha256:
        return None
    return {"deployment": trial["deployment"], "generation": trial["generation"], "proof": status["proof"]}
