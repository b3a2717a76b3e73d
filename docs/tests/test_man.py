# SPDX-License-Identifier: Apache-2.0
"""Manual pages and shell completion: as the commands are today, and as man(1) and the shells want them."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import click
import pytest

DOCS = Path(__file__).resolve().parents[1]
COMMANDS = ("raplica", "raplica-reader", "conformance")
SHELLS = ("bash", "fish", "zsh")


def script(name: str) -> ModuleType:
    """A script of docs, which lies in no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


MAN = script("man")
COMPLETION = script("completion")


def program(name: str) -> str:
    """The path of a program that checks; without it the test is skipped and says so."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def checked(*command: str, **environment: str) -> str:
    """What a program says, both streams, which has to end with status 0."""
    ran = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        check=False,
        env={**os.environ, **environment},
        cwd=DOCS,
    )
    assert ran.returncode == 0, ran.stdout
    return ran.stdout


def test_every_page_is_what_the_command_says_of_itself() -> None:
    pages = {command.name: command for command in MAN.commands()}
    assert tuple(pages) == COMMANDS
    for name, command in pages.items():
        written = (DOCS / "man" / f"{name}.1").read_text(encoding="ascii")
        assert written == MAN.current(command, written, "0000-00-00"), "run `python docs/man.py`"
    assert {path.stem for path in (DOCS / "man").iterdir()} == set(COMMANDS)


def test_a_page_keeps_its_date_until_something_else_changes() -> None:
    command = MAN.commands()[0]
    written = MAN.page(command, "2020-02-02")
    assert MAN.current(command, written, "2021-01-01") == written
    assert MAN.current(command, written + "more\n", "2021-01-01") == MAN.page(command, "2021-01-01")
    assert MAN.current(command, None, "2021-01-01") == MAN.page(command, "2021-01-01")


def test_nothing_in_a_help_text_is_obeyed_by_troff() -> None:
    odd = click.Command(
        "odd",
        help=".TH is not the title. -x is no dash.\n\nSecond paragraph.\f never shown",
        epilog="\b\n.so /etc/passwd\n'quoted\n  back\\slash",
        params=[click.Option(["--odd"], help=".de is no macro here, and é is no ASCII.")],
    )

    text = MAN.page(MAN.of_click(odd, "odd"), "2020-02-02")
    lines = text.splitlines()
    assert "\\&.TH is not the title. \\-x is no dash." in lines
    assert lines[lines.index(".nf") + 1 :][:3] == ["\\&.so /etc/passwd", "\\&'quoted", "\\&  back\\eslash"]
    assert "\\&.de is no macro here, and \\[u00E9] is no ASCII." in lines
    assert "never shown" not in text
    assert text.isascii()


@pytest.mark.parametrize("name", COMMANDS)
def test_mandoc_and_man_find_nothing_to_warn_of(name: str) -> None:
    page = f"man/{name}.1"
    lint = program("mandoc")
    assert checked(lint, "-T", "lint", "-W", "warning", page) == ""
    groff = program("groff")
    assert checked(groff, "-ww", "-man", "-T", "ascii", "-z", page) == ""


def test_every_subcommand_and_option_stands_in_its_page() -> None:
    def stands(command: object, text: str) -> None:
        name, options, below = (getattr(command, what) for what in ("name", "options", "below"))
        assert name.replace("-", "\\-") in text
        for names, told in options:
            assert f".B {names.split(',')[0]}".replace("-", "\\-") in text
            assert told
        for one in below:
            stands(one, text)

    for command in MAN.commands():
        assert command.below
        stands(command, (DOCS / "man" / f"{command.name}.1").read_text(encoding="ascii"))


def test_every_completion_file_is_what_the_script_writes() -> None:
    files = COMPLETION.files()
    assert len(files) == len(COMMANDS) * len(SHELLS)
    for name, text in files.items():
        assert (DOCS / "completion" / name).read_text(encoding="ascii") == text, "run `python docs/completion.py`"
    assert {
        path.relative_to(DOCS / "completion").as_posix() for path in (DOCS / "completion").rglob("*") if path.is_file()
    } == set(files)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        (["raplica", "ex"], {"exec"}),
        (["raplica", "show", "kaby"], {"kabylake"}),
        (["conformance", "run", "--al"], {"--allow-writes"}),
        (["raplica-reader", "li"], {"list"}),
        (["raplica-reader", "read", "--so"], {"--source"}),
    ],
    ids=" ".join,
)
def test_bash_completes_the_commands(typed: list[str], wanted: set[str]) -> None:
    function = f"_{typed[0].replace('-', '_')}" + ("" if typed[0] == "raplica-reader" else "_completion")
    words = " ".join(f"'{word}'" for word in typed)
    said = checked(
        program("bash"),
        "--norc",
        "-c",
        f"source completion/bash/{typed[0]}; COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1};"
        f" {function} {typed[0]}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    )
    assert wanted <= set(said.split())


def test_a_machine_is_completed_by_its_id_and_else_as_a_file() -> None:
    from raplica_simulator.cli_parts import complete_machine

    parameter = click.Argument(["machine"])
    context = click.Context(click.Command("show"))
    assert [item.value for item in complete_machine(context, parameter, "zen")] == ["zen2-epyc-2s", "zen4"]
    (item,) = complete_machine(context, parameter, "./my")
    assert (item.value, item.type) == ("./my", "file")


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_can_read_their_files(shell: str, name: str) -> None:
    file = f"completion/{shell}/{'_' + name if shell == 'zsh' else name + '.fish'}"
    assert checked(program(shell), "-n", file) == ""


def test_the_wheel_installs_pages_and_completion_where_they_are_looked_for() -> None:
    build = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["hatch"]["build"]
    assert build["targets"]["wheel"]["shared-data"] == {
        "docs/man": "share/man/man1",
        "docs/completion/bash": "share/bash-completion/completions",
        "docs/completion/fish": "share/fish/vendor_completions.d",
        "docs/completion/zsh": "share/zsh/site-functions",
    }
