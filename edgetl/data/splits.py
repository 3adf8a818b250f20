"""Stratified, seeded splits that never part a group."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from edgetl.data.samples import SplitName


def make_splits(
    strata: Sequence[Hashable],
    groups: Sequence[Hashable],
    *,
    seed: int,
    val_fraction: float,
    test_fraction: float,
) -> list[SplitName]:
    """Assign every item to train, val or test.

    Args:
        strata: What each split should hold in equal shares: the class, or the class and a further property.
        groups: Items of one group go to one split; give every item its own group where there are none.
        seed: The same seed and items give the same splits.
        val_fraction: Share of what is left after test was taken; 0 makes no such split.
        test_fraction: Share of all items; 0 makes no such split.

    Example:
        >>> from collections import Counter
        >>> splits = make_splits(["a"] * 100, range(100), seed=0, val_fraction=0.15, test_fraction=0.25)
        >>> sorted(Counter(splits).items())
        [('test', 25), ('train', 64), ('val', 11)]
    """
    splits: list[SplitName] = ["train"] * len(strata)
    if test_fraction:
        for index in carve(strata, groups, fraction=test_fraction, seed=seed):
            splits[index] = "test"
    if not val_fraction:
        return splits
    rest = [index for index, split in enumerate(splits) if split == "train"]
    # another stream than the test split's, or the same ranks would be drawn twice
    chosen = carve([strata[i] for i in rest], [groups[i] for i in rest], fraction=val_fraction, seed=seed + 1_000_003)
    for at in chosen:
        splits[rest[at]] = "val"
    return splits


def carve(strata: Sequence[Hashable], groups: Sequence[Hashable], *, fraction: float, seed: int) -> list[int]:
    """Choose whole groups that together hold about `fraction` of every stratum.

    Large groups are placed first, because small ones can still mend the shares afterwards; groups of equal size come
    in random order. Every stratum gets at least one item and keeps at least one where its groups allow it.

    Returns:
        The chosen indices, sorted.
    """
    members: dict[Hashable, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    sizes = Counter(strata)
    targets = {s: min(max(1, round(n * fraction)), max(1, n - 1)) for s, n in sizes.items()}
    taken: Counter[Hashable] = Counter()
    shuffled = np.random.default_rng(seed).permutation(len(members))
    names = list(members)
    order = sorted((names[i] for i in shuffled), key=lambda name: -len(members[name]))
    chosen: list[Hashable] = []
    for name in order:
        counts = Counter(strata[i] for i in members[name])
        if _gain(counts, taken, targets) > 0 and all(taken[s] + n < sizes[s] for s, n in counts.items()):
            chosen.append(name)
            taken.update(counts)
    chosen += _rescue(order, members, strata, taken, chosen)
    return sorted(index for name in chosen for index in members[name])


def _gain(counts: Counter[Hashable], taken: Counter[Hashable], targets: dict[Hashable, int]) -> float:
    """Return how much nearer the targets are with a group than without it, relative to each target."""
    return sum((abs(targets[s] - taken[s]) - abs(targets[s] - taken[s] - n)) / targets[s] for s, n in counts.items())


def _rescue(
    order: list[Hashable],
    members: dict[Hashable, list[int]],
    strata: Sequence[Hashable],
    taken: Counter[Hashable],
    chosen: list[Hashable],
) -> list[Hashable]:
    """Return the smallest group of every stratum that got nothing because its groups are larger than its share."""
    sizes = Counter(strata)
    extra: list[Hashable] = []
    used = set(chosen)
    for stratum in sizes:
        if taken[stratum]:
            continue
        for name in reversed(order):
            counts = Counter(strata[i] for i in members[name])
            if name not in used and counts[stratum] and all(taken[s] + n < sizes[s] for s, n in counts.items()):
                extra.append(name)
                used.add(name)
                taken.update(counts)
                break
    return extra
