# SPDX-License-Identifier: Apache-2.0
"""The processors as Windows counts them, in groups of at most 64, and which of them a thread runs on.

Mirrors KeGetProcessorNumberFromIndex, KeQueryMaximumProcessorCountEx, KeSetSystemGroupAffinityThread with its
KeRevertToUserGroupAffinityThread, and SetThreadGroupAffinity.

Windows counts the threads of a core one after the other, core by core and package by package, where Linux counts the
first threads of all cores before the second ones; *inferred* from the order of APIC ids, which is what Windows goes by.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from raplica_simulator.hardware.topology import Cpu, Topology

__all__ = ["GROUP_SIZE", "GroupAffinity", "Processor", "Processors", "Thread"]

#: What one group holds at most: the bits of an affinity mask.
GROUP_SIZE = 64


class GroupAffinity(NamedTuple):
    """A group and a mask of its processors; all zeros where KeSetSystemGroupAffinityThread has none to give back."""

    group: int
    mask: int


_NO_AFFINITY = GroupAffinity(0, 0)


@dataclass(frozen=True, slots=True)
class Processor:
    """One logical processor.

    ``index`` counts over the whole machine, ``number`` in the group; ``cpu`` is the same processor as the hardware
    and Linux count it.
    """

    index: int
    group: int
    number: int
    cpu: Cpu


class Processors:
    """All processors of a machine.

    A package is a NUMA node here, and a node is never torn over two groups unless it is larger than one; as many
    nodes share a group as fit.

    Attributes:
        active: the processors that run, by index.
        groups: the same, by group and number.
        maximum: how many there could be; above the active ones where slots for more are empty.
    """

    def __init__(self, topology: Topology, *, group_size: int = GROUP_SIZE, empty_slots: int = 0) -> None:
        """``group_size`` is what ``bcdedit /set groupsize`` sets for tests, ``empty_slots`` waits for hot-add.

        ValueError for a size that is not 1 to 64, or a negative number of slots.
        """
        if not 1 <= group_size <= GROUP_SIZE:
            raise ValueError(f"group_size is {group_size}, give 1 to {GROUP_SIZE}")
        if empty_slots < 0:
            raise ValueError(f"empty_slots is {empty_slots}, give 0 or more")
        self.groups: tuple[tuple[Processor, ...], ...] = ()
        index = 0
        for group, cpus in enumerate(_grouped(topology, group_size)):
            self.groups += (tuple(Processor(index + number, group, number, cpu) for number, cpu in enumerate(cpus)),)
            index += len(cpus)
        self.active = tuple(processor for group_ in self.groups for processor in group_)
        self.maximum = len(self.active) + empty_slots

    def is_valid(self, group: int, mask: int) -> bool:
        """Whether there is such a group, and the mask names processors of it and no others."""
        return 0 <= group < len(self.groups) and 0 < mask < 1 << len(self.groups[group])


class Thread:
    """One thread of a program, and where it runs.

    It runs on its ideal processor wherever its affinity lets it, and on the lowest of the processors allowed
    otherwise; a real scheduler may choose any of those (*inferred*).

    Attributes:
        administrator: whether its token is elevated.
        last_error: what GetLastError gives; no call that succeeds clears it.
        affinity: where the program lets it run.
        system_affinity: where a driver has put it; None where it is the program's affinity that counts.
    """

    def __init__(self, processors: Processors, *, cpu: int = 0, administrator: bool = True) -> None:
        """``cpu`` is the index of its ideal processor; ValueError where there is none."""
        if not 0 <= cpu < len(processors.active):
            raise ValueError(f"there is no processor {cpu}; this machine has 0 to {len(processors.active) - 1}")
        ideal = processors.active[cpu]
        self._processors = processors
        self._ideal = ideal
        self.administrator = administrator
        self.last_error = 0
        self.affinity = GroupAffinity(ideal.group, (1 << len(processors.groups[ideal.group])) - 1)
        self.system_affinity: GroupAffinity | None = None

    @property
    def processor(self) -> Processor:
        """The processor that it runs on."""
        return self._chosen(self.system_affinity or self.affinity)

    @property
    def cpu(self) -> int:
        """That processor's index."""
        return self.processor.index

    def set_affinity(self, group: int, mask: int) -> GroupAffinity | None:
        """As SetThreadGroupAffinity: the previous affinity, or None, and nothing changed, for one that is not valid."""
        if not self._processors.is_valid(group, mask):
            return None
        previous, self.affinity = self.affinity, GroupAffinity(group, mask)
        self._ideal = self._chosen(self.affinity)
        return previous

    def set_system_affinity(self, group: int, mask: int) -> GroupAffinity:
        """As KeSetSystemGroupAffinityThread: the previous system affinity, zeros where there was none.

        An affinity that is not valid, an empty mask among them, changes nothing and gives zeros.
        """
        if not self._processors.is_valid(group, mask):
            return _NO_AFFINITY
        previous, self.system_affinity = self.system_affinity or _NO_AFFINITY, GroupAffinity(group, mask)
        return previous

    def revert_affinity(self, previous: GroupAffinity) -> None:
        """As KeRevertToUserGroupAffinityThread: zeros give the thread back to the program's affinity."""
        self.system_affinity = previous if previous.mask else None

    def _chosen(self, affinity: GroupAffinity) -> Processor:
        if self._ideal.group == affinity.group and affinity.mask >> self._ideal.number & 1:
            return self._ideal
        lowest = (affinity.mask & -affinity.mask).bit_length() - 1
        return self._processors.groups[affinity.group][lowest]


def _grouped(topology: Topology, group_size: int) -> Iterator[list[Cpu]]:
    """The processors of each group, in the order of Windows."""
    ordered = sorted(topology.cpus, key=lambda cpu: (cpu.core_index, cpu.thread))
    group: list[Cpu] = []
    for part in _parts(ordered, group_size):
        if group and len(group) + len(part) > group_size:
            yield group
            group = []
        group = group + part
    yield group


def _parts(cpus: Iterable[Cpu], group_size: int) -> Iterator[list[Cpu]]:
    """The nodes, and of one that is larger than a group as many equal parts as it takes."""
    for _, node in groupby(cpus, key=lambda cpu: cpu.package):
        of_node = list(node)
        count = -(-len(of_node) // group_size)
        for part in range(count):
            yield of_node[len(of_node) * part // count : len(of_node) * (part + 1) // count]
