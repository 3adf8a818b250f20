"""What a run was computed from and where: the facts that its figures cannot be read without."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any

import torch

from edgetl.data.samples import SPLITS
from edgetl_runtime.probe import facts

if TYPE_CHECKING:
    from edgetl.config import FinetuneConfig
    from edgetl.data.samples import Dataset


def data_facts(data: Dataset, config: FinetuneConfig) -> dict[str, Any]:
    """Return source, digests, counts, licence, what was passed over and the images that were left out."""
    counts = {
        split: {name: sum(s.label == i for s in data.split(split)) for i, name in enumerate(data.classes)}
        for split in SPLITS
    }
    return {
        "source": config.data,
        "digest": data.digest,
        "split_digest": data.split_digest,
        "counts": counts,
        "licence": config.data_licence,
        "notes": list(data.notes),
        "bad": [{"path": str(b.path), "reason": b.reason} for b in data.bad],
    }


def conditions(device: torch.device, load_before: float) -> dict[str, Any]:
    """Return the machine, its load before and now, and how much of it torch used."""
    machine = dataclasses.asdict(facts())
    keys = ("arch", "cpu", "cpu_flags", "cores", "memory_mb", "kernel", "fingerprint")
    loads = {"load_before": load_before, "load_after": os.getloadavg()[0], "torch_threads": torch.get_num_threads()}
    return {**{k: machine[k] for k in keys}, **loads, "device": device.type}
