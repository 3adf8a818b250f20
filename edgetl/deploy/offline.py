"""A folder for a stick: bundle, wheels for the device's Python and machine, and one script that needs no network."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import edgetl_runtime
from edgetl_runtime import children
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import InstallError, OutdatedError, SignatureError, UsageError, unreadable
from edgetl_runtime.install.trust import Trust
from edgetl_runtime.install.trust import parse as parse_trust
from edgetl_runtime.schema import to_mapping
from edgetl_runtime.signature import TrustedKey, load_public_key, public_pem

if TYPE_CHECKING:
    from collections.abc import Sequence

PIP_S = 600
# newest first: pip takes the first tag that a wheel has
PLATFORMS = ("manylinux_2_34", "manylinux_2_31", "manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")

SCRIPT = """\
#!/bin/sh
# Installs edgetl-runtime and a bundle from this folder; needs no network.
#   sh install.sh [PREFIX]     default /opt/edgetl; $EDGETL_ROOT is the folder of generations, default /var/lib/edgetl
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
prefix=${{1:-/opt/edgetl}}
python=${{PYTHON:-python3}}
cd "$here"
sha256sum --quiet --check SHA256SUMS
"$python" -c 'import sys, platform
want = ("{python}", "{arch}")
here = ("%d.%d" % sys.version_info[:2], platform.machine())
sys.exit(0 if here == want else "this package is for Python %s on %s; this is Python %s on %s" % (want + here))'
[ -x "$prefix/bin/python" ] || "$python" -m venv --without-pip "$prefix"
PYTHONPATH=$(echo "$here"/wheels/pip-*.whl) "$prefix/bin/python" -m pip install --quiet --no-index \\
  --disable-pip-version-check --find-links "$here/wheels" 'edgetl-runtime[{extras}]'
if [ -f "$here/trust.json" ]; then "$prefix/bin/edgetl-runtime" trust set "$here/trust.json"; fi
exec "$prefix/bin/edgetl-runtime" install "$here/bundle.edgetl"{options}
"""


def write_package(
    bundle: Path,
    folder: Path,
    *,
    python: str,
    arch: str,
    trust: Path | None = None,
    allow_unsigned: bool = False,
) -> dict[str, object]:
    """Write the folder.

    Args:
        bundle: To install.
        folder: A new one.
        python: Of the device, for instance `3.10`.
        arch: Of the device, `x86_64` or `aarch64`.
        trust: A public key, or what `edgetl keys trust` wrote; the device will trust these keys. Whoever can change the
            stick can change them: use it for the first installation, from a stick that stays in trusted hands.
        allow_unsigned: Let the script install an unsigned bundle; recorded on the device.

    Returns:
        The folder, its size in bytes, and the names of the wheels.

    Raises:
        UsageError: The folder exists, the bundle is unsigned and that was not allowed, or the keys cannot be used or
            did not sign the bundle.
        InstallError: A wheel cannot be had for that Python and machine.
    """
    if folder.exists():
        raise UsageError(f"--offline-package {folder}", "a new folder", "an existing one", fix="choose another name")
    keys = None if trust is None else read_trust(trust)
    with open_bundle(bundle, trust=keys, allow_unsigned=allow_unsigned) as opened:
        opened.verify()
        backends = sorted({variant.backend for variant in opened.manifest.variants} - {"null"})
        signed = bool(opened.signatures)
    if not signed and not allow_unsigned:
        raise UsageError("the bundle", "signed", "unsigned", fix="--key NAME.key, or --allow-unsigned")
    extras = [*_with_extra(backends), "install"]
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    try:
        _wheels(wheels, extras, python=python, arch=arch)
        shutil.copyfile(bundle, folder / "bundle.edgetl")
        if keys is not None:
            (folder / "trust.json").write_text(json.dumps(to_mapping(Trust(keys=keys)), indent=1) + "\n", "utf-8")
        options = "" if signed else " --allow-unsigned"
        script = SCRIPT.format(python=python, arch=arch, extras=",".join(extras), options=options)
        (folder / "install.sh").write_text(script, encoding="utf-8")
        (folder / "install.sh").chmod(0o755)
        _sums(folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return {"folder": str(folder), "size_bytes": size, "wheels": sorted(path.name for path in wheels.iterdir())}


def read_trust(path: Path) -> tuple[TrustedKey, ...]:
    """Read the keys that a device will trust: a public key, which may then sign for any line, or a trust file.

    Raises:
        UsageError: It is neither.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(UsageError, f"--trust {path}", error, path=path) from error
    fix = "--trust line.pub; for single lines: edgetl keys trust line.pub --line LINE --out trust.json"
    if b"PRIVATE KEY" in data:
        raise UsageError(f"--trust {path}", "a public key or a trust file", "a private key", fix=fix)
    try:
        if data.lstrip().startswith(b"-----BEGIN"):
            return (TrustedKey(pem=public_pem(load_public_key(data.decode(errors="replace")))),)
        return parse_trust(data, where=f"--trust {path}").keys
    except (InstallError, OutdatedError, SignatureError) as error:
        raise UsageError(f"--trust {path}", "a public key or a trust file", error.got, fix=fix) from error


def _with_extra(backends: Sequence[str]) -> list[str]:
    """Return the backends that pip can install; NVIDIA's libraries come with the device's system."""
    return [name for name in backends if name in ("onnxruntime", "openvino")]


def _wheels(wheels: Path, extras: Sequence[str], *, python: str, arch: str) -> None:
    """Build the runtime's wheel, and download what it needs for the device's Python and machine."""
    source = Path(edgetl_runtime.__file__).parents[1]
    if (source / "pyproject.toml").is_file():  # a checkout
        _pip(["wheel", "--quiet", "--no-deps", "--wheel-dir", str(wheels), str(source)])
        runtime = str(next(wheels.glob("edgetl_runtime-*.whl")))
    else:
        runtime = f"edgetl-runtime=={edgetl_runtime.__version__}"
    tags = [f"--platform={name}_{arch}" for name in PLATFORMS]
    words = ["--quiet", "--only-binary=:all:", f"--python-version={python}", *tags, "--dest", str(wheels)]
    _pip(["download", *words, f"{runtime}[{','.join(extras)}]", "pip"])


def _pip(words: list[str]) -> None:
    # in the user's own folder and environment, which name proxies and indexes; but no module of that folder runs
    command = ["pip", "--disable-pip-version-check", *words]
    done = subprocess.run(children.command(*command), capture_output=True, text=True, timeout=PIP_S, check=False)
    if done.returncode != 0:
        reason = next((line for line in reversed(done.stderr.splitlines()) if "ERROR" in line), "no word")
        fix = "check the network and the device's Python; " + " ".join(command)[-200:]
        raise InstallError("the wheels of the device", "available", reason[:200], fix=fix)


def _sums(folder: Path) -> None:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}" for path in files]
    (folder / "SHA256SUMS").write_text("\n".join(lines) + "\n", encoding="utf-8")
