# SPDX-License-Identifier: Apache-2.0
"""Events that make calls fail: an errno from a file of sysfs or from a register, a tree that is masked, a closed msr.

They hold for everybody, root included: a fault on ``open`` is raised where sysfs itself refuses an open.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from errno import EIO
from stat import S_ISDIR, S_ISREG

from raplica_simulator.faults.event import Event, cpus_of, read_count
from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.machine import Machine
from raplica_simulator.profile.parts import number, read_address, read_errno
from raplica_simulator.profile.shape import Where, describe, text

__all__ = ["ERROR_VERBS", "Fault", "Heal", "Mask", "MsrDevice", "Unmask"]

_CALLS = ("open", "read", "write")
_POWERCAP = "devices/virtual/powercap"
_MOST_PATHS = 10_000
_CPU = number(0, 8191)
_PACKAGE = number(0, 4095)


def _read_paths(value: object, where: Where) -> tuple[str, ...]:
    """One path below /sys, or an array of them."""
    given = value if isinstance(value, list) else [value]
    if not given or len(given) > _MOST_PATHS:
        raise where.error(f"must be a path below /sys or an array of 1 to {_MOST_PATHS} of them")
    return tuple(_read_path(one, where) for one in given)


def _read_path(value: object, where: Where) -> str:
    if not isinstance(value, str):
        raise where.error(f"must be a path below /sys, not {describe(value)}")
    path = text(value, where).removeprefix("/sys/")
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise where.error("must be a path below /sys such as class/powercap/intel-rapl:0/energy_uj")
    return path


@dataclass(frozen=True, slots=True)
class _Broken(Event):
    """What a fault and its healing name: files of sysfs, or a register."""

    paths: tuple[str, ...] = field(default=(), metadata={"key": "path", "parse": _read_paths})
    register: int | None = field(default=None, metadata={"parse": read_address})
    cpu: int | None = field(default=None, metadata=_CPU)
    package: int | None = field(default=None, metadata=_PACKAGE)

    def _check_place(self, machine: Machine, on: str | None) -> None:
        if bool(self.paths) == (self.register is not None):
            raise ValueError("give either path or register: what fails is a file of sysfs or an MSR")
        if self.register is None:
            if (self.cpu, self.package) != (None, None):
                raise ValueError("cpu and package belong to a register: leave them out beside path")
            for path in self.paths:
                self._check_file(machine, path)
            return
        if on == "open":
            raise ValueError('a register is not opened: say on = "read" or "write"')
        cpus = cpus_of(machine, self.cpu, self.package)
        if all(machine.msr.content(cpu, self.register) is None for cpu in cpus):
            raise ValueError(f"there is no register 0x{self.register:X} here: it faults already")

    @staticmethod
    def _check_file(machine: Machine, path: str) -> None:
        try:
            kind = machine.sysfs.stat(path).st_mode
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}: name a file that is there at that moment") from None
        if not S_ISREG(kind):
            raise ValueError(f"{path}: is no file: name an attribute in it, such as {path}/energy_uj")

    def _break(self, machine: Machine, on: str, errno: int | None, after: int = 0, times: int | None = None) -> None:
        for path in self.paths:
            machine.sysfs.inject(path, on, errno, after, times)
        if self.register is not None:
            for cpu in cpus_of(machine, self.cpu, self.package):
                # Several processors share an instance: the last of them begins its count, before anybody reads.
                if machine.msr.content(cpu, self.register) is not None:
                    machine.msr.inject(cpu, self.register, on, errno, after, times)


@dataclass(frozen=True, slots=True)
class Fault(_Broken):
    """``do = "fault"``: calls on files or on a register fail with an errno.

    ``after`` calls still pass, then ``times`` fail (left out: all); ``read = 3`` is the third read alone.  A register
    without ``cpu`` and ``package`` fails on every processor that has it, and each of its instances counts for itself.
    """

    on: str = field(default="read", metadata={"choices": _CALLS})
    errno: int = field(default=EIO, metadata={"parse": read_errno})
    after: int = field(default=0, metadata=number(0, 2**63 - 1))
    times: int | None = field(default=None, metadata={"parse": read_count})
    read: int | None = field(default=None, metadata={"parse": read_count})

    def check(self, machine: Machine) -> None:
        """The files or the register are there, and the counts do not contradict each other."""
        if self.read is not None and (self.on != "read" or self.after):
            raise ValueError('read counts reads by itself: leave after out, and on unless it is "read"')
        self._check_place(machine, self.on)

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Inject it."""
        if self.read is None:
            self._break(machine, self.on, self.errno, self.after, self.times)
        else:
            self._break(machine, self.on, self.errno, self.read - 1, self.times or 1)

    def opposite(self) -> Heal:
        """Heal what it broke."""
        return Heal(self.paths, self.register, self.cpu, self.package, self.on)


@dataclass(frozen=True, slots=True)
class Heal(_Broken):
    """``do = "heal"``: the fault on files or a register ends; without ``on`` all their faults do."""

    on: str | None = field(default=None, metadata={"choices": _CALLS})

    def check(self, machine: Machine) -> None:
        """The files or the register are there."""
        self._check_place(machine, self.on)

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Heal it."""
        calls = _CALLS if self.register is None else _CALLS[1:]
        for on in calls if self.on is None else (self.on,):
            self._break(machine, on, None)


@dataclass(frozen=True, slots=True)
class Mask(Event):
    """``do = "mask"``: an empty, read-only directory is mounted over one, as container runtimes hide powercap."""

    path: str = field(default=_POWERCAP, metadata={"parse": _read_path})

    def check(self, machine: Machine) -> None:
        """The directory is there."""
        try:
            kind = machine.sysfs.stat(self.path).st_mode
        except OSError as error:
            raise ValueError(f"{self.path}: {error.strerror}: name a directory that is there at that moment") from None
        if not S_ISDIR(kind):
            raise ValueError(f"{self.path}: is no directory: only directories are masked here")
        if machine.sysfs.is_masked(self.path):
            raise ValueError(f"{self.path}: is masked already: unmask it before")

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Mount it."""
        machine.sysfs.mask(self.path)

    def opposite(self) -> Unmask:
        """Take it away again."""
        return Unmask(self.path)


@dataclass(frozen=True, slots=True)
class Unmask(Event):
    """``do = "unmask"``: the mask goes and what lies below shows again."""

    path: str = field(default=_POWERCAP, metadata={"parse": _read_path})

    def check(self, machine: Machine) -> None:
        """There is a mask."""
        try:
            masked = machine.sysfs.is_masked(self.path)
        except OSError:
            masked = False
        if not masked:
            raise ValueError(f'{self.path}: is not masked at that moment: do = "mask" comes before')

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Unmount it."""
        machine.sysfs.unmask(self.path)


@dataclass(frozen=True, slots=True)
class MsrDevice(Event):
    """``do = "msr-device"``: the parameter ``allow_writes`` of the module msr, and a kernel that is locked down."""

    allow_writes: str = field(default="default", metadata={"choices": ("on", "off", "default")})
    lockdown: bool = False

    def check(self, machine: Machine) -> None:
        """Every machine has the module."""

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Set both."""
        module.allow_writes = self.allow_writes
        module.lockdown = self.lockdown

    def opposite(self) -> MsrDevice:
        """As it is after the module was loaded."""
        return MsrDevice()


ERROR_VERBS: dict[str, type[Event]] = {
    "fault": Fault,
    "heal": Heal,
    "mask": Mask,
    "unmask": Unmask,
    "msr-device": MsrDevice,
}
