"""Shared by all tests: a small data set with an obvious defect, a finished run on it, a deployment, a real sshd."""

from __future__ import annotations

import contextlib
import dataclasses
import getpass
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest

from edgetl import __version__
from edgetl.cli import COMMANDS
from edgetl.run import RunFolder
from edgetl.transport import Address, Settings
from edgetl_runtime.cli.driver import run as run_command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from edgetl.deploy.candidates import Candidate

PARTS = {"good": 24, "hole": 22}
SIZE_PX = 64
SSHD = shutil.which("sshd") or "/usr/sbin/sshd"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command printed and how it ended."""

    exit: int
    result: dict[str, Any]
    stderr: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """One finished deployment: its JSON answer and the bundle."""

    result: dict[str, Any]
    bundle: Path
    run: Path


def blob_image(seed: int, *, hole: bool, size_px: int = 48) -> np.ndarray:
    """Return a smooth grey surface, with a dark blob where `hole`."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(120, 180, (4, 4)).astype(np.uint8)
    grey = cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_LINEAR).astype(float)
    if hole:
        x, y = rng.integers(size_px // 3, 2 * size_px // 3, 2)
        yy, xx = np.mgrid[:size_px, :size_px]
        grey -= 110 * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * (size_px / 9) ** 2))
    grey += rng.normal(0, 4, grey.shape)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def write_parts(root: Path, *, counts: dict[str, int] | None = None) -> Path:
    """Write a class folder of parts, `hole` being the defect."""
    for number, (label, count) in enumerate((counts or PARTS).items()):
        folder = root / label
        folder.mkdir(parents=True)
        for index in range(count):
            image = blob_image(1000 * number + index, hole=label == "hole")
            (folder / f"{index:03}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return root


def command(*arguments: object) -> Answer:
    """Run one command of the host in this process, with `--json`."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run_command("edgetl", COMMANDS, [*map(str, arguments), "--json"], version=__version__)
    return Answer(exit=code, result=json.loads(out.getvalue().splitlines()[-1]), stderr=err.getvalue())


@pytest.fixture(scope="session")
def edgetl() -> Callable[..., Answer]:
    """Runs a command: edgetl("finetune", data, "--out", run) → Answer."""
    return command


class ProgrammedMachine:
    """A machine whose candidates take the time that a test says; only deciding lets its clock pass.

    Args:
        latency_ms: Candidate and seconds since the start → what the next inference takes.
        foreign_cores: How many cores other work keeps busy.
    """

    def __init__(self, latency_ms: Callable[[Candidate, float], float], *, foreign_cores: float = 0.0) -> None:
        self.latency_ms, self.foreign_cores = latency_ms, foreign_cores
        self.now_ns = 0
        self.turns: list[str] = []

    def machine(self) -> types.SimpleNamespace:
        """Return what timing asks of a machine, as `edgetl.deploy.latency.Machine` does."""
        return types.SimpleNamespace(
            open=self._open,
            clock_ns=lambda: self.now_ns,
            foreign_s=lambda: self.foreign_cores * self.now_ns / 1e9,
        )

    def _open(self, candidate: Candidate) -> Any:
        def infer(_: object) -> dict[str, np.ndarray]:
            if self.turns[-1:] != [candidate.id]:
                self.turns.append(candidate.id)
            self.now_ns += round(1e6 * self.latency_ms(candidate, self.now_ns / 1e9))
            return {"logits": np.zeros((1, 2), np.float32)}

        return contextlib.nullcontext(types.SimpleNamespace(infer=infer))


@pytest.fixture(scope="session")
def programmed_machine() -> type[ProgrammedMachine]:
    """For fixtures of a wider scope than `programmed`."""
    return ProgrammedMachine


@pytest.fixture
def programmed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ProgrammedMachine]:
    """Puts a programmed machine in the place of this one: programmed(latency_ms, foreign_cores=0.0)."""

    def install(latency_ms: Callable[[Candidate, float], float], **options: float) -> ProgrammedMachine:
        from edgetl.deploy import latency

        made = ProgrammedMachine(latency_ms, **options)
        found = made.machine()
        monkeypatch.setattr(latency, "Machine", lambda: found)
        return made

    return install


@pytest.fixture(scope="session", autouse=True)
def _own_cache_and_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGETL_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("EDGETL_STATE", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def one_thread() -> None:
    """Torch on one thread: faster for tiny networks, and the same order of sums in every process."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def make_parts() -> Callable[..., Path]:
    """Writer of a data set: make_parts(root, counts={"good": 8, "hole": 8})."""
    return write_parts


@pytest.fixture(scope="session")
def blob_parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 24 good parts and 22 with a hole, 48x48."""
    return write_parts(tmp_path_factory.mktemp("blobs") / "parts")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, blob_parts: Path, one_thread: None) -> Answer:
    """The answer of one finished `edgetl finetune`; do not change its run."""
    del one_thread
    out = tmp_path_factory.mktemp("runs") / "blobs"
    options = ("--image-size", SIZE_PX, "--preset", "quick", "--defect", "hole", "--data-licence", "CC0-1.0")
    answer = command("finetune", blob_parts, "--out", out, *options)
    assert answer.exit == 0, answer
    return answer


@pytest.fixture
def run_folder(finished: Answer, tmp_path: Path) -> RunFolder:
    """A copy of the finished run, to be changed at will."""
    return RunFolder(shutil.copytree(finished.result["run"], tmp_path / "run"))


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory, finished: Answer) -> Deployed:
    """One finished deployment to an industrial PC with ONNX Runtime; do not change it."""
    folder = tmp_path_factory.mktemp("deployed")
    run = shutil.copytree(finished.result["run"], folder / "run")
    bundle = folder / "blobs.edgetl"
    loose = ("--max-drop-pp", 50, "--max-flips-pct", 50)
    answer = command("deploy", run, "--target", "ipc-onnxruntime", "--out", bundle, *loose)
    assert answer.exit == 0, answer
    return Deployed(result=answer.result, bundle=bundle, run=run)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The running sshd, and what a client needs."""

    folder: Path
    address: Address
    process: subprocess.Popen[bytes]

    def settings(self, *, known: str = "known_hosts", key: str = "user", **other) -> Settings:
        """Return settings whose ssh configuration names files of this server only."""
        config = self.folder / f"config-{known}-{key}"
        config.write_text(
            f"IdentityFile {self.folder / key}\nIdentitiesOnly yes\nIdentityAgent none\n"
            f"UserKnownHostsFile {self.folder / known}\nGlobalKnownHostsFile none\n"
        )
        return Settings(config=config, connect_s=60, **other)

    def cut(self) -> int:
        """Kill every session of the server at once; return how many processes died."""
        victims = descendants(self.process.pid)
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim, signal.SIGKILL)
        return len(victims)


def descendants(pid: int) -> list[int]:
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            after_name = stat.read_text().rpartition(")")[2].split()
            if int(after_name[1]) == pid:
                found += [int(stat.parent.name), *descendants(int(stat.parent.name))]
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    if not os.access(SSHD, os.X_OK):
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail("sshd must be installed in CI; got none. Try: apt-get install openssh-server")
        pytest.skip("no sshd here: apt-get install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    folder.chmod(0o700)
    home = folder / "home"  # empty: whatever the tester's shell does at login stays out of the tests
    home.mkdir()
    for name in ("host", "user", "stranger", "other-host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", folder / name], check=True)
    port = free_port()
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    listed = {"known_hosts": "host", "changed_hosts": "other-host"}
    for file, key in listed.items():
        (folder / file).write_text(f"[127.0.0.1]:{port} {(folder / f'{key}.pub').read_text()}")
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {folder / 'authorized_keys'}\nStrictModes no\nPasswordAuthentication no\n"
        f"KbdInteractiveAuthentication no\nMaxStartups 100\nSetEnv HOME={home}\n"
    )
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd insists on it where it runs as root
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "config"], stderr=log)
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=10):
                break
            time.sleep(0.05)
        else:
            pytest.fail(f"sshd did not come up: {(folder / 'log').read_text()}")
        address = Address(host="127.0.0.1", user=getpass.getuser(), port=port)
        yield Server(folder=folder, address=address, process=process)
    finally:
        for pid in descendants(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.kill()
        process.wait()
