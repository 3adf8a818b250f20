"""Whether bundles and engines fit on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetl_runtime.doctor import readers
from edgetl_runtime.doctor.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from edgetl_runtime.doctor.findings import Need
    from edgetl_runtime.doctor.recording import Recording


def check(recording: Recording, need: Need) -> Iterator[Finding]:
    """Compare the free space of the home and of /var/lib with the need."""
    disks = readers.disks_free_mb(recording)
    if not disks:
        yield Finding(topic="disk", level="unknown", found="this machine does not say how much space is free")
    for mount, free in disks.items():
        found = f"{free} MB are free on {mount}"
        if free < need.disk_mb:
            command = "edgetl-runtime gc; sudo apt-get clean; sudo journalctl --vacuum-size=100M"
            yield Finding(topic="disk", level="fail", found=f"{found}, {need.disk_mb} are needed", command=command)
        else:
            yield Finding(topic="disk", level="ok", found=found)
