"""What is written for people is true: links, command lines, the drawn tables; and nothing names a machine."""

from __future__ import annotations

import argparse
import ast
import functools
import importlib
import inspect
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import edgetl.cli
import edgetl_runtime.__main__
from edgetl import tasks
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


def fenced(text: str) -> Iterator[str]:
    """Yield the lines of the fenced blocks of commands, continued lines as one, without prompt, path and variables."""
    for block in re.findall(r"```(?:bash|sh|console|text)?\n(.*?)```", text, flags=re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            yield bare(line)


def bare(line: str) -> str:
    return re.sub(r"^(?:\$ |\.venv/bin/|[A-Z_]+=\S+ )+", "", " ".join(line.split()))


def command_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of every `edgetl …` and `edgetl-runtime …` line in the fenced blocks of a page."""
    for words in fenced(text):
        if re.match(r"edgetl(-runtime)?( [\w-]|$)", words):
            yield shlex.split(words, comments=True)


@functools.cache
def parser_of(program: str, name: str) -> argparse.ArgumentParser:
    parser = driver._Parser(prog=f"{program} {name}", allow_abbrev=False)
    importlib.import_module(TABLES[program][name][0]).add_arguments(parser)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--debug", action="store_true")
    return parser


def refused_command(words: list[str]) -> str | None:
    """Say why a command line would be a usage error; it is parsed, not run."""
    program, *arguments = words
    if not arguments or arguments[0] in ("--help", "--version", "COMMAND"):
        return None
    name = arguments[0]
    if name not in TABLES[program]:
        return f"{program} has no command {name}"
    try:
        parser_of(program, name).parse_args(arguments[1:])
    except UsageError as error:
        return error.sentence
    except SystemExit:  # --help
        pass
    return None


# options of programs that are not ours, where a page names them alone
FOREIGN = {"--system-site-packages": "python -m venv", "--help": "every command", "--version": "every program"}
# words, as wc counts them: what is longer is not read to its end
WORDS = {"README.md": 900, "ARCHITECTURE.md": 1100}
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")


def spans(text: str) -> Iterator[str]:
    """Yield what stands in code font in running text, lines joined."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    yield from (" ".join(code.split()) for _, code in re.findall(r"(`+)(.+?)\1", prose, flags=re.DOTALL))


def false_claims(text: str, *, benchmarks: bool = False) -> Iterator[str]:
    """Yield what a page says of command lines and options that no parser knows.

    Args:
        text: Of the page.
        benchmarks: The page is of the benchmarks: what it names alone may be an option of any of them.
    """
    prose = re.sub(r"(`+)(.+?)\1|https?://\S+", "", re.sub(r"```.*?```", "", text, flags=re.DOTALL), flags=re.DOTALL)
    loose = re.findall(r"\bedgetl(?:-runtime)? [a-z]+(?: [^\s,;:()]+)* --[^,;:()]*", " ".join(prose.split()))
    lines = [*spans(text), *fenced(text), *loose]
    known = every_option() | (script_options("*.py") if benchmarks else set())
    for line in lines:
        yield from false_line(bare(line), known)
    yield from (f"nothing has an option {option}" for option in OPTION.findall(prose) if option not in known)


def false_line(line: str, known: set[str]) -> Iterator[str]:
    program, _, rest = line.partition(" ")
    if program in TABLES and re.match(r"[\w\[-]|$", rest):  # not the drawing of the two installables
        yield from false_command(program, rest)
    elif program == "make":
        yield from false_make(rest)
    elif program == "pytest" or re.match(r"python\S* -m pytest ", line):
        options = set(OPTION.findall(rest)) - pytest_options()
        yield from (f"pytest has no option {option}" for option in sorted(options))
    elif (script := re.match(r"(?:python\S* )?(?:benchmarks/)?(\w+\.py)\b(.*)", line)) and script_exists(script[1]):
        options = set(OPTION.findall(script[2])) - script_options(script[1]) - {"--help"}
        yield from (f"{script[1]} has no option {option}" for option in sorted(options))
    elif line.startswith("--"):
        yield from (f"nothing has an option {option}" for option in OPTION.findall(line) if option not in known)
    elif "--" in rest and (owners := [owner for owner in TABLES if program in TABLES[owner]]):
        refused = [list(false_command(owner, line)) for owner in owners]  # `deploy --key`: of either program
        yield from min(refused, key=len)


def false_command(program: str, rest: str) -> Iterator[str]:
    """Yield what is wrong with a mention such as `edgetl doctor [--host user@device]`: arguments may be left out."""
    words = re.sub(r"[\[\]…]", " ", rest).split(" #")[0].split()
    if not words or words[0].isupper() or words[0].startswith("--"):
        yield from (f"{program} has no option {o}" for o in words if OPTION.match(o) and o not in FOREIGN)
        return
    for name in words[0].split("|"):
        if name not in TABLES[program]:
            yield f"{program} has no command {name}"
            continue
        actions = [*parser_of(program, name)._actions]
        for action in list(actions):
            if isinstance(action, argparse._SubParsersAction):
                named = words[1].split("|") if len(words) > 1 and words[1][0].islower() else []
                yield from (f"{program} {name} has no action {n}" for n in named if n not in action.choices)
                chosen = [action.choices[n] for n in named if n in action.choices] or action.choices.values()
                actions += [inner for parser in chosen for inner in parser._actions]
        yield from false_options(f"{program} {name}", actions, words)


def false_options(command: str, actions: list[argparse.Action], words: list[str]) -> Iterator[str]:
    for place, word in enumerate(words):
        option, _, value = word.partition("=")
        if not OPTION.fullmatch(option):
            continue
        found = [action for action in actions if option in action.option_strings]
        if not found:
            yield f"{command} has no option {option}"
            continue
        value = value or next(iter(words[place + 1 :]), "--")
        if found[0].choices and not value.startswith("--") and not value.isupper():
            strange = [one for one in value.split("|") if one not in found[0].choices]
            yield from (f"{command} {option} has no choice {one}" for one in strange)


def false_make(rest: str) -> Iterator[str]:
    """Yield targets and variables that the Makefile does not have."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in rest.split(" #")[0].split():
        variable, equals, _ = word.partition("=")
        if equals and not re.search(rf"^{re.escape(variable)} \??[:?]?=", makefile, flags=re.MULTILINE):
            yield f"make has no variable {variable}"
        elif not equals and re.fullmatch(r"[a-z][a-z0-9-]*", word) and word not in targets(makefile):
            yield f"make has no target {word}"


def targets(makefile: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):", makefile, flags=re.MULTILINE))


@functools.cache
def every_option() -> set[str]:
    """Return the options of all commands of both programs, of their actions, and of our pytest plugin."""
    found = {*FOREIGN, *(o for o in pytest_options() if o.startswith("--edgetl-"))}
    parsers = [parser_of(program, name) for program, table in TABLES.items() for name in table]
    while parsers:
        for action in parsers.pop()._actions:
            found |= set(action.option_strings)
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
    return found


@functools.cache
def pytest_options() -> set[str]:
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(OPTION.findall(listed.stdout)) | {"--junitxml"}  # which its help spells --junit-xml


@functools.cache
def script_options(pattern: str) -> set[str]:
    """Return the options that the scripts of benchmarks declare."""
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").glob(pattern)]
    return {option for text in texts for option in re.findall(r"[\"'](--[a-z][\w-]*)[\"']", text)}


def script_exists(name: str) -> bool:
    return (ROOT / "benchmarks" / name).is_file()


def machine_words(path: Path) -> Iterator[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    host = socket.gethostname()
    for number, line in enumerate(text.splitlines(), 1):
        if MACHINE_PATHS.search(line) or (len(host) > 5 and "." not in host and host != "localhost" and host in line):
            yield f"{path.name}:{number} names a machine or a path on one: {line.strip():.80}"


def false_calls(text: str) -> Iterator[str]:
    """Yield what a page's Python calls of our packages, or passes to them, that does not exist."""
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        for call in ast.walk(ast.parse(block)):
            if isinstance(call, ast.Call) and re.fullmatch(r"edgetl(_runtime)?\.\w+", name := ast.unparse(call.func)):
                module, _, attribute = name.partition(".")
                found = getattr(importlib.import_module(module), attribute, None)
                if found is None:
                    yield f"there is no {name}"
                    continue
                try:
                    inspect.signature(found).bind(*call.args, **{word.arg: None for word in call.keywords})
                except TypeError as error:
                    yield f"{name}: {error}"


def job_lines(text: str) -> Iterator[list[str]]:
    """Yield the words of our commands in a job of GitHub or GitLab."""
    for line in re.findall(r"^ *- (?:run: )?(edgetl(?:-runtime)? .*)$", text, flags=re.MULTILINE):
        yield shlex.split(line, comments=True)


def too_long(text: str, most: int) -> str | None:
    words = len(text.split())
    return f"{words} words, {words - most} too many: move what is detail to docs/" if words > most else None


def pages() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


@pytest.mark.parametrize(("page", "most"), WORDS.items())
def test_a_page_is_short_enough_to_be_finished(page, most):
    assert too_long((ROOT / page).read_text(encoding="utf-8"), most) is None


def test_decisions_are_dated_paragraphs_newest_first():
    for page in (ROOT / "docs" / "decisions").glob("*.md"):
        paragraphs = page.read_text(encoding="utf-8").split("\n\n")[1:]
        if page.name != "README.md":
            dates = [re.match(r"\*\*(\d{4}-\d{2}-\d{2})\. .+?\*\*", text, flags=re.DOTALL) for text in paragraphs]
            assert all(dates), f"{page.name}: a paragraph that does not begin with its date and its decision"
            days = [date[1] for date in dates]
            assert days == sorted(days, reverse=True), page.name


def test_the_readme_s_own_classes_train_without_an_option():
    tree = re.search(r"^parts/\n((?:  .*\n)+)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    classes = re.findall(r"^  (\w+)/", tree[1], flags=re.MULTILINE)
    task = tasks.fitting(sorted(classes), name=None, aims={})
    assert task.in_words(task.labels_for(sorted(classes), task.aims({}))) == "good: good; defects: dent, scratch"


def test_the_readme_s_pictures_are_small():
    pictures = re.findall(r"\]\((docs/pictures/[^)]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert len(pictures) == 2
    assert all((ROOT / picture).stat().st_size < 200_000 for picture in pictures)


def test_python_in_pages_calls_what_exists():
    found = {str(page.relative_to(ROOT)): list(false_calls(page.read_text(encoding="utf-8"))) for page in pages()}
    assert {page: calls for page, calls in found.items() if calls} == {}


def test_jobs_to_copy_call_what_exists():
    jobs = [path for path in tracked() if path.suffix == ".yml" and path.is_relative_to(ROOT / "examples")]
    lines = [words for job in jobs for words in job_lines(job.read_text(encoding="utf-8"))]
    assert [why for words in lines if (why := refused_command(words))] == []
    assert len(lines) >= 2


def test_links_lead_somewhere():
    assert list(broken_links(ROOT, pages())) == []


def test_command_lines_are_accepted_by_the_parsers():
    found = [(page.name, words) for page in pages() for words in command_lines(page.read_text(encoding="utf-8"))]
    refused = {f"{page}: {shlex.join(words)}": refused_command(words) for page, words in found}
    assert {line: why for line, why in refused.items() if why} == {}
    assert len(found) >= 3


def test_what_pages_say_of_commands_options_and_targets_exists():
    """Running text and code font too, not only the blocks of commands."""
    found = {
        str(page.relative_to(ROOT)): list(
            false_claims(page.read_text(encoding="utf-8"), benchmarks=page.parent.name == "benchmarks")
        )
        for page in pages()
    }
    assert {page: claims for page, claims in found.items() if claims} == {}
    assert len(found) >= 6


def test_every_tracked_file_is_free_of_machines():
    assert [words for path in tracked() if path.suffix in TEXT_SUFFIXES for words in machine_words(path)] == []


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_named_in_a_table_or_text_exist(page):
    """`edgetl/...` and the like in code font, unless a part of the name stands for any."""
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    named = re.findall(r"`((?:edgetl|runtimes|devices|tests|benchmarks)/[\w./-]*)`", text)
    assert len(named) >= 5
    assert [name for name in named if not (ROOT / name).exists()] == []
    below = re.findall(r"`(deploy/\w+\.py)`", text)  # of the host, where the text is about it
    assert [name for name in below if not (ROOT / "edgetl" / name).exists()] == []


def test_the_changelog_has_one_heading_for_what_is_unreleased_and_for_each_release():
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert headings.pop(0) == "Unreleased"
    assert len(headings) == len(set(headings))
    assert all(re.fullmatch(r"\d+\.\d+\.\d+ \(\d{4}-\d{2}-\d{2}\)", heading) for heading in headings)


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("edgetl_runtime.open('a.edgetl')", None),
        ("edgetl_runtime.opne('a.edgetl')", "there is no edgetl_runtime.opne"),
        ("edgetl_runtime.open('a.edgetl', varaint='x')", "edgetl_runtime.open: got an unexpected keyword"),
    ],
)
def test_the_check_of_python_sees_planted_violations(call, why):
    found = list(false_calls(f"```python\nwith {call} as x:\n    pass\n```\n"))
    assert found == [] if why is None else found[0].startswith(why)


def test_the_check_of_lengths_sees_planted_violations():
    assert too_long("one two\nthree", 3) is None
    assert too_long("one two\nthree four", 3) == "4 words, 1 too many: move what is detail to docs/"


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


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("`edgetl export\nRUN --out m.onnx --check nvidia` and `deploy --target jetson|ipc-rtx`", []),
        ("`edgetl export --check\nintel`", ["edgetl export --check has no choice intel"]),
        ("by edgetl export RUN --chek nvidia, in prose", ["edgetl export has no option --chek"]),
        ("`edgetl exprot --out x`", ["edgetl has no command exprot"]),
        ("`edgetl-runtime install|status|unstall`", ["edgetl-runtime has no command unstall"]),
        ("`edgetl keys sing`", ["edgetl keys has no action sing"]),
        ("`edgetl keys sign --kye a`", ["edgetl keys has no option --kye"]),
        ("`edgetl doctor [--host user@device] …`", []),
        ("`deploy --embed-engines`", ["edgetl deploy has no option --embed-engines"]),
        ("`verify --installed`, of one program of the two", []),
        ("with `--precision int8` or `--presicion int8`", ["nothing has an option --presicion"]),
        ("an option --nowhere in running text", ["nothing has an option --nowhere"]),
        ("`make test-fautls` or `make bench RUNS=x`", ["make has no target test-fautls", "make has no variable RUNS"]),
        ("```sh\nmake demmo   # nothing\nedgetl devices list --jsno\n```", ["make has no target demmo"]),
        ("`contracts.py RUN… --work DIR --works`", ["contracts.py has no option --works"]),
        ("`pytest -q --edgetl-baselines x`", ["pytest has no option --edgetl-baselines"]),
        ("`edgetl --versoin`", ["edgetl has no option --versoin"]),
    ],
)  # fmt: skip
def test_the_check_of_claims_sees_planted_violations(text, claims):
    assert set(claims) <= set(false_claims(text))
    assert bool(claims) == bool(list(false_claims(text)))


@pytest.mark.parametrize("words", ["/ro" + "ot/x", "see /wo" + "rk/main", "(/ho" + "me/ann/x)", "/Us" + "ers/ann"])
def test_the_machine_check_sees_planted_violations(words, tmp_path):
    (tmp_path / "x.md").write_text(f"one\n{words}/file\n")
    assert [found.split()[0] for found in machine_words(tmp_path / "x.md")] == ["x.md:2"]
    (tmp_path / "y.md").write_text("a network/root/x, benchmarks/work/x, https://x.org/home/work\n")
    assert list(machine_words(tmp_path / "y.md")) == []
