"""One connection to the real sshd of `tests/edgetl/conftest.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from edgetl.errors import ConnectionLostError
from edgetl.transport import connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl.transport import Remote


@pytest.fixture(scope="module")
def _connected(server) -> Iterator[Remote]:
    with connect(server.address, server.settings()) as connected:
        yield connected


@pytest.fixture
def remote(_connected: Remote) -> Remote:
    """One connection for the tests of a module; made anew after a test that broke it."""
    try:
        _connected.require_open()
    except ConnectionLostError:
        _connected.reconnect()
    return _connected
