# SPDX-License-Identifier: Apache-2.0
"""The registers that count the energy of a domain, found by its name, whatever space they lie in.

Who wants a counter to wrap, to stick or to jump thinks of a domain: ``package-0/dram``.  Behind it lie an MSR for each
die, and a word in MCHBAR or TPMI where the machine has those; all of them count the same joules.  Nothing that is done
to them here moves the truth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from raplica_simulator.hardware.msr import RegisterFile
from raplica_simulator.hardware.registers import Register, lookup
from raplica_simulator.hardware.units import exact_units, usual_unit
from raplica_simulator.hardware.words import WordSpace
from raplica_simulator.machine import Machine
from raplica_simulator.machine_registers import msr_units
from raplica_simulator.profile.tpmi_layout import TPMI_DOMAIN_SIZE, tpmi_kinds
from raplica_simulator.truth import DomainPlace

__all__ = ["COUNTER_MASK", "Counter", "counters_of"]

COUNTER_MASK = (1 << 32) - 1  # what powercap counts by, also where the register is wider
_TPMI_UNIT = 0x08
_GRID_NS = 1_000_000  # the update interval that every machine's domains have


@dataclass(frozen=True, slots=True)
class Counter:
    """One energy register.

    Attributes:
        space: where it lies.
        owner: the processor by which it is reached, of a word the package.
        address: its address, or its offset.
        unit_j: the joules of one raw step.
    """

    space: RegisterFile | WordSpace
    owner: int
    address: int
    unit_j: Fraction

    @property
    def content(self) -> int:
        """What the whole register holds now, faults aside."""
        if isinstance(self.space, RegisterFile):
            return self.space.content(self.owner, self.address) or 0
        return self.space.content(self.address, self.owner) or 0

    def hold(self, count: int) -> None:
        """Let the low 32 bits be ``count`` now."""
        content = (self.content & ~COUNTER_MASK) | (count & COUNTER_MASK)
        if isinstance(self.space, RegisterFile):
            self.space.poke(self.owner, self.address, content)
        else:
            self.space.poke(self.address, content, self.owner)

    def stop(self) -> None:
        """Let it stand still."""
        if isinstance(self.space, RegisterFile):
            self.space.stop(self.owner, self.address)
        else:
            self.space.stop(self.address, self.owner)

    def go_on(self) -> None:
        """Let it count on from where it stands."""
        if isinstance(self.space, RegisterFile):
            self.space.go_on(self.owner, self.address)
        else:
            self.space.go_on(self.address, self.owner)

    def steps_within(self, wait_ns: int, now_ns: int, spent_j: Fraction, draw_w: Fraction) -> int:
        """The steps that it will have counted ``wait_ns`` from now, at the draw of this moment.

        ``spent_j`` and ``draw_w`` are the joules and watts of its domain now.  0 for one that stands still.
        """
        if isinstance(self.space, RegisterFile):
            counted = self.space.counted(self.owner, self.address)
        else:
            counted = self.space.counted(self.address, self.owner)
        if counted is None:
            return 0
        then_ns = now_ns + wait_ns
        then_j = spent_j + draw_w * Fraction(then_ns - then_ns % _GRID_NS - now_ns, 10**9)
        return max(0, then_j // self.unit_j - counted)


def counters_of(machine: Machine, domain: str) -> list[Counter]:
    """Every register that counts a domain's energy.

    Domains are named as :meth:`.Machine.truth_uj` has them.  ``package-0`` is all its counters, those in MCHBAR and
    TPMI included; ``intel-rapl-mmio/package-0`` is the one in MCHBAR.  ValueError for a name that the machine does not
    have, and for a domain that no register counts.
    """
    place = machine.place_of(domain)
    found = [*_in_mmio(machine, place)]
    if not place.mmio_alone:
        found = [*_in_msr(machine, place), *found, *_in_tpmi(machine, place)]
    if not found:
        raise ValueError(f"no register of this machine counts the energy of {domain}")
    return found


def _in_msr(machine: Machine, place: DomainPlace) -> Iterator[Counter]:
    profile = machine.profile
    cpus = profile.topology.cpus
    owners = [profile.topology.cpus_of_die(die)[0] for die in place.dies]
    if place.core is not None:
        owners = [next(cpu.number for cpu in cpus if cpu.core_index == place.core)]
    unit_j = msr_units(profile).get(place.kind)
    for cpu in owners if unit_j is not None else ():
        for address in machine.msr.addresses(cpu):
            register = lookup(address, profile.cpu.id)
            if _kind(register) == place.kind:
                yield Counter(machine.msr, cpu, address, unit_j or Fraction(1))


def _in_mmio(machine: Machine, place: DomainPlace) -> Iterator[Counter]:
    profile = machine.profile
    if place.core is not None or set(profile.topology.dies_of_package(0)) != set(place.dies):
        return
    for offset in machine.mmio.addresses():
        register = lookup(offset, profile.cpu.id, "mmio")
        if _kind(register) == place.kind:
            yield Counter(machine.mmio, 0, offset, machine.counter_units("intel-rapl-mmio")[place.kind])


def _in_tpmi(machine: Machine, place: DomainPlace) -> Iterator[Counter]:
    topology = machine.profile.topology
    for (package, base), kind in tpmi_kinds(machine.profile.tpmi or {}).items():
        if kind != place.kind or package >= topology.packages:
            continue
        if kind != "psys" and set(topology.dies_of_package(package)) != set(place.dies):
            continue
        unit_raw = machine.tpmi.content(base + _TPMI_UNIT, package) or usual_unit(None, "tpmi")
        unit_j = exact_units(unit_raw, "tpmi").energy_j
        for offset in machine.tpmi.addresses(package):
            register = lookup(offset - base, machine.profile.cpu.id, "tpmi")
            if 0 <= offset - base < TPMI_DOMAIN_SIZE and register is not None and register.counter is not None:
                yield Counter(machine.tpmi, package, offset, unit_j)


def _kind(register: Register | None) -> str:
    """The kind of domain that a register counts; empty for one that counts none."""
    if register is None or register.counter is None:
        return ""
    return "cpu-core" if register.scope == "core" else register.domain
