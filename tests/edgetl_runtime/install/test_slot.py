"""How a generation gets into memory, and what is left where it does not."""

from __future__ import annotations

import pytest

from edgetl_runtime.bundle import Bundle
from edgetl_runtime.install import slot
from edgetl_runtime.session import Session


def test_plan_asks_for_a_margin():
    assert slot.plan({"memory_mb": 100.0}, free_mb=119.0) == "stop-load-start"
    assert slot.plan({"memory_mb": 100.0}, free_mb=121.0) == "beside"
    assert slot.plan({}, free_mb=1.0) == "beside"


def test_one_that_fails_on_its_first_image_is_closed(device_at, monkeypatch):
    device, closed = device_at("new"), []
    monkeypatch.setattr(Session, "predict", lambda *_: 1 / 0)
    monkeypatch.setattr(Bundle, "close", lambda bundle: closed.append(bundle))
    with pytest.raises(ZeroDivisionError):
        slot.load(device, device.states.read().committed)
    assert closed
