# SPDX-License-Identifier: Apache-2.0
"""The table of mutants: what each is called, what is wrong with it, who published that, which cases it fails.

A mutant's name is that of its class in small letters, and the first line of the class says what is wrong. Threads and
cases stand in `mutants.toml`, beside this file.
"""

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from raplica_mutants.right import Right

__all__ = ["Mutant", "mutants", "snake"]

FAMILIES = ("wraps", "counts", "sums", "names", "failures", "units", "doors", "windows", "macos")
TABLE = Path(__file__).with_name("mutants.toml")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A reader that is wrong in one way.

    Attributes:
        name: `raplica_mutants:NAME` plugs it in.
        wrong: what is wrong, in a sentence.
        threads: where people met that, "owner/repo#N".
        sources: what shows it where no thread does: "owner/repo path", or a program and its version.
        fails: the ids of the cases that it fails; it passes all others that the right reader passes.
        open: the reader; it is made of a machine and the machine's clock.
        interfaces: the doors that it reads through.
    """

    name: str
    wrong: str
    threads: tuple[str, ...]
    sources: tuple[str, ...]
    fails: tuple[str, ...]
    open: type[Right]
    interfaces: frozenset[str]


@cache
def mutants() -> dict[str, Mutant]:
    """Every mutant by its name, in the order of the families.

    Errors: ValueError in one line for a row without a reader and a reader without a row.
    """
    with TABLE.open("rb") as file:
        rows = tomllib.load(file)
    readers = {
        snake(name): getattr(module, name)
        for module in (import_module(f"raplica_mutants.{family}") for family in FAMILIES)
        for name in module.__all__
        if isinstance(getattr(module, name), type) and issubclass(getattr(module, name), Right)
    }
    if odd := sorted(rows.keys() ^ readers.keys()):
        raise ValueError(f"{TABLE}: {', '.join(odd)}: every mutant has a class and a row: add what is missing")
    return {name: _mutant(name, reader, rows[name]) for name, reader in readers.items()}


def _mutant(name: str, reader: type[Right], row: dict[str, list[str]]) -> Mutant:
    return Mutant(
        name=name,
        wrong=(reader.__doc__ or "").strip().partition("\n")[0],
        threads=tuple(row.get("threads", ())),
        sources=tuple(row.get("sources", ())),
        fails=tuple(row["fails"]),
        open=reader,
        interfaces=reader.interfaces,
    )


def snake(name: str) -> str:
    """The name of a class as that of a function.

    >>> snake("WrapBy64Bits")
    'wrap_by_64_bits'
    """
    return re.sub(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[0-9])(?=[A-Z])", "_", name).lower()
