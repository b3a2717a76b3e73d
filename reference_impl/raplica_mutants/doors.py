# SPDX-License-Identifier: Apache-2.0
"""Readers that miss domains by the door that they go through: registers or perf events."""

from collections.abc import Callable
from dataclasses import replace

from raplica_mutants.right import Right, RightMsr, RightPerf, Tree
from raplica_reader.msr import EnergyRegister
from raplica_reader.perf import PMUS
from raplica_reader.processor import processor
from raplica_reader.zone import Zone

__all__ = [
    "EventsNeedMemory",
    "EventsOrNothing",
    "FirstCoreForAll",
    "FirstCpuForAll",
    "FirstCpuForEver",
    "IntelRegistersOnly",
    "RegistersOfOneDie",
    "ZeroRegisterIsPsys",
]

PSYS = 0x64D


def asked(zone: Zone, cpus: tuple[int, ...]) -> Zone:
    """The zone, its register asked of these processors."""
    gauge = zone.gauge
    return replace(zone, gauge=replace(gauge, cpus=cpus)) if isinstance(gauge, EnergyRegister) else zone


class FirstCpuForAll(RightMsr):
    """Reads every register on the first processor: each package reads as package-0."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """All asked of one processor."""
        first = min(self.tree.registers.cpus())
        return tuple(asked(zone, (first,)) for zone in zones)


class FirstCpuForEver(RightMsr):
    """Chooses a processor of each package when it starts, and asks no other when that one goes."""

    def __init__(self, tree: Tree, clock: Callable[[], int]) -> None:
        self.chosen: dict[str, tuple[int, ...]] = {}
        super().__init__(tree, clock)

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """Each asked of the processor that was chosen first."""
        for zone in zones:
            if isinstance(zone.gauge, EnergyRegister):
                self.chosen.setdefault(zone.path, zone.gauge.cpus[:1])
        return tuple(asked(zone, self.chosen.get(zone.path, ())) for zone in zones)


class FirstCoreForAll(RightMsr):
    """Reads the core register, which on AMD each core has, on the first processor of a package alone."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """The first core of each package."""
        return tuple(zone for zone in zones if not (zone.name or "").startswith("core-") or zone.name == "core-0")


class IntelRegistersOnly(RightMsr):
    """Looks for Intel's registers alone, and finds nothing on AMD, whose registers have other numbers."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """All or nothing."""
        model = processor(self.tree, self.tree.cpuinfo)
        return () if model is not None and model.is_amd else zones


class RegistersOfOneDie(RightMsr):
    """Asks one processor of each package, and so one die of it."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """The first die of each package."""
        return tuple(zone for zone in zones if "-die-" not in zone.path or "-die-0" in zone.path)


class ZeroRegisterIsPsys(RightMsr):
    """Takes a platform register that can be read for one that counts."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """The psys wherever its register does not fault."""
        package = next((zone for zone in zones if isinstance(zone.gauge, EnergyRegister)), None)
        if package is None or any(zone.name == "psys" for zone in zones):
            return zones
        gauge = replace(package.gauge, register=PSYS)  # type: ignore[type-var]
        try:
            gauge.once()
        except OSError:
            return zones
        return (*zones, replace(package, id="msr:psys", path="psys", name="psys", gauge=gauge))


class EventsNeedMemory(RightPerf):
    """Is told to open package and memory, and ends where one of these events is not there."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """All or nothing."""
        return zones if any(zone.name == "dram" for zone in zones) else ()


class EventsOrNothing(Right):
    """Needs the kernel's power PMU, and has no energy where that is missing, though powercap has."""

    def zones(self, zones: tuple[Zone, ...]) -> tuple[Zone, ...]:
        """All or nothing."""
        try:
            self.tree.read(f"{PMUS}/power/type")
        except OSError:
            return ()
        return zones
