# SPDX-License-Identifier: Apache-2.0
"""Where the domains of a profile's ``[tpmi]`` lie in a package's registers, and back from such registers to domains.

Mirrors what drivers/powercap/intel_rapl_tpmi.c expects: domains of 128 bytes in a row, each with a header that says
what it is and which registers follow.  A profile names its domains; a recording only has the words.
"""

from collections.abc import Mapping

__all__ = ["TPMI_DOMAIN_SIZE", "TPMI_KINDS", "domains_of_words", "tpmi_kinds", "tpmi_words"]

TPMI_DOMAIN_SIZE = 128
# A domain as a profile calls it: its type in the header, and the kind of meter behind it.
TPMI_KINDS = {"system": (1, "psys"), "package": (2, "package"), "memory": (4, "dram")}
_NAMES = {number: name for name, (number, _) in TPMI_KINDS.items()}
_REGISTERS = 15
_SPACE = 0x1000

Domains = Mapping[str, Mapping[int, int]]


def tpmi_words(tables: Mapping[int, Domains]) -> dict[int, dict[int, int]]:
    """The words of each package by their offset, ascending: domain after domain in the order of the table.

    A domain without a header word (offset 0) gets one that says what it has.
    """
    words: dict[int, dict[int, int]] = {}
    for package, domains in tables.items():
        words[package] = {}
        for number, (name, registers) in enumerate(domains.items()):
            base = number * TPMI_DOMAIN_SIZE
            given = {0: _header(name, registers)} | dict(registers)
            words[package].update((base + offset, raw) for offset, raw in sorted(given.items()))
    return words


def tpmi_kinds(tables: Mapping[int, Domains]) -> dict[tuple[int, int], str]:
    """The kind of meter behind the domain at (package, offset of its header)."""
    return {
        (package, number * TPMI_DOMAIN_SIZE): TPMI_KINDS[name][1]
        for package, domains in tables.items()
        for number, name in enumerate(domains)
    }


def _header(name: str, registers: Mapping[int, int]) -> int:
    """A header of version 1: type, size 1, and the presence flags of the registers that are there."""
    present = sum(1 << offset // 8 for offset in registers if 0 < offset // 8 < _REGISTERS)
    return present << 32 | 1 << 16 | TPMI_KINDS[name][0] << 8 | 1


def domains_of_words(words: Mapping[int, int]) -> dict[str, dict[int, int]]:
    """The domains that stand in a register table from offset 0 on; empty where its words are none of TPMI's.

    Only a row of good headers counts, each of another type, so that the low numbers of MSRs are not mistaken for it.
    """
    domains: dict[str, dict[int, int]] = {}
    for base in range(0, _SPACE, TPMI_DOMAIN_SIZE):
        header = words.get(base, 0)
        name = _NAMES.get(header >> 8 & 0xFF, "")
        if not name or name in domains or header >> 16 & 0xFF != 1 or header & 0xFF == 0xFF:
            break
        domains[name] = {
            offset - base: raw
            for offset, raw in sorted(words.items())
            if base <= offset < base + TPMI_DOMAIN_SIZE and offset % 8 == 0
        }
    return domains
