"""Start our own children: Python processes that import what this one imports, whatever folder it was called from.

`python -m` and `python -c` put the working directory first on the path of imports, and a command run by root may be
called from a folder that others can write to. A child therefore starts isolated, in `/`, with the folders that this
process imports from, without the working directory, and with no variable that it does not need.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "/"  # where children work: paths given to them must be absolute
# what backends, their threads, caches and temporary files depend on; everything else stays behind
VARIABLES = frozenset({"HOME", "LANG", "LANGUAGE", "LOGNAME", "TMPDIR", "TZ", "USER"})
SEARCH_PATHS = frozenset({"LD_LIBRARY_PATH", "PATH"})
PREFIXES = (
    "CUDA_", "DNNL_", "EDGETL_", "GOMP_", "KMP_", "LC_", "MALLOC_", "MKL_", "NVIDIA_", "OMP_", "ONEDNN_", "OPENBLAS_",
    "OPENCV_", "ORT_", "OV_", "TBB_", "TRT_", "XDG_",
)  # fmt: skip
TAIL_BYTES = 2**16
_PROLOGUE = """import sys
_count = int(sys.argv[1])
_given = sys.argv[2 : 2 + _count]
sys.path[:] = _given + [_path for _path in sys.path if _path not in _given]
del sys.argv[1 : 2 + _count]
"""
_MODULE = "import runpy\nrunpy.run_module({!r}, run_name='__main__', alter_sys=True)\n"


def command(module: str, *words: str, bytecode: bool = True) -> list[str]:
    """Return the command line that runs a module as `python -m` does, without the working directory's modules.

    Args:
        module: To run.
        words: Its arguments; paths among them absolute.
        bytecode: Keep what is compiled beside the sources.

    Example:
        >>> command("edgetl_runtime", "--version")[1:3]
        ['-I', '-c']
    """
    return program(_MODULE.format(module), *words, bytecode=bytecode)


def program(text: str, *words: str, bytecode: bool = True) -> list[str]:
    """Return the command line that runs a program's text, as `command` does a module."""
    paths = list(_import_folders())
    # -I rather than -P: Python 3.10 has no other switch, and it keeps the variables of Python's own out as well
    options = ["-I"] if bytecode else ["-I", "-B"]
    return [sys.executable, *options, "-c", _PROLOGUE + text, str(len(paths)), *paths, *words]


def environment() -> dict[str, str]:
    """Return the variables that a child gets; of those that list folders, the absolute ones."""
    found = {n: v for n, v in os.environ.items() if n in VARIABLES or n.startswith(PREFIXES)}
    for name in SEARCH_PATHS & os.environ.keys():
        found[name] = os.pathsep.join(filter(os.path.isabs, os.environ[name].split(os.pathsep)))
    return found


def _import_folders() -> Iterator[str]:
    """Yield what this process imports from, but not its working directory, unless this very package lies in it."""
    here = None
    with contextlib.suppress(OSError):  # it was removed
        here = Path.cwd()
    home = Path(__file__).resolve().parents[1]
    for entry in sys.path:
        folder = Path(entry)
        if folder.is_absolute() and (folder.resolve() != here or here == home):
            yield entry


def own_stdout() -> TextIO:
    """Keep standard output for the lines of a child: what vendors' libraries print there goes to standard error."""
    kept = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(kept, "w", encoding="utf-8")


class Tail:
    """Reads what a child says, so that it never waits for a reader, and keeps the end.

    Args:
        stream: One of a child's pipes.
        keep_bytes: At least so much of its end is kept, at most twice as much.
    """

    def __init__(self, stream: IO[Any] | None, *, keep_bytes: int = TAIL_BYTES) -> None:
        self._kept = bytearray()
        self._keep_bytes = keep_bytes
        # our own descriptor: the child's owner may close his while this still reads
        descriptor = -1 if stream is None else os.dup(stream.fileno())
        self._thread = threading.Thread(target=self._read, args=(descriptor,), daemon=True)
        self._thread.start()

    def text(self, *, wait_s: float = 2.0) -> str:
        """Return the end of what was said.

        Args:
            wait_s: For the pipe's end, which a grandchild may keep open.
        """
        self._thread.join(wait_s)
        return bytes(self._kept[-self._keep_bytes :]).decode(errors="replace")

    def _read(self, descriptor: int) -> None:
        if descriptor < 0:
            return
        try:
            while piece := os.read(descriptor, 65536):
                self._kept += piece
                if len(self._kept) > 2 * self._keep_bytes:
                    del self._kept[: -self._keep_bytes]
        finally:
            os.close(descriptor)
