"""A generation in memory: how it gets there beside the one that runs, and what its trial says of it."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import TYPE_CHECKING, Any, Literal

from edgetl_runtime import session as sessions
from edgetl_runtime.install import engine_cache, service
from edgetl_runtime.memory import available_mb

if TYPE_CHECKING:
    from edgetl_runtime.install.device import Device
    from edgetl_runtime.install.state import Generation
    from edgetl_runtime.install.trial import TrialWatch
    from edgetl_runtime.session import Session

Plan = Literal["beside", "stop-load-start"]
MEMORY_MARGIN = 1.2
WARM_IMAGES = 8
_SWITCH_INTERVAL_S = 0.0005  # the loading thread gives way ten times sooner than usual


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Swap:
    """One change of generation while images kept coming.

    Attributes:
        source: Generation before.
        target: Generation after.
        plan: How it was done.
        load_ms: Time to load and warm the new one.
        done_s: Monotonic time of the change.
    """

    source: str | None
    target: str
    plan: Plan
    load_ms: float
    done_s: float


def plan(proof: dict[str, Any], *, free_mb: float | None = None) -> Plan:
    """Say how a generation would be swapped in now.

    Args:
        proof: Of its self-test, which measured its memory.
        free_mb: Memory that is available; None asks the machine.

    Example:
        >>> plan({"memory_mb": 150.0}, free_mb=100.0)
        'stop-load-start'
    """
    memory_mb = proof.get("memory_mb")
    free_mb = available_mb() if free_mb is None else free_mb
    fits = not isinstance(memory_mb, (int, float)) or MEMORY_MARGIN * memory_mb <= free_mb
    return "beside" if fits else "stop-load-start"


class Slot:
    """One loaded generation, and how many decisions are being made with it.

    Args:
        generation: Of the device.
        session: Of its bundle.

    Attributes:
        users: Decisions under way.
        retired: To be closed as soon as there are none.
        deployment: Whose trial it runs, or ran, here; None if it came committed.
        watch: While that trial is on.
    """

    def __init__(self, generation: Generation, session: Session) -> None:
        self.generation = generation
        self.session = session
        self.users = 0
        self.retired = False
        self.deployment: str | None = None
        self.watch: TrialWatch | None = None


def load(device: Device, generation: Generation) -> Slot:
    """Load and warm a generation of a device; nothing else is touched."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    with contextlib.ExitStack() as always, contextlib.ExitStack() as on_failure:
        always.callback(sys.setswitchinterval, interval)
        bundle = device.open_generation(generation)
        on_failure.callback(bundle.close)
        variant = bundle.manifest.variant(generation.variant)
        with engine_cache.opened(device.root, device.proof(generation).get("cache")) as cache:
            with service.more_time():  # after an update of the driver an engine is built again
                engine_cache.build(bundle, variant, cache)
            opened = sessions.Session(bundle, variant, sessions.load(bundle, variant, cache_dir=cache))
        on_failure.callback(opened.close)
        for name in bundle.manifest.golden.images[:WARM_IMAGES]:
            opened.predict(bundle.read(name))
        on_failure.pop_all()
    return Slot(generation, opened)
