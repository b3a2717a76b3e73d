# SPDX-License-Identifier: Apache-2.0
"""From what a reader prints to an answer: which of its words are zones, which numbers are energies, and in which unit.

`json`               one object, zone to energy: `{"intel-rapl:0": 1500000, "package-0/dram": null}`
`json:PATH`          the same somewhere inside: `json:result.energies`; `zones[id].energy_uj` takes the list zones,
                     calls each object in it by its field id and takes its field energy_uj; a number is the total
`regex:PATTERN`      each match is a zone with the groups `zone` and `energy`; without `zone` the last one is the total
`prometheus:METRIC`  each sample of the metric, a glob, is added to the total; `METRIC{LABEL}` calls zones by a label
`csv:COLUMN`         the last row of that column is the total; `COLUMN{OTHER}` calls each row by another column

A zone is an id ("intel-rapl:0:1"), the names from the top ("package-0/dram"), or "total"; a path that leads to a zone's
folder stands for its id. null, an empty text and NaN are unknown. What is an object in JSON may have `energy_uj`
(`energy` in another unit), `status` and `error`.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from fractions import Fraction
from itertools import chain
from typing import Any

from raplica_conformance.readers.plug import STATUSES, TOTAL, Answer, ReaderFault, Reading

__all__ = ["UNITS", "Extractor", "read_extractor"]

#: Microjoules of each unit.
UNITS: Mapping[str, Fraction] = {
    "nJ": Fraction(1, 1000),
    "uJ": Fraction(1),
    "mJ": Fraction(1000),
    "J": Fraction(10**6),
    "W*s": Fraction(10**6),
    "kJ": Fraction(10**9),
    "Wh": Fraction(3600 * 10**6),
    "kWh": Fraction(3600 * 10**9),
}

_SHOWN = 120
_LONGEST_NUMBER = 100
_STEP = re.compile(r"([^.\[\]]+)(?:\[([^.\[\]]+)\])?\Z")
_SAMPLE = re.compile(r"([a-zA-Z_:][^\s{]*)(?:\{(.*)\})?\s+(\S+)(?:\s+-?\d+)?\s*\Z")
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"')
_KEYED = re.compile(r"(.+?)\{([^{}]+)\}\Z", re.DOTALL)

Pairs = Iterator[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Extractor:
    """How to read what one reader prints.

    `text` is how it was asked for; `names` are zones as the reader calls them, by what they are called here.
    """

    text: str
    unit: str
    names: Mapping[str, str]
    _pairs: tuple[Callable[[str], Pairs], ...] = field(repr=False)

    def answer(self, output: str) -> Answer:
        """The readings in an output. ReaderFault in one line for what cannot be understood."""
        if not output.strip():
            raise ReaderFault("it printed nothing")
        answer: dict[str, Reading] = {}
        for name, value in chain.from_iterable(pairs(output) for pairs in self._pairs):
            zone = self.names.get(name, _zone_id(name))
            answer[zone] = self._reading(zone, value)
        if not answer:
            raise ReaderFault(f"nothing in {output.strip()[:_SHOWN]!r} is what {self.text} asks for")
        return answer

    def _reading(self, zone: str, value: Any) -> Reading:
        status = error = None
        if isinstance(value, Mapping):
            status, error = value.get("status"), value.get("error")
            value = value.get(f"energy_{self.unit.lower()}", value.get("energy"))
        energy_uj = self._microjoules(zone, value)
        usual = "ok" if energy_uj is not None else "error" if error else "unknown"
        return Reading(energy_uj, status if status in STATUSES else usual, None if not error else str(error)[:_SHOWN])

    def _microjoules(self, zone: str, value: Any) -> int | None:
        """Whole microjoules, rounded; None for what says that it is unknown."""
        if value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan", "none", "null")):
            return None
        try:
            if isinstance(value, bool) or not isinstance(value, int | Decimal | str):
                raise InvalidOperation
            text = value.strip() if isinstance(value, str) else value
            number = Decimal(text) if not isinstance(text, str) or len(text) <= _LONGEST_NUMBER else Decimal("nan")
            if not number.is_finite() or abs(number.adjusted()) > _LONGEST_NUMBER:
                raise InvalidOperation
        except InvalidOperation:
            raise ReaderFault(f"of {zone} it says {str(value)[:_SHOWN]!r}, which is no number") from None
        return round(Fraction(number) * UNITS[self.unit])


def read_extractor(
    asked: str | Sequence[str] = "json", unit: str = "uJ", names: Mapping[str, str] | None = None
) -> Extractor:
    """The extractor of a text like `regex:PATTERN`, or of several whose answers are put together.

    ValueError in one line where it is none.
    """
    if unit not in UNITS:
        raise ValueError(f"there is no unit {unit!r}: {', '.join(UNITS)}")
    texts = (asked,) if isinstance(asked, str) else tuple(asked)
    return Extractor(" and ".join(texts), unit, names or {}, tuple(_pairs_of(text) for text in texts))


def _pairs_of(text: str) -> Callable[[str], Pairs]:
    kind, _, rest = text.partition(":")
    makers = {"json": _json, "regex": _regex, "prometheus": _prometheus, "csv": _csv}
    if kind not in makers or (kind != "json" and not rest):
        raise ValueError(f"{text!r} is no extractor: json, json:PATH, regex:PATTERN, prometheus:METRIC or csv:COLUMN")
    return makers[kind](rest)


def _zone_id(name: str) -> str:
    """The folder's name of a path to a zone; any other name as it is."""
    return name.rstrip("/").rpartition("/")[2] if name.startswith("/") else name


def _json(path: str) -> Callable[[str], Pairs]:
    steps: list[tuple[str, str | None]] = []
    for part in path.split(".") if path else ():
        found = _STEP.match(part)
        if found is None:
            raise ValueError(f"json:{path}: {part!r} is no step of a path like result.zones[id].energy_uj")
        steps.append((found[1], found[2]))

    def pairs(output: str) -> Pairs:
        try:
            document = json.loads(output, parse_float=Decimal, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            raise ReaderFault(f"it printed {output.strip()[:_SHOWN]!r}, which is no JSON") from None
        yield from _walk(document, steps, path)

    return pairs


def _walk(value: Any, steps: list[tuple[str, str | None]], path: str) -> Pairs:
    for number, (name, key) in enumerate(steps):
        if not isinstance(value, Mapping) or name not in value:
            raise ReaderFault(f"what it printed has no {name!r} where json:{path} looks for it")
        value = value[name]
        if key is not None:
            if not isinstance(value, list):
                raise ReaderFault(f"{name!r} in what it printed is no list, as json:{path} has it")
            for one in value:
                if not isinstance(one, Mapping) or key not in one:
                    raise ReaderFault(f"an entry of {name!r} in what it printed has no {key!r}")
                yield str(one[key]), _below(one, steps[number + 1 :])
            return
    if isinstance(value, Mapping):
        yield from ((str(name), one) for name, one in value.items())
    elif isinstance(value, list):
        raise ReaderFault(f"json:{path} leads to a list: say by which field its zones are called, as in zones[id]")
    else:
        yield TOTAL, value


def _below(value: Any, steps: list[tuple[str, str | None]]) -> Any:
    """A field of one entry of a list, which also says its status and error; what is missing is unknown."""
    found = value
    for name, _ in steps:
        found = found.get(name) if isinstance(found, Mapping) else None
    if isinstance(value, Mapping) and steps and ("error" in value or "status" in value):
        return {"energy": found, "status": value.get("status"), "error": value.get("error")}
    return found


def _regex(pattern: str) -> Callable[[str], Pairs]:
    try:
        compiled = re.compile(pattern, re.MULTILINE)
    except re.error as error:
        raise ValueError(f"regex:{pattern}: {error}") from error
    if "energy" not in compiled.groupindex:
        raise ValueError(f"regex:{pattern}: has no group (?P<energy>...) for the number")

    def pairs(output: str) -> Pairs:
        for found in compiled.finditer(output):
            groups = found.groupdict()
            yield groups.get("zone") or TOTAL, groups["energy"]

    return pairs


def _prometheus(metric: str) -> Callable[[str], Pairs]:
    keyed = _KEYED.match(metric)
    glob, label = (keyed[1], keyed[2]) if keyed else (metric, None)

    def pairs(output: str) -> Pairs:
        total: Decimal | None = None
        for line in output.splitlines():
            found = _SAMPLE.match(line)
            if line.startswith("#") or found is None or not fnmatchcase(found[1], glob):
                continue
            labels = {one[1]: one[2] for one in _LABEL.finditer(found[2] or "")}
            if label is not None:
                if label in labels:
                    yield labels[label], found[3]
                continue
            try:
                total = (total or Decimal(0)) + Decimal(found[3])
            except InvalidOperation:
                raise ReaderFault(f"the metric {found[1]} is {found[3][:_SHOWN]!r}, which is no number") from None
        if total is not None:
            yield TOTAL, total

    return pairs


def _csv(column: str) -> Callable[[str], Pairs]:
    keyed = _KEYED.match(column)
    name, other = (keyed[1], keyed[2]) if keyed else (column, None)

    def pairs(output: str) -> Pairs:
        rows = list(csv.DictReader(output.strip().splitlines()))
        for row in rows:
            for wanted in (name, other):
                if wanted is not None and wanted not in row:
                    raise ReaderFault(f"what it printed has no column {wanted!r}")
        if other is None:
            yield from ((TOTAL, row[name]) for row in rows[-1:])
        else:
            yield from ((row[other], row[name]) for row in rows)

    return pairs
