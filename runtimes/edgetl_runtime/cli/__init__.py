"""The device's commands, one file each, and the driver both share; these tables are all that `--help` reads."""

from __future__ import annotations

GROUPS = {
    "decide": {
        "predict": ("edgetl_runtime.cli.predict", "Decide on image files or folders"),
        "service": ("edgetl_runtime.cli.service", "Run the current generation as a service, or print its systemd unit"),
    },
    "install": {
        "trust": ("edgetl_runtime.cli.trust", "Say whose signatures count on this device"),
        "install": ("edgetl_runtime.cli.install", "Verify a bundle, prove it on this device, put it on trial"),
        "status": ("edgetl_runtime.cli.status", "Show which generation runs and how far a deployment has come"),
        "trial": ("edgetl_runtime.cli.trial", "Run the trial here, on the golden vectors; commit or roll back"),
        "commit": ("edgetl_runtime.cli.commit", "Keep the generation on trial"),
        "rollback": ("edgetl_runtime.cli.rollback", "End the trial, or go back to the generation before"),
        "log": ("edgetl_runtime.cli.log", "List what was deployed here, by whom, and with what result"),
        "gc": ("edgetl_runtime.cli.gc", "Recover from a cut, then remove what no generation needs"),
    },
    "measure": {
        "build": ("edgetl_runtime.cli.build", "Build the engines of a bundle ahead of its use"),
        "bench": (
            "edgetl_runtime.cli.bench",
            "Measure latency and, with --data, accuracy of a bundle in fresh processes",
        ),
        "compare": (
            "edgetl_runtime.cli.compare",
            "Tell whether one bundle is slower than another, taking turns on this machine",
        ),
    },
    "look": {
        "info": ("edgetl_runtime.cli.info", "Show what is inside a bundle"),
        "verify": ("edgetl_runtime.cli.verify", "Check every byte of a bundle and reproduce its golden vectors here"),
        "unpack": ("edgetl_runtime.cli.unpack", "Write a bundle's members as files, for other tools"),
        "doctor": ("edgetl_runtime.cli.doctor", "Examine this machine, and say how to fix what is wrong"),
    },
}
COMMANDS = {name: entry for table in GROUPS.values() for name, entry in table.items()}
