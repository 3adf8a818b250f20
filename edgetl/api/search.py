"""Find the fastest network that keeps the contract: `edgetl.search`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgetl.api.calls import AnyPath, calling, options_of
from edgetl.api.contracts import contract_of
from edgetl.api.grid_search import SearchRequest, is_run, look_for
from edgetl.api.progress import ProgressOption, progress_of
from edgetl.api.training import Augmentation, absolute, config_of, showing_aims
from edgetl.config import resolve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgetl.api.results import Searched
    from edgetl.search.grid import Precision
    from edgetl_runtime.contract import Contract


@showing_aims
def search(
    sources: AnyPath | Sequence[AnyPath],
    *,
    out: AnyPath,
    resume: bool = False,
    force: bool = False,
    target: str = "local",
    threads: int | Sequence[int] = (),
    allow_disturbed: bool = False,
    allow_unproven: bool = False,
    backbones: str | Sequence[str] = (),
    image_sizes: int | Sequence[int] = (),
    precisions: Precision | Sequence[Precision] = (),
    backends: str | Sequence[str] = (),
    slice_images: int = 300,
    slice_margin_pp: float = 10.0,
    max_gap_pp: float = 2.0,
    weights: AnyPath = "auto",
    preset: str = "balanced",
    seed: int = 0,
    task: str | None = None,
    device: Literal["auto", "cpu", "cuda"] = "auto",
    skip_bad: bool = False,
    bit_depth: Literal[8, 10, 12, 14, 16] = 8,
    resize: Literal["stretch", "fit", "crop"] = "stretch",
    roi_px: tuple[int, int, int, int] | None = None,
    val_fraction: float = 0.15,
    test_fraction: float = 0.25,
    split_from: AnyPath | None = None,
    no_augment: Augmentation | Sequence[Augmentation] = (),
    data_licence: str = "not stated",
    contract: Contract | AnyPath | None = None,
    progress: ProgressOption = "bars",
    **aims: Any,  # noqa: ANN401  (the task's)
) -> Searched:
    """Find the fastest network that keeps the contract, by measurement; test is not looked at.

    Args:
        sources: One data set, or runs that `edgetl.finetune` wrote.
        out: Folder for runs, report and the state of the search.
        resume: Continue a search that was stopped.
        force: Replace an earlier search.
        target: Device profile, see `edgetl devices list`.
        threads: Thread counts to try; empty tries one, and all that the target may use.
        allow_disturbed: Take the fastest even if a disturbed machine leaves it unclear which one that is.
        allow_unproven: Go on even if a bound cannot be measured here.
        backbones: Names in the catalogue; empty takes the training's default.
        image_sizes: Sides of the square input in pixels; empty takes each backbone's own.
        precisions: Those of the target to try; empty tries all.
        backends: Likewise.
        slice_images: Training images to rank networks on before fine-tuning; 0 trains them all.
        slice_margin_pp: How many percentage points below the best a network may be there.
        max_gap_pp: How many percentage points below the most accurate float network a candidate may be.
        weights: This and what follows as for `edgetl.finetune`; not used where the sources are runs.
        preset: See there.
        seed: See there.
        task: See there.
        device: See there.
        skip_bad: See there.
        bit_depth: See there.
        resize: See there.
        roi_px: See there.
        val_fraction: See there.
        test_fraction: See there.
        split_from: See there.
        no_augment: See there.
        data_licence: See there.
        contract: What candidates must keep: an `edgetl.Contract`, or a TOML file with a table [contract].
        progress: As for `edgetl.finetune`.
        aims: Likewise.

    Raises:
        UsageError: An option or a value is wrong.
        ContractError: No candidate keeps the contract; the report shows all that were tried.
        UnfitError: It is not clear which candidate is fastest, or a bound is unproven, and that was not allowed.
        InUseError: Another call or process is at work.

    Example:
        >>> grid = {"backbones": ["tf_efficientnet_lite0", "mobilenetv3_small_100"], "image_sizes": [128, 224]}
        >>> contract = edgetl.Contract(p99_ms=5)  # doctest: +SKIP
        >>> found = edgetl.search("parts/", out="runs/grid", contract=contract, **grid)  # doctest: +SKIP
        >>> edgetl.deploy(found.run, out="screws.edgetl", contract=contract)  # doctest: +SKIP
    """
    given = locals()
    with calling("edgetl.search"):
        from edgetl.search.grid import SearchConfig

        paths = tuple(map(Path, [sources] if isinstance(sources, (str, os.PathLike)) else sources))
        grid = resolve(SearchConfig, section="search", file=None, options=options_of(SearchConfig, given))
        training = None
        if paths and not all(map(is_run, paths)):
            training = absolute(config_of({**given, "data": str(paths[0])}))
        request = SearchRequest(
            sources=paths,
            out=Path(out),
            grid=grid,
            training=training,
            contract=contract_of(contract),
            resume=resume,
            force=force,
            allow_unproven=allow_unproven,
            allow_disturbed=allow_disturbed,
        )
        return look_for(request, progress_of(progress))
