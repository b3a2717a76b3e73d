# SPDX-License-Identifier: Apache-2.0
"""Make zones of registers: which domains of a package can be read, and what one step of each is worth.

The registers are the same whoever hands them out: Linux's msr devices or a driver of Windows. A domain exists if its
counter can be read and does not stand at 0, as for Linux's own driver: a register that is there and counts nothing
reads 0 for ever.
"""

import errno
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from raplica_reader.counter import RawCounter
from raplica_reader.msr_models import AMD_UNIT, INTEL_UNIT, Domain, bits_of, domains, unit_of
from raplica_reader.possible import possible_w
from raplica_reader.processor import PackageWalk, Place, Processor, cores, psys_name
from raplica_reader.zone import Gauge, Zone

__all__ = ["RegisterZones"]

LOW_HALF = 0xFFFFFFFF


class RegisterZones(ABC):
    """What the sources have in common that read registers. `notes` are lines about what is left out."""

    name = ""

    def __init__(self) -> None:
        self.notes: tuple[str, ...] = ()
        self._packages = PackageWalk()

    @abstractmethod
    def gauge(self, register: int, cpus: Sequence[int]) -> Gauge:
        """How a register is reached that all of these CPUs share."""

    def domains(self, model: Processor) -> tuple[Domain, ...]:
        """The domains to look for, the package first."""
        return domains(model)

    def zones(self, model: Processor, found: dict[int, Place]) -> tuple[Zone, ...]:
        """The zones of every package, of CPUs that sit at these places."""
        zones: list[Zone] = []
        for package, group in self._packages.of(found, model).items():
            zones.extend(self._package(model, package, group, found))
        return tuple(zones)

    def _package(self, model: Processor, package: str, cpus: list[int], found: dict[int, Place]) -> Iterator[Zone]:
        """The zones of one package: itself first, then what is in it."""
        try:
            unit_raw = self._ask(cpus, AMD_UNIT if model.is_amd else INTEL_UNIT)
        except OSError as error:
            if error.errno == errno.EIO:
                return
            raise
        watts = 0
        for domain in self.domains(model):
            name = package if domain.name == "package" else domain.name
            if domain.name == "core" and model.is_amd:
                yield from self._cores(model, package, unit_raw, cpus, found)
                continue
            unit = unit_of(model, domain.name, unit_raw)
            limits_uw = self._limits_uw(cpus, domain, unit_raw)
            zone_w = possible_w(name, limits_uw, watts or None)
            watts = watts or zone_w
            if unit is not None and self._exists(cpus, domain.register):
                if domain.name == "psys":  # the platform's, whichever package it is read in
                    name = psys_name(package)
                above = None if domain.name in {"package", "psys"} else package
                yield self._zone(model, name, above, unit, zone_w, (domain.register, tuple(cpus)))

    def _cores(
        self, model: Processor, package: str, unit_raw: int, cpus: list[int], found: dict[int, Place]
    ) -> Iterator[Zone]:
        """One zone for each core of an AMD package."""
        unit = unit_of(model, "core", unit_raw)
        register = domains(model)[1].register
        for name, threads in cores(found, cpus).items():
            if unit is not None and self._exists(threads, register):
                where = register, tuple(threads)
                yield self._zone(model, name, package, unit, possible_w(package, ()), where)

    def _zone(
        self,
        model: Processor,
        name: str,
        above: str | None,
        unit: tuple[int, int],
        watts: int,
        where: tuple[int, tuple[int, ...]],
    ) -> Zone:
        path = name if above is None else f"{above}/{name}"
        return Zone(
            id=f"{self.name}:{path}",
            path=path,
            name=name,
            control_type=self.name,
            parent=None if above is None else f"{self.name}:{above}",
            max_energy_range_uj=None,
            has_energy=True,
            error=None,
            counter=RawCounter(unit, bits_of(model)),
            possible_w=watts,
            mirror_of=None,
            gauge=self.gauge(*where),
        )

    def _exists(self, cpus: Sequence[int], register: int) -> bool:
        """Whether a counter can be read and has counted. Other refusals than a fault are told when it is sampled."""
        try:
            return self._ask(cpus, register) & LOW_HALF != 0
        except OSError as error:
            return error.errno != errno.EIO

    def _limits_uw(self, cpus: Sequence[int], domain: Domain, unit_raw: int) -> list[int]:
        """Every limit and every maximum that the registers name, in microwatts (SDM: 1/2^PSU W)."""
        limits_uw: list[int] = []
        for register, lowest_bit in domain.limits:
            try:
                field = self._ask(cpus, register) >> lowest_bit & 0x7FFF
            except OSError:
                continue
            limits_uw.append(field * 1_000_000 >> (unit_raw & 0xF))
        return limits_uw

    def _ask(self, cpus: Sequence[int], register: int) -> int:
        return int.from_bytes(self.gauge(register, cpus).once(), "little")
