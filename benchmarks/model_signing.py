"""Interoperates with the PyPI tool `model-signing`, in an environment of its own: run `make interop`.

python benchmarks/model_signing.py --create     make .venv-model-signing beside .venv
python benchmarks/model_signing.py              both ways: it verifies ours, we verify its
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import faults

from edgetl.deploy.bundle_writer import attach
from edgetl.deploy.signing import new_key
from edgetl_runtime.__main__ import main as runtime
from edgetl_runtime.bundle import open_bundle
from edgetl_runtime.errors import EdgetlError
from edgetl_runtime.signature import TrustedKey

ENVIRONMENT = Path(__file__).parents[1] / ".pytest_cache" / "model-signing"
# 1.1.1 imports pyOpenSSL without declaring it
PACKAGES = ("model-signing==1.1.1", "pyOpenSSL>=25")


def create() -> None:
    """Make the environment; a few dozen packages of its own stay out of ours."""
    subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
    subprocess.run([str(ENVIRONMENT / "bin/pip"), "install", "--quiet", *PACKAGES], check=True)


def tool(*words: str) -> subprocess.CompletedProcess[str]:
    """Run model_signing."""
    command = [str(ENVIRONMENT / "bin/python"), "-m", "model_signing", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def interoperate(folder: Path) -> dict[str, bool]:
    """Return, for each direction and each alteration, whether the right thing happened."""
    key = new_key(folder / "line.key")
    public = str(folder / "line.pub")
    bundle = faults.small_bundle(folder / "ours.edgetl", sequence=1, seed=1, key=key)
    runtime(["unpack", str(bundle), str(folder / "ours")])
    verify = ("verify", "key", str(folder / "ours"), "--public_key", public, "--signature")
    found = {"it verifies ours": tool(*verify, str(folder / "ours.sig")).returncode == 0}
    model = folder / "ours" / "model.json"
    whole = model.read_bytes()
    model.write_bytes(whole + b" ")
    found["it refuses ours with an altered model"] = tool(*verify, str(folder / "ours.sig")).returncode != 0
    model.write_bytes(whole)
    signed = tool(
        "sign", "key", str(folder / "ours"), "--private_key", str(folder / "line.key"),
        "--signature", str(folder / "theirs.sig"),
    )  # fmt: skip
    if signed.returncode != 0:
        sys.stderr.write(signed.stderr)
    attach(bundle, [json.loads((folder / "theirs.sig").read_text(encoding="utf-8"))])
    with open_bundle(bundle, trust=[TrustedKey(pem=key.pem)]) as opened:
        opened.verify()
        found["we verify its"] = opened.signed_by is not None and opened.signed_by.id == key.id
    other = new_key(folder / "other.key")
    try:
        open_bundle(bundle, trust=[TrustedKey(pem=other.pem)]).close()
        found["we refuse its by another key"] = False
    except EdgetlError:
        found["we refuse its by another key"] = True
    return found


def main() -> int:
    """Run both ways and say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--create", action="store_true")
    if parser.parse_args().create:
        create()
    with tempfile.TemporaryDirectory() as folder:
        found = interoperate(Path(folder))
    for words, right in found.items():
        sys.stdout.write(f"{'ok ' if right else 'NOT'} {words}\n")
    return 0 if all(found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
