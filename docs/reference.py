# SPDX-License-Identifier: Apache-2.0
"""Write docs/reference from the code: commands, Python names, machines, scenarios, cases; at each build of the manual.

The pages lie in docs/reference and are not kept in the repository: a command's help says the same wherever one is.
The page of the clauses is docs/clauses.py's.
"""

import argparse
import inspect
import os
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import click

OUT = Path(__file__).resolve().parent / "reference"
PACKAGES = ("raplica_simulator", "raplica_conformance", "raplica_reader", "raplica_fixtures")
_WIDTH = 88


def _fenced(text: str) -> str:
    return f"```text\n{text.rstrip()}\n```\n"


def _of_click(command: click.Command, name: str, above: click.Context | None = None) -> Iterator[tuple[str, str]]:
    """The name and the help of a command and of all below it."""
    # Not what is put through to another command, whose help stands elsewhere.
    if command.name == "conformance" and above is not None:
        return
    settings = {**command.context_settings, "terminal_width": _WIDTH, "max_content_width": _WIDTH}
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=above, **settings)
    yield name, command.get_help(context)
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            yield from _of_click(command.commands[below], f"{name} {below}", context)


def _of_argparse(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    """The same of a parser of the standard library."""
    yield parser.prog, parser.format_help()
    for action in parser._actions:  # noqa: SLF001 - there is no other way to the parsers below
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for below in action.choices.values():
                yield from _of_argparse(below)


def helps() -> dict[str, str]:
    """Every command with what its --help prints."""
    from raplica_conformance.cli import cli as conformance
    from raplica_reader.arguments import parser
    from raplica_simulator.cli import cli as raplica

    environment = {name: os.environ.get(name) for name in ("COLUMNS", "NO_COLOR")}
    os.environ.update(COLUMNS=str(_WIDTH), NO_COLOR="1")
    try:
        return dict(
            [*_of_click(raplica, "raplica"), *_of_click(conformance, "conformance"), *_of_argparse(parser("VERSION"))]
        )
    finally:
        for name, value in environment.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def commands() -> str:
    """Each command's own help."""
    parts = ["# Commands\n", "What `--help` of each command prints.\n"]
    for name, text in helps().items():
        parts += [f"## `{name}`\n", _fenced(text)]
    return "\n".join(parts)


def _plain(text: str) -> str:
    """A docstring as Markdown: one kind of backticks, and what it lists below `Attributes:` as a list."""
    text = re.sub(r":[a-z:]+:`[.~]*([^`]+)`", r"`\1`", inspect.cleandoc(text))
    text = text.replace("``", "`").replace("<", "&lt;")
    text = re.sub(r"^(\w+:)\n(?= )", r"\1\n\n", text, flags=re.MULTILINE)
    return re.sub(r"^( {4})(\w+): ", r"* `\2`: ", text, flags=re.MULTILINE)


def _signature(name: str, thing: Any) -> str:
    """How it is called, one argument a line where it is long; the name alone where nobody can say."""
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return name
    whole = _unquoted(f"{name}{signature}")
    if len(whole) <= _WIDTH:
        return whole
    arguments = "".join(f"    {_unquoted(argument)},\n" for argument in signature.parameters.values())
    return f"{name}(\n{arguments})"


def _unquoted(argument: object) -> str:
    """Types without the quotes in which some modules have them; defaults keep theirs."""
    return re.sub(r"(: |-> )'([^']*)'", r"\1\2", str(argument))


def _described(package: ModuleType, name: str) -> Iterator[str]:
    """One public name: its arguments, its docstring, and its own public methods."""
    thing = getattr(package, name)
    yield f"### `{package.__name__}.{name}`\n"
    if not callable(thing):
        yield f"`{thing!r}`\n"
        return
    yield _fenced(_signature(name, thing))
    yield _plain(thing.__doc__ or "") + "\n"
    if not inspect.isclass(thing):
        return
    for method, value in vars(thing).items():
        of_it = value.fget if isinstance(value, property) else getattr(value, "__func__", value)
        if method.startswith("_") or not inspect.isfunction(of_it) or not of_it.__doc__:
            continue
        shown = method if isinstance(value, property) else f"{method}()"
        yield f"* `{shown}`: {_plain(of_it.__doc__).partition(chr(10) + chr(10))[0].replace(chr(10), ' ')}"
    yield ""


def python() -> str:
    """The public names of each package."""
    parts = [
        "# Python\n",
        "The public names of each package, which are [stable](../stability.md), with their docstrings.\n",
    ]
    for package in map(import_module, PACKAGES):
        parts += [f"## {package.__name__}\n", f"{_plain((package.__doc__ or '').partition(chr(10))[0])}\n"]
        for name in package.__all__:
            parts += _described(package, name)
    return "\n".join(parts)


def _row(*cells: object) -> str:
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _table(*names: str) -> list[str]:
    return [_row(*names), "|---" * len(names) + "|"]


def machines() -> str:
    """The built-in machines and scenarios."""
    from raplica_fixtures import mac_ids, mac_path, profile_ids, scenario_ids, scenario_path
    from raplica_simulator import Machine
    from raplica_simulator.describe.document import summarize

    parts = ["# Machines and scenarios\n", "What MACHINE can be called, beside a file: `raplica machines`.\n"]
    parts += _table("machine", "what it is", "CPU", "CPUs", "zones", "recorded on")
    for machine in map(summarize, map(Machine.from_profile, profile_ids())):
        model = f"{machine['cpu']['family']}:{machine['cpu']['model']}"
        zones = " ".join(f"`{zone}`" for zone in machine["zones"])
        recorded = ", ".join(machine["witnessed"]) or "none"
        parts.append(_row(f"`{machine['id']}`", machine["title"], model, machine["topology"]["cpus"], zones, recorded))
    parts += ["", "## Macs\n", "For [`raplica exec --as macos`](../macos.md).\n", *_table("machine", "what it is")]
    parts += [_row(f"`{name}`", _toml(mac_path(name))["title"]) for name in mac_ids()]
    parts += ["", "## Scenarios\n", "For `--scenario`; [how one is written](../scenarios.md).\n"]
    parts += _table("scenario", "what happens", "why")
    for name in scenario_ids():
        scenario = _toml(scenario_path(name))
        parts.append(_row(f"`{name}`", scenario["title"], scenario["why"]))
    return "\n".join([*parts, ""])


def _toml(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def cases() -> str:
    """The cases on which readers are judged."""
    from raplica_fixtures.cases import GROUPS, case_ids, load_case

    parts = ["# List of cases\n", "Each by its id, for `conformance run ID --reader …` and `conformance explain ID`.\n"]
    for group in GROUPS:
        parts += [f"## {group}\n", *_table("case", "level", "what is right", "the mistake")]
        for name in case_ids():
            if name.startswith(f"{group}/"):
                case = load_case(name)
                parts.append(_row(f"`{name}`", case.level, case.title, case.effect))
        parts.append("")
    return "\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {"commands": commands, "python": python, "machines": machines, "cases": cases}


def write_all(out: Path = OUT) -> list[Path]:
    """Write every page to ``out``, those that changed only, and return their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, page in PAGES.items():
        path, text = out / f"{name}.md", page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")  # what is not touched Sphinx need not read again
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write_all():
        sys.stdout.write(f"{written}: written\n")
