"""Fine-tuning from data to run: Prepared → Baseline → Trained → Evaluated → Run, a stage a module.

A stage is a function from the values of those before it to its own; only `Network`'s weights change on the way.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from edgetl.data.split_file import check_split, write_split
from edgetl.finetune.baseline import fit_baseline
from edgetl.finetune.evaluated import evaluate, write_run
from edgetl.finetune.interrupt import stop_on_signals
from edgetl.finetune.prepared import build_network, prepare
from edgetl.finetune.preset import Preset, preset_for
from edgetl.finetune.trained import train
from edgetl.finetune.work import Work
from edgetl_runtime.schema import to_mapping

if TYPE_CHECKING:
    from edgetl.config import FinetuneConfig
    from edgetl.finetune.prepared import Prepared
    from edgetl.progress import Progress
    from edgetl.run import Run, RunFolder


def finetune(config: FinetuneConfig, folder: RunFolder, progress: Progress, *, resume: bool = False) -> Run:
    """Fine-tune as configured into a folder; with `resume` continue the run in it from its checkpoints.

    Args:
        config: What to compute.
        folder: Where the run is written, from the moment on when data and weights are known to be usable; the caller
            holds it (`files.taken`), or two runs would mix.
        progress: Shows the stages.
        resume: Continue the run in the folder; otherwise one that is there is replaced.

    Raises:
        EdgetlError: The data, the weights or the options cannot be used, or a stop was asked for.
    """
    preset = preset_for(config.preset, weights=config.weights, note=progress.note)
    with stop_on_signals() as stop:
        return run_stages(config, preset, Work(folder=folder, progress=progress, stop=stop), resume=resume)


def run_stages(config: FinetuneConfig, preset: Preset, work: Work, *, resume: bool = False) -> Run:
    """Run all stages, one after the other, and write the run.

    Raises:
        EdgetlError: As `finetune`.
    """
    load_before, started = os.getloadavg()[0], time.monotonic()
    prepared = prepare(config, preset, work)
    network = build_network(prepared)
    split_sha256 = open_run(prepared, work, resume=resume)
    baseline = fit_baseline(prepared, network, work)
    trained = train(prepared, network, baseline, work)
    seconds = time.monotonic() - started
    evaluated = evaluate(prepared, baseline, trained)
    return write_run(
        work.folder,
        prepared,
        network,
        baseline,
        trained,
        evaluated,
        split_sha256=split_sha256,
        seconds=seconds,
        load_before=load_before,
    )


def open_run(prepared: Prepared, work: Work, *, resume: bool) -> str:
    """Write the run's first files; only now, so that a mistake in data or options leaves an older run alone.

    Returns:
        SHA-256 of split.csv.

    Raises:
        RunError: The run to be resumed was started with other images.
    """
    split = work.folder.split_csv
    if not resume:
        work.folder.begin(to_mapping(prepared.config))
    elif split.is_file():
        check_split(split, prepared.data)
    return write_split(split, prepared.data)
