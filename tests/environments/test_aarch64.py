"""The station's side on 64-bit Arm, for real: an emulated userland in which the wheels are installed and decide.

Slow, and root's: `make test-aarch64` asks for it. The userland is kept between runs. EDGETL_AARCH64_BUNDLE names a real
bundle to prove as well, EDGETL_AARCH64_RECORD a file for the figures.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import socket
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import edgetl_runtime
from edgetl.deploy.bundle_writer import write_bundle
from edgetl.deploy.delivery import DeliveryOptions, deliver
from edgetl.deploy.signing import new_key
from edgetl.progress import Progress
from edgetl.transport import Address, Settings, connect, send
from edgetl_runtime.bundle import open_bundle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
RUNTIMES = ROOT / "runtimes"
SCRIPT = Path(__file__).with_name("arm64-userland.sh")
ASKED = os.environ.get("EDGETL_AARCH64") == "1"
# glibc 2.35 of JetPack 6 (Ubuntu 22.04); JetPack 7 has a newer one
PLATFORMS = [f"manylinux_2_{minor}_aarch64" for minor in (17, 26, 27, 28, 31, 34, 35)] + ["manylinux2014_aarch64"]
STATION = "/opt/edgetl/bin/"
RUNTIME = [STATION + "python", "-m", "edgetl_runtime"]
# what the cores that qemu computes on have, as an Orin's kernel would list it
CPUINFO = "".join(
    f"processor\t: {core}\nFeatures\t: fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimddp\n"
    "CPU implementer\t: 0x41\nCPU part\t: 0xd42\n\n"
    for core in range(2)
)
pytestmark = [
    pytest.mark.skipif(not ASKED, reason="slow, needs root and an emulator: make test-aarch64"),
    pytest.mark.timeout(1800),
]


def run(*command: str | Path, check: bool = True, timeout: int = 1500) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=timeout)
    assert done.returncode == 0 or not check, f"{command}: {done.stderr[-2000:]}"
    return done


def pip(*arguments: str | Path) -> str:
    return run(sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments).stdout


def for_arm(python: str) -> list[str]:
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    return [*platforms, "--python-version", python, "--implementation", "cp", "--only-binary=:all:"]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--quiet", "--no-deps", "--wheel-dir", folder, RUNTIMES)
    return next(folder.glob("edgetl_runtime-*.whl"))


@pytest.fixture(scope="module")
def record() -> Iterator[dict[str, Any]]:
    """Figures of this session; written where EDGETL_AARCH64_RECORD says."""
    figures: dict[str, Any] = {"schema": "edgetl.aarch64/1", "note": "emulated by qemu-user: times are not a board's"}
    yield figures
    if os.environ.get("EDGETL_AARCH64_RECORD"):
        text = json.dumps(figures, indent=2, sort_keys=True) + "\n"
        Path(os.environ["EDGETL_AARCH64_RECORD"]).write_text(text, encoding="utf-8")


@pytest.mark.parametrize("python", ["3.10", "3.12"])
def test_everything_the_station_needs_is_a_wheel_on_arm(
    python: str, wheel: Path, tmp_path: Path, record: dict[str, Any]
) -> None:
    """For JetPack 6's Python and JetPack 7's; nothing is compiled on a board."""
    report = tmp_path / "report.json"
    options = ["install", "--quiet", "--dry-run", "--ignore-installed", "--target", tmp_path / "none"]
    extras = "onnxruntime,tensorrt,install"
    pip(*options, "--report", report, *for_arm(python), f"{wheel}[{extras}]")
    chosen = json.loads(report.read_text(encoding="utf-8"))["install"]
    files = {item["metadata"]["name"].lower(): item["download_info"]["url"].rsplit("/", 1)[-1] for item in chosen}
    core = {"edgetl-runtime", "numpy", "opencv-python-headless", "simplejpeg", "pillow"}
    assert core | {"onnxruntime", "cryptography"} <= files.keys()
    assert all(name.endswith(".whl") for name in files.values())
    assert all("aarch64" in name or "none-any" in name for name in files.values()), files
    record.setdefault("wheels", {})[python] = {name: file.split("-")[1] for name, file in sorted(files.items())}


def test_a_package_without_a_wheel_fails_the_check(wheel: Path, tmp_path: Path) -> None:
    """Nothing of TensorRT-RTX exists for Arm: were it asked for, the check above would say so."""
    line = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed"]
    done = run(*line, "--target", tmp_path, *for_arm("3.12"), "tensorrt-rtx-cu12-bindings", check=False)
    assert done.returncode != 0
    assert "No matching distribution" in done.stderr or "Could not find a version" in done.stderr


@pytest.fixture(scope="module")
def userland(request: pytest.FixtureRequest, wheel: Path, record: dict[str, Any]) -> Iterator[Path]:
    """The root of the userland, with the runtime and its wheels for Arm in a virtual environment of its own."""
    kept = os.environ.get("EDGETL_AARCH64_ROOT") or str(request.config.cache.mkdir("aarch64") / "bookworm")
    root = Path(kept)
    run(SCRIPT, "make", root)
    (root / "etc" / "edgetl-cpuinfo").write_text(CPUINFO, encoding="utf-8")
    started = time.monotonic()
    place = root / STATION[1:]
    if not (place / "python").is_symlink():
        run(SCRIPT, "run", root, "python3", "-m", "venv", "--without-pip", place.parent.relative_to(root).as_posix())
    packages = place.parent / "lib" / "python3.11" / "site-packages"
    pins = RUNTIMES / "constraints.txt"
    stamp = packages / f"{hashlib.sha256(wheel.read_bytes() + pins.read_bytes()).hexdigest()[:16]}.installed"
    if not stamp.exists():
        shutil.rmtree(packages, ignore_errors=True)
        options = ["--quiet", "--no-compile", "--target", packages, "-c", pins]
        # this machine's pip unpacks the Arm wheels; the userland's own would do the same, emulated, in minutes
        pip("install", *options, *for_arm("3.11"), f"{wheel}[onnxruntime,install]")
        stamp.touch()
    record["install_s"] = round(time.monotonic() - started)
    yield root
    run(SCRIPT, "off")


@pytest.fixture(scope="module")
def inside(userland: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Call the installed `edgetl-runtime` with --json; a path outside is copied in."""

    def call(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
        words = []
        for argument in arguments:
            if isinstance(argument, Path):
                shutil.copy(argument, userland / "tmp" / argument.name)
                argument = f"/tmp/{argument.name}"
            words.append(argument)
        done = run(SCRIPT, "run", userland, *RUNTIME, *words, "--json", check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)

    return call


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Callable[..., Path]) -> Path:
    return tiny_bundle()


def test_the_userland_is_arm(userland: Path, record: dict[str, Any]) -> None:
    code = "import platform, sys; print(platform.machine(), sys.version.split()[0])"
    machine, python = run(SCRIPT, "run", userland, STATION + "python", "-c", code).stdout.split()
    assert machine == "aarch64"
    assert platform.machine() != "aarch64"
    record["python"] = python


def test_verify_reproduces_the_golden_vectors(inside, bundle: Path, record: dict[str, Any]) -> None:
    code, result = inside("verify", bundle)
    chosen = next(variant for variant in result["variants"] if variant["id"] == result["chosen"])
    assert (code, chosen["backend"], chosen["ok"]) == (0, "onnxruntime", True)
    assert chosen["golden"]["tensors_equal"] is True
    record["tiny bundle"] = {key: chosen["golden"][key] for key in ("count", "max_abs", "tolerance", "tensors_equal")}


def test_predict_decides_as_here(inside, bundle: Path, tmp_path: Path) -> None:
    image = tmp_path / "part.png"
    with open_bundle(bundle) as opened:
        image.write_bytes(opened.read("golden/003.png"))
    code, result = inside("predict", bundle, image, "--backend", "onnxruntime")
    assert code == 0
    with edgetl_runtime.open(bundle, backend="onnxruntime") as session:
        here = session.predict(image)
    found = result["decisions"][0]
    assert (found["class"], found["verdict"]) == (here.label, here.verdict)
    assert found["defect_score"] == pytest.approx(here.defect_score, abs=1e-5)


def test_a_damaged_bundle_is_refused(inside, bundle: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.edgetl"
    data = bytearray(bundle.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    code, result = inside("verify", damaged)
    assert (code, result["error"]["type"]) == (1, "BundleError")


def test_a_real_bundle_reproduces_its_golden_vectors(inside, record: dict[str, Any]) -> None:
    if not os.environ.get("EDGETL_AARCH64_BUNDLE"):
        pytest.skip("EDGETL_AARCH64_BUNDLE names no bundle")
    path = Path(os.environ["EDGETL_AARCH64_BUNDLE"])
    started = time.monotonic()
    code, result = inside("verify", path)
    assert code in (0, 4)
    proven = {v["id"]: v["golden"] for v in result["variants"] if v["ok"]}
    assert any(name.startswith("onnxruntime") for name in proven)
    with zipfile.ZipFile(path) as archive:
        manifest = json.loads(archive.read("manifest.json"))
    record["real bundle"] = {
        "line": manifest["line"],
        "seconds_emulated": round(time.monotonic() - started),
        "variants": {
            name: {key: golden[key] for key in ("count", "max_abs", "tolerance", "tensors_equal")}
            for name, golden in proven.items()
        },
        "refused": {v["id"]: v["why"] for v in result["variants"] if not v["ok"]},
    }


def test_doctor_sees_an_arm_machine(inside) -> None:
    _, result = inside("doctor")
    assert result["facts"]["arch"] == "aarch64"
    assert result["facts"]["python"]["packages"]["onnxruntime"]
    assert "the cores have the int8 dot product" in [finding["found"] for finding in result["findings"]]


@pytest.fixture
def sshd(userland: Path, tmp_path: Path) -> Iterator[tuple[Address, Settings]]:
    """The userland's own sshd, on loopback."""
    folder = userland / "tmp" / "sshd"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in ("host", "user"):
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (folder / "config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey /tmp/sshd/host\nAuthorizedKeysFile /tmp/sshd/user.pub\n"
        "PidFile none\nUsePAM no\nStrictModes no\nPasswordAuthentication no\n"
    )
    (userland / "run" / "sshd").mkdir(exist_ok=True)
    (tmp_path / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    shutil.copy(folder / "user", tmp_path / "user")
    (tmp_path / "user").chmod(0o600)
    config = tmp_path / "config"
    config.write_text(
        f"IdentityFile {tmp_path}/user\nIdentitiesOnly yes\nIdentityAgent none\nUserKnownHostsFile {tmp_path}/known\n"
    )
    with (tmp_path / "log").open("wb") as log:
        line = [SCRIPT, "run", userland, "/usr/sbin/sshd", "-D", "-e", "-f", "/tmp/sshd/config"]
        process = subprocess.Popen(line, stderr=log, start_new_session=True)
    try:
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield Address(host="127.0.0.1", user="root", port=port), Settings(config=config, connect_s=60, silence_s=60)
    finally:
        os.killpg(process.pid, 9)
        process.wait()


def test_the_transport_works_against_an_arm_sshd(sshd, bundle: Path, record: dict[str, Any]) -> None:
    address, settings = sshd
    with connect(address, settings) as remote:
        assert remote.run(["uname", "-m"], limit_s=60).stdout == "aarch64\n"
        copied = send(remote, bundle, "incoming/tiny.edgetl")
        assert copied.size_bytes == bundle.stat().st_size
        verify = [*RUNTIME, "verify", "incoming/tiny.edgetl", "--json"]
        done = remote.run(verify, limit_s=300)
        assert json.loads(done.stdout)["variants"][0]["ok"] is True
        record["transport"] = {"copied_bytes": copied.size_bytes, "verify_over_ssh_s": round(done.seconds)}


def test_a_signed_bundle_is_delivered_installed_and_committed_on_arm(
    sshd, inside, userland: Path, tiny_parts, tmp_path: Path, record: dict[str, Any]
) -> None:
    """The way of `deploy --host`: upload, signature, self-test and trial on the emulated machine, evidence back."""
    address, settings = sshd
    key = new_key(tmp_path / "line.key")
    shutil.rmtree(userland / "srv" / "device", ignore_errors=True)
    (tmp_path / "line.pub").write_text(key.pem)
    root = "/srv/device"
    code, _ = inside("trust", "add", tmp_path / "line.pub", "--root", root)
    assert code == 0
    fields, members = tiny_parts()
    bundle = tmp_path / "signed.edgetl"
    write_bundle(bundle, fields, members, keys=(key,))
    host = f"{address.user}@{address.host}:{address.port}"
    options = DeliveryOptions(root=root, runtime=tuple(RUNTIME), trial_s=1.0, trial_inferences=20)
    found = deliver(bundle, host, options, Progress(quiet=True), settings=settings)
    assert (found["result"], found["proof"]["golden"]["count"]) == ("COMMITTED", 16)
    assert (userland / "srv/device/current/bundle.edgetl").read_bytes() == bundle.read_bytes()
    assert deliver(bundle, host, options, Progress(quiet=True), settings=settings)["result"] == "UNCHANGED"
    golden = {key: found["proof"]["golden"][key] for key in ("count", "max_abs", "tolerance", "tensors_equal")}
    record["delivery"] = {"variant": found["generation"]["variant"], "golden": golden}
