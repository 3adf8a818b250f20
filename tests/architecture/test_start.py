"""What a start loads: nothing third-party where only words are printed, and never the training stack for options."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgetl.cli import COMMANDS

# runs the statement in a fresh interpreter and prints, last, which modules neither Python's nor ours it has loaded
PROGRAM = """
import sys
before = set(sys.modules)
{statement}
top = {{name.partition(".")[0] for name in set(sys.modules) - before}}
print(" ".join(sorted(top - set(sys.stdlib_module_names) - {{"edgetl", "edgetl_runtime", "__mp_main__"}})))
"""
RUN = "import sys; sys.argv = ['edgetl', {words}]; from edgetl.__main__ import main; main()"
HEAVY = {"torch", "timm", "onnx", "onnxruntime", "openvino", "nncf", "sklearn", "matplotlib"}


def loaded_by(statement: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(statement=statement)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statement",
    [
        "import edgetl; edgetl.__version__",
        "import edgetl_runtime; dir(edgetl_runtime)",
        RUN.format(words="'--help'"),
        RUN.format(words="'--version'"),
        RUN.format(words="'devices', 'list'"),
        RUN.format(words="'devices', 'show', 'jetson'"),
        RUN.format(words="'finetuen'"),
        "from edgetl_runtime.__main__ import main; main(['--help'])",
    ],
)
def test_words_load_no_third_party_module(statement):
    assert loaded_by(statement) == set()


def test_the_check_sees_a_planted_import():
    assert loaded_by("import edgetl, numpy") == {"numpy"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_loads_nothing_heavy(command):
    statement = f"from edgetl.cli import COMMANDS; import argparse, importlib; module = COMMANDS['{command}'][0]; "
    statement += "importlib.import_module(module).add_arguments(argparse.ArgumentParser())"
    assert not loaded_by(statement) & HEAVY


@pytest.mark.parametrize("program", ["edgetl", "edgetl_runtime"])
def test_the_installed_programs_print_their_commands(program):
    done = subprocess.run(
        [sys.executable, "-m", program, "--help"], capture_output=True, text=True, timeout=60, check=False
    )
    name = program.replace("_", "-")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {name} COMMAND")
