# SPDX-License-Identifier: Apache-2.0
"""What macOS's powermetrics prints, as energies: its property lists, and its text.

Each sample says what was spent in a time of its own, which is a little longer than the interval that was asked for. So
energies are added up, and where only powers are printed each is taken times the time that the sample names. Some
figures say the same energy twice and are left out: `combined_power` is the CPU, the GPU and the neural engine;
clusters are the CPU; the section about the GPU repeats that of the processor.

Units: `*_energy` are millijoules, `*_power` milliwatts, `package_joules` joules and `package_watts` watts. In the text
watts are an Intel Mac's, and all others are milliwatts.
"""

import errno
import plistlib
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from xml.parsers.expat import ExpatError

__all__ = ["ENDING", "NAMES", "Reading", "from_plist", "from_text", "readings"]

ENDING = b"</plist>"
"""What a property list ends with."""
SEPARATOR = b"\0"
NAMES = ("package", "cpu", "gpu", "ane", "dram")
"""The parts that have an energy, in the order in which they are shown."""

NJ_PER_J, NJ_PER_MJ, NS_PER_MS = 10**9, 10**6, 10**6
SAMPLED = re.compile(
    r"^\*\*\* Sampled system activity \(.*\) \(([0-9]+(?:\.[0-9]+)?)ms elapsed\) \*\*\*$", re.MULTILINE
)
POWER = re.compile(r"^(Package|CPU|GPU|ANE|DRAM) Power: ([0-9]+(?:\.[0-9]+)?) mW$", re.MULTILINE)
INTEL = re.compile(
    r"^Intel energy model derived package power \(CPUs\+GT\+SA\): ([0-9]+(?:\.[0-9]+)?) ?W$", re.MULTILINE
)


class Reading(NamedTuple):
    """One sample: its length, and the nanojoules that each part spent in it, by the names of `NAMES`."""

    elapsed_ns: int
    energies_nj: dict[str, int]


def readings(output: bytes) -> Iterator[Reading]:
    """Every sample in a whole output, whichever of the two formats it has.

    A property list that is cut off at the end was being written when powermetrics was ended, and is left out. Errors:
    as `from_plist` and `from_text`.
    """
    if ENDING not in output:
        yield from from_text(output.decode(errors="replace"))
        return
    for document in output.split(SEPARATOR):
        if document.rstrip().endswith(ENDING):
            yield from_plist(document)


def from_plist(document: bytes) -> Reading:
    """One sample. OSError EBADMSG for what is no property list of powermetrics, ENODATA where it has no energy."""
    try:
        content = plistlib.loads(document.strip(SEPARATOR + b" \t\r\n"))
    except (plistlib.InvalidFileException, ExpatError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise OSError(errno.EBADMSG, f"no property list: {error}") from None
    if not isinstance(content, dict):
        raise OSError(errno.EBADMSG, "a property list without keys")
    elapsed_ns, processor = content.get("elapsed_ns"), content.get("processor")
    if type(elapsed_ns) is not int or elapsed_ns < 0:
        raise OSError(errno.EBADMSG, "a sample without its length")
    if not isinstance(processor, dict):
        raise OSError(errno.ENODATA, "a sample without the processor")
    return _reading(elapsed_ns, dict(_plist_energies(processor, elapsed_ns)))


def _plist_energies(processor: Mapping[str, object], elapsed_ns: int) -> Iterator[tuple[str, int]]:
    """What the keys of `processor` say; an energy is taken before a power, which was made of it."""
    joules, watts = _number(processor, "package_joules"), _number(processor, "package_watts")
    if joules is not None:
        yield "package", round(joules * NJ_PER_J)
    elif watts is not None:
        yield "package", round(watts * elapsed_ns)
    for name in NAMES:
        millijoules, milliwatts = _number(processor, f"{name}_energy"), _number(processor, f"{name}_power")
        if millijoules is not None:
            yield name, round(millijoules * NJ_PER_MJ)
        elif milliwatts is not None:
            yield name, round(milliwatts * elapsed_ns / 1000)


def _number(table: Mapping[str, object], key: str) -> float | None:
    """A number that is 0 or more; None where the key is not there. OSError EBADMSG for anything else."""
    if key not in table:
        return None
    value = table[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise OSError(errno.EBADMSG, f"{key} is no energy and no power")
    return value


def from_text(output: str) -> Iterator[Reading]:
    """Each sample of a text. OSError ENODATA where one has no energy, or where there is no sample at all."""
    lengths = list(SAMPLED.finditer(output))
    if not lengths:
        raise OSError(errno.ENODATA, "no sample")
    ends = [following.start() for following in lengths[1:]]
    for length, end in zip(lengths, [*ends, len(output)], strict=True):
        elapsed_ns = round(float(length[1]) * NS_PER_MS)
        block = output[length.end() : end]
        watts = INTEL.search(block)
        energies_nj = {} if watts is None else {"package": round(float(watts[1]) * elapsed_ns)}
        for found in POWER.finditer(block):
            # The first of a name: a second one is the GPU's, once more.
            energies_nj.setdefault(found[1].lower(), round(float(found[2]) * elapsed_ns / 1000))
        yield _reading(elapsed_ns, energies_nj)


def _reading(elapsed_ns: int, energies_nj: dict[str, int]) -> Reading:
    """A reading; ENODATA where nothing is in it."""
    if not energies_nj:
        raise OSError(errno.ENODATA, "a sample without energies")
    return Reading(elapsed_ns, energies_nj)
