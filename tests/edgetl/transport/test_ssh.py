"""Connections and commands, against a real sshd."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from edgetl.errors import (
    ConnectionLostError,
    HostKeyError,
    HostUnreachableError,
    LoginError,
    RemoteError,
    RemoteTimeoutError,
    TransportError,
)
from edgetl.transport import Address, Settings, connect


def running(token: str) -> list[int]:
    """Return the processes with that word among their arguments, this one apart."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if token.encode() in words[:3] and int(path.parent.name) != os.getpid():
            found.append(int(path.parent.name))
    return found


def until(condition, within_s: float = 60) -> bool:
    """Wait for what must come; the bound is for what never comes."""
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def gone(token: str) -> bool:
    return until(lambda: not running(token))


def test_run_returns_what_the_command_printed(remote):
    done = remote.run(["sh", "-c", "echo out; echo err >&2; exit 7"], limit_s=60, check=False)
    assert (done.code, done.stdout, done.stderr) == (7, "out\n", "err")


def test_run_passes_arguments_untouched(remote):
    words = ["a b", "$HOME", "`id`", "it's", '"', "\\", "*", "", "Prüfung", "-n"]
    assert remote.run(["printf", "%s\\n", *words], limit_s=60).stdout == "\n".join(words) + "\n"


def test_run_gives_standard_input_or_nothing(remote):
    assert remote.run(["cat"], limit_s=60, stdin=b"x" * 300_000).stdout == "x" * 300_000
    assert remote.run(["cat"], limit_s=60).stdout == ""


def test_run_hands_lines_over_while_the_command_runs(remote, tmp_path):
    """The command goes on when its first line has been read here."""
    seen: list[str] = []

    def note(line: str) -> None:
        seen.append(line)
        (tmp_path / line).touch()

    wait = f"echo one >&2; until [ -e '{tmp_path}/one' ]; do sleep 0.02; done; echo two >&2"
    remote.run(["sh", "-c", wait], limit_s=60, on_line=note)
    assert seen == ["one", "two"]


def test_run_raises_the_last_word_of_a_failed_command(remote, server):
    with pytest.raises(RemoteError) as caught:
        remote.run(["ls", "/nonexistent"], limit_s=60)
    assert caught.value.sentence == (
        f"'ls' on {server.address} must be successful; got exit 2: ls: cannot access '/nonexistent': "
        "No such file or directory."
    )


def test_run_ends_a_command_on_the_device_when_its_time_is_over(remote, server):
    with pytest.raises(RemoteTimeoutError) as caught:
        remote.run(["sleep", "4001.25"], limit_s=0.5)
    assert caught.value.sentence == f"'sleep' on {server.address} must be done in 0.5 s; got no end of it."
    assert gone("4001.25")
    assert remote.run(["echo", "still here"], limit_s=60).stdout == "still here\n"


@pytest.mark.parametrize("code", [255, 124])
def test_run_tells_a_commands_own_code_from_sshs(remote, code):
    assert remote.run(["sh", "-c", f"exit {code}"], limit_s=60, check=False).code == code


def test_a_cut_connection_is_one_sentence_and_ends_the_command(remote, server):
    cutter = threading.Thread(target=lambda: until(lambda: running("4002.25")) and server.cut())
    cutter.start()
    with pytest.raises(ConnectionLostError) as caught:
        remote.run(["sleep", "4002.25"], limit_s=3600)
    assert caught.value.what == f"the connection to {server.address}"
    assert caught.value.must == "kept until the work is done"
    assert gone("4002.25")
    with pytest.raises(ConnectionLostError):
        remote.run(["true"], limit_s=60)
    remote.reconnect()
    assert remote.run(["echo", "back"], limit_s=60).stdout == "back\n"


def test_run_never_logs_in_by_itself(remote):
    """Where the master has just died the command must fail, not open a connection of its own."""
    os.kill(remote._master.pid, signal.SIGKILL)
    remote._master.wait()
    remote._master.returncode = None  # not yet noticed
    with pytest.raises(ConnectionLostError):
        remote.run(["true"], limit_s=60)


def test_the_connection_ends_with_its_process(server, tmp_path):
    """Killed, not closed: the master must not stay behind."""
    settings = server.settings()
    code = (
        "import sys, time; from pathlib import Path; from edgetl.transport import connect, Settings, parse\n"
        f"remote = connect(parse({str(server.address)!r}), Settings(config=Path({str(settings.config)!r})))\n"
        "print(remote._master.pid, flush=True); time.sleep(3600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as child:
        master = int(child.stdout.readline())
        child.kill()
        child.wait()
    assert until(lambda: not Path(f"/proc/{master}").exists())


def test_an_unknown_host_is_refused_unless_trusted_at_first_sight(server):
    with pytest.raises(HostKeyError) as caught:
        connect(server.address, server.settings(known="none_yet"))
    assert caught.value.sentence == f"the host key of {server.address} must be known here; got an unknown one."
    with connect(server.address, server.settings(known="none_yet", host_keys="accept-new")) as remote:
        assert remote.run(["echo", "hi"], limit_s=60).stdout == "hi\n"
    with connect(server.address, server.settings(known="none_yet")):
        pass


@pytest.mark.parametrize("host_keys", ["known", "accept-new"])
def test_a_changed_host_key_is_refused_whatever_the_settings(server, host_keys):
    with pytest.raises(HostKeyError) as caught:
        connect(server.address, server.settings(known="changed_hosts", host_keys=host_keys))
    listed = subprocess.run(
        ["ssh-keygen", "-l", "-f", server.folder / "host.pub"], capture_output=True, text=True, check=True
    )
    fingerprint = listed.stdout.split()[1]
    assert caught.value.sentence == (
        f"the host key of {server.address} must be the one known here; got another, ED25519 key {fingerprint}: "
        "the device was set up anew, or someone is in between."
    )
    assert caught.value.fix.startswith(f"ssh-keygen -R '[127.0.0.1]:{server.address.port}' && ssh -p")


def test_a_refused_login_is_one_sentence(server):
    with pytest.raises(LoginError) as caught:
        connect(server.address, server.settings(key="stranger"))
    assert caught.value.sentence == (
        f"the login at {server.address} must be allowed without typing a password; got permission denied."
    )
    assert caught.value.fix == f"ssh-copy-id -p {server.address.port} {server.address.destination}"


def test_an_unreachable_host_is_one_sentence(server):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(HostUnreachableError) as caught:
            connect(f"127.0.0.1:{port}", server.settings())
    assert caught.value.sentence == f"the device 127.0.0.1:{port} must be reachable; got Connection refused."


def test_an_unknown_name_is_one_sentence(server):
    with pytest.raises(HostUnreachableError, match=r"the device no-such-host\.invalid must be a known name or address"):
        connect("no-such-host.invalid", server.settings())


def test_a_port_that_speaks_no_ssh_is_one_sentence(server):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        with pytest.raises(HostUnreachableError, match="must be answered by an SSH server that takes us"):
            connect(f"127.0.0.1:{port}", server.settings())


def test_a_silent_port_is_given_up(server):
    """Without a limit of its own ssh would wait for ever, and the suite end this test."""
    config = server.settings().config
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(TransportError):
        connect(Address(host="127.0.0.1", port=listener.getsockname()[1]), Settings(config=config, connect_s=1))


def test_without_ssh_the_package_is_named(server, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TransportError, match=r"the program ssh must be installed here; got none"):
        connect(server.address, server.settings())


def test_close_leaves_no_folder_behind(server):
    with connect(server.address, server.settings()) as remote:
        folder = remote._folder
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()
    remote.close()
