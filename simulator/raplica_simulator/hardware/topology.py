# SPDX-License-Identifier: Apache-2.0
"""The packages, dies, cores and threads of a machine, and the CPU numbers that Linux gives them.

Registers belong to a package, a die or a core (Intel SDM vol. 3B ch. 15, "scope"), while every door to them -
an MSR device, the powercap driver - starts from a CPU number. This module is the one place that turns the one
into the other. Linux numbers the first threads of all cores before the second ones, which is what firmware
tables of real servers lead to.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Cpu:
    """One logical CPU.

    `die` counts from 0 in its package and `core` from 0 in its die; `logical_die` and `core_index` count over
    the whole machine.
    """

    number: int
    package: int
    die: int
    logical_die: int
    core: int
    core_index: int
    thread: int


@dataclass(frozen=True, slots=True)
class Topology:
    """How many of each; every package is alike. Raises ValueError for a count that is not at least 1."""

    packages: int
    dies_per_package: int
    cores_per_die: int
    threads_per_core: int
    cpus: tuple[Cpu, ...] = field(init=False, repr=False, compare=False)
    _cpus_of_die: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("packages", "dies_per_package", "cores_per_die", "threads_per_core"):
            count = getattr(self, name)
            if type(count) is not int or count < 1:
                raise ValueError(f"topology: {name} is {count!r}, it must be a whole number of at least 1")
        cpus = tuple(self._numbered())
        of_die: list[list[int]] = [[] for _ in self.dies]
        for cpu in cpus:
            of_die[cpu.logical_die].append(cpu.number)
        # Derived once because hot paths index them; a frozen dataclass is filled through object.__setattr__.
        object.__setattr__(self, "cpus", cpus)
        object.__setattr__(self, "_cpus_of_die", tuple(tuple(numbers) for numbers in of_die))

    def _numbered(self) -> list[Cpu]:
        cpus: list[Cpu] = []
        for thread in range(self.threads_per_core):
            for core_index in range(self.core_count):
                logical_die, core = divmod(core_index, self.cores_per_die)
                package, die = divmod(logical_die, self.dies_per_package)
                cpus.append(Cpu(len(cpus), package, die, logical_die, core, core_index, thread))
        return cpus

    @property
    def dies(self) -> range:
        """The logical dies of the machine, package by package."""
        return range(self.packages * self.dies_per_package)

    @property
    def core_count(self) -> int:
        """Physical cores in the machine."""
        return self.packages * self.dies_per_package * self.cores_per_die

    def cpus_of_die(self, logical_die: int) -> tuple[int, ...]:
        """CPU numbers on one die, ascending; ValueError for a die that does not exist."""
        self._require_die(logical_die)
        return self._cpus_of_die[logical_die]

    def package_of_die(self, logical_die: int) -> int:
        """The package that a logical die lies in; ValueError for a die that does not exist."""
        self._require_die(logical_die)
        return logical_die // self.dies_per_package

    def die_number(self, package: int, die: int) -> int:
        """The bits of package and die in an APIC id, by which a die is told from those of all other packages.

        Firmware gives the die whole bits, so where a package has three dies the next one begins at 4.
        """
        return package << (self.dies_per_package - 1).bit_length() | die

    def dies_of_package(self, package: int) -> range:
        """The logical dies of one package; ValueError for a package that does not exist."""
        if not 0 <= package < self.packages:
            raise ValueError(f"package {package} does not exist: the machine has packages 0 to {self.packages - 1}")
        return range(package * self.dies_per_package, (package + 1) * self.dies_per_package)

    def cores_of_die(self, logical_die: int) -> range:
        """The machine-wide core numbers on one die; ValueError for a die that does not exist."""
        self._require_die(logical_die)
        return range(logical_die * self.cores_per_die, (logical_die + 1) * self.cores_per_die)

    def _require_die(self, logical_die: int) -> None:
        if not 0 <= logical_die < len(self.dies):
            raise ValueError(f"die {logical_die} does not exist: the machine has dies 0 to {len(self.dies) - 1}")
