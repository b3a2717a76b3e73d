# SPDX-License-Identifier: Apache-2.0
"""What `raplica` is to a person: examples that are right, a table on a terminal, plain lines in a pipe, and quiet."""

import io
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from raplica_fixtures import profile_ids, profile_path
from raplica_simulator import Machine
from raplica_simulator.cli import cli, main
from raplica_simulator.describe.document import summarize
from raplica_simulator.describe.table import show_machines
from raplica_simulator.describe.text import render_machines

Result = tuple[int, str, str]


class Terminal(io.StringIO):
    """A stream that somebody looks at."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run the command in this process: status, stdout, stderr."""

    def call(*arguments: str | Path) -> Result:
        with pytest.raises(SystemExit) as ended:
            main([*map(str, arguments)])
        told = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err

    return call


@pytest.fixture(scope="module")
def summaries() -> list[dict[str, object]]:
    """What `raplica machines` is about."""
    return [summarize(Machine.from_profile(name)) for name in profile_ids()]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, summaries: list[dict[str, object]]) -> Callable[..., str]:
    """Draw the table on a terminal of some width."""

    def draw(width: int, **environment: str) -> str:
        for name in ("NO_COLOR", "FORCE_COLOR"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"TERM": "xterm-256color", "COLUMNS": str(width), **environment}.items():
            monkeypatch.setenv(name, value)
        screen = Terminal()
        show_machines(summaries, screen)
        return screen.getvalue()

    return draw


def examples(text: str) -> list[str]:
    """The command lines that a help text shows."""
    below = text.partition("Example")[2].partition("\n\n")[0].removeprefix("s").removeprefix(": ")
    return [line.strip() for line in below.splitlines()]


@pytest.mark.parametrize("name", sorted(set(cli.commands) - {"conformance"}))
def test_the_examples_of_a_command_are_understood_by_it(run: Callable[..., Result], name: str) -> None:
    shown = examples(run(name, "--help")[1])
    assert shown
    for line in shown:
        words = shlex.split(line.partition(" | ")[0].partition(" >")[0])
        assert words[:2] == ["raplica", name], line
        command = cli.commands[name]
        with command.make_context(name, words[2:], parent=click.Context(cli)) as context:
            assert context.params, line


def test_a_terminal_gets_a_line_for_each_machine_that_fits(drawn: Callable[..., str]) -> None:
    for width in (80, 100, 129, 130, 200):
        lines = [re.sub(r"\x1b\[[0-9;]*m", "", line).rstrip() for line in drawn(width).splitlines()]
        assert [line for line in lines if len(line) > width] == []
        assert [line.split()[0] for line in lines[2 : 2 + len(profile_ids())]] == list(profile_ids())
    # The kernels, and which of them were recorded, only where there is room.
    assert "kernels" not in drawn(129)
    assert "raplica show MACHINE" in drawn(129)
    assert "3.13*" in drawn(130)
    assert "* from source, not witnessed" in drawn(130)


def test_where_it_is_very_narrow_the_ids_stay_whole(drawn: Callable[..., str]) -> None:
    shown = drawn(60)
    assert [name for name in profile_ids() if name not in shown] == []


def test_no_color_takes_the_colours_away(drawn: Callable[..., str]) -> None:
    colours = re.compile(r"\x1b\[(?:[0-9]+;)*3[0-9]")
    assert colours.search(drawn(140))
    assert not colours.search(drawn(140, NO_COLOR="1"))
    assert "\x1b" not in drawn(140, TERM="dumb")


def test_a_title_with_brackets_is_shown_as_it_is(
    drawn: Callable[..., str], summaries: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(summaries[0], "title", "[red]not[/red] markup")
    assert "[red]not[/red] markup" in drawn(140)


@pytest.mark.parametrize(("term", "is_table"), [("xterm", True), ("dumb", False), ("", False)])
def test_the_command_draws_only_on_a_terminal_that_can(
    monkeypatch: pytest.MonkeyPatch, summaries: list[dict[str, object]], term: str, *, is_table: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("COLUMNS", "140")
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    with pytest.raises(SystemExit):
        main(["machines"])
    assert ("─" in screen.getvalue()) is is_table
    assert (screen.getvalue() == render_machines(summaries) + "\n") is not is_table


def test_a_pipe_gets_plain_lines(run: Callable[..., Result], summaries: list[dict[str, object]]) -> None:
    assert run("machines") == (0, render_machines(summaries) + "\n", "")


@pytest.mark.parametrize(("command", "module"), [("mount", "mount"), ("serve-windows", "serve.windows")])
def test_quiet_leaves_out_what_is_no_warning(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, command: str, module: str
) -> None:
    def ready_at_once(*_: object, ready: Callable[[], None], tell: Callable[[str], None], **__: object) -> None:
        ready()
        tell("warning: something is amiss")

    name = {"mount": "show", "serve-windows": "serve_windows"}[command]
    monkeypatch.setattr(f"raplica_simulator.{module}.{name}", ready_at_once)
    status, out, talkative = run(command, "kabylake", "place")
    assert (status, out) == (0, "ready\n")
    assert "until Ctrl-C or SIGTERM" in talkative
    for option in ("--quiet", "-q"):
        assert run(command, "kabylake", "place", option) == (0, "ready\n", "raplica: warning: something is amiss\n")


def test_quiet_generate_tells_warnings_only(run: Callable[..., Result], tmp_path: Path) -> None:
    assert "is a snapshot of kabylake" in run("generate", "kabylake", tmp_path / "one")[2]
    assert run("generate", "kabylake", tmp_path / "two", "--quiet") == (0, "", "")
    profile = tmp_path / "odd.toml"
    text = profile_path("kabylake").read_text(encoding="utf-8")
    profile.write_text(f'{text}\n[[faults.sysfs]]\npath = "class/powercap/none"\non = "read"\nerrno = "EIO"\n')
    status, out, err = run("generate", profile, tmp_path / "three", "-q")
    assert (status, out) == (0, "")
    assert err.startswith("raplica: warning: faults.sysfs: class/powercap/none")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["show"], 2, "`raplica machines`"),
        (["exec"], 125, "`raplica machines`"),
        (["exec", "kabylake"], 125, "-- ./the-tool"),
        (["mount", "kabylake"], 2, "'DIR'"),
    ],
)
def test_where_an_argument_is_missing_the_line_says_what_to_give(
    run: Callable[..., Result], arguments: list[str], status: int, words: str
) -> None:
    ended, out, err = run(*arguments)
    assert (ended, out, err.count("\n")) == (status, "", 1)
    assert words in err
    assert f"(see raplica {arguments[0]} --help)" in err


def test_an_option_of_the_command_that_exec_takes_for_its_own_is_told_where_to_go(run: Callable[..., Result]) -> None:
    status, out, err = run("exec", "kabylake", "ls", "-l")
    assert (status, out, err.count("\n")) == (125, "", 1)
    assert "No such option '-l'. If it is one of CMD, put -- before CMD (see raplica exec --help)" in err
    assert "before CMD" not in run("show", "kabylake", "-l")[2]


def test_the_help_of_what_takes_a_scenario_says_that_its_machine_can_be_meant(run: Callable[..., Result]) -> None:
    said = "it may be -, the machine that the scenario names"
    assert said in run("exec", "--help")[1]
    assert said in run("mount", "--help")[1]
    assert said not in run("show", "--help")[1]
