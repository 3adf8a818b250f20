"""From run to bundle: Asked → Exported → Judged → Timed → Chosen → Confirmed → Written.

A stage is a function from the values of those before it to its own. `judged.py` ends where validation has spoken, which
is as far as a search goes; `confirmed.py` measures, chooses and looks at test once; `written.py` writes and proves.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgetl.deploy import candidates as room
from edgetl.deploy.confirmed import choose, confirm, time
from edgetl.deploy.golden_vectors import folder_images
from edgetl.deploy.judged import export, judge
from edgetl.deploy.request import Deployment
from edgetl.deploy.written import write

if TYPE_CHECKING:
    from edgetl.deploy.judged import Asked
    from edgetl.progress import Progress


def deploy(asked: Asked, out: Path, progress: Progress, *, replace: bool) -> Deployment:
    """Write the bundle.

    Args:
        asked: What is to be deployed.
        out: The file.
        progress: Shows the stages.
        replace: Replace an existing file.

    Raises:
        ContractError: Nothing keeps the contract, or the chosen candidate misses it on test. Nothing is written.
        EdgetlError: The run, its images or the options cannot be used.
    """
    asked.check()
    golden = folder_images(Path(asked.config.golden)) if asked.config.golden else None
    exported = export(asked, progress)
    judged = judge(asked, exported, progress)
    timed = time(asked, exported, judged, progress)
    confirmed = confirm(asked, exported, timed, choose(asked, timed), progress)
    with progress.stage("write and prove the bundle"):
        written = write(asked, exported, judged, confirmed, out, golden=golden, replace=replace)
    tried = list(confirmed.candidates)
    return Deployment(
        chosen=confirmed.chosen.id,
        confirmed=confirmed.figures,
        candidates=(*room.by_speed(tried), *(c for c in tried if not c.accepted)),
        reference=exported.reference.figures,
        notes=confirmed.notes,
        memory_mb=written.memory_mb,
        terms=(*confirmed.chosen.terms, *asked.untested),
        parity=exported.model.parity,
    )
