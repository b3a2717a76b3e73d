# SPDX-License-Identifier: Apache-2.0
"""From a TOML table to a frozen value, refusing what does not fit in one line for a person.

tomllib gives plain dictionaries; this turns one into a dataclass by the dataclass's own annotations. Written out
instead of left to a library, because each refusal must name the file and the key as the person wrote it, and say what
would be right - the nearest known key included.
"""

from __future__ import annotations

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


class ProfileError(ValueError):
    """A profile that cannot be used: one line with the file, the key, what is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class Where:
    """A place in a profile: the file as the person named it, and the dotted key inside it."""

    file: str
    key: str = ""

    def at(self, key: object) -> Where:
        """The place one key below this one; a whole number is an index into an array of tables, counted from 0."""
        if isinstance(key, int):
            return Where(self.file, f"{self.key}[{key}]")
        word = printable(key)
        return Where(self.file, f"{self.key}.{word}" if self.key else word)

    def error(self, text: str) -> ProfileError:
        """A `ProfileError` that names this place."""
        return ProfileError(f"{self.file}: {self.key}: {text}" if self.key else f"{self.file}: {text}")


def printable(value: object) -> str:
    """The value on one line and not long, whatever a file holds."""
    try:
        text = value if isinstance(value, str) and value.isprintable() else repr(value)
    except ValueError:  # a whole number of more decimal digits than Python writes out
        return "a number of thousands of digits"
    return text if len(text) <= 60 else f"{text[:57]}..."


def file_name(path: str) -> str:
    """A file as the person named it, on one line."""
    return path if path.isprintable() else repr(path)


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing where no known word comes near."""
    close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def known_keys(table: Mapping[str, object], known: Iterable[str], where: Where) -> None:
    """Refuse a key that is not in `known`."""
    names = tuple(known)
    for key in table:
        if key not in names:
            known_here = f"known here: {', '.join(names)}" if names else "none is known here"
            raise where.at(key).error(f"unknown key{nearest(key, names)} ({known_here})")


def table_at(value: object, where: Where) -> dict[str, Any]:
    """The value if it is a TOML table; refused otherwise."""
    if not isinstance(value, dict):
        raise where.error(f"must be a table [{where.key}], not {describe(value)}")
    return value


def describe(value: object) -> str:
    """What kind of TOML value this is, for a person."""
    kinds = {bool: "true or false", int: "the whole number", str: "the text", list: "an array", dict: "a table"}
    kind = kinds.get(type(value), "the value")
    return kind if isinstance(value, list | dict) else f"{kind} {printable(value)}"


def whole(value: object, where: Where, low: int, high: int, unit: str = "") -> int:
    """A whole number from low to high; refused otherwise."""
    if type(value) is not int:
        raise where.error(f"must be a whole number from {low} to {high}{unit}, not {describe(value)}")
    if not low <= value <= high:
        raise where.error(f"{printable(value)} is out of range: {low} to {high}{unit}")
    return value


def text(value: object, where: Where) -> str:
    """Text on one line; refused otherwise."""
    if not isinstance(value, str) or not value.isprintable():
        raise where.error(f"must be text on one line, not {describe(value)}")
    return value


def one_of(value: object, where: Where, choices: Iterable[str]) -> str:
    """One of a few words; refused otherwise, with the nearest one."""
    words = tuple(choices)
    if not isinstance(value, str) or value not in words:
        near = difflib.get_close_matches(value, words, n=1, cutoff=0.5) if isinstance(value, str) else []
        hint = f"; did you mean {near[0]}?" if near else ""
        listed = ", ".join(words) if len(words) <= 12 else f"the {len(words)} known ones"
        raise where.error(f"{printable(value)} is not one of {listed}{hint}")
    return value


def build(kind: type[T], value: object, where: Where, beside: Iterable[str] = ()) -> T:
    """A frozen dataclass from a TOML table.

    A field's metadata may hold `key` (its name in the file, where that differs), `parse` (a function of value and
    place), `low` and `high` for a number, `choices` for text. A field with a default may be left out. `beside` are keys
    that may stand in the table besides, read by the caller. Raises `ProfileError`.
    """
    table = table_at(value, where)
    fields = {str(field.metadata.get("key", field.name)): field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    known_keys(table, (*fields, *beside), where)
    hints = typing.get_type_hints(kind)
    values: dict[str, object] = {}
    for key, field in fields.items():
        if key in table:
            values[field.name] = _convert(hints[field.name], table[key], where.at(key), field.metadata)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise where.error(f"{key} is missing: every [{where.key or key}] needs it")
    return kind(**values)


def _convert(hint: Any, value: object, where: Where, metadata: Mapping[str, Any]) -> object:
    if "parse" in metadata:
        return metadata["parse"](value, where)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    if typing.get_origin(hint) is tuple:
        element = typing.get_args(hint)[0]
        if not isinstance(value, list):
            raise where.error(f"must be an array, not {describe(value)}")
        return tuple(_convert(element, item, where.at(index), metadata) for index, item in enumerate(value))
    if dataclasses.is_dataclass(hint):
        return build(typing.cast("type[object]", hint), value, where)
    if hint is bool:
        if not isinstance(value, bool):
            raise where.error(f"must be true or false, not {describe(value)}")
        return value
    if hint is int:
        return whole(value, where, metadata["low"], metadata["high"])
    if "choices" in metadata:
        return one_of(value, where, metadata["choices"])
    return text(value, where)
