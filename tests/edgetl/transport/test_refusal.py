"""Each way for ssh to fail is one sentence; the words are those that OpenSSH 9.2 printed."""

from __future__ import annotations

import pytest

from edgetl.errors import (
    ConnectionLostError,
    HostKeyError,
    HostUnreachableError,
    LoginError,
    TransportError,
)
from edgetl.transport import parse
from edgetl.transport.refusal import TABLE, translate

ADDRESS = parse("ops@station:2222")
CHANGED = """@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
The fingerprint for the ED25519 key sent by the remote host is
SHA256:66ryhigpp7ovfK1AIHTd8m8ZZFu8k0zTziwdyjPGR3g.
Please contact your system administrator.
Host key for [station]:2222 has changed and you have requested strict checking.
Host key verification failed."""
CASES = [
    (CHANGED, HostKeyError, "got another, ED25519 key SHA256:66ryhigpp7ovfK1AIHTd8m8ZZFu8k0zTziwdyjPGR3g: the device"),
    (
        "@       WARNING: REVOKED HOST KEY DETECTED!               @",
        HostKeyError,
        "must be trusted; got a revoked one.",
    ),
    (
        "No ED25519 host key is known for [station]:2222 and you have requested strict checking.\n"
        "Host key verification failed.",
        HostKeyError,
        "must be known here; got an unknown one.",
    ),
    ("ops@station: Permission denied (publickey).", LoginError, "without typing a password; got permission denied."),
    ('Load key "user": bad permissions', LoginError, "must be readable by ssh, and by you alone; got user."),
    (
        "ssh: Could not resolve hostname station: Name or service not known",
        HostUnreachableError,
        "the device ops@station:2222 must be a known name or address; got Name or service not known.",
    ),
    (
        "ssh: connect to host station port 2222: No route to host",
        HostUnreachableError,
        "the device ops@station:2222 must be reachable; got No route to host.",
    ),
    (
        "ssh: connect to host station port 2222: Connection timed out",
        HostUnreachableError,
        "the device ops@station:2222 must be reachable; got Connection timed out.",
    ),
    (
        "kex_exchange_identification: Connection closed by remote host\nConnection closed by 10.0.0.7 port 2222",
        HostUnreachableError,
        "must be answered by an SSH server that takes us; got Connection closed by remote host.",
    ),
    (
        "Unable to negotiate with 10.0.0.7 port 22: no matching host key type found. Their offer: ssh-dss",
        HostUnreachableError,
        "got no matching host key type found.",
    ),
    (
        "Timeout, server station not responding.",
        ConnectionLostError,
        "must be kept until the work is done; got Timeout, server station not responding.",
    ),
    (
        "client_loop: send disconnect: Broken pipe",
        ConnectionLostError,
        "got client_loop: send disconnect: Broken pipe.",
    ),
    ("config: line 3: Bad configuration option: x", TransportError, "got config: line 3: Bad configuration option: x."),
]


@pytest.mark.parametrize(
    ("words", "error", "sentence"), CASES, ids=[words.split(":")[-1][:30] for words, _, _ in CASES]
)
def test_translate_says_what_sshs_words_mean(words, error, sentence):
    found = translate(ADDRESS, words)
    assert type(found) is error
    assert sentence in found.sentence
    assert "\n" not in found.sentence
    assert "{" not in found.fix


def test_every_entry_of_the_table_is_tested():
    for refusal in TABLE:
        first = [next(r for r in TABLE if r.words.search(words)) for words, _, _ in CASES]
        assert refusal in first, refusal.words.pattern


@pytest.mark.parametrize(("lost", "error"), [(True, ConnectionLostError), (False, TransportError)])
def test_translate_keeps_unknown_words(lost, error):
    found = translate(ADDRESS, "debug\nsomething new\n\n", lost=lost)
    assert type(found) is error
    assert found.sentence == "the connection to ops@station:2222 must be usable; got something new."
    assert found.fix == "ssh -v -p 2222 ops@station true"
