# SPDX-License-Identifier: Apache-2.0
"""For every test: how Hypothesis searches. For the manual: its code blocks run as tests, `pytest README.md docs`.

A `python` block is executed, blocks of one page sharing their names. A `console` block is a session: each line after
`$ ` is run by sh in a folder that belongs to the page, must end with status 0, and must print what stands below it,
where `...` stands for anything. `toml`, `json` and `yaml` blocks are parsed, `sh`, `c` and `go` blocks are checked by
sh, cc and gofmt. A block below `<!--- file: NAME -->` is written to the page's folder besides, where the sessions below
it find it. `text` blocks are only shown: docs/tests/test_manual.py lists them with the reasons.
"""

import doctest
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest import SkipTest

import pytest
from hypothesis import settings
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.skip import Skipper
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

ROOT = Path(__file__).resolve().parent

# nohup, and a shell that starts a job with `&`, leave these ignored, and every program that a test starts would inherit
# that: one that is to end at Ctrl-C would then rightly go on.
for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)

# No deadline: a busy machine is no failure. The same examples at each run where nobody looks on; `quick` is what tox
# takes for the Pythons besides the main one (--hypothesis-profile).
settings.register_profile("raplica", deadline=None, max_examples=50, derandomize="CI" in os.environ)
settings.register_profile("thorough", settings.get_profile("raplica"), max_examples=1000, derandomize=False)
settings.register_profile("quick", settings.get_profile("raplica"), max_examples=5)
settings.load_profile("raplica")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Let a test that is marked `untraced` run without coverage's tracer.

    What pytest-cov has for this, `no_cover`, does nothing in the workers of xdist, where two collectors are nested.
    """
    if item.get_closest_marker("untraced") is None:
        return (yield)
    tracer = sys.gettrace()
    sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


def sessions(block: str) -> list[tuple[str, str]]:
    r"""Split a console block into commands and the output that stands below each; `\` continues a command."""
    found: list[tuple[str, str]] = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((line[2:], ""))
        elif found and not found[-1][1] and found[-1][0].endswith("\\\n"):
            found[-1] = (found[-1][0] + line.removeprefix("> "), "")
        elif found:
            found[-1] = (found[-1][0], found[-1][1] + line)
        else:
            raise ValueError(f"a console block starts with '$ COMMAND', not with {line!r}; use text for anything else")
    return found


def stripped(text: str) -> str:
    """Return the lines without what an editor would strip."""
    return "".join(line.rstrip() + "\n" for line in text.strip("\n").splitlines())


def run_console(example: Example) -> str | None:
    """Run the commands of one block; say what differs, or return None."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', '')}"
    environment.update(RAPLICA_CHECKOUT=str(ROOT), COLUMNS="100", NO_COLOR="1")
    checker = doctest.OutputChecker()
    once = "raplica: setting up .venv"  # what a make target says the first time only
    for command, wanted in sessions(str(example.parsed)):
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=ROOT if command.startswith("make ") else example.namespace["console_folder"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            return f"$ {command}ended with {done.returncode}:\n{done.stdout}"
        printed = stripped("".join(line for line in done.stdout.splitlines(keepends=True) if not line.startswith(once)))
        if wanted.strip() and not checker.check_output(stripped(wanted), printed, doctest.ELLIPSIS):
            return f"$ {command}printed\n{printed}and the page says\n{stripped(wanted)}"
    return None


def parse_toml(example: Example) -> None:
    """A block that is no TOML fails with tomllib's message."""
    tomllib.loads(str(example.parsed))


def parse_json(example: Example) -> None:
    """A block that is no JSON fails with json's message."""
    json.loads(str(example.parsed))


def parse_yaml(example: Example) -> None:
    """A block that is no YAML fails with PyYAML's message; several documents are fine."""
    yaml = importlib.import_module("yaml")  # comes with myst-parser, and only the manual needs it
    list(yaml.safe_load_all(str(example.parsed)))


#: What reads a program from stdin and says whether it is one, by the language of a block.
CHECKERS = {
    "sh": ("sh", "-n"),
    "c": ("cc", "-fsyntax-only", "-Wall", "-Werror", "-x", "c", "-"),
    "go": ("gofmt", "-e", "-l"),
}


def check_program(command: Sequence[str], example: Example) -> str | None:
    """Let the language's own tool say what is wrong with a block."""
    if shutil.which(command[0]) is None:
        raise SkipTest(f"{command[0]} is not here")
    done = subprocess.run(command, input=str(example.parsed), capture_output=True, text=True, check=False)
    told = done.stderr or (done.stdout and "its format is not gofmt's")
    return told if done.returncode != 0 or told else None


_FILE = re.compile(r"^<!--- file: (?P<name>[\w.-]+) -->$\n+^```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def find_files(document: Document) -> Iterable[Region]:
    """The blocks that are files, each as the line above it: the block itself is for another parser."""
    for found in _FILE.finditer(document.text):
        end = found.start() + found[0].index("\n")
        yield Region(found.start(), end, parsed=(found["name"], found["text"]), evaluator=write_file)


def write_file(example: Example) -> None:
    """Write a block to the page's folder."""
    name, text = example.parsed
    Path(example.namespace["console_folder"], name).write_text(text, encoding="utf-8")


_SKIP = re.compile(r"^<!--- skip: next (?P<reason>[^\n]+) -->$\n+^```\w+\n.*?^```$", re.MULTILINE | re.DOTALL)
_skipper = Skipper("skip")


def find_skips(document: Document) -> Iterable[Region]:
    """A block below `skip: next` is skipped to its end; to Sybil itself each `>>>` in it is the next example."""
    for mark in re.finditer(r"^<!--- skip", document.text, re.MULTILINE):
        found = _SKIP.match(document.text, mark.start())
        if found is None:
            raise ValueError(f"{document.path}: {document.text[mark.start() :].splitlines()[0]} stands above no block")
        yield Region(mark.start(), mark.end(), parsed=("start", found["reason"]), evaluator=_skipper)
        yield Region(found.end(), found.end(), parsed=("end", None), evaluator=_skipper)


def make_folder(namespace: dict[str, Any]) -> None:
    """Give a page's console blocks one folder, so that a later block finds what an earlier one wrote."""
    namespace["console_keeper"] = tempfile.TemporaryDirectory(prefix="raplica-docs-")
    namespace["console_folder"] = namespace["console_keeper"].name


def remove_folder(namespace: dict[str, Any]) -> None:
    """Remove the page's folder."""
    namespace["console_keeper"].cleanup()


pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        CodeBlockParser("console", run_console),
        CodeBlockParser("toml", parse_toml),
        CodeBlockParser("json", parse_json),
        CodeBlockParser("yaml", parse_yaml),
        *(CodeBlockParser(language, partial(check_program, command)) for language, command in CHECKERS.items()),
        find_files,
        find_skips,
    ],
    patterns=["README.md", "CONTRIBUTING.md", "docs/*.md", "docs/decisions/*.md", "docs/tutorials/*.md"],
    document_types={".md": Document},
    setup=make_folder,
    teardown=remove_folder,
).pytest()
