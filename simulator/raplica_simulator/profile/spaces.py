# SPDX-License-Identifier: Apache-2.0
"""The register table of a recording, taken apart into MSRs, MCHBAR words and TPMI domains.

A witness keeps all registers of a package in one table by their number. MCHBAR offsets (0x58E0 to 0x59B0) are no
number of an MSR, and a row of TPMI domains begins at 0 with a header.
"""

from __future__ import annotations

from collections.abc import Mapping

from raplica_simulator.hardware.registers import MMIO_REGISTERS
from raplica_simulator.profile.tpmi_layout import TPMI_DOMAIN_SIZE, domains_of_words

__all__ = ["spaces_of_table"]

Words = dict[int, int]
_MMIO_OFFSETS = frozenset(register.address for register in MMIO_REGISTERS)


def spaces_of_table(
    table: Mapping[int, Mapping[int, int]],
) -> tuple[dict[int, Words], Words | None, dict[int, dict[str, Words]] | None]:
    """MSRs by logical die, MCHBAR words of package 0, TPMI domains by package; None for a kind that is not there."""
    msr = {die: dict(words) for die, words in table.items()}
    mmio = {offset: msr[0].pop(offset) for offset in sorted(_MMIO_OFFSETS & msr.get(0, {}).keys())}
    tpmi: dict[int, dict[str, Words]] = {}
    for die, words in msr.items():
        if domains := domains_of_words(words):
            tpmi[die] = domains
            for offset in range(0, len(domains) * TPMI_DOMAIN_SIZE, 8):
                words.pop(offset, None)
    return msr, mmio or None, tpmi or None
