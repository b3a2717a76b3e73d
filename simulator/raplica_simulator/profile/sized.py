# SPDX-License-Identifier: Apache-2.0
"""A profile with another number of packages: the same processor in a board with more sockets, or fewer.

Fixtures want what few machines at hand have: the eleventh package is the first whose zone has a letter in its id
(``intel-rapl:a``, named package-10), since the kernel counts zones in hexadecimal.
"""

from collections.abc import Mapping
from dataclasses import replace

from raplica_simulator.hardware.registers import CpuId, lookup
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.load.demand import Load
from raplica_simulator.profile.parts import TopologyTable
from raplica_simulator.profile.profile import Profile
from raplica_simulator.profile.registers import RegisterTable
from raplica_simulator.profile.shape import Where
from raplica_simulator.profile.tables import sized_topology

__all__ = ["with_packages"]


def with_packages(profile: Profile, packages: int) -> Profile:
    """The profile with so many packages: each new one has the registers and the load of an old one, in turn.

    MCHBAR and the platform's meter stay with the packages that have them.  Raises ProfileError for more dies or CPUs
    than are simulated, ValueError for a number below 1 and for a machine with TPMI, where only one package may lead
    the platform.
    """
    before = profile.topology
    if packages < 1:
        raise ValueError(f"packages {packages}: a machine has at least one package")
    if packages == before.packages:
        return profile
    if profile.tpmi is not None:
        raise ValueError(f"packages: {profile.id} has TPMI, which a profile must give for each package: write one")
    counts = TopologyTable(packages, before.dies_per_package, before.cores_per_die, before.threads_per_core)
    topology = sized_topology(counts, Where("packages"))
    registers = _spread(RegisterTable(profile.registers, profile.core_registers), before, topology, profile.cpu.id)
    kept = tuple(fault for fault in profile.faults.registers if fault.package is None or fault.package < packages)
    return replace(
        profile,
        title=f"{profile.title}, with {packages} package{'s' if packages > 1 else ''}",
        topology=topology,
        registers=registers.dies,
        core_registers=registers.cores,
        # Nobody recorded a kernel on this one.
        witnesses=(),
        firmware=None if profile.firmware is None else _spread(profile.firmware, before, topology, profile.cpu.id),
        faults=replace(profile.faults, registers=kept),
        load=None if profile.load is None else _spread_load(profile.load, before.packages, packages),
    )


def _spread(table: RegisterTable, before: Topology, after: Topology, cpu: CpuId) -> RegisterTable:
    """The table for another number of dies: each new one has the words of an old one, in turn."""
    old = len(before.dies)
    return RegisterTable(
        {
            die: table.dies[die] if die < old else _without_platform(table.dies[die % old], cpu)
            for die in after.dies
            if die % old in table.dies
        },
        {
            (die, core): table.cores[die % old, core]
            for die in after.dies
            for core in range(after.cores_per_die)
            if (die % old, core) in table.cores
        },
    )


def _without_platform(words: Mapping[int, int], cpu: CpuId) -> dict[int, int]:
    """The words of a package that has no platform meter: its counter reads 0."""
    found = {address: lookup(address, cpu) for address in words}
    meters = {address for address, one in found.items() if one and one.domain == "psys" and one.counter}
    return {address: 0 if address in meters else raw for address, raw in words.items()}


def _spread_load(load: Load, before: int, packages: int) -> Load:
    """Watts of single cores stand by their package; all others hold for every package alike."""
    cores_uw = {
        (package, die, core): uw
        for package in range(packages)
        for (owner, die, core), uw in load.cores_uw.items()
        if owner == package % before
    }
    return replace(load, cores_uw=cores_uw)
