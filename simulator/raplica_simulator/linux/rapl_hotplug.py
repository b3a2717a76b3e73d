# SPDX-License-Identifier: Apache-2.0
"""Packages that follow their processors: the first one brings a package, the last one takes it along.

Mirrors the CPU hotplug callbacks that intel_rapl_msr.c and, before Linux 6.12, processor_thermal_rapl.c each have
for themselves, and how kernel/cpu.c calls them: the callbacks of one bring-up run in the order of their slots, those
of a tear-down in the other, and one that fails undoes those before it.
"""

import os
from collections.abc import Callable, Iterable
from errno import ENODEV

from raplica_simulator.linux.intel_rapl_common import RaplCommon
from raplica_simulator.linux.rapl_domain import RaplInterface

__all__ = ["CpuFollower", "HotplugSlots"]


class CpuFollower:
    """The callbacks of one interface.  ``covers`` says which processors it cares for (all of them by default)."""

    def __init__(
        self, common: RaplCommon, interface: RaplInterface, covers: Callable[[int], bool] = lambda _: True
    ) -> None:
        self._common = common
        self._interface = interface
        self._covers = covers

    def cpu_online(self, cpu: int) -> None:
        """A processor came: register its package with the first one.  OSError (nearly always ENODEV) if that fails."""
        if not self._covers(cpu):
            return
        package = self._common.find_package_of_cpu(self._interface, cpu)
        if package is None:
            package = self._common.add_package_of_cpu(self._interface, cpu)
        package.cpus.add(cpu)

    def cpu_offline(self, cpu: int) -> None:
        """A processor is about to go: the lead moves to the lowest one left, the last one takes the package along."""
        package = self._common.find_package_of_cpu(self._interface, cpu)
        if package is None:
            return
        package.cpus.discard(cpu)
        if not package.cpus:
            self._common.remove_package(package)
        elif package.lead_cpu == cpu:
            package.lead_cpu = min(package.cpus)


class HotplugSlots:
    """Who is told of processors that come and go; one a machine.

    Attributes:
        online: the processors that run.  Whoever reads a register asks, so it is replaced and never copied.
    """

    def __init__(self, cpus: Iterable[int]) -> None:
        self.online = frozenset(cpus)
        # A slot that was given back is the next one to be handed out (cpuhp_reserve_state).
        self._slots: list[CpuFollower | None] = []

    def clear(self, cpus: Iterable[int]) -> None:
        """Forget everybody, and let these processors run."""
        self._slots.clear()
        self.online = frozenset(cpus)

    def add(self, follower: CpuFollower) -> None:
        """Take a slot and tell of every processor that runs (cpuhp_setup_state).

        OSError as the package that fails gave it: those before it are taken away again.
        """
        started: list[int] = []
        for cpu in sorted(self.online):
            try:
                follower.cpu_online(cpu)
            except OSError as error:
                for undone in started:
                    follower.cpu_offline(undone)
                raise OSError(error.errno, os.strerror(error.errno or ENODEV)) from error
            started.append(cpu)
        if None in self._slots:
            self._slots[self._slots.index(None)] = follower
        else:
            self._slots.append(follower)

    def remove(self, follower: CpuFollower) -> None:
        """Tell of every processor that runs as if it went, and give the slot back (cpuhp_remove_state)."""
        for cpu in sorted(self.online):
            follower.cpu_offline(cpu)
        self._slots[self._slots.index(follower)] = None

    def bring_up(self, cpu: int) -> None:
        """A processor comes.  OSError(ENODEV), and it stays down, where one of its packages cannot be registered."""
        told: list[CpuFollower] = []
        for follower in self._slots:
            if follower is None:
                continue
            try:
                follower.cpu_online(cpu)
            except OSError:
                for earlier in reversed(told):
                    earlier.cpu_offline(cpu)
                raise
            told.append(follower)
        self.online |= {cpu}

    def tear_down(self, cpu: int) -> None:
        """A processor goes."""
        for follower in reversed(self._slots):
            if follower is not None:
                follower.cpu_offline(cpu)
        self.online -= {cpu}
