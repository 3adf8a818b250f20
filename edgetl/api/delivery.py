"""Bring a bundle to where it is needed: `edgetl.deliver`, and what `deploy` hands over."""

from __future__ import annotations

import dataclasses
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgetl.api.calls import AnyPath, calling
from edgetl.api.progress import ProgressOption, progress_of
from edgetl.api.results import Delivered
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.deploy.signing import SigningKey
    from edgetl.progress import Progress

Arch = Literal["x86_64", "aarch64"]
ARCHS: tuple[Arch, ...] = ("x86_64", "aarch64")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRequest:
    """Where a bundle goes, and by whom it is signed.

    Attributes:
        key: Private keys to sign with; several during a rotation.
        host: `[user@]device[:port]` to install on over SSH; None installs nowhere.
        root: The device's folder.
        runtime: How edgetl-runtime is called there, as a shell would read it.
        stage_only: Only upload; somebody there installs it.
        trial_seconds: Shortest duration of the trial, in seconds.
        allow_unsigned: Deliver without a signature; recorded on the device.
        ssh_config: An ssh configuration instead of the user's.
        offline_package: New folder for a stick: bundle, wheels, install.sh.
        python: The device's Python, for the package.
        arch: The device's machine type; None takes that of the bundle's target.
        trust: For the package: the key that the device will trust, or a trust file.
    """

    key: tuple[Path, ...] = ()
    host: str | None = None
    root: str = "/var/lib/edgetl"
    runtime: str = "edgetl-runtime"
    stage_only: bool = False
    trial_seconds: float = 60.0
    allow_unsigned: bool = False
    ssh_config: Path | None = None
    offline_package: Path | None = None
    python: str = "3.10"
    arch: Arch | None = None
    trust: Path | None = None

    @property
    def asked_for(self) -> bool:
        """Whether anything is to be done with the bundle."""
        return bool(self.key or self.host or self.offline_package)


def deliver(
    bundle: AnyPath,
    *,
    key: AnyPath | Sequence[AnyPath] = (),
    host: str | None = None,
    root: str = "/var/lib/edgetl",
    runtime: str = "edgetl-runtime",
    stage_only: bool = False,
    trial_seconds: float = 60.0,
    allow_unsigned: bool = False,
    ssh_config: AnyPath | None = None,
    offline_package: AnyPath | None = None,
    python: str = "3.10",
    arch: Arch | None = None,
    trust: AnyPath | None = None,
    progress: ProgressOption = "bars",
) -> Delivered:
    """Sign a bundle, install it on a device over SSH, or write a folder for a stick; whatever is asked for.

    Calls for several devices may be made from several threads, if the bundle is signed already.

    Args:
        bundle: The .edgetl file.
        key: Private key, or several during a rotation, to sign the bundle with.
        host: `[user@]device[:port]` to install on, waiting for the trial.
        root: The device's folder.
        runtime: How edgetl-runtime is called there.
        stage_only: Only upload; somebody there installs it.
        trial_seconds: Shortest duration of the trial, in seconds.
        allow_unsigned: Deliver without a signature; recorded on the device.
        ssh_config: An ssh configuration instead of the user's.
        offline_package: New folder for a stick: bundle, wheels, install.sh.
        python: The device's Python, for the package.
        arch: The device's machine type; None takes that of the bundle's target.
        trust: For the package: the key that the device will trust, or a trust file.
        progress: As for `edgetl.finetune`.

    Returns:
        What was done. `ok` is false where the device went back to what it had before; `require()` raises then.

    Raises:
        UsageError: Nothing was asked for, or an option is wrong or needs another.
        InstallError: The device refuses the bundle.
        TransportError: The device cannot be reached, or the connection is lost for good.

    Example:
        >>> edgetl.deliver("screws.edgetl", key="line.key", host="user@device").require()  # doctest: +SKIP
        signed by 3f5e0a1c9d8b7a66
        user@device: COMMITTED, 200 decisions without a failure
    """
    given = locals()
    with calling("edgetl.deliver", alone=False):
        return hand_out(Path(bundle), request_of(given), progress_of(progress))


def request_of(given: dict[str, Any]) -> DeliveryRequest:
    """Return the request in a function's arguments."""
    found = {name: value for name, value in given.items() if name in DeliveryRequest.__dataclass_fields__}
    keys = found["key"] or ()
    found["key"] = tuple(map(Path, [keys] if isinstance(keys, (str, os.PathLike)) else keys))
    for name in ("ssh_config", "offline_package", "trust"):
        found[name] = None if found[name] is None else Path(found[name])
    return DeliveryRequest(**found)


def hand_out(bundle: Path, request: DeliveryRequest, progress: Progress) -> Delivered:
    """Sign, deliver, package: whatever was asked for.

    Raises:
        UsageError: Nothing was.
    """
    keys = check_delivery(request, arch=target_arch(bundle) if request.offline_package else ())
    if not request.asked_for:
        fix = "--host user@device"
        raise UsageError("edgetl deliver", "given --host, --offline-package or --key", "none of them", fix=fix)
    done = hand_over(bundle, keys, request, progress)
    result = {"schema": "edgetl.deliver/1", "bundle": str(bundle), **done}
    return Delivered(
        json=result,
        bundle=bundle,
        signed_by=tuple(done["signed_by"]),
        delivery=done["delivery"],
        package=done["package"],
    )


def check_delivery(request: DeliveryRequest, *, arch: Sequence[str]) -> tuple[SigningKey, ...]:
    """Read the keys, and refuse options that cannot work, before minutes of other work.

    Args:
        request: What was asked for.
        arch: Machine types of the target.

    Raises:
        UsageError: A key cannot be used, or an option needs another.
    """
    from edgetl.deploy.signing import load_key

    keys = tuple(load_key(path) for path in request.key)
    if request.stage_only and not request.host:
        raise UsageError("--stage-only", "with --host", "no host", fix="--host user@device")
    if request.offline_package is not None:
        if request.offline_package.exists():
            what = f"--offline-package {request.offline_package}"
            raise UsageError(what, "a new folder", "an existing one", fix="--offline-package with a new name")
        package_arch(request.arch, arch)
        if request.trust is not None:
            from edgetl.deploy.offline import read_trust

            read_trust(request.trust)
    elif request.trust is not None:
        raise UsageError("--trust", "with --offline-package", "no package", fix="--offline-package stick")
    return keys


def package_arch(given: str | None, target: Sequence[str]) -> str:
    """Return the machine type that a package is for: the one given, else the target's.

    Args:
        given: By `--arch`.
        target: What the target's profile says: `any` is this machine's, unless another is given; empty is unknown.

    Raises:
        UsageError: It is another one than the target's, or nobody says it.
    """
    import platform

    known = [platform.machine() if name == "any" else name for name in target]
    if given is None and len(known) == 1:
        return known[0]
    if given is None:
        must, got = "with --arch", "several machine types" if known else "a bundle that names no machine type"
        raise UsageError("--offline-package", must, got, fix=f"--arch {' or --arch '.join(known or ARCHS)}")
    if target and given not in known and "any" not in target:
        fix = f"--arch {known[0]}, or deploy for a target with {given}: edgetl devices list"
        raise UsageError("--arch", f"that of the bundle's target, {' or '.join(known)}", given, fix=fix)
    return given


def target_arch(bundle: Path) -> tuple[str, ...]:
    """Return the machine types of a bundle's target; none where it names none."""
    from edgetl_runtime.bundle import open_bundle

    with open_bundle(bundle) as opened:
        arch = opened.manifest.target.get("arch", ())
    return tuple(str(name) for name in arch) if isinstance(arch, (list, tuple)) else ()


def hand_over(
    bundle: Path, keys: tuple[SigningKey, ...], request: DeliveryRequest, progress: Progress
) -> dict[str, Any]:
    """Sign a bundle, bring it to the device, write the package; as asked for.

    Returns:
        `signed_by` (ids, empty for an unsigned bundle), `delivery` and `package` (None where not asked for), `exit`.
    """
    from edgetl.deploy.bundle_writer import sign_bundle

    if keys:
        sign_bundle(bundle, keys)
    delivery = package = None
    if request.offline_package is not None:
        from edgetl.deploy.offline import write_package

        arch = package_arch(request.arch, target_arch(bundle))
        with progress.stage(f"wheels for Python {request.python} on {arch}"):
            package = write_package(
                bundle, request.offline_package, python=request.python, arch=arch, trust=request.trust,
                allow_unsigned=request.allow_unsigned,
            )  # fmt: skip
    if request.host:
        from edgetl.deploy.delivery import DeliveryOptions
        from edgetl.deploy.delivery import deliver as bring
        from edgetl.transport import Settings

        options = DeliveryOptions(
            root=request.root,
            runtime=tuple(shlex.split(request.runtime)),
            stage_only=request.stage_only,
            allow_unsigned=request.allow_unsigned,
            trial_s=request.trial_seconds,
        )
        settings = Settings(config=request.ssh_config) if request.ssh_config else None
        delivery = bring(bundle, request.host, options, progress, settings=settings)
    return {
        "signed_by": [key.id for key in keys],
        "delivery": delivery,
        "package": package,
        "exit": 1 if delivery and delivery["result"] == "ROLLED_BACK" else 0,
    }
