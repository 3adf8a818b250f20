"""Each peer in an environment of its own: made on first use from `suites/peers.toml`, kept in `.venv-peers/`."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".venv-peers"
SUITE = Path(__file__).parent / "suites" / "peers.toml"


def peers() -> dict[str, dict[str, Any]]:
    """Return the peers of the suite."""
    return dict(tomllib.loads(SUITE.read_text(encoding="utf-8"))["peers"])


def python_of(name: str) -> Path:
    """Return the interpreter of a peer's environment; `packages = []` runs in this one."""
    peer = peers()[name]
    if not peer["packages"]:
        return Path(sys.executable)
    made_of = [peer.get(k) for k in ("packages", "pip_options", "runtime", "borrows_torch")]
    key = hashlib.sha256(repr(made_of).encode()).hexdigest()[:8]
    folder = ENVIRONMENTS / f"{name}-{key}"
    python = folder / "bin" / "python"
    if not (folder / ".made").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, *peer.get("pip_options", []), *peer["packages"]], check=True)
        if peer.get("runtime"):
            subprocess.run([*pip, "--no-deps", "-e", str(ROOT / "runtimes")], check=True)
        if peer.get("borrows_torch"):  # the same torch, OpenCV and OpenVINO as everybody's, without a second copy
            site = next((folder / "lib").glob("python*")) / "site-packages"
            (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
        (folder / ".made").touch()
    return python
