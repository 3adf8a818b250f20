"""What is asked for by default ships nothing unproven, and nothing trained anew."""

from __future__ import annotations

from edgetl.deploy.request import DeployConfig


def test_nothing_unproven_and_nothing_slow_unless_asked_for():
    config = DeployConfig()
    assert (config.target, config.allow_unproven, config.retrain, config.embed_engine) == ("local", False, False, False)
