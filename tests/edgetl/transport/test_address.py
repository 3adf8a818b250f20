from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgetl.transport import Address, parse
from edgetl_runtime.errors import UsageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("station", Address(host="station")),
        ("ops@10.0.0.7", Address(host="10.0.0.7", user="ops")),
        ("ops@station-3.plant.example:2222", Address(host="station-3.plant.example", user="ops", port=2222)),
        ("ops@[fe80::1%eth0]:22", Address(host="fe80::1%eth0", user="ops", port=22)),
    ],
)
def test_parse_reads_and_prints_the_same(text, address):
    assert parse(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "-oProxyCommand=touch x", "ops@-oProxyCommand=x", "a b", "a;b", "h:0", "h:70000", "h:", "@h", "a@b@c"]
)
def test_parse_refuses_with_one_sentence(text):
    with pytest.raises(UsageError, match=r"^--host must be \[user@\]host\[:port\]; got '.*'\.\nTry: --host user@"):
        parse(text)


@settings(max_examples=60)
@given(st.text(max_size=20) | st.from_regex(r"-?[a-z@:.\[\]-]{1,12}", fullmatch=True))
def test_parse_never_lets_an_option_through(text):
    try:
        address = parse(text)
    except UsageError:
        return
    assert not address.host.startswith("-")
    assert not address.destination.startswith("-")
    assert not set(address.destination) & set(" \t\n;|&$`'\"\\")


@pytest.mark.parametrize(("port", "name"), [(None, "h"), (22, "h"), (2222, "[h]:2222")])
def test_known_as_is_the_name_in_known_hosts(port, name):
    assert Address(host="h", port=port).known_as == name
