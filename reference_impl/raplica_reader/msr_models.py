# SPDX-License-Identifier: Apache-2.0
"""Which energy registers a processor has and what one step of each is worth, as tables.

The unit register says 1/2^ESU J (Intel SDM volume 3B, "RAPL Interfaces"; AMD PPR 54945), and some models count in
something else whatever it says. Each row names where that is known from. A model that no row names counts as its unit
register says in package, core and uncore; in `dram` and `psys`, where models differ, the unit of an Intel model that is
not listed is not known, and what is not known is not read.
"""

from typing import NamedTuple

from raplica_reader.processor import Processor

__all__ = ["AMD_UNIT", "ENERGY_FILTERING", "INTEL_UNIT", "Domain", "bits_of", "domains", "unit_of"]

INTEL_UNIT, AMD_UNIT = 0x606, 0xC0010299
ENERGY_FILTERING = 0xBC
"""IA32_MISC_PACKAGE_CTLS; bit 0: noise is added to what the energy registers show (SDM volume 4, table 2-2)."""


class Domain(NamedTuple):
    """A domain: its energy register, and the fields that name limits: a register and the field's lowest bit.

    Such a field has 15 bits, in steps of 1/2^PSU W (SDM volume 3B, "RAPL Interfaces").
    """

    name: str
    register: int
    limits: tuple[tuple[int, int], ...] = ()


INTEL = (
    Domain("package", 0x611, ((0x610, 0), (0x610, 32), (0x614, 0), (0x614, 32))),
    Domain("core", 0x639),
    Domain("uncore", 0x641),
    Domain("dram", 0x619, ((0x618, 0), (0x61C, 0), (0x61C, 32))),
    Domain("psys", 0x64D),
)
AMD = (Domain("package", 0xC001029B), Domain("core", 0xC001029A))

INTEL_FAMILY = 6
# Silvermont and Airmont: 2^ESU microjoules (SDM volume 4, table 2-6). Avoton (0x4D) counts as all others do, whatever
# the manual says (powercap/raplcap issue 13).
SILVERMONT = frozenset({0x37, 0x4A, 0x4C, 0x5A})
# 15.3 uJ in dram: Xeon E5 v3 datasheet volume 2, 5.3.3; Haswell-EP, Broadwell-EP and -D, Skylake-SP, Ice Lake-SP and
# -D, Xeon Phi. Linux's powercap driver lacks Broadwell-D (0x56) there; turbostat has it.
SERVER_DRAM = frozenset({0x3F, 0x4F, 0x55, 0x56, 0x57, 0x6A, 0x6C, 0x85})
SERVER_DRAM_NJ = 15_300
# 1 J in psys: Sapphire and Emerald Rapids (intel_rapl_common.c, defaults of spr).
WHOLE_JOULES_PSYS = frozenset({0x8F, 0xCF})
# Models whose dram counts as the unit register says: clients, Sandy and Ivy Bridge-EP, Atoms, and the
# servers from Sapphire Rapids on.
UNIT_DRAM = frozenset(
    {0x2D, 0x3A, 0x3E, 0x3C, 0x45, 0x46, 0x3D, 0x47, 0x4E, 0x5E, 0x8E, 0x9E, 0xA5, 0xA6, 0x66, 0x7D, 0x7E, 0x8A, 0x8C}
    | {0x8D, 0xA7, 0x97, 0x9A, 0xBE, 0xB7, 0xBA, 0xBF, 0xAA, 0xAC, 0xC5, 0xC6, 0xB5, 0xBD, 0x5C, 0x5F, 0x7A, 0x96, 0x9C}
    | {0x8F, 0xCF, 0xAD, 0xAE, 0xAF, 0xB6}
)
# Models whose psys does: clients since Skylake, Ice Lake-SP.
UNIT_PSYS = frozenset(
    {0x4E, 0x5E, 0x8E, 0x9E, 0xA5, 0xA6, 0x66, 0x7D, 0x7E, 0x8C, 0x8D, 0xA7, 0x97, 0x9A, 0xBE, 0xB7, 0xBA, 0xBF}
    | {0xAA, 0xAC, 0xC5, 0xC6, 0xB5, 0xBD, 0x55, 0x6A, 0x6C}
)


def domains(processor: Processor) -> tuple[Domain, ...]:
    """The energy registers to ask; AMD's `core` is one of each core, Intel's all cores of a package."""
    return AMD if processor.is_amd else INTEL


def unit_of(processor: Processor | None, domain: str, unit_raw: int) -> tuple[int, int] | None:
    """Nanojoules per step as a ratio; None where nobody knows. `unit_raw` is the unit register of the same package."""
    exponent = unit_raw >> 8 & 0x1F
    by_register = 10**9, 1 << exponent
    if processor is not None and processor.is_amd:
        return by_register
    is_family_6 = processor is not None and processor.family == INTEL_FAMILY
    model = processor.model if processor is not None and is_family_6 else None
    if model in SILVERMONT:
        return 1000 << exponent, 1
    if domain == "dram":
        return (SERVER_DRAM_NJ, 1) if model in SERVER_DRAM else by_register if model in UNIT_DRAM else None
    if domain == "psys":
        return (10**9, 1) if model in WHOLE_JOULES_PSYS else by_register if model in UNIT_PSYS else None
    return by_register


def bits_of(processor: Processor) -> int:
    """Width of the counters: 64 bits on AMD from Zen 4 on (PPR 56713, 57238), 32 on all others.

    Family 19h from model 10h on, but for Zen 3's 20h to 5Fh, and all of 1Ah.
    """
    family, model = processor.family, processor.model
    is_wide = processor.vendor == "AuthenticAMD" and (
        family >= 0x1A or (family == 0x19 and (0x10 <= model < 0x20 or model >= 0x60))
    )
    return 64 if is_wide else 32
