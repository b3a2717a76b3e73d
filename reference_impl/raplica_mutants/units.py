# SPDX-License-Identifier: Apache-2.0
"""Readers of registers that are wrong about what one step is worth.

The unit register says it for most domains of most processors. For the others there are tables, which readers copy from
each other, with the errors in them.
"""

from dataclasses import replace

from raplica_mutants.right import RightMsr, RightPerf
from raplica_reader.counter import RawCounter
from raplica_reader.msr_models import AMD_UNIT, INTEL_UNIT
from raplica_reader.processor import Processor, processor
from raplica_reader.zone import Zone

__all__ = [
    "AvotonIsSilvermont",
    "DramByUnitRegister",
    "DramTableOfServers",
    "DramTableWithoutBroadwell",
    "EventScaleIgnored",
    "PsysByUnitRegister",
    "SilvermontIsCore",
    "UnitAssumed",
    "UnitOfWrongBits",
]

BROADWELL_D, SAPPHIRE_RAPIDS, AVOTON = 0x56, 0x8F, 0x4D
SILVERMONT = frozenset({0x37, 0x4A, 0x4C, 0x5A})
NJ_PER_J = 10**9


def _worth(zone: Zone, unit: tuple[int, int]) -> Zone:
    """The zone with another unit: nanojoules as a ratio."""
    return replace(zone, counter=replace(zone.counter, unit=unit)) if isinstance(zone.counter, RawCounter) else zone


class _Units(RightMsr):
    """A reader that looks at the unit register and the model by itself."""

    @property
    def unit_raw(self) -> int:
        """The unit register of the first processor."""
        model = self.processor
        register = AMD_UNIT if model is not None and model.is_amd else INTEL_UNIT
        return self.tree.registers.read(min(self.tree.registers.cpus()), register)

    @property
    def processor(self) -> Processor | None:
        """The processor that /proc/cpuinfo names."""
        return processor(self.tree, self.tree.cpuinfo)

    @property
    def model(self) -> int | None:
        """Its model, if it is of Intel's family 6."""
        found = self.processor
        return found.model if found is not None and found.family == 6 else None

    def by_register(self, zone: Zone) -> Zone:
        """The zone in steps of the unit register's energy unit."""
        return _worth(zone, (NJ_PER_J, 1 << (self.unit_raw >> 8 & 0x1F)))


class DramByUnitRegister(_Units):
    """Takes the unit register's word for dram too, on servers where dram counts in 15.3 uJ whatever it says."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """The dram in the unit of the package."""
        return tuple(self.by_register(zone) if zone.name == "dram" else zone for zone in zones)


class DramTableWithoutBroadwell(_Units):
    """Has a table of servers whose dram counts in 15.3 uJ, in which Broadwell-D is missing."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """The dram by the table."""
        missing = self.model == BROADWELL_D
        return tuple(self.by_register(zone) if missing and zone.name == "dram" else zone for zone in zones)


class DramTableOfServers(_Units):
    """Copies the table of servers whose dram counts in 15.3 uJ to a generation that counts as its register says."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """The dram by the table."""
        listed = self.model == SAPPHIRE_RAPIDS
        return tuple(_worth(zone, (15_300, 1)) if listed and zone.name == "dram" else zone for zone in zones)


class PsysByUnitRegister(_Units):
    """Takes the unit register's word for psys too, where that counts whole joules."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """The psys in the unit of the package."""
        return tuple(
            self.by_register(zone) if (zone.name or "").partition("-")[0] == "psys" else zone for zone in zones
        )


class SilvermontIsCore(_Units):
    """Reads the energy unit of an Atom as that of all others: 2^-ESU J where it is 2^ESU uJ."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Every zone by the usual rule."""
        return tuple(map(self.by_register, zones)) if self.model in SILVERMONT else zones


class AvotonIsSilvermont(_Units):
    """Believes the manual, which has Avoton count as the other Silvermonts do."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Every zone in 2^ESU uJ."""
        if self.model != AVOTON:
            return zones
        return tuple(_worth(zone, (1000 << (self.unit_raw >> 8 & 0x1F), 1)) for zone in zones)


class UnitAssumed(_Units):
    """Has a step of 2^-14 J in the program where the unit register says otherwise."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Zones of the unit register in 61 uJ."""
        by_register = self.unit_raw >> 8 & 0x1F
        usual = NJ_PER_J, 1 << by_register
        return tuple(
            _worth(zone, (NJ_PER_J, 1 << 14))
            if isinstance(zone.counter, RawCounter) and zone.counter.unit == usual
            else zone
            for zone in zones
        )


class UnitOfWrongBits(_Units):
    """Takes bits 15:12 of Intel's unit register for the energy unit, and what it makes of them for microjoules."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Every zone in 2^-n uJ, which mostly is 1 uJ."""
        model = self.processor
        if model is None or model.is_amd:
            return zones
        return tuple(_worth(zone, (1000, 1 << (self.unit_raw >> 12 & 0xF))) for zone in zones)


class EventScaleIgnored(RightPerf):
    """Takes perf's counts for microjoules, and does not read the scale beside the event."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Every zone in 1 uJ."""
        return tuple(_worth(zone, (1000, 1)) for zone in zones)
