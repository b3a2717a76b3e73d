# SPDX-License-Identifier: Apache-2.0
"""``/sys/devices/system/cpu`` of a machine: which processors there are, which are up, and the switch of each.

Mirrors drivers/base/cpu.c and the hotplug part of drivers/base/core.c.  Processors come and go behind this tree too
(``machine.cpu(3).offline()``), so each look catches up first: the topology of a processor that is down is gone, and
who held it open gets ENODEV, also when the processor is up again.  What is not about RAPL or the topology (cpufreq,
cpuidle, cache, vulnerabilities and the like) is not there.
"""

from collections.abc import Callable, Collection
from typing import Protocol

from raplica_simulator.linux.cpu_topology import CpuTopology, HasCpus, cpu_list
from raplica_simulator.linux.kstrtox import kstrtobool
from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.linux.sysfs_nodes import Directory

__all__ = ["CpuDevices"]

_KERNEL_MAX = 8191  # CONFIG_NR_CPUS of Debian's kernels, less 1


class _Cpu(Protocol):
    @property
    def is_online(self) -> bool: ...

    def online(self) -> None: ...

    def offline(self) -> None: ...


class _Machine(HasCpus, Protocol):
    """A machine whose processors can be switched."""

    def cpu(self, number: int) -> _Cpu: ...


class CpuDevices:
    """The processors of one machine in a sysfs of their own.

    Attributes:
        sysfs: the tree; its root is what the kernel shows as ``/sys/devices/system/cpu``.
        topology: what the files in ``cpuN/topology`` read.
        when_switched: called when a write here took a processor down or brought it up, and zones with it.
    """

    def __init__(self, machine: _Machine) -> None:
        self.topology = CpuTopology(machine)
        self.sysfs = Sysfs(self.catch_up, machine.kernel)
        self.when_switched: Callable[[], None] = lambda: None
        self._machine = machine
        self._seen: Collection[int] = ()
        self._directories: list[Directory] = []
        self._topologies: dict[int, Directory] = {}
        root = self.sysfs.root
        every = cpu_list(cpu.number for cpu in machine.profile.topology.cpus)
        for name, text in (
            ("possible", every),
            ("present", every),
            ("kernel_max", b"%d\n" % _KERNEL_MAX),
            ("isolated", b"\n"),
        ):
            self.sysfs.make_attribute(root, name, 0o444, lambda text=text: text)  # type: ignore[misc]
        self.sysfs.make_attribute(root, "online", 0o444, lambda: cpu_list(machine.driver.online))
        self.sysfs.make_attribute(root, "offline", 0o444, self._offline)
        for cpu in machine.profile.topology.cpus:
            self._make(cpu.number)
        self.catch_up()

    def _make(self, cpu: int) -> None:
        directory = self.sysfs.make_directory(self.sysfs.root, f"cpu{cpu}")
        self._directories.append(directory)
        # The first processor cannot be switched: 6.1 hides its file unless asked on the command line, 6.5 has none.
        if cpu:
            self.sysfs.make_attribute(
                directory,
                "online",
                0o644,
                lambda: b"1\n" if cpu in self._machine.driver.online else b"0\n",
                lambda data: self._switch(cpu, data),
            )

    def _offline(self) -> bytes:
        """Those that are present and down."""
        online = self._machine.driver.online
        return cpu_list(cpu.number for cpu in self._machine.profile.topology.cpus if cpu.number not in online)

    def _switch(self, cpu: int, data: bytes) -> None:
        """Take a processor down or bring it up (online_store).

        What is so already stays so.  EINVAL for what is no boolean, EBUSY for the last one that is up, and what the
        callbacks of a bring-up say.
        """
        up = kstrtobool(data, self._machine.kernel)
        switch = self._machine.cpu(cpu)
        if up == switch.is_online:
            return
        if up:
            switch.online()
        else:
            switch.offline()
        self.catch_up()
        self.when_switched()

    def catch_up(self) -> None:
        """Let the tree show the processors that are up now; one that went and came back unseen was up throughout."""
        online = self._machine.driver.online
        if online == self._seen:
            return
        for cpu in sorted(set(self._seen) - set(online)):
            self.sysfs.remove(self._topologies.pop(cpu))
        for cpu in sorted(set(online) - set(self._seen)):
            self._show_topology(cpu)
        self._seen = frozenset(online)

    def _show_topology(self, cpu: int) -> None:
        # Hundreds of processors have a dozen files each, of which most programs never open one.
        self._topologies[cpu] = self.sysfs.make_directory(
            self._directories[cpu], "topology", lambda directory: self._fill_topology(directory, cpu)
        )

    def _fill_topology(self, directory: Directory, cpu: int) -> None:
        for name in self.topology.files:
            self.sysfs.make_attribute(
                directory,
                name,
                0o444,
                lambda name=name: self.topology.read(cpu, name),  # type: ignore[misc]
            )
