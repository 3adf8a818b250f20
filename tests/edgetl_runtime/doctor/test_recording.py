from __future__ import annotations

import re
import stat
import subprocess

import pytest

from edgetl_runtime.doctor import recording
from edgetl_runtime.errors import EdgetlError


def test_every_part_of_a_recorded_tree_says_where_it_is_from(tree):
    lines = tree.read_text(encoding="utf-8").splitlines()
    headers = [index for index, line in enumerate(lines) if line.startswith("===")]
    assert len(headers) > 5
    for index in headers:
        assert lines[index + 1].startswith("--- "), lines[index]
        assert len(lines[index + 1]) > 10


def test_recorded_trees_hold_only_what_the_collector_collects(tree):
    said = recording.parse(tree.read_text(encoding="utf-8"))
    assert said.commands.keys() <= recording.COMMANDS.keys()
    collected = {path for pattern in recording.FILES for path in said.match(pattern.replace("[0-9]*", "*"))}
    assert said.files.keys() == collected


def test_parse_reads_what_to_text_writes(tree):
    said = recording.parse(tree.read_text(encoding="utf-8"))
    assert recording.parse(said.to_text()) == said


def test_parse_refuses_what_is_no_recording():
    with pytest.raises(EdgetlError, match=r"the recording must be made by edgetl doctor; got 'hello'"):
        recording.parse("hello")


def test_the_collector_reads_a_board_as_it_was_recorded(tree, tmp_path, monkeypatch):
    """The recording is laid out as files and fake commands, and collected by the real shell script."""
    said = recording.parse(tree.read_text(encoding="utf-8"))
    root, programs = tmp_path / "root", tmp_path / "bin"
    programs.mkdir()
    for path, text in said.files.items():
        file = root / path.removeprefix("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("\n", "\0") if path.endswith("/compatible") else text + "\n")
    for name, output in said.commands.items():
        program = {"user": "id", "disk": "df", "packages": "dpkg-query"}.get(name, name)
        if output.code == recording.NOT_FOUND or name in ("nodes", "python", "openvino"):
            continue
        script = programs / program
        script.write_text(f"#!/bin/sh\ncat <<'END'\n{output.text}\nEND\nexit {output.code}\n")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    python = programs / "station-python"
    answers = {name: said.commands[name].text for name in ("python", "openvino") if name in said.commands}
    python.write_text(
        '#!/bin/sh\ncase "$2" in *openvino.Core*)\n'
        + _answer(answers.get("openvino"))
        + ";;\n*)\n"
        + _answer(answers.get("python"))
        + ";;\nesac\n"
    )
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    found = recording.record(python=str(python), root=str(root))
    assert found.files == said.files
    for name, output in said.commands.items():
        if output.code != recording.NOT_FOUND and name != "nodes":
            assert found.said(name) == said.said(name), name


def _answer(text: str | None) -> str:
    return f"cat <<'END'\n{text}\nEND\n" if text else "exit 1\n"


def test_record_examines_this_machine():
    found = recording.record()
    assert "MemTotal" in found.file("/proc/meminfo")
    assert found.said("uname").startswith("Linux")
    assert found.has("disk")
    assert not found.has("nvpmodel") or found.said("nvpmodel")


def test_the_collector_is_posix_shell_and_does_nothing_when_cut_short():
    text = recording.script()
    assert subprocess.run(["/bin/sh", "-n"], input=text, text=True, check=False).returncode == 0
    cut = text[: text.rindex("edgetl_doctor")]
    done = subprocess.run(["/bin/sh", "-s"], input=cut, capture_output=True, text=True, check=False)
    assert done.stdout == ""


def test_the_collector_reads_nothing_that_identifies_a_device():
    assert not re.search(r"serial|machine-id|hostname|/etc/passwd|mac|whoami", recording.script())


def test_match_is_in_natural_order():
    files = {f"/sys/zone{number}/type": "x" for number in (10, 2, 1)}
    said = recording.Recording(files=files, commands={})
    assert list(said.match("/sys/zone*/type")) == ["/sys/zone1/type", "/sys/zone2/type", "/sys/zone10/type"]
