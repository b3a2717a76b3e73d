# SPDX-License-Identifier: Apache-2.0
"""Whose energy a register or a zone shows, by the names under which :meth:`.Machine.truth_uj` knows domains.

Whoever holds what a program has read against the joules that were really spent begins here; the other way round,
from a domain to its registers, goes :func:`.counters_of`.
"""

from collections.abc import Iterator
from typing import NamedTuple

from raplica_simulator.hardware.registers import lookup
from raplica_simulator.hardware.topology import Cpu
from raplica_simulator.linux.rapl_models import counts_dies_through
from raplica_simulator.linux.sysfs_nodes import Attribute, Directory
from raplica_simulator.machine import Machine
from raplica_simulator.machine_registers import psys_is_wired

__all__ = ["ZonePlace", "domain_of_msr", "domains", "find_zone", "truth_uj", "zones"]

_POWERCAP = ("devices", "virtual", "powercap")
_RAPL = "intel-rapl"


class ZonePlace(NamedTuple):
    """A zone in the tree: its id (``intel-rapl:0:0``), its names (``package-0/core``), its directory.

    The names of other control types than intel-rapl have that of the type before them, as truths have.
    """

    id: str
    names: str
    directory: Directory

    def energy_uj(self) -> int | None:
        """What its counter shows, past whatever faults wait for programs there; None where it has none.

        OSError where the driver itself fails.
        """
        text = _text(self.directory, "energy_uj")
        return int(text) if text else None


def domains(machine: Machine) -> list[str]:
    """Every domain that an MSR or a zone shows now and that there is a truth about."""
    found: dict[str, None] = {}
    cpus = machine.profile.topology.cpus
    first_of_die = {cpu.logical_die: cpu for cpu in reversed(cpus)}
    first_of_core = {cpu.core_index: cpu for cpu in reversed(cpus)}
    for _, first in sorted(first_of_die.items()):
        for address in machine.msr.addresses(first.number):
            register = lookup(address, machine.profile.cpu.id)
            if register is None or register.counter is None:
                continue
            # Only where cores count by themselves are there many to look at.
            each = machine.profile.topology.cores_of_die(first.logical_die) if register.scope == "core" else ()
            for cpu in (first_of_core[core] for core in each) if each else (first,):
                domain = domain_of_msr(machine, cpu.number, address)
                if domain is not None:
                    found[domain] = None
    for zone in zones(machine):
        if truth_uj(machine, zone.names) is not None:
            found[zone.names] = None
    return list(found)


def truth_uj(machine: Machine, domain: str) -> int | None:
    """What a domain has spent; None where there is no truth about it, as of a zone that shows power alone."""
    try:
        return machine.truth_uj(domain)
    except ValueError:
        return None


def domain_of_msr(machine: Machine, cpu: int, address: int) -> str | None:
    """Whose energy an MSR counts on a processor; None where it counts none, or the processor does not exist."""
    profile = machine.profile
    register = lookup(address, profile.cpu.id)
    if register is None or register.counter is None or not 0 <= cpu < len(profile.topology.cpus):
        return None
    place = profile.topology.cpus[cpu]
    if register.domain == "psys":
        return "psys" if psys_is_wired(profile, address, place.logical_die) else None
    if register.scope == "core":
        each = profile.topology.dies_per_package * profile.topology.cores_per_die
        return f"package-{place.package}/core-{place.core_index % each}"
    return f"package-{place.package}{_die(machine, place)}" + (
        "" if register.domain == "package" else f"/{register.domain}"
    )


def _die(machine: Machine, place: Cpu) -> str:
    """What stands behind a package's name where it has several dies, as the machine's kernel counts them."""
    topology = machine.profile.topology
    if topology.dies_per_package == 1:
        return ""
    through = counts_dies_through(machine.profile.cpu.id, machine.kernel)
    return f"-die-{topology.die_number(place.package, place.die) if through else place.die}"


def zones(machine: Machine) -> Iterator[ZonePlace]:
    """Every zone in the tree, a parent before its children, by their numbers."""
    above = machine.sysfs.root
    for name in _POWERCAP:
        below = above.children.get(name)
        if not isinstance(below, Directory):
            return
        above = below
    for name, control_type in above.children.items():
        if isinstance(control_type, Directory):
            yield from _below(control_type, "" if name == _RAPL else f"{name}/")


def _below(above: Directory, names: str) -> Iterator[ZonePlace]:
    found = [one for name, one in above.children.items() if name.startswith(f"{above.name}:")]
    for zone in sorted(found, key=lambda one: int(one.name.rpartition(":")[2], 16)):
        if isinstance(zone, Directory):
            here = names + _text(zone, "name")
            yield ZonePlace(zone.name, here, zone)
            yield from _below(zone, f"{here}/")


def find_zone(machine: Machine, path: str) -> str | None:
    """The names of the zone to which a file belongs, by its path below ``/sys`` without links; None for no zone."""
    folder = path.rpartition("/")[0]
    return next((zone.names for zone in zones(machine) if zone.directory.path == folder), None)


def _text(zone: Directory, name: str) -> str:
    """An attribute's text, past whatever faults wait for programs there."""
    attribute = zone.children.get(name)
    if not isinstance(attribute, Attribute) or attribute.show is None:
        return ""
    return attribute.show().decode(errors="replace").removesuffix("\n")
