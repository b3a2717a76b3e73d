# SPDX-License-Identifier: Apache-2.0
"""The reference reader as a subject: it reads a simulated machine in process, and the machine knows the truth.

The reader asks three calls of the tree that it reads; a simulated sysfs answers them itself, so no file and no
system call stands between the two.
"""

from raplica_conformance.subjects.simulator import SimulatedMachine, SimulatedTree
from raplica_reader import Meter, Sampler, discover

__all__ = ["ReferenceReader"]


class ReferenceReader:
    """raplica_reader on one machine."""

    kind = "reader"
    can: frozenset[str] = frozenset()

    def __init__(self, machine: SimulatedMachine) -> None:
        self._machine = machine
        self.name = f"raplica-reader:{machine.name}"
        self.kernel = machine.kernel
        self.arguments = machine.arguments

    def fresh(self) -> "ReaderRun":
        """The reader before its first sample, on a machine that nobody has touched."""
        return ReaderRun(self._machine.anew(), self.name)


class ReaderRun:
    """The reader at work."""

    can: frozenset[str] = frozenset()

    def __init__(self, tree: SimulatedTree, name: str) -> None:
        self.name = name
        self.kernel = tree.kernel
        self.tree = tree
        self._zones = discover(tree)
        self._sampler = Sampler(self._zones, clock=lambda: tree.clock.now_ns)
        self._meter = Meter()

    def listed(self) -> dict[str, str]:
        """The path of each zone by its id."""
        return {zone.id: zone.path for zone in self._zones}

    def sample(self) -> None:
        """Take one sample and book it."""
        self._meter.add(self._sampler.sample())

    def restart(self) -> None:
        """Begin a new series."""
        self._meter = Meter()

    def spent_uj(self) -> dict[str, int | None]:
        """What each zone spent from the first sample to the latest, by id."""
        return {delta.zone.id: delta.energy_uj for delta in self._meter.total()}

    def truth_uj(self, path: str) -> int | None:
        """What the machine knows; nothing about zones without a meter."""
        try:
            return self.tree.machine.truth_uj(path)
        except ValueError:
            return None

    def break_reads(self, path: str, errno: int) -> None:
        """Let the kernel refuse every read of the attribute from now on."""
        self.tree.machine.sysfs.inject(path, on="read", errno=errno)
