"""What is written for people is true: links, command lines, the drawn tables; and nothing names a machine."""

from __future__ import annotations

import importlib
import re
import shlex
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import edgetl.cli
import edgetl_runtime.__main__
from edgetl_runtime.cli import driver
from edgetl_runtime.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TABLES = {"edgetl": edgetl.cli.COMMANDS, "edgetl-runtime": edgetl_runtime.__main__.COMMANDS}
TEXT_SUFFIXES = {"", ".py", ".md", ".toml", ".txt", ".json", ".jsonl", ".csv", ".html", ".css", ".j2"}
# a path of somebody's machine; written in two parts so that this file is clean itself
MACHINE_PATHS = re.compile(r"(?<![\w.])/(?:" + r"root|home/[\w-]+|work|Users)" + r"/[\w.]")


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def broken_links(root: Path, pages: list[Path]) -> Iterator[str]:
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if target.startswith(("http://", "https://", "mailto:")):
                continue
            file, _, anchor = target.partition("#")
            linked = page.parent / file if file else page
            if not linked.exists():
                yield f"{page.relative_to(root)} links to {target}, which does not exist"
            elif anchor and anchor not in anchors(linked):
                yield f"{page.relative_to(root)} links to {target}, which has no such heading"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of every `edgetl …` and `edgetl-runtime …` line in the fenced blocks of a page."""
    for block in re.findall(r"```(?:bash|sh|console|text)?\n(.*?)```", text, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = line.strip().removeprefix("$ ")
            words = re.sub(r"^(?:\.venv/bin/|[A-Z_]+=\S+ )+", "", words)
            if re.match(r"edgetl(-runtime)?( [\w-]|$)", words):
                yield shlex.split(words, comments=True)


def refused_command(words: list[str]) -> str | None:
    """Say why a command line would be a usage error; it is parsed, not run."""
    program, *arguments = words
    if not arguments or arguments[0] in ("--help", "--version", "COMMAND"):
        return None
    name = arguments[0]
    if name not in TABLES[program]:
        return f"{program} has no command {name}"
    parser = driver._Parser(prog=f"{program} {name}", allow_abbrev=False)
    importlib.import_module(TABLES[program][name][0]).add_arguments(parser)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--debug", action="store_true")
    try:
        parser.parse_args(arguments[1:])
    except UsageError as error:
        return error.sentence
    except SystemExit:  # --help
        pass
    return None


def machine_words(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    host = socket.gethostname()
    for number, line in enumerate(text.splitlines(), 1):
        if MACHINE_PATHS.search(line) or (len(host) > 5 and "." not in host and host != "localhost" and host in line):
            yield f"{path.name}:{number} names a machine or a path on one: {line.strip():.80}"


def pages() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def test_links_lead_somewhere():
    assert list(broken_links(ROOT, pages())) == []


def test_command_lines_are_accepted_by_the_parsers():
    found = [(page.name, words) for page in pages() for words in command_lines(page.read_text(encoding="utf-8"))]
    refused = {f"{page}: {shlex.join(words)}": refused_command(words) for page, words in found}
    assert {line: why for line, why in refused.items() if why} == {}
    assert len(found) >= 3


def test_make_targets_in_pages_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for page in pages():
        named = re.findall(r"(?:^|`)make ([a-z0-9-]+)", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert set(named) <= targets, page


def test_every_tracked_file_is_free_of_machines():
    assert [words for path in tracked() if path.suffix in TEXT_SUFFIXES for words in machine_words(path)] == []


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_named_in_a_table_or_text_exist(page):
    """`edgetl/...` and the like in code font, unless a part of the name stands for any."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    named = re.findall(r"`((?:edgetl|runtimes|devices|tests|benchmarks)/[\w./-]*)`", text)
    assert len(named) >= 5
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_changelog_has_one_heading_for_each_release():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(headings) == len(set(headings))
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d{2}-\d{2}\)", heading) for heading in headings)


def test_the_link_check_sees_planted_violations(tmp_path):
    (tmp_path / "other.md").write_text("# A heading, here\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[a](absent.md) [b](other.md#a-heading-here) [c](other.md#nowhere) [d](https://x.org) [e](other.md)"
    )
    found = list(broken_links(tmp_path, [page]))
    assert [words.split()[3].rstrip(",") for words in found] == ["absent.md", "other.md#nowhere"]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("$ edgetl devices list", None),
        (".venv/bin/edgetl-runtime verify part.edgetl --json   # comment", None),
        ("X=1 edgetl-runtime predict part.edgetl \\\n   images/", None),
        ("edgetl nonsense", "edgetl has no command nonsense"),
        ("edgetl-runtime info", "the following arguments are required: BUNDLE"),
        ("edgetl-runtime verify a.edgetl --varaint x", "unrecognized arguments: --varaint x"),
    ],
)
def test_the_command_check_sees_planted_violations(line, why):
    words = list(command_lines(f"text\n```\n{line}\n```\n"))
    assert len(words) == 1
    assert why in (refused_command(words[0]) or "") if why else refused_command(words[0]) is None


@pytest.mark.parametrize("words", ["/ro" + "ot/x", "see /wo" + "rk/main", "(/ho" + "me/ann/x)", "/Us" + "ers/ann"])
def test_the_machine_check_sees_planted_violations(words, tmp_path):
    (tmp_path / "x.md").write_text(f"one\n{words}/file\n")
    assert [found.split()[0] for found in machine_words(tmp_path / "x.md")] == ["x.md:2"]
    (tmp_path / "y.md").write_text("a network/root/x, benchmarks/work/x, https://x.org/home/work\n")
    assert list(machine_words(tmp_path / "y.md")) == []
