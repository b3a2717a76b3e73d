# SPDX-License-Identifier: Apache-2.0
"""Which registers may be asked for without knowing that the driver survives a fault.

Up to October 2023 the Scaphandre driver for Windows had no exception guard: a register that the processor does not have
took the machine down with it (the case that was reported: 0x641 on a Xeon E5-2630 v3). Linux's driver tries and sees.
Here that is only done where the driver is known to be guarded; elsewhere the reader asks for what the manual says that
the model has (SDM volume 4; msr-safe's lists of what may be read), and leaves the rest out.
"""

from raplica_reader.processor import FIRST_AMD_FAMILY, Processor

__all__ = ["PROBE", "documented", "has_counters", "may_probe"]

PROBE = 0x1B2
"""IA32_PACKAGE_THERM_INTERRUPT (SDM volume 4, table 2-2): in every Core and Xeon since Sandy Bridge, and on no list of
what the driver allows. A driver that answers it has no list and asks the processor for anything."""

INTEL, INTEL_FAMILY = "GenuineIntel", 6
CORE_AND_UNCORE = frozenset({0x2A, 0x3A})
CLIENT = frozenset(
    {0x3C, 0x45, 0x46, 0x3D, 0x47, 0x4E, 0x5E, 0x8E, 0x9E, 0xA5, 0xA6, 0x66, 0x7D, 0x7E, 0x8C, 0x8D, 0xA7, 0x97, 0x9A}
    | {0xB7, 0xBA, 0xBF}
)
CLIENT_WITH_PSYS = CLIENT - {0x3C, 0x45, 0x46, 0x3D, 0x47}
OLD_SERVER = frozenset({0x2D, 0x3E})  # memory is metered only where the firmware says so
XEON_PHI = frozenset({0x57, 0x85})
SERVER = frozenset({0x3F, 0x4F, 0x55, 0x56, 0x6A, 0x6C, 0x8F, 0xCF}) | XEON_PHI
SERVER_WITH_PSYS = frozenset({0x55, 0x6A, 0x8F, 0xCF})
ATOM_WITH_CORE = frozenset({0x37, 0x4A, 0x4C, 0x4D, 0x5A})
# Meteor Lake and later: which domains they have is not documented well enough to go without a guard.
RECENT = frozenset({0xAA, 0xAC, 0xAD, 0xAE, 0xB5, 0xBD, 0xC5, 0xC6})

FIRST_WITH_COUNTERS = 0x2A  # Sandy Bridge; models of other lines have numbers above it and no counters:
WITHOUT_COUNTERS = frozenset({0x2C, 0x2E, 0x2F, 0x35, 0x36})


def documented(processor: Processor) -> frozenset[str]:
    """The domains whose energy registers the model is documented to have: package, and more where a table says so."""
    if processor.is_amd:
        return frozenset({"package", "core"})
    found = {"package"}
    model = processor.model if processor.family == INTEL_FAMILY else None
    if model in CORE_AND_UNCORE | CLIENT | OLD_SERVER | ATOM_WITH_CORE:
        found.add("core")
    if model in CORE_AND_UNCORE | CLIENT:
        found.add("uncore")
    if model in CLIENT | SERVER:
        found.add("dram")
    if model in CLIENT_WITH_PSYS | SERVER_WITH_PSYS:
        found.add("psys")
    return frozenset(found)


def has_counters(processor: Processor) -> bool:
    """Whether the processor has energy registers at all, as far as its number tells."""
    if processor.is_amd:
        return processor.family >= FIRST_AMD_FAMILY
    if processor.vendor != INTEL or processor.family < INTEL_FAMILY:
        return False
    is_early = processor.model < FIRST_WITH_COUNTERS or processor.model in WITHOUT_COUNTERS
    return processor.family > INTEL_FAMILY or not is_early


def may_probe(processor: Processor) -> bool:
    """Whether `PROBE` is there for certain."""
    known = CORE_AND_UNCORE | CLIENT | OLD_SERVER | (SERVER - XEON_PHI) | RECENT
    return processor.vendor == INTEL and processor.family == INTEL_FAMILY and processor.model in known
