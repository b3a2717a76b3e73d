# SPDX-License-Identifier: Apache-2.0
"""The forms in which readers print, each taken apart into names and numbers, which are still texts.

A form is recognised or it is not. JSON without zones, metrics among which the wanted one is not, a table that ends
after its head: who prints that has said that there is nothing, which is an answer. A pattern that matches nowhere says
nothing of what the text was.
"""

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from fnmatch import translate
from fractions import Fraction
from typing import Any

from raplica_conformance.readers.plug import TOTAL, ReaderFault
from raplica_conformance.readers.reading import clipped

__all__ = ["Pairs", "form", "number_of"]

#: Names and what was said of each, in the order of the output; None for an output that has not this form.
Pairs = Sequence[tuple[str, Any]] | None

_LONGEST_NUMBER = 100
_UNKNOWN = ("", "nan", "none", "null")
_STEP = re.compile(r"([^.\[\]]+)(?:\[([^.\[\]]+)\])?\Z")
_SAMPLE = re.compile(r"([a-zA-Z_:][^\s{]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*\Z")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_KEYED = re.compile(r"(.+?)\{([^{}]+)\}\Z", re.DOTALL)


def form(text: str) -> Callable[[str], Pairs]:
    """What takes outputs apart as a text like `regex:PATTERN` asks for; it raises ReaderFault for what it cannot read.

    ValueError in one line where the text is no form.
    """
    kind, _, rest = text.partition(":")
    makers = {"json": _json, "regex": _regex, "prometheus": _prometheus, "csv": _csv}
    if kind not in makers or (kind != "json" and not rest):
        raise ValueError(
            f"{clipped(text)!r} is no extractor: json, json:PATH, regex:PATTERN, prometheus:METRIC or csv:COLUMN"
        )
    return makers[kind](rest)


def number_of(said: Any) -> Fraction | None:
    """The number that a reader says, exactly; None for what says that it is unknown.

    ValueError for what is no number, and for one so large that nobody could calculate with it. What is as much too
    small is 0.
    """
    if said is None or (isinstance(said, str) and said.strip().lower() in _UNKNOWN):
        return None
    if isinstance(said, Fraction):
        return said
    if not isinstance(said, str) or len(said.strip()) > _LONGEST_NUMBER:
        raise ValueError("is no number")
    try:
        number = Decimal(said.strip())
    except InvalidOperation as error:
        raise ValueError("is no number") from error
    if not number.is_finite() or (number and number.adjusted() > _LONGEST_NUMBER):
        raise ValueError("is no number")
    return Fraction(0) if number.adjusted() < -_LONGEST_NUMBER else Fraction(number)


def _json(path: str) -> Callable[[str], Pairs]:
    steps: list[tuple[str, str | None]] = []
    for part in path.split(".") if path else ():
        found = _STEP.match(part)
        if found is None:
            raise ValueError(
                f"json:{clipped(path)}: {clipped(part)!r} is no step of a path like result.zones[id].energy_uj"
            )
        steps.append((found[1], found[2]))

    def pairs(output: str) -> Pairs:
        try:
            # Numbers stay texts: what is too large for a Decimal, or for Python to read at all, is told by its zone.
            document = json.loads(output, parse_float=str, parse_int=str, parse_constant=str)
        except (ValueError, RecursionError):
            raise ReaderFault(f"it printed {clipped(output)!r}, which is no JSON") from None
        return _walk(document, steps, path)

    return pairs


def _walk(value: Any, steps: Sequence[tuple[str, str | None]], path: str) -> Pairs:
    for number, (name, key) in enumerate(steps):
        if value == {}:
            return []
        if not isinstance(value, Mapping) or name not in value:
            raise ReaderFault(f"what it printed has no {name!r} where json:{path} looks for it")
        value = value[name]
        if key is not None:
            return _entries(value, name, key, steps[number + 1 :], path)
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, list):
        raise ReaderFault(f"json:{path} leads to a list: say by which field its zones are called, as in zones[id]")
    return [(TOTAL, value)]


def _entries(
    value: Any, name: str, key: str, steps: Sequence[tuple[str, str | None]], path: str
) -> Sequence[tuple[str, Any]]:
    """The objects of a list, called by their field `key`; null is a list without any, as Go writes it."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise ReaderFault(f"{name!r} in what it printed is no list, as json:{path} has it")
    for one in value:
        if not isinstance(one, Mapping) or key not in one:
            raise ReaderFault(f"an entry of {name!r} in what it printed has no {key!r}")
        if not isinstance(one[key], str):
            raise ReaderFault(f"the {key!r} of an entry of {name!r} in what it printed is no name")
    return [(one[key], _below(one, steps)) for one in value]


def _below(value: Mapping[str, Any], steps: Sequence[tuple[str, str | None]]) -> Any:
    """A field of one entry of a list, which also says its status and error; what is missing is unknown."""
    found: Any = value
    for name, _ in steps:
        found = found.get(name) if isinstance(found, Mapping) else None
    if steps and ("error" in value or "status" in value):
        return {"energy": found, "status": value.get("status"), "error": value.get("error")}
    return found


def _regex(pattern: str) -> Callable[[str], Pairs]:
    try:
        compiled = re.compile(pattern, re.MULTILINE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"regex:{clipped(pattern)}: is no regular expression: {error}") from error
    if "energy" not in compiled.groupindex:
        raise ValueError(f"regex:{clipped(pattern)}: has no group (?P<energy>...) for the number")

    def pairs(output: str) -> Pairs:
        groups = [found.groupdict() for found in compiled.finditer(output)]
        return [(one.get("zone") or TOTAL, one["energy"]) for one in groups] or None

    return pairs


def _prometheus(metric: str) -> Callable[[str], Pairs]:
    keyed = _KEYED.match(metric)
    glob, label = (keyed[1], keyed[2]) if keyed else (metric, None)
    wanted = re.compile(translate(glob))

    def pairs(output: str) -> Pairs:
        samples: list[tuple[str, Mapping[str, str], str]] = []
        is_form = True
        for line in filter(str.strip, output.splitlines()):
            if line.startswith("#"):
                continue
            found = _SAMPLE.match(line)
            if found is None:
                is_form = False
            elif wanted.match(found[1]):
                samples.append((found[1], dict(_LABEL.findall(found[2] or "")), found[3]))
        if not samples:
            return [] if is_form else None
        if label is not None:
            return [(labels[label], value) for _, labels, value in samples if label in labels] or None
        return [(TOTAL, _sum(samples))]

    return pairs


def _sum(samples: Sequence[tuple[str, Mapping[str, str], str]]) -> Fraction | None:
    """What samples add up to; None where one of them is unknown."""
    numbers = []
    for name, _, value in samples:
        try:
            numbers.append(number_of(value))
        except ValueError:
            raise ReaderFault(f"the metric {clipped(name)} is {clipped(value)!r}, which is no number") from None
    known = [number for number in numbers if number is not None]
    return sum(known, Fraction(0)) if len(known) == len(numbers) else None


def _csv(column: str) -> Callable[[str], Pairs]:
    keyed = _KEYED.match(column)
    name, other = (keyed[1], keyed[2]) if keyed else (column, None)

    def pairs(output: str) -> Pairs:
        table = csv.DictReader(output.strip().splitlines())
        try:
            rows = list(table)
        except csv.Error as error:
            raise ReaderFault(f"it printed {clipped(output)!r}, which is no CSV: {error}") from None
        for wanted in (name, other):
            if wanted is not None and wanted not in (table.fieldnames or ()):
                raise ReaderFault(f"what it printed has no column {wanted!r}")
            if any(row.get(wanted or name) is None for row in rows):
                raise ReaderFault(f"a row of what it printed ends before the column {wanted!r}")
        return [(TOTAL, row[name]) for row in rows[-1:]] if other is None else [(row[other], row[name]) for row in rows]

    return pairs
