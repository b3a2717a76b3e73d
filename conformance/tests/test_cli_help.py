# SPDX-License-Identifier: Apache-2.0
"""What the help of `conformance` shows can be typed, and `--quiet` prints what is wrong and nothing else."""

import io
import re
import shlex
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from raplica_conformance.clause import Clause
from raplica_conformance.cli import cli
from raplica_conformance.judge import judge
from raplica_conformance.readers.case_clauses import all_clauses
from raplica_conformance.terminal import show_failures, show_totals
from raplica_simulator import Machine
from raplica_simulator.surfaces.directory import write_tree


def examples(name: str) -> list[str]:
    """The command lines that the help of a command shows."""
    text = CliRunner().invoke(cli, [name, "--help"], terminal_width=100).output
    below = text.partition("Example")[2].partition("\n\n")[0].removeprefix("s").removeprefix(": ")
    return [line.strip() for line in below.splitlines()]


@pytest.mark.parametrize("name", sorted(cli.commands))
def test_the_examples_of_a_command_are_understood_by_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = examples(name)
    assert shown
    for line in shown:
        words = shlex.split(line.removeprefix("sudo "))
        assert words[:2] == ["conformance", name], line
        cli.commands[name].make_context(name, words[2:], parent=click.Context(cli)).close()


def test_the_clause_that_is_explained_in_the_help_exists() -> None:
    (line,) = examples("explain")
    assert line.rpartition(" ")[2] in all_clauses()


@pytest.mark.parametrize("option", ["--quiet", "-q"])
def test_quiet_prints_what_is_wrong_and_nothing_else(tmp_path: Path, option: str) -> None:
    write_tree(Machine.from_profile("kabylake"), tmp_path / "tree")
    asked = ["run", "powercap.zone.*", "--tree", str(tmp_path / "tree")]
    right = CliRunner().invoke(cli, [*asked, option])
    assert (right.exit_code, right.output) == (0, "")
    name = tmp_path / "tree/devices/virtual/powercap/intel-rapl/intel-rapl:0/name"
    name.chmod(0o644)
    name.write_text("package-0")
    whole = CliRunner().invoke(cli, asked)
    wrong = CliRunner().invoke(cli, [*asked, option])
    assert (whole.exit_code, wrong.exit_code) == (1, 1)
    assert wrong.output.startswith("\nFAIL  powercap.zone.name-newline  (must)  on tree:")
    # A subject's line before it and the totals after it are left out.
    assert whole.output.index("1 fail") < whole.output.index(wrong.output)
    assert whole.output.partition(wrong.output)[2].startswith("\n")
    assert " clauses on 1 subject" not in wrong.output


def test_words_have_colours_on_a_terminal_that_has_and_wants_them(
    harness: dict[str, Clause], bare: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = [judge(harness[f"selftest.{name}"], bare()) for name in ("pass", "fail", "crash", "skip")]

    def shown(*, is_terminal: bool, **environment: str) -> str:
        screen = io.StringIO()
        monkeypatch.setattr(screen, "isatty", lambda: is_terminal)
        monkeypatch.setattr(sys, "stdout", screen)
        for name in ("NO_COLOR", "TERM"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        show_failures(verdicts)
        show_totals(verdicts)
        monkeypatch.undo()
        return screen.getvalue()

    plain = shown(is_terminal=False, TERM="xterm")
    assert "\x1b" not in plain
    colored = shown(is_terminal=True, TERM="xterm", NO_COLOR="")
    assert click.unstyle(colored) == plain
    for word in ("\nFAIL", "\nBROKEN", "1 pass", "1 fail", "1 broken"):
        assert re.search(rf"\x1b\[3\dm\x1b\[1m{word}\x1b\[0m", colored), word
    assert "\x1b[0m  selftest.fail" in colored
    assert re.search(r"(?<!m)1 skip", colored)
    for environment in ({"TERM": "xterm", "NO_COLOR": "1"}, {"TERM": "dumb"}, {}):
        assert shown(is_terminal=True, **environment) == plain
