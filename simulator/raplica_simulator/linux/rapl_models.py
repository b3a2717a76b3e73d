# SPDX-License-Identifier: Apache-2.0
"""Which processor gets which treatment from the RAPL driver, as tables.

Mirrors ``rapl_ids`` and the ``rapl_defaults`` of drivers/powercap/intel_rapl_common.c (before 5.3 intel_rapl.c, since
7.1 intel_rapl_msr.c) and ``pl4_support_ids`` of intel_rapl_msr.c.  A row is true of a kernel only from the version in
which its model was added.
"""

from dataclasses import dataclass

from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.linux.kernel import Kernel

__all__ = [
    "RaplDefaults",
    "counts_dies_through",
    "find_defaults",
    "has_own_pmu",
    "has_peak_power",
    "is_amd",
    "mmio_defaults",
]


@dataclass(frozen=True, slots=True)
class RaplDefaults:
    """How the driver treats a class of processors.

    Attributes:
        style: the formulas of units and windows, "core" or "atom".
        dram_unit_nj: the energy unit of dram where it is not the unit register's; 0: it is.
        psys_unit_nj: the same for psys.
        wide_psys: 17-bit limits in the psys register.
        hook: what an ``enabled`` write does beyond the enable of PL1: "clamp" sets the clamps and the other
            limits' enables, "iosf" asks the power unit for the floor frequency, "" nothing.
        floor_freq_register: where "iosf" does it (message bus, PMC unit).
    """

    style: str = "core"
    dram_unit_nj: int = 0
    psys_unit_nj: int = 0
    wide_psys: bool = False
    hook: str = "clamp"
    floor_freq_register: int = 0


_CORE = RaplDefaults()
_HSW_SERVER = RaplDefaults(dram_unit_nj=15300)
_SPR_SERVER = RaplDefaults(psys_unit_nj=1_000_000_000, wide_psys=True)
_BYT = RaplDefaults(style="atom", hook="iosf", floor_freq_register=0x2)
_TNG = RaplDefaults(style="atom", hook="iosf", floor_freq_register=0xDF)
_ATOM = RaplDefaults(style="atom", hook="")
_AMD = RaplDefaults(hook="")

# The first listed kernel that knows a model.
_SINCE_3_13 = (3, 13)
_SINCE_5_5 = (5, 5)
_SINCE_6_1 = (6, 1)
_SINCE_6_12 = (6, 12)
_SINCE_7_1 = (7, 1)

_Model = tuple[int, int]


def _family(family: int, *models: int) -> tuple[_Model, ...]:
    return tuple((family, model) for model in models)


# Nova Lake is Intel's first family beyond 6.
_NOVA_LAKE = _family(18, 0x01, 0x03)

# Intel (family, model) -> (treatment, since).
_INTEL: dict[_Model, tuple[RaplDefaults, tuple[int, int]]] = {
    **dict.fromkeys(_family(6, 0x2A, 0x2D, 0x3A, 0x45), (_CORE, _SINCE_3_13)),
    # Up to Ice Lake, with Goldmont and Jacobsville.
    **dict.fromkeys(_family(6, 0x3E, 0x3C, 0x46, 0x3D, 0x47, 0x56, 0x5E, 0x4E, 0x8E, 0x9E), (_CORE, _SINCE_5_5)),
    **dict.fromkeys(_family(6, 0x66, 0x7E, 0x7D, 0x9D, 0x5C, 0x7A, 0x5F, 0x86), (_CORE, _SINCE_5_5)),
    # Comet, Tiger, Rocket, Alder and Raptor Lake, Lakefield, Elkhart and Jasper Lake.
    **dict.fromkeys(_family(6, 0xA6, 0xA5, 0x8C, 0x8D, 0xA7, 0x97, 0x9A), (_CORE, _SINCE_6_1)),
    **dict.fromkeys(_family(6, 0xBE, 0xB7, 0xBA, 0xBF, 0x8A, 0x96, 0x9C), (_CORE, _SINCE_6_1)),
    # Meteor Lake, Lunar Lake, Arrow Lake.
    **dict.fromkeys(_family(6, 0xAC, 0xAA, 0xBD, 0xC5, 0xC6, 0xB5), (_CORE, _SINCE_6_12)),
    # Panther Lake, Wildcat Lake, Bartlett Lake.
    **dict.fromkeys((*_family(6, 0xCC, 0xD5, 0xD7), *_NOVA_LAKE), (_CORE, _SINCE_7_1)),
    **dict.fromkeys(_family(6, 0x3F, 0x4F, 0x55, 0x6A, 0x6C, 0x57, 0x85), (_HSW_SERVER, _SINCE_5_5)),
    (6, 0x8F): (_SPR_SERVER, _SINCE_6_1),
    (6, 0xCF): (_SPR_SERVER, _SINCE_6_12),
    (6, 0x37): (_BYT, _SINCE_3_13),
    (6, 0x4A): (_TNG, _SINCE_5_5),
    (6, 0x4C): (_ATOM, _SINCE_5_5),
    (6, 0x5A): (_ATOM, _SINCE_5_5),
}

_PEAK_POWER: dict[_Model, tuple[int, int]] = {
    **dict.fromkeys(_family(6, 0x8C, 0x97, 0x9A, 0xBE, 0xB7, 0xBA), _SINCE_6_1),
    **dict.fromkeys(_family(6, 0x7E, 0xAC, 0xAA, 0xB5, 0xC5), _SINCE_6_12),
    **dict.fromkeys((*_family(6, 0xCC, 0xD5), *_NOVA_LAKE), _SINCE_7_1),
}

# Whose MSR interface has a perf PMU of its own (rapl_defaults_core_pl4_pmu): Panther and Wildcat Lake.
_OWN_PMU = frozenset(_family(6, 0xCC, 0xD5))

_HYGON_FAMILY = 0x18


def is_amd(cpu: CpuId) -> bool:
    """Whether the processor has AMD's registers (AMD and Hygon)."""
    return cpu.vendor in ("AuthenticAMD", "HygonGenuine")


def counts_dies_through(cpu: CpuId, kernel: Kernel) -> bool:
    """Whether topology_die_id() goes on counting from one package to the next.

    On AMD and Hygon it was the node id, which does (arch/x86/kernel/cpu/amd.c amd_get_topology, up to 6.8).
    """
    return kernel.global_die_ids or is_amd(cpu)


def find_defaults(cpu: CpuId, kernel: Kernel) -> RaplDefaults | None:
    """The driver's treatment of a processor; None where its table does not list it."""
    if cpu.vendor == "AuthenticAMD":
        return _AMD if cpu.family in kernel.amd_families else None
    if cpu.vendor == "HygonGenuine":
        # Hygon's family came with the first of AMD's.
        return _AMD if cpu.family == _HYGON_FAMILY and kernel.amd_families else None
    if (cpu.family, cpu.model) not in _INTEL:
        return None
    defaults, since = _INTEL[cpu.family, cpu.model]
    return defaults if kernel.number >= since else None


def mmio_defaults(cpu: CpuId, kernel: Kernel) -> RaplDefaults | None:
    """The treatment through MMIO: the processor's, or one for all (rapl_defaults_mmio); None where there is no MMIO."""
    return _CORE if kernel.mmio_has_own_tables else find_defaults(cpu, kernel)


def has_peak_power(cpu: CpuId, kernel: Kernel) -> bool:
    """Whether the MSR interface offers PL4 on this processor."""
    since = _PEAK_POWER.get((cpu.family, cpu.model)) if cpu.vendor == "GenuineIntel" else None
    return since is not None and kernel.number >= since


def has_own_pmu(cpu: CpuId, kernel: Kernel) -> bool:
    """Whether probing the MSR interface switches a perf PMU of its own on.

    The switch is read-only once the module is loaded, so that the driver can be probed then and never again.
    """
    return cpu.vendor == "GenuineIntel" and (cpu.family, cpu.model) in _OWN_PMU and kernel.number >= _SINCE_7_1
