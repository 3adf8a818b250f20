"""The host's commands, one file each, in the order of the work; these tables are all that `--help` reads."""

from __future__ import annotations

from edgetl_runtime.cli import COMMANDS as STATION

GROUPS = {
    "train": {
        "quickstart": ("edgetl.cli.quickstart", "Go the whole way once, on real solar-cell images"),
        "finetune": ("edgetl.cli.finetune", "Adapt a backbone to a folder of part images"),
        "search": ("edgetl.cli.search", "Find the fastest network that keeps the contract, by measurement"),
    },
    "deploy": {
        "deploy": ("edgetl.cli.deploy", "Quantize, choose by measurement and write a bundle for a target"),
        "export": ("edgetl.cli.export", "Write a run's model as ONNX, proven equal to the trained one"),
        "predict": STATION["predict"],
        "verify": STATION["verify"],
    },
    "deliver": {
        "keys": ("edgetl.cli.keys", "Make keys, sign bundles, rotate keys and permit rollbacks"),
        "deliver": ("edgetl.cli.deliver", "Install a bundle on a device over SSH, or write a USB stick for it"),
    },
    "measure": {
        "bench": ("edgetl.cli.bench", "Measure latency and, with --data, accuracy of a bundle, here or on a device"),
        "compare": (
            "edgetl.cli.compare",
            "Tell whether one bundle is slower than another, taking turns on this machine",
        ),
        "records": ("edgetl.cli.records", "Show many measurements: table, Pareto front, history with its changes"),
    },
    "look": {
        "info": STATION["info"],
        "backbones": ("edgetl.cli.backbones", "List the backbones and where their weights come from"),
        "devices": ("edgetl.cli.devices", "List and show the device profiles"),
        "doctor": ("edgetl.cli.doctor", "Examine this machine or a device, and say how to fix what is wrong"),
    },
}
COMMANDS = {name: entry for table in GROUPS.values() for name, entry in table.items()}
# what people type for something that has another name here, or that only the station's program does
HINTS = {name: f"edgetl-runtime {name}, on the device" for name in STATION if name not in COMMANDS} | {
    "train": "edgetl finetune DATA --out RUN",
    "fit": "edgetl finetune DATA --out RUN",
    "quantize": "edgetl deploy RUN --target local --out FILE.edgetl",
    "evaluate": "edgetl bench FILE.edgetl --data DATA",
    "sign": "edgetl keys sign FILE.edgetl --key NAME.key",
}
