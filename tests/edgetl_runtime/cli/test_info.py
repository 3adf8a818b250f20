"""info: what is inside, without loading a model; and one sentence about what nobody should have written."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from edgetl.deploy import bundle_writer
from edgetl_runtime import children
from edgetl_runtime import manifest as manifests
from edgetl_runtime.__main__ import main
from edgetl_runtime.bundle import open_bundle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Run = Callable[..., tuple[int, dict[str, Any]]]

DIGITS = "9" * 5000
DEEP = '{"a":' * 900 + "1" + "}" * 900


def test_info_tells_what_is_inside(run: Run, tiny_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = run("info", str(tiny_path))
    assert (code, result["schema"], result["bytes"]) == (0, "edgetl.info/1", tiny_path.stat().st_size)
    assert result["manifest"]["labels"]["classes"] == ["bad", "ok"]
    assert result["unfit"] == {"onnxruntime-f32": None, "openvino-f32": None, "null-f32": None}
    assert main(["info", str(tiny_path)]) == 0
    assert "onnxruntime-f32      onnxruntime  f32   chosen  can run here" in capsys.readouterr().out


@pytest.fixture
def altered(tiny_path: Path, tmp_path: Path) -> Callable[[str, Callable[[str], str | bytes]], Path]:
    """Write the bundle again with another text of one member, whatever the reader says of it."""

    def write(member: str, change: Callable[[str], str | bytes]) -> Path:
        with open_bundle(tiny_path) as bundle:
            members = {name: bundle.member_bytes(name) for name in bundle.names}
        text = change(members[member].decode())
        members[member] = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        path = tmp_path / "altered.edgetl"
        bundle_writer._write(path, members.items())
        return path

    return write


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("member", "change", "words"),
    [
        ("manifest.json", replaced('"min_runtime": "0.1.0"', f'"min_runtime": "{DIGITS}"'), "a version such as 0.1.0"),
        ("manifest.json", replaced('"min_runtime": "0.1.0"', '"min_runtime": "any"'), "a version such as 0.1.0"),
        ("manifest.json", replaced('"min_version": null', f'"min_version": "{DIGITS}"'), "a version such as 0.1.0"),
        ("manifest.json", lambda text: text.encode("utf-16"), "must be JSON in UTF-8"),
        ("manifest.json", lambda text: text.encode("utf-16-le"), "must be JSON in UTF-8"),
        ("manifest.json", lambda text: text.encode("utf-32"), "must be JSON in UTF-8"),
        ("manifest.json", lambda text: b"\xef\xbb\xbf" + text.encode(), "must be JSON in UTF-8"),
        (
            "manifest.json",
            replaced('"sequence": 1', f'"sequence": {DIGITS}'),
            "at most 64 bits; got one of 5000 digits",
        ),
        ("manifest.json", replaced('"metrics": {}', f'"metrics": {{"a": {DIGITS}}}'), "of at most 64 bits"),
        ("manifest.json", replaced('"metrics": {}', '"metrics": {"a": -9223372036854775809}'), "of at most 64 bits"),
        ("manifest.json", replaced('"metrics": {}', '"metrics": {"a": 1e400}'), "of finite numbers; got 1e400"),
        ("manifest.json", replaced('"metrics": {}', '"metrics": {"a": -Infinity}'), "of finite numbers"),
        ("manifest.json", replaced('"metrics": {}', f'"metrics": {DEEP}'), "at most 64 levels deep"),
        ("manifest.json", replaced('"metrics": {}', '"metrics": {"a": 1, "a": 2}'), "without twin keys"),
        ("manifest.json", replaced('"metrics": {}', '"metrics": {"a": "\\ud800"}'), "must be JSON in UTF-8"),
        ("manifest.json", replaced('"tiny"', '"tiny\\u001b[2J"'), "line in manifest.json must be without control"),
        ("manifest.json", replaced('"ok"', '"ok\\nOK"'), "classes in manifest.json must be without control"),
        ("signature.json", lambda text: text.encode("utf-16"), "must be JSON in UTF-8"),
        ("signature.json", lambda _: "[" * 10**5, "must be JSON in UTF-8"),
        ("signature.json", lambda _: f'{{"signatures": [{DIGITS}]}}', "of at most 64 bits"),
        ("signature.json", lambda _: '{"signatures": [], "signatures": []}', "without twin keys"),
    ],
    ids=range(21),
)
def test_what_nobody_should_have_written_is_one_sentence(
    member: str, change: Callable[[str], str | bytes], words: str, altered: Any, run: Run, tmp_path: Path
) -> None:
    path = str(altered(member, change))
    for command in (["info"], ["verify"], ["install", "--root", str(tmp_path / "root"), "--allow-unsigned"]):
        code, found = run(*command, path)
        assert (code, found["error"]["type"]) == (1, "BundleError"), found
        assert words in found["error"]["message"]
        assert len(found["error"]["message"]) < 400


@pytest.mark.parametrize("name", ["b\udcff.edgetl", "b\x1b[2J\x9b2J\n.edgetl", "ü缺.edgetl"])
def test_a_bundle_may_have_any_name(name: str, tiny_bundle: Callable[..., Path], run: Run, tmp_path: Path) -> None:
    """What a terminal would obey and what is not UTF-8 is escaped; in JSON the name is the name."""
    path = tmp_path / name
    tiny_bundle().rename(path)
    root = ("--root", str(tmp_path / "root"))
    for command in (["info", str(path)], ["verify", str(path), "--variant", "null-f32"]):
        code, found = run(*command)
        assert (code, found.get("bundle", str(path))) == (0, str(path))
    assert run("install", str(path), "--allow-unsigned", "--variant", "null-f32", *root)[0] == 0
    assert run("log", *root)[1]["entries"][-1]["result"] == "TRIAL"
    absent = tmp_path / f"no {name}"
    code, found = run("info", str(absent))
    assert (code, found["error"]["type"]) == (1, "BundleError")
    for command in (["info", str(path)], ["info", str(absent)], ["predict", str(path), str(absent)]):
        for options, locale in (([], "POSIX"), (["--json"], "C.UTF-8")):
            shown = subprocess.run(
                children.command("edgetl_runtime", *command, *options),
                capture_output=True, env={"LC_ALL": locale}, check=False, timeout=60,
            )  # fmt: skip
            text = (shown.stdout + shown.stderr).decode()
            assert all(line.isprintable() for line in text.splitlines()), text
            assert "The program failed" not in text
            assert len(shown.stderr.splitlines()) in (0, 2)  # a sentence, and what to try


def test_a_terminal_of_another_encoding_gets_escapes(tiny_bundle: Callable[..., Path], tmp_path: Path) -> None:
    path = tmp_path / "üł𝄞.edgetl"
    tiny_bundle().rename(path)
    program = "sys.stdout.reconfigure(encoding='latin-1')\n" + (
        "from edgetl_runtime.__main__ import main\nsys.exit(main())\n"
    )
    done = subprocess.run(
        children.program(program, "verify", str(path), "--variant", "null-f32", "--json"),
        capture_output=True, check=True, timeout=60, env=os.environ,
    )  # fmt: skip
    assert "ü\\u0142\\ud834\\udd1e".encode("latin-1") in done.stdout
    assert json.loads(done.stdout.decode("latin-1"))["bundle"] == str(path)


def test_versions_that_are_written_today_are_read() -> None:
    for version in ("0.1.0", "2026.4.1rc2", "1.7.0.post6", "2025.4.dev20250101", "0.5.0+cu12.local-1"):
        assert manifests._VERSION.fullmatch(version)
    for version in ("", "v1", "1.", "1..2", "1,2", "\u0663.1", "1.2\n"):
        assert not manifests._VERSION.fullmatch(version)
