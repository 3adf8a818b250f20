"""A bundle goes to a device over a real sshd: checked before, resumed, installed, tried; and cut off in between."""

from __future__ import annotations

import dataclasses
import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from edgetl.deploy import delivery
from edgetl.deploy.bundle_writer import write_bundle
from edgetl.deploy.delivery import DeliveryOptions, deliver
from edgetl.deploy.signing import new_key
from edgetl.errors import TransportError
from edgetl.progress import Progress
from edgetl_runtime.errors import EdgetlError, InstallError, SignatureError, UsageError
from edgetl_runtime.install.device import Device
from edgetl_runtime.install.installer import Installer, InstallOptions
from edgetl_runtime.signature import TrustedKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgetl.deploy.signing import SigningKey

HERE = (sys.executable, "-m", "edgetl_runtime")


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return new_key(tmp_path / "line.key")


@pytest.fixture
def device(tmp_path: Path, key: SigningKey) -> Device:
    made = Device(tmp_path / "root")
    with made.locked("TRUST"):
        made.trust.add(TrustedKey(pem=key.pem))
    return made


@pytest.fixture
def bundle(tiny_parts: Any, tmp_path: Path, key: SigningKey) -> Callable[[int], Path]:
    def make(sequence: int, *, signed: bool = True) -> Path:
        fields, members = tiny_parts()
        path = tmp_path / f"{sequence}.edgetl"
        chosen = dataclasses.replace(fields, sequence=sequence, chosen="null-f32")
        write_bundle(path, chosen, members, keys=(key,) if signed else ())
        return path

    return make


def options(device: Device, **changes: Any) -> DeliveryOptions:
    fields = {"root": str(device.root), "runtime": HERE, "trial_s": 0.2, "trial_inferences": 20, **changes}
    return DeliveryOptions(**fields)


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """The runtime's command line, whose self-test does not end by itself."""
    path = tmp_path / "patient.py"
    path.write_text(
        "import signal, sys\nfrom edgetl_runtime.__main__ import main\nfrom edgetl_runtime.install import selftest\n"
        "selftest.run = lambda *_: [signal.pause() for _ in iter(int, 1)]\nsys.exit(main())\n"
    )
    return path


def until(condition: Callable[[], bool]) -> bool:
    """Wait for what must come; the bound is for what never comes."""
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def send(server: Any, device: Device, path: Path, **changes: Any) -> dict[str, Any]:
    address = server.address
    host = f"{address.user}@{address.host}:{address.port}"
    return deliver(path, host, options(device, **changes), Progress(quiet=True), settings=server.settings())


@pytest.mark.parametrize(
    ("name", "code", "kind"),
    [
        ("ContractError", 3, "ContractError"),
        ("UnfitError", 4, "UnfitError"),
        ("BackendMissingError", 1, "BackendMissingError"),
        ("LaterError", 3, "EdgetlError"),
        ("SystemExit", 1, "EdgetlError"),
    ],
)
def test_an_error_of_the_device_keeps_its_class_its_fields_and_its_exit_code(name, code, kind):
    told = {"type": name, "what": "it must be; got it", "must": "proven", "got": "nothing.", "try": "again"}
    answer = json.dumps({"error": told | {"message": "It is not proven."}, "exit": code})
    done = SimpleNamespace(code=code, stdout=answer + "\n", stderr="")
    station = delivery._RemoteStation(SimpleNamespace(run=lambda *_, **__: done), DeliveryOptions())
    with pytest.raises(EdgetlError) as caught:
        station.call("status", limit_s=1)
    assert caught.value.exit_code == code
    fields = caught.value.to_mapping()
    assert fields == told | {"type": kind, "message": "on the device: It is not proven."}


def test_deliver_installs_tries_commits_and_brings_the_evidence_back(server, device, bundle):
    path = bundle(1)
    found = send(server, device, path)
    assert found["result"] == "COMMITTED"
    assert found["proof"]["golden"]["count"] == 16
    assert found["proof"]["latency_ms"]["p50"] > 0
    assert found["upload"]["moved_bytes"] == path.stat().st_size
    state = device.states.read()
    assert (state.committed.sequence, state.floor, state.trial) == (1, 1, None)
    assert list((device.root / "incoming").iterdir()) == []
    assert send(server, device, path)["result"] == "UNCHANGED"


def test_deliver_stages_only_and_refuses_before_sending(server, device, bundle, tmp_path):
    found = send(server, device, bundle(3), stage_only=True)
    assert found["result"] == "STAGED"
    assert Path(found["reason"]).read_bytes() == (tmp_path / "3.edgetl").read_bytes()
    unsigned = bundle(4, signed=False)
    with pytest.raises(UsageError, match="must be signed"):
        send(server, device, unsigned)
    with pytest.raises(InstallError, match=r"edgetl-runtime on the device must be installed"):
        send(server, device, bundle(5), runtime=("/nonexistent/edgetl-runtime",))


def test_deliver_tells_the_devices_own_words(server, device, bundle, key):
    with device.locked("TRUST"):
        device.trust.revoke(key.id)
    with pytest.raises(SignatureError, match="on the device: the signing key must be not revoked"):
        send(server, device, bundle(1))
    assert device.states.read().committed is None


def test_a_connection_cut_during_the_self_test_leaves_the_old_generation_and_a_retry_succeeds(
    server, device, bundle, patient
):
    send(server, device, bundle(1))
    path = bundle(2)

    thread = threading.Thread(target=lambda: until(lambda: device.busy_phase() == "SELF_TEST") and server.cut())
    thread.start()
    with pytest.raises(TransportError):
        send(server, device, path, runtime=(sys.executable, str(patient)))
    thread.join()
    assert until(lambda: device.busy_phase() is None)  # the device ends what was cut off
    assert device.states.read().committed.sequence == 1
    assert send(server, device, path)["result"] == "COMMITTED"
    results = [entry["result"] for entry in device.log.entries()]
    assert results == ["TRIAL", "COMMITTED", "INTERRUPTED", "TRIAL", "COMMITTED"]


def test_a_bundle_left_on_trial_by_a_lost_connection_only_gets_its_verdict(server, device, bundle):
    path = bundle(1)
    installed = Installer(device).install(path, InstallOptions())
    assert installed.result == "TRIAL"
    for other, how in ((bundle(2), {}), (path, {"stage_only": True})):  # to stage is not to end a trial
        with pytest.raises(InstallError, match="without a trial"):
            send(server, device, other, **how)
    found = send(server, device, path)
    assert (found["result"], found["upload"], found["deployment"]) == ("COMMITTED", None, installed.deployment)
    assert found["proof"]["golden"]["count"] == 16
    assert [entry["result"] for entry in device.log.entries()] == ["TRIAL", "COMMITTED"]
