# SPDX-License-Identifier: Apache-2.0
"""Which energy events perf has on which processor, as tables.

Mirrors ``rapl_model_match`` and the ``rapl_model`` structures of arch/x86/events/rapl.c.  Which models a kernel lists
was read off the modules of 6.1.192, 6.12.117 and 7.2.12; the row of 5.5 is from source.  A processor of the driver's
table is not always in this one: Rocket Lake, Lakefield and Jasper Lake have zones and no events.
"""

from dataclasses import dataclass

from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.linux.kernel import Kernel
from raplica_simulator.linux.rapl_models import is_amd

__all__ = ["CORE_EVENT", "EVENTS", "Event", "PerfModel", "find_model"]


@dataclass(frozen=True, slots=True)
class Event:
    """An event: its name in sysfs, its code in ``config``, and the kind of domain that it counts."""

    name: str
    config: int
    kind: str


EVENTS = (
    Event("energy-cores", 1, "core"),
    Event("energy-pkg", 2, "package"),
    Event("energy-ram", 3, "dram"),
    Event("energy-gpu", 4, "uncore"),
    Event("energy-psys", 5, "psys"),
)
#: What the second PMU, power_core, counts.
CORE_EVENT = Event("energy-core", 1, "cpu-core")

_INTEL_MSRS = {"core": 0x639, "package": 0x611, "dram": 0x619, "uncore": 0x641, "psys": 0x64D}
_AMD_MSRS = {"package": 0xC001029B, "cpu-core": 0xC001029A}


@dataclass(frozen=True, slots=True)
class PerfModel:
    """What perf knows of a class of processors.

    Attributes:
        kinds: the domains that it looks for.
        msrs: their counters, by kind.
        unit_msr: the unit register.
        fixed_units: exponents of 2^-n J where a domain does not count in the unit register's.
        unprobed: domains that are taken to be there, whatever their counter reads.
        per_package: there is one reader for a package, not for a die.
        has_cores: there is a second PMU with an event for each core.
    """

    kinds: frozenset[str]
    msrs: dict[str, int]
    unit_msr: int
    fixed_units: dict[str, int]
    unprobed: frozenset[str] = frozenset()
    per_package: bool = False
    has_cores: bool = False


def _intel(*kinds: str, fixed: dict[str, int] | None = None, unprobed: tuple[str, ...] = ()) -> PerfModel:
    return PerfModel(frozenset(kinds), _INTEL_MSRS, 0x606, fixed or {}, frozenset(unprobed))


# Server dram counts in 15.3 uJ; perf takes 2^-16 J for it.
_SNB = _intel("core", "package", "uncore")
_SNBEP = _intel("core", "package", "dram")
_HSW = _intel("core", "package", "dram", "uncore")
_HSX = _intel("core", "package", "dram", fixed={"dram": 16})
_KNL = _intel("package", "dram", fixed={"dram": 16})
_SKL = _intel("core", "package", "dram", "uncore", "psys")
_SPR = _intel("core", "package", "dram", "psys", fixed={"psys": 0}, unprobed=("psys",))

_SINCE_5_5 = (5, 5)
_SINCE_6_1 = (6, 1)
_SINCE_6_12 = (6, 12)
_HAS_CORE_EVENTS = (6, 14)
# Before, AMD had none.
_BY_FEATURE = (6, 1)

_INTEL: dict[int, tuple[PerfModel, tuple[int, int]]] = {
    **dict.fromkeys((0x2A, 0x3A), (_SNB, _SINCE_5_5)),
    **dict.fromkeys((0x2D, 0x3E), (_SNBEP, _SINCE_5_5)),
    # Haswell and Broadwell clients, Goldmont.
    **dict.fromkeys((0x3C, 0x45, 0x46, 0x3D, 0x47, 0x5C, 0x5F, 0x7A), (_HSW, _SINCE_5_5)),
    # Haswell to Skylake servers and Broadwell-D; then Ice Lake's.
    **dict.fromkeys((0x3F, 0x4F, 0x56, 0x55), (_HSX, _SINCE_5_5)),
    **dict.fromkeys((0x6A, 0x6C), (_HSX, _SINCE_6_1)),
    **dict.fromkeys((0x57, 0x85), (_KNL, _SINCE_5_5)),
    # Skylake to Ice Lake clients.
    **dict.fromkeys((0x4E, 0x5E, 0x8E, 0x9E, 0x66, 0x7E, 0x7D), (_SKL, _SINCE_5_5)),
    # Comet, Tiger, Alder and Raptor Lake, Meteor Lake.
    **dict.fromkeys((0xA5, 0xA6, 0x8C, 0x8D, 0x97, 0x9A, 0xBE, 0xB7, 0xBA, 0xBF, 0xAA, 0xAC), (_SKL, _SINCE_6_1)),
    # Arrow Lake, Lunar Lake.
    **dict.fromkeys((0xC5, 0xC6, 0xB5, 0xBD), (_SKL, _SINCE_6_12)),
    **dict.fromkeys((0x8F, 0xCF), (_SPR, _SINCE_6_1)),
}


def find_model(cpu: CpuId, flags: frozenset[str], kernel: Kernel) -> PerfModel | None:
    """What perf knows of a processor; None where it has no power PMU.

    AMD and Hygon are found by the flag ``rapl`` of /proc/cpuinfo.
    """
    if is_amd(cpu):
        if "rapl" not in flags or kernel.number < _BY_FEATURE:
            return None
        return PerfModel(
            frozenset({"package"}),
            _AMD_MSRS,
            0xC0010299,
            {},
            per_package=kernel.amd_package_scope,
            has_cores=kernel.number >= _HAS_CORE_EVENTS,
        )
    if cpu.vendor != "GenuineIntel" or cpu.family != 6 or cpu.model not in _INTEL:
        return None
    model, since = _INTEL[cpu.model]
    return model if kernel.number >= since else None
