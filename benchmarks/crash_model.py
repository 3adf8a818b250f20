"""What may lie on a disk after a power cut, enumerated: the model behind the fault tests of installing.

A run is recorded, step by step, while it works on a real folder. From the record follows, for a cut after every step,
which states the disk may be in: a file holds what was synced last, or anything between that and what was written
(nothing of it, a part, zeros in its place); a name is there or not unless its folder was synced since; a rename
is one step. Names may become durable in any order: more than journals allow, so that nothing depends on one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import random
from typing import TYPE_CHECKING, Any

from edgetl_runtime.install.disk import Disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

ALL_SUBSETS_UP_TO = 4  # pending names; beyond: prefixes, single ones, all but one, and a seeded sample
SAMPLED = 12
CONTENTS = ("synced", "written", "quarter", "half", "all but a byte", "zeros", "zeros after half", "zeros before half")

Step = tuple[Any, ...]
Tree = dict[str, "bytes | str | None"]  # path → content of a file, `-> target` of a link, None for a folder


class Recorder(Disk):
    """The real disk, every step written down."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.steps: list[Step] = []

    def _name(self, path: Path) -> str:
        return os.path.relpath(path, self.root)

    def _create(self, path: Path, mode: int) -> int:
        self.steps.append(("create", self._name(path)))
        return super()._create(path, mode)

    def _write(self, descriptor: int, path: Path, data: bytes) -> None:
        self.steps.append(("write", self._name(path), bytes(data)))
        super()._write(descriptor, path, data)

    def _truncate(self, descriptor: int, path: Path, size: int) -> None:
        self.steps.append(("truncate", self._name(path), size))
        super()._truncate(descriptor, path, size)

    def _fsync(self, descriptor: int, path: Path) -> None:
        self.steps.append(("fsync", self._name(path)))

    def _fsync_folder(self, descriptor: int, path: Path) -> None:
        self.steps.append(("sync", self._name(path)))

    def _mkdir(self, path: Path, mode: int) -> None:
        self.steps.append(("mkdir", self._name(path)))
        super()._mkdir(path, mode)

    def _rename(self, source: Path, target: Path) -> None:
        self.steps.append(("rename", self._name(source), self._name(target)))
        super()._rename(source, target)

    def _symlink(self, target: str, link: Path) -> None:
        self.steps.append(("symlink", target, self._name(link)))
        super()._symlink(target, link)

    def _unlink(self, path: Path) -> None:
        self.steps.append(("unlink", self._name(path)))
        super()._unlink(path)

    def _rmdir(self, path: Path) -> None:
        self.steps.append(("rmdir", self._name(path)))
        super()._rmdir(path)


class QuickDisk(Disk):
    """The real disk without waiting for it: for judging states, whose durability is not the question."""

    def _fsync(self, descriptor: int, path: Path) -> None:
        pass

    def _fsync_folder(self, descriptor: int, path: Path) -> None:
        pass


class InterruptedDisk(QuickDisk):
    """A disk at whose step a signal arrives, as SIGTERM does that `clean_stop` makes an interrupt.

    Args:
        at: Of the steps that change something, counted from 0.
        after: The step is done when the signal arrives.
    """

    def __init__(self, at: int, *, after: bool) -> None:
        self.left, self.after = at, after

    def _step(self, do: Callable[[], Any]) -> Any:  # noqa: ANN401  (what the step returns)
        hit, self.left = self.left == 0, self.left - 1
        if hit and not self.after:
            raise KeyboardInterrupt
        found = do()
        if hit:
            raise KeyboardInterrupt
        return found

    def _create(self, path: Path, mode: int) -> int:
        if self.after:  # the descriptor would be lost, which no signal does: it arrives before or after the call
            return super()._create(path, mode)
        return int(self._step(lambda: super(InterruptedDisk, self)._create(path, mode)))

    def _write(self, descriptor: int, path: Path, data: bytes) -> None:
        self._step(lambda: super(InterruptedDisk, self)._write(descriptor, path, data))

    def _truncate(self, descriptor: int, path: Path, size: int) -> None:
        self._step(lambda: super(InterruptedDisk, self)._truncate(descriptor, path, size))

    def _mkdir(self, path: Path, mode: int) -> None:
        self._step(lambda: super(InterruptedDisk, self)._mkdir(path, mode))

    def _rename(self, source: Path, target: Path) -> None:
        self._step(lambda: super(InterruptedDisk, self)._rename(source, target))

    def _symlink(self, target: str, link: Path) -> None:
        self._step(lambda: super(InterruptedDisk, self)._symlink(target, link))

    def _unlink(self, path: Path) -> None:
        self._step(lambda: super(InterruptedDisk, self)._unlink(path))

    def _rmdir(self, path: Path) -> None:
        self._step(lambda: super(InterruptedDisk, self)._rmdir(path))


def read_tree(root: Path) -> Tree:
    """Return everything below a folder; locks and keys, which hold no state, apart."""
    tree: Tree = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith("cache/") or name == "cache.key":  # not durable by design: sealed, and made again
            continue
        if path.is_symlink():
            tree[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            tree[name] = None
        elif not name.endswith(".lock") and name != "lock":
            tree[name] = path.read_bytes()
    return tree


def write_tree(tree: Tree, root: Path) -> None:
    """Make a folder hold exactly this tree; it must be new."""
    root.mkdir(parents=True)
    for name, content in sorted(tree.items()):
        path = root / name
        if content is None:
            path.mkdir(exist_ok=True, parents=True)
            continue
        path.parent.mkdir(exist_ok=True, parents=True)
        if isinstance(content, str):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_bytes(content)


def digest(tree: Tree) -> str:
    """Return a digest of a tree."""
    found = hashlib.sha256()
    for name, content in sorted(tree.items()):
        data = b"" if content is None else content.encode() if isinstance(content, str) else content
        found.update(f"{name}\0{type(content).__name__}\0{len(data)}\0".encode() + data)
    return found.hexdigest()


@dataclasses.dataclass(slots=True)
class _Node:
    """A file, folder or link of the model: what is durable of it, and what is only written."""

    kind: str
    synced: bytes = b""
    written: bytes = b""
    target: str = ""
    durable: dict[str, int] = dataclasses.field(default_factory=dict)
    live: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class _Name:
    """A change of names that is not durable yet: from `taken` the name `gone` leaves, `given` gets `name`."""

    taken: int | None
    gone: str
    given: int | None
    name: str
    node: int


class PowerCut:
    """Replays a record on the model and yields what a cut may leave.

    Args:
        before: What lies on the disk, durably, before the run.
    """

    def __init__(self, before: Tree) -> None:
        self.nodes: list[_Node] = [_Node("folder")]
        self.pending: list[_Name] = []
        for name, content in sorted(before.items()):
            node = self._add(content)
            folder, last = self._folder(name)
            self.nodes[folder].live[last] = self.nodes[folder].durable[last] = node

    def _add(self, content: bytes | str | None) -> int:
        if content is None:
            node = _Node("folder")
        elif isinstance(content, str):
            node = _Node("link", target=content)
        else:
            node = _Node("file", synced=content, written=content)
        self.nodes.append(node)
        return len(self.nodes) - 1

    def _folder(self, name: str) -> tuple[int, str]:
        *folders, last = name.split("/")
        at = 0
        for part in folders:
            at = self.nodes[at].live[part]
        return at, last

    def _node(self, name: str) -> int:
        if name == ".":
            return 0
        folder, last = self._folder(name)
        return self.nodes[folder].live[last]

    def play(self, step: Step) -> None:
        """Do one step."""
        kind, *rest = step
        if any(isinstance(name, str) and name.startswith("cache/") for name in rest):
            return
        if kind in ("create", "mkdir", "symlink"):
            content = {"create": b"", "mkdir": None, "symlink": f"-> {rest[0]}"}[kind]
            self._give(rest[-1], self._add(content))
        elif kind == "write":
            self.nodes[self._node(rest[0])].written += rest[1]
        elif kind == "truncate":
            node = self.nodes[self._node(rest[0])]
            node.written = node.written[: rest[1]]
        elif kind == "fsync":
            node = self.nodes[self._node(rest[0])]
            node.synced = node.written
        elif kind == "sync":
            self._sync(self._node(rest[0]))
        elif kind == "rename":
            taken, gone = self._folder(rest[0])
            given, name = self._folder(rest[1])
            node = self.nodes[taken].live.pop(gone)
            self.nodes[given].live[name] = node
            self.pending.append(_Name(taken, gone, given, name, node))
        else:
            taken, gone = self._folder(rest[0])
            node = self.nodes[taken].live.pop(gone)
            self.pending.append(_Name(taken, gone, None, "", node))

    def _give(self, path: str, node: int) -> None:
        folder, name = self._folder(path)
        self.nodes[folder].live[name] = node
        self.pending.append(_Name(None, "", folder, name, node))

    def _sync(self, folder: int) -> None:
        left = []
        for change in self.pending:
            if folder in (change.taken, change.given):
                self._apply({i: node.durable for i, node in enumerate(self.nodes)}, change)
            else:
                left.append(change)
        self.pending = left

    @staticmethod
    def _apply(names: dict[int, dict[str, int]], change: _Name) -> None:
        if change.taken is not None and names[change.taken].get(change.gone) == change.node:
            del names[change.taken][change.gone]
        if change.given is not None:
            names[change.given][change.name] = change.node

    def states(self, rng: random.Random) -> Iterator[Tree]:
        """Yield what may lie on the disk if power is cut now."""
        dirty = [i for i, node in enumerate(self.nodes) if node.written != node.synced]
        mixes: list[dict[int, str]] = [dict.fromkeys(dirty, choice) for choice in (CONTENTS if dirty else ("synced",))]
        if len(dirty) > 1:
            mixes += [{i: rng.choice(CONTENTS) for i in dirty} for _ in range(SAMPLED)]
        for chosen in self._selections(rng):
            names = {i: dict(node.durable) for i, node in enumerate(self.nodes)}
            for change in chosen:
                self._apply(names, change)
            for mix in mixes:
                yield dict(self._walk(0, "", names, mix))

    def _selections(self, rng: random.Random) -> Iterable[tuple[_Name, ...]]:
        changes = self.pending
        count = len(changes)
        if count <= ALL_SUBSETS_UP_TO:
            masks: Iterable[int] = range(2**count)
        else:
            every = 2**count - 1
            picked = {2**i - 1 for i in range(count + 1)} | {1 << i for i in range(count)}
            picked |= {every ^ (1 << i) for i in range(count)} | {rng.randrange(2**count) for _ in range(SAMPLED)}
            masks = sorted(picked)
        return [tuple(change for i, change in enumerate(changes) if mask >> i & 1) for mask in masks]

    def _walk(
        self, at: int, prefix: str, names: dict[int, dict[str, int]], mix: dict[int, str]
    ) -> Iterator[tuple[str, bytes | str | None]]:
        for name, index in sorted(names[at].items()):
            node, path = self.nodes[index], prefix + name
            if node.kind == "folder":
                yield path, None
                yield from self._walk(index, path + "/", names, mix)
            elif node.kind == "link":
                yield path, node.target
            else:
                yield path, _content(node, mix.get(index, "synced"))


def _content(node: _Node, choice: str) -> bytes:
    if choice == "synced":
        return node.synced
    if choice == "written":
        return node.written
    same = _common(node.synced, node.written)
    new = len(node.written) - same
    lengths = {"quarter": new // 4, "half": new // 2, "all but a byte": new - 1}
    if choice in lengths:
        return node.written[: same + max(0, lengths[choice])]
    start, end = {"zeros": (0, new), "zeros after half": (new // 2, new), "zeros before half": (0, new // 2)}[choice]
    return node.written[: same + start] + bytes(end - start) + node.written[same + end :]


def _common(first: bytes, second: bytes) -> int:
    """Return how many bytes at the beginning are the same."""
    return next(
        (i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def crash_states(before: Tree, steps: list[Step], *, seed: int = 0) -> Iterator[tuple[int, Tree]]:
    """Yield each different state after a power cut, with the number of steps that were done.

    Args:
        before: Durable before the run.
        steps: What the run did.
        seed: Of the samples.
    """
    model, rng, seen = PowerCut(before), random.Random(seed), set[str]()  # noqa: S311
    for done, step in enumerate(itertools.chain([None], steps)):
        if step is not None:
            model.play(step)
        for tree in model.states(rng):
            key = digest(tree)
            # after the last step a state counts again: what was reported as done must be durable
            if key not in seen or done == len(steps):
                seen.add(key)
                yield done, tree
