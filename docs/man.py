# SPDX-License-Identifier: Apache-2.0
"""Write the pages for man(1) from the commands themselves: `python docs/man.py`.

One page for each command, its subcommands in it: docs/man/raplica.1 and so on, which the wheel installs below
share/man/man1. They are kept in the repository so that a wheel is built without running the commands; a test compares
the two. The usual generator for click knows nothing of argparse, which raplica-reader uses, and leaves out the
examples that stand below the options.
"""

import argparse
import datetime as dt
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

import raplica_conformance.cli
import raplica_reader.arguments
import raplica_simulator.cli
from raplica_fixtures import profile_ids
from raplica_simulator.cli_parts import MachineCommand

PAGES = Path(__file__).resolve().parent / "man"
#: The page's date, which is that of its last change.
_DATED = re.compile(r'(?m)^(\.TH \S+ 1 )(\S+)( "raplica" "User Commands")$')
_LITERAL = "\b"
_MACHINES = f"MACHINE is a profile (.toml), a recording (.json, .json.xz) or a built-in id: {', '.join(profile_ids())}."


@dataclass(frozen=True, slots=True)
class Command:
    """One command as a page tells of it: paragraphs as people wrote them, a literal one begins with a backspace."""

    name: str
    usage: str
    about: tuple[str, ...]
    options: tuple[tuple[str, str], ...]
    after: tuple[str, ...]
    below: tuple["Command", ...] = ()


def commands() -> tuple[Command, ...]:
    """The commands of the distribution."""
    reader = raplica_reader.arguments.parser("")
    return (
        of_click(raplica_simulator.cli.cli, "raplica"),
        of_argparse(reader, "raplica-reader"),
        of_click(raplica_conformance.cli.cli, "conformance"),
    )


def of_click(command: click.Command, name: str, parent: click.Context | None = None) -> Command:
    """What a click command says of itself."""
    context = click.Context(command, info_name=name, parent=parent, **command.context_settings)
    records = (one.get_help_record(context) for one in command.get_params(context))
    below = command.commands if isinstance(command, click.Group) else {}
    return Command(
        name=context.command_path,
        usage=" ".join(command.collect_usage_pieces(context)),
        about=(*_paragraphs(command.help or ""), *((_MACHINES,) if isinstance(command, MachineCommand) else ())),
        # Arguments have no text of their own: the usage names them.
        options=tuple(record for record in records if record is not None and record[1]),
        after=_paragraphs(command.epilog or ""),
        below=tuple(of_click(one, word, context) for word, one in sorted(below.items()) if not one.hidden),
    )


def of_argparse(parser: argparse.ArgumentParser, name: str) -> Command:
    """What an argparse parser says of itself."""
    actions = parser._actions  # noqa: SLF001 - argparse shows them nowhere else
    below: dict[str, argparse.ArgumentParser] = {}
    options, pieces = [], ["[OPTIONS]"]
    for action in actions:
        value = f" {action.metavar or action.dest.upper()}" if action.nargs != 0 else ""
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            below = action.choices
            pieces.append("COMMAND [ARGS]...")
        elif not action.option_strings:
            pieces.append(value.strip())
        elif action.help != argparse.SUPPRESS:
            names = ", ".join(action.option_strings)
            text = (action.help or "") % {**vars(action), "prog": parser.prog}
            options.append((f"{names}{value}", f"{text[:1].upper()}{text[1:]}."))
    return Command(
        name=name,
        usage=" ".join(pieces),
        about=_paragraphs(parser.description or ""),
        options=tuple(options),
        # Examples of argparse stand as they were written.
        after=tuple(_LITERAL + "\n" + one if "  " in one else one for one in _paragraphs(parser.epilog or "")),
        below=tuple(of_argparse(one, f"{name} {word}") for word, one in below.items()),
    )


def _paragraphs(text: str) -> tuple[str, ...]:
    """The paragraphs of a help text, up to a form feed as click has it."""
    cleaned = "\n".join(line.rstrip() for line in text.partition("\f")[0].expandtabs().strip("\n").splitlines())
    return tuple(part.strip("\n") for part in re.split(r"\n{2,}", cleaned) if part.strip())


def page(command: Command, date: str) -> str:
    """The whole page, in the man(7) macros."""
    summary = " ".join(command.about[0].split()).partition(". ")[0].partition(": ")[0].rstrip(".")
    lines = [
        '.\\" SPDX-License-Identifier: Apache-2.0',
        '.\\" Written by docs/man.py from the command itself; change it there.',
        f'.TH {command.name.upper()} 1 {date} "raplica" "User Commands"',
        ".SH NAME",
        f"{_text(command.name)} \\- {_text(summary[:1].lower() + summary[1:])}",
        ".SH SYNOPSIS",
        f".B {_text(command.name)}",
        _text(command.usage),
        ".SH DESCRIPTION",
        *_told(command.about),
        *([".SH OPTIONS", *_options(command)] if command.options else []),
    ]
    if command.below:
        lines.append(".SH COMMANDS")
    for one in command.below:
        lines += [f".SS {_text(one.name)}", f".B {_text(one.name)}", _text(one.usage)]
        lines += [".PP", *_told(one.about), *_options(one)]
        lines += [".PP", *_told(one.after)] if one.after else []
    if command.after:
        lines += [".SH EXAMPLES", *_told(command.after)]
    others = sorted({"raplica", "raplica-reader", "conformance"} - {command.name})
    lines += [".SH SEE ALSO", *(f".BR {_text(name)} (1){',' * (name != others[-1])}" for name in others)]
    return "\n".join(lines) + "\n"


def _told(paragraphs: tuple[str, ...]) -> Iterator[str]:
    """Paragraphs, one after the other; literal ones as they stand."""
    for number, paragraph in enumerate(paragraphs):
        if number:
            yield ".PP"
        lines = paragraph.splitlines()
        if lines[0].strip() == _LITERAL:
            shift = min((len(line) - len(line.lstrip()) for line in lines[1:] if line.strip()), default=0)
            yield from (".nf", *(_text(line[shift:]) for line in lines[1:]), ".fi")
        else:
            yield from _wrapped(paragraph)


def _options(command: Command) -> Iterator[str]:
    """A tagged paragraph for each option."""
    for names, text in command.options:
        yield from (".TP", f".B {_text(names)}", *_wrapped(text))


def _wrapped(text: str) -> Iterator[str]:
    """Running text in lines of a length that differences can be read in."""
    yield from map(_text, textwrap.wrap(" ".join(text.split()), 76, break_long_words=False, break_on_hyphens=False))


def _text(text: str) -> str:
    """Text in which troff finds nothing to obey, in ASCII; no line of it begins with a control character."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    ascii_only = "".join(one if one.isascii() else f"\\[u{ord(one):04X}]" for one in escaped)
    return f"\\&{ascii_only}" if ascii_only.startswith((".", "'", " ")) else ascii_only


def current(command: Command, written: str | None, today: str) -> str:
    """The page as it should be: dated today where anything but its date has changed."""
    found = None if written is None else _DATED.search(written)
    if found is not None and written == (same := page(command, found[2])):
        return same
    return page(command, today)


def main() -> None:
    """Write every page that is not current."""
    PAGES.mkdir(exist_ok=True)
    today = dt.datetime.now(tz=dt.UTC).date().isoformat()
    for command in commands():
        path = PAGES / f"{command.name}.1"
        path.write_text(
            current(command, path.read_text(encoding="ascii") if path.exists() else None, today), encoding="ascii"
        )
        sys.stdout.write(f"{path}: written\n")


if __name__ == "__main__":
    main()
