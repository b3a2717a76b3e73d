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
(`energy` in another unit), `status` and `error`. An empty object or list, metrics without the wanted one and a table
without rows are an answer too: that there is no zone (`forms`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from raplica_conformance.readers.forms import Pairs, form, number_of
from raplica_conformance.readers.plug import STATUSES, Answer, ReaderFault, Reading
from raplica_conformance.readers.reading import clipped, reading_from

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


@dataclass(frozen=True, slots=True)
class Extractor:
    """How to read what one reader prints.

    `text` is how it was asked for; `names` are zones as the reader calls them, by what they are called here.
    """

    text: str
    unit: str
    names: Mapping[str, str]
    _forms: tuple[Callable[[str], Pairs], ...] = field(repr=False)

    def answer(self, output: str) -> Answer:
        """The readings in an output; none where its form is right and nothing is in it.

        ReaderFault in one line for what cannot be understood, and for an output without a word.
        """
        if not output.strip():
            raise ReaderFault("it printed nothing")
        found = [pairs(output) for pairs in self._forms]
        if all(pairs is None for pairs in found):
            raise ReaderFault(f"nothing in {clipped(output)!r} is what {clipped(self.text)} asks for")
        answer: dict[str, Reading] = {}
        for name, said in (pair for pairs in found for pair in pairs or ()):
            zone = self.names.get(name, _zone_id(name))
            answer[zone] = self._reading(zone, said)
        return answer

    def _reading(self, zone: str, said: Any) -> Reading:
        status = error = None
        if isinstance(said, Mapping):
            status, error = said.get("status"), said.get("error")
            said = said.get(f"energy_{self.unit.lower()}", said.get("energy"))
        try:
            number = number_of(said)
        except ValueError:
            raise ReaderFault(f"of {clipped(zone)} it says {clipped(said)!r}, which is no number") from None
        energy_uj = None if number is None else round(number * UNITS[self.unit])
        return reading_from(zone, energy_uj, status if status in STATUSES else None, error)


def read_extractor(
    asked: str | Sequence[str] = "json", unit: str = "uJ", names: Mapping[str, str] | None = None
) -> Extractor:
    """The extractor of a text like `regex:PATTERN`, or of several whose answers are put together.

    ValueError in one line where it is none.
    """
    if unit not in UNITS:
        raise ValueError(f"there is no unit {unit!r}: {', '.join(UNITS)}")
    texts = (asked,) if isinstance(asked, str) else tuple(asked)
    return Extractor(" and ".join(texts), unit, names or {}, tuple(form(text) for text in texts))


def _zone_id(name: str) -> str:
    """The folder's name of a path to a zone; any other name as it is."""
    return name.rstrip("/").rpartition("/")[2] if name.startswith("/") else name
