# SPDX-License-Identifier: Apache-2.0
"""A simulated machine: the only module of the suite that imports the simulator, and the subject that can everything.

No clause meets what another one wrote: each gets a machine that is as new. A machine that was only read is as new
as one just made, so a new one is made only after a write or after time has passed. Time stands still but for
`advance`.
"""

import os
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from raplica_conformance.clause import NEEDS
from raplica_conformance.clauses._reading import AUXILIARY, TPMI_DEVICE
from raplica_conformance.subject import Crashed, Mode, Stat, User
from raplica_conformance.subjects.files import kind_of, shown
from raplica_simulator import KernelCrash, Machine, Profile, VirtualClock, load_profile

__all__ = ["SimulatedMachine", "SimulatedTree"]

_FLAGS = {"r": os.O_RDONLY, "w": os.O_WRONLY}
_UIDS = {"root": 0, "nobody": 65534}
_SIMULATED_DRIVERS = frozenset({"intel-rapl", "intel-rapl-mmio", "dtpm"})

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def _may_crash(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Tell the judge of a kernel that dies of a call in the words of the suite."""

    @wraps(method)
    def call(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        try:
            return method(*arguments, **named)
        except KernelCrash as crash:
            raise Crashed(str(crash)) from crash

    return call


def _can(profile: Profile) -> frozenset[str]:
    """Everything; but registers that are a plain table have none of a processor's rules."""
    return NEEDS if profile.rules == "silicon" else NEEDS - {"silicon"}


def _facts(profile: Profile) -> dict[str, str]:
    """What a report says of the machine."""
    cpu, there = profile.cpu, profile.topology
    return {
        "machine": profile.title,
        "CPU": f"{cpu.name} ({cpu.id.vendor}, family {cpu.id.family}, model {cpu.id.model})",
        "topology": f"{there.packages} x {there.dies_per_package} x {there.cores_per_die} x {there.threads_per_core}"
        " (packages, dies of each, cores of each, threads of each)",
        "registers": profile.source,
    }


class SimulatedMachine:
    """A machine to be judged: a built-in id, a profile or a recording, on one kernel.

    Raises ValueError in one line for a profile that is wrong and for a kernel that is not simulated.
    """

    def __init__(self, machine: str, kernel: str | None = None) -> None:
        self.profile = load_profile(machine)
        self.can = _can(self.profile)
        first = Machine.from_profile(self.profile, kernel=kernel)
        self._version = first.kernel.version
        self.kernel = first.kernel.release
        # As it was typed: two files may call their machine the same.
        self.name = f"{shown(machine)}@{self._version}"
        self.arguments = ("--machine", machine, "--kernel", self._version)
        self.facts = _facts(self.profile)
        self._latest: SimulatedTree | None = None

    def fresh(self) -> "SimulatedTree":
        """The tree of a machine that nobody has touched."""
        # Faults that a profile schedules count the reads, so there even a read leaves a trace.
        if self._latest is None or self._latest.touched or self.profile.faults.sysfs:
            self._latest = self.anew()
        return self._latest

    def anew(self) -> "SimulatedTree":
        """The tree of a machine that is the caller's alone."""
        return SimulatedTree(self.profile, self._version, self.name)


class SimulatedTree:
    """The provider of one machine; `touched` once anything but a read was done to it."""

    def __init__(self, profile: Profile, kernel: str, name: str) -> None:
        self.can = _can(profile)
        self.clock = VirtualClock()
        self.machine = Machine.from_profile(profile, kernel=kernel, clock=self.clock)
        self.name = name
        self.kernel = self.machine.kernel.release
        # These have drivers here: a control type of such a name which the profile brings itself is somebody else's.
        own = {kind.name for kind in profile.control_types if kind.driver is None}
        self.composed = frozenset(own & _SIMULATED_DRIVERS)
        self.touched = False

    def listdir(self, path: str) -> list[str]:
        """The names in the kernel's order."""
        if path == AUXILIARY and "tpmi" in self.machine.driver.interfaces:
            # The machine's tree holds powercap alone; this is how a program tells TPMI from MSRs.
            return [f"{TPMI_DEVICE}.0"]
        return self.machine.sysfs.listdir(path)

    def readlink(self, path: str) -> str:
        """The target as the kernel writes it."""
        return self.machine.sysfs.readlink(path)

    def stat(self, path: str) -> Stat:
        """What lstat gives."""
        found = self.machine.sysfs.stat(path)
        kind, mode = kind_of(found.st_mode)
        return Stat(kind, mode, found.st_nlink, found.st_size, found.st_uid, found.st_gid)

    @_may_crash
    def read(self, path: str) -> bytes:
        """What root reads."""
        return self.machine.sysfs.read(path)

    @_may_crash
    def write(self, path: str, data: bytes) -> int:
        """One write by root."""
        self.touched = True
        return self.machine.sysfs.write(path, data)

    def open_errno(self, path: str, mode: Mode, user: User) -> int:
        """The errno of open, 0 if it opens."""
        try:
            self.machine.sysfs.open(path, _FLAGS[mode], uid=_UIDS[user]).close()
        except OSError as error:
            return error.errno or 0
        return 0

    def msr_read(self, cpu: int, register: int) -> int:
        """One rdmsr."""
        return self.machine.msr.read(cpu, register)

    @_may_crash
    def msr_write(self, cpu: int, register: int, value: int) -> None:
        """One wrmsr."""
        self.touched = True
        self.machine.msr.write(cpu, register, value)

    def cpus(self) -> list[int]:
        """The CPUs that are online."""
        count = len(self.machine.profile.topology.cpus)
        return [number for number in range(count) if self.machine.cpu(number).is_online]

    def advance(self, nanoseconds: int) -> None:
        """Move the machine's clock."""
        self.touched = True
        self.clock.advance(nanoseconds=nanoseconds)
