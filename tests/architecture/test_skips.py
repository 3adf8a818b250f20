"""`make test` ends with one line on what was skipped and what would mend it, whether or not a test failed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SSHD = "no sshd here: apt-get install openssh-server"
STUBS = {
    "ruff": "exit 0",
    "mypy": "exit 0",
    "python": f'exec {sys.executable} "$@"',
    # each part skips two for one reason and one for its own; the one called $FAILS fails
    "pytest": f'echo \'["{SSHD}", "{SSHD}", "slow: make test-aarch64"]\' > "$EDGETL_SKIPS"\n'
    'echo "3 skipped in $EDGETL_SKIPS"\ncase "$EDGETL_SKIPS" in *"$FAILS".json) exit 1;; esac',
}


@pytest.fixture
def make_test(tmp_path):
    """Runs `make test` with stubs for what it calls: make_test(fails=part) → (exit code, lines of stdout)."""
    (tmp_path / "bin").mkdir()
    for name, script in STUBS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "stamp").touch()

    def run(fails="nothing"):
        words = [f"BIN={tmp_path / 'bin'}", f"STAMP={tmp_path / 'stamp'}", f"SKIPS={tmp_path / 'skips'}"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
        done = subprocess.run(
            ["make", "test", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            env=environment | {"FAILS": fails},
        )
        return done.returncode, done.stdout.splitlines()

    return run


needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed: apt-get install make")


@needs_make
def test_the_last_line_counts_the_skips_of_all_parts(make_test):
    code, lines = make_test()
    assert (code, lines[-1]) == (0, f"12 tests skipped: 8 {SSHD}; 4 slow: make test-aarch64"), lines
    assert sum("skipped in" in line for line in lines) == 4


@needs_make
def test_the_last_line_stands_where_a_part_failed_too_and_names_those_that_did_not_run(make_test):
    code, lines = make_test(fails="host")
    assert code == 2, lines
    ran = {name for name in ("commands", "host", "device", "house") if any(f"/{name}.json" in line for line in lines)}
    skipped, _, unknown = lines[-1].partition("; nothing is known of ")
    assert skipped == f"{3 * len(ran)} tests skipped: {2 * len(ran)} {SSHD}; {len(ran)} slow: make test-aarch64"
    assert {*unknown.split(", ")} - {""} == {"commands", "host", "device", "house"} - ran


@pytest.mark.parametrize(
    ("parts", "line"),
    [
        ({"host": [], "device": []}, "no test skipped"),
        ({"host": ["a: b"], "device": None}, "1 test skipped: 1 a: b; nothing is known of device"),
        ({"host": ["pip: no index\nERROR"] * 2}, "2 tests skipped: 2 pip: no index"),
    ],
)
def test_a_part_that_left_nothing_is_not_taken_for_one_without_skips(parts, line, tmp_path):
    files = [tmp_path / f"{name}.json" for name in parts]
    for file, reasons in zip(files, parts.values(), strict=True):
        if reasons is not None:
            file.write_text(json.dumps(reasons), encoding="utf-8")
    words = [sys.executable, ROOT / "tests" / "skips.py", *files]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == line + "\n"


def test_pytest_leaves_the_reasons_of_its_skips(tmp_path):
    left, tests = tmp_path / "house.json", ROOT / "tests" / "environments" / "test_aarch64.py"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("EDGETL_")}
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tests]
    environment |= {"EDGETL_SKIPS": str(left)}
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
    reasons = json.loads(left.read_text(encoding="utf-8"))
    assert f"{len(reasons)} skipped" in done.stdout
    assert set(reasons) == {"slow, needs root and an emulator: make test-aarch64"}
