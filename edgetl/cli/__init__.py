"""The host's commands, one file each; this table is all that `--help` reads."""

from __future__ import annotations

COMMANDS = {
    "quickstart": ("edgetl.cli.quickstart", "Run the whole way once, on real solar-cell images"),
    "finetune": ("edgetl.cli.finetune", "Adapt a backbone to a folder of part images"),
    "export": ("edgetl.cli.export", "Write a run's model as ONNX, proven equal to the trained one"),
    "search": ("edgetl.cli.search", "Find the fastest network that keeps the contract, by measurement"),
    "deploy": ("edgetl.cli.deploy", "Quantize, choose by measurement and write a bundle for a target"),
    "bench": ("edgetl.cli.bench", "Measure accuracy and latency of a bundle, here or on a device"),
    "compare": ("edgetl.cli.compare", "Say whether a bundle is slower than another, interleaved on this machine"),
    "records": ("edgetl.cli.records", "Show many measurements: table, Pareto front, history with change points"),
    "deliver": ("edgetl.cli.deliver", "Bring a bundle to a device over SSH, or into a folder for a stick"),
    "keys": ("edgetl.cli.keys", "Make keys, sign bundles, rotate keys and permit rollbacks"),
    "doctor": ("edgetl.cli.doctor", "Examine this machine or a device, and say what mends it"),
    "devices": ("edgetl.cli.devices", "List and show the device profiles"),
    "backbones": ("edgetl.cli.backbones", "List and show the backbones"),
}
