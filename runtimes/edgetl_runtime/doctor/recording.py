"""What a machine says about itself: the texts of some files and what some commands print, as one readable text.

One POSIX shell script collects it, here or over SSH, so that a device needs neither Python nor edgetl to be examined,
and a recording can be kept, sent to someone and examined there:

    === file /etc/nv_tegra_release
    | # R36 (release), REVISION: 4.3, …
    === command nvpmodel 0
    | NV Power Mode: 15W
    | 0

A line that starts with `---` is a remark (in the test's recordings: where the lines are from). No serial numbers, user
or host names are read.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

from edgetl_runtime.errors import EdgetlError

if TYPE_CHECKING:
    from collections.abc import Iterator

COLLECT_LIMIT_S = 120
LARGEST_FILE_BYTES = 65536
NOT_FOUND = 127

_CPU = "/sys/devices/system/cpu"
FILES = (
    "/etc/nv_tegra_release",
    "/etc/os-release",
    "/etc/nvpmodel.conf",
    "/var/lib/nvpmodel/status",
    "/proc/device-tree/model",
    "/proc/device-tree/compatible",
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/swaps",
    "/sys/fs/cgroup/memory.max",
    "/sys/class/thermal/thermal_zone*/type",
    "/sys/class/thermal/thermal_zone*/temp",
    "/sys/class/thermal/thermal_zone*/trip_point_*_temp",
    "/sys/class/thermal/thermal_zone*/trip_point_*_type",
    "/sys/class/hwmon/hwmon*/name",
    "/sys/class/hwmon/hwmon*/oc*_event_cnt",
    "/sys/class/devfreq/*gpu*/cur_freq",
    "/sys/class/devfreq/*gpu*/min_freq",
    "/sys/class/devfreq/*gpu*/max_freq",
    "/sys/class/devfreq/*gpu*/governor",
    f"{_CPU}/online",
    f"{_CPU}/cpu[0-9]*/cpufreq/scaling_governor",
    f"{_CPU}/cpu[0-9]*/cpufreq/scaling_min_freq",
    f"{_CPU}/cpu[0-9]*/cpufreq/scaling_max_freq",
    f"{_CPU}/cpu[0-9]*/cpufreq/cpuinfo_max_freq",
    f"{_CPU}/cpu0/thermal_throttle/package_throttle_count",
)
_PACKAGES = ("nvidia-jetpack*", "libnvinfer[0-9]*", "libnvinfer-bin", "python3-libnvinfer", "cuda-cudart-[0-9]*")
# `python -c` puts the working directory first on the path of imports
_NOT_FROM_HERE = "import sys; sys.path[:] = filter(None, sys.path)"
_PYTHON = (
    _NOT_FROM_HERE
    + """
import importlib.metadata as m, importlib.util as u, json, sys
names = ("edgetl-runtime", "numpy", "opencv-python-headless", "onnxruntime", "openvino", "tensorrt", "cuda-bindings")
found = {}
for name in names:
    try: found[name] = m.version(name)
    except m.PackageNotFoundError: pass
print(json.dumps({"version": list(sys.version_info[:3]), "venv": sys.prefix != sys.base_prefix, "packages": found,
    "tensorrt": u.find_spec("tensorrt") is not None, "ensurepip": u.find_spec("ensurepip") is not None}))
"""
)
_OPENVINO = (
    _NOT_FROM_HERE
    + """
import json, openvino
core = openvino.Core()
print(json.dumps({d: core.get_property(d, "FULL_DEVICE_NAME") for d in core.available_devices}))
"""
)
_QUERY_GPU = "--query-gpu=name,driver_version,compute_cap,memory.total"
# name → (limit in seconds, command); PYTHON is replaced by the interpreter that shall run the station
COMMANDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "uname": (5, ("uname", "-srm")),
    "user": (5, ("id", "-nG")),
    "disk": (10, ("df", "-Pk", ".", "/var/lib")),
    "nodes": (5, ("sh", "-c", "ls -d /dev/dri/renderD* /dev/accel/* /dev/nvidia[0-9]* /dev/nvgpu 2>/dev/null; :")),
    "nvpmodel": (10, ("nvpmodel", "-q")),
    "tegrastats": (3, ("tegrastats", "--interval", "500")),
    "nvidia-smi": (20, ("nvidia-smi", _QUERY_GPU, "--format=csv,noheader")),
    "packages": (20, ("dpkg-query", "-W", "-f=${db:Status-Status} ${Package} ${Version}\\n", *_PACKAGES)),
    "vcgencmd": (5, ("vcgencmd", "get_throttled")),
    "python": (30, ("PYTHON", "-c", _PYTHON)),
    "openvino": (60, ("PYTHON", "-c", _OPENVINO)),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a command said.

    Attributes:
        code: Its exit code; 127 where there is no such command.
        text: Standard output.
    """

    code: int
    text: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Files and outputs of one machine at one moment.

    Attributes:
        files: Path → text, NUL read as the end of a line.
        commands: Name → what it said.
    """

    files: dict[str, str]
    commands: dict[str, Output]

    def file(self, path: str) -> str:
        """Return the text of a file, empty where there is none."""
        return self.files.get(path, "")

    def match(self, pattern: str) -> dict[str, str]:
        """Return the files whose path fits a pattern, `*` within one folder, in the natural order of their numbers."""
        depth = pattern.count("/")
        found = [path for path in self.files if path.count("/") == depth and fnmatch.fnmatchcase(path, pattern)]
        return {path: self.files[path] for path in sorted(found, key=_natural)}

    def said(self, command: str) -> str:
        """Return what a command printed, empty where it is missing or failed."""
        output = self.commands.get(command)
        return output.text if output is not None and output.code in (0, 124) else ""

    def has(self, command: str) -> bool:
        """Say whether the machine has a command."""
        output = self.commands.get(command)
        return output is not None and output.code != NOT_FOUND

    def to_text(self) -> str:
        """Return the recording as text; `parse` reads it."""
        parts = [("file " + path, text) for path, text in self.files.items()]
        parts += [(f"command {name} {output.code}", output.text) for name, output in self.commands.items()]
        lines = []
        for header, text in parts:
            lines += [f"=== {header}", *(f"| {line}".rstrip() for line in text.splitlines())]
        return "\n".join(lines) + "\n"


def parse(text: str) -> Recording:
    r"""Read a recording.

    Raises:
        EdgetlError: It holds no file and no command, so it is not one.

    Example:
        >>> parse("=== command uname 0\n| Linux 5.15.148-tegra aarch64\n").said("uname")
        'Linux 5.15.148-tegra aarch64'
    """
    files: dict[str, list[str]] = {}
    commands: dict[str, tuple[int, list[str]]] = {}
    lines: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if line.startswith("=== file ") and len(words) == 3:
            lines = files.setdefault(words[2], [])
        elif line.startswith("=== command ") and len(words) == 4 and words[3].isdigit():
            lines = []
            commands[words[2]] = (int(words[3]), lines)
        elif line.startswith("|"):
            lines.append(line[2:].rstrip())
    if not files and not commands:
        fix = "edgetl doctor --record FILE"
        raise EdgetlError("the recording", "made by edgetl doctor", f"{text[:40]!r}", fix=fix)
    return Recording(
        files={path: "\n".join(content).strip() for path, content in files.items()},
        commands={
            name: Output(code=code, text="\n".join(content).strip()) for name, (code, content) in commands.items()
        },
    )


def script(*, python: str = "python3", root: str = "") -> str:
    """Return the POSIX shell program that prints a recording.

    Args:
        python: The interpreter that runs, or shall run, the station.
        root: Put before the paths of all files; for tests.
    """
    return "\n".join([_FUNCTIONS, *_calls(python, root), "}", "edgetl_doctor", ""])


def record(*, python: str | None = None, root: str = "") -> Recording:
    """Collect what this machine says.

    Raises:
        EdgetlError: The collector did not end in time.
    """
    text = script(python=python or sys.executable, root=root)
    try:
        done = subprocess.run(
            ["/bin/sh", "-s"], input=text, capture_output=True, text=True, timeout=COLLECT_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        what, must = "the examination of this machine", f"done in {COLLECT_LIMIT_S} s"
        raise EdgetlError(
            what, must, "no end of it", fix="sh -x the script of edgetl_runtime.doctor.recording"
        ) from error
    return parse(done.stdout)


# the body is one function: a script cut short by a broken connection does nothing
_FUNCTIONS = f"""LC_ALL=C; export LC_ALL
PATH=$PATH:/usr/sbin:/sbin:/usr/local/cuda/bin; export PATH
clean() {{ tr '\\000' '\\n' | tr -cd '[:print:]\\n\\t' | sed 's/^/| /'; echo; }}
show_files() {{
  for f in "$@"; do
    [ -f "$f" ] && [ -r "$f" ] || continue
    echo "=== file ${{f#"$ROOT"}}"; head -c {LARGEST_FILE_BYTES} "$f" 2>/dev/null | clean
  done
}}
show_command() {{
  name=$1; limit=$2; shift 2
  if command -v "$1" >/dev/null 2>&1; then said=$(timeout "$limit" "$@" 2>/dev/null </dev/null); code=$?
  else said=; code={NOT_FOUND}; fi
  echo "=== command $name $code"; printf '%s' "$said" | clean
}}
edgetl_doctor() {{"""


def _calls(python: str, root: str) -> Iterator[str]:
    yield f"ROOT={shlex.quote(root)}"
    for pattern in FILES:
        yield f'show_files "$ROOT"{pattern}'  # the pattern is unquoted for the shell to expand
    for name, (limit_s, command) in COMMANDS.items():
        words = [python if word == "PYTHON" else word for word in command]
        yield f"show_command {name} {limit_s} {shlex.join(words)}"


def _natural(path: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path)]
