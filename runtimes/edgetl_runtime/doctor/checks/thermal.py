"""Heat and supply: what makes a machine slow itself down, now or since it was started."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from edgetl_runtime.doctor import boards, readers
from edgetl_runtime.doctor.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl_runtime.doctor.findings import Need
    from edgetl_runtime.doctor.recording import Recording

MARGIN_C = 10.0
ASSUMED_LIMIT_C = 95.0  # where the kernel shows no trip point
_EVENTS = {"oc1": "under-voltage", "oc2": "average over-current", "oc3": "momentary over-current"}
# bits of vcgencmd get_throttled, from Raspberry Pi's documentation
_PI_NOW = {0: "under-voltage", 1: "the clock is capped", 2: "throttled", 3: "the soft temperature limit is reached"}
_PI_SINCE = 16


def check(recording: Recording, need: Need) -> Iterator[Finding]:
    """Compare each zone with its limit; read the counters of over-current and throttling."""
    yield _zones(recording)
    yield from _tegra_events(recording)
    count = recording.file("/sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count")
    if count.isdigit() and int(count) > 0:
        found = f"the processor throttled {count} times since the start"
        yield Finding(
            topic="thermal", level="warn", found=found, command="clean the cooler, then reboot to start counting anew"
        )
    yield from _raspberry_pi(recording)


def _zones(recording: Recording) -> Finding:
    zones = readers.zones(recording)
    if not zones:
        stats = readers.tegrastats(recording)
        if stats is None or not stats.temperatures_c:
            return Finding(topic="thermal", level="unknown", found="this machine shows no temperature")
        name, hottest = max(stats.temperatures_c.items(), key=lambda item: item[1])
        zones = (readers.Zone(name=name, temperature_c=hottest, throttles_at_c=None),)
    board = boards.identify(readers.compatible(recording))
    assumed_c = (board.throttles_at_c if isinstance(board, boards.Board) else None) or ASSUMED_LIMIT_C
    nearest = min(zones, key=lambda zone: (zone.throttles_at_c or assumed_c) - zone.temperature_c)
    limit_c = nearest.throttles_at_c or assumed_c
    found = f"{nearest.name} is at {nearest.temperature_c:.0f} °C, it slows down at {limit_c:.0f} °C"
    fan = "sudo systemctl restart nvfancontrol" if readers.l4t(recording) else "check the fan and the air's way"
    if nearest.temperature_c >= limit_c:
        return Finding(topic="thermal", level="fail", found=found, command=fan)
    if nearest.temperature_c > limit_c - MARGIN_C:
        return Finding(topic="thermal", level="warn", found=found, command=fan)
    return Finding(topic="thermal", level="ok", found=found)


def _tegra_events(recording: Recording) -> Iterator[Finding]:
    for path, count in recording.match("/sys/class/hwmon/hwmon*/oc*_event_cnt").items():
        event = re.search(r"/(oc\d)_event_cnt$", path)
        if event and count.isdigit() and int(count) > 0:
            found = (
                f"{count} {_EVENTS.get(event[1], event[1])} events since the start: each slows the board for a moment"
            )
            modes = readers.power_modes(recording)
            lower = _next_lower(modes) if modes else None
            command = (
                f"use a stronger supply, or: sudo nvpmodel -m {lower}" if lower is not None else "use a stronger supply"
            )
            yield Finding(topic="thermal", level="warn", found=found, command=command)


def _next_lower(modes: readers.PowerModes) -> int | None:
    """Return the id of the strongest mode below the one that is on, where that one is above the board's default."""
    default = modes.modes.get(-1 if modes.default is None else modes.default)
    if modes.current is None or default is None or readers.watts(modes.current) <= readers.watts(default):
        return None
    below = {
        number: readers.watts(name)
        for number, name in modes.modes.items()
        if readers.watts(name) < readers.watts(modes.current)
    }
    return max(below, key=lambda number: below[number], default=None)


def _raspberry_pi(recording: Recording) -> Iterator[Finding]:
    match = re.search(r"throttled=0x([0-9a-fA-F]+)", recording.said("vcgencmd"))
    if not match or int(match[1], 16) == 0:
        return
    bits = int(match[1], 16)
    now = [words for bit, words in _PI_NOW.items() if bits >> bit & 1]
    since = [words for bit, words in _PI_NOW.items() if bits >> (bit + _PI_SINCE) & 1]
    found = "; ".join(
        part
        for part in ("now: " * bool(now) + ", ".join(now), "since the start: " * bool(since) + ", ".join(since))
        if part
    )
    command = "use the 27 W supply and the active cooler; watch: vcgencmd get_throttled"
    yield Finding(topic="thermal", level="fail" if now else "warn", found=found, command=command)
