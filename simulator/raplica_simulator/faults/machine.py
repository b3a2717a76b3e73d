# SPDX-License-Identifier: Apache-2.0
"""Events that happen to the machine as a whole: processors, driver, sleep, load, and what firmware writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from decimal import Decimal

from raplica_simulator.faults.event import Event, cpus_of
from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.load.control import merge_load
from raplica_simulator.load.demand import NAMES, Watts
from raplica_simulator.machine import Machine
from raplica_simulator.profile.parts import number, read_address
from raplica_simulator.profile.registers import raw_value
from raplica_simulator.profile.tables import read_watts

__all__ = [
    "MACHINE_VERBS",
    "LoadDriver",
    "Offline",
    "Online",
    "Poke",
    "Reset",
    "Resume",
    "SetLoad",
    "Suspend",
    "UnloadDriver",
]

_CPU = number(0, 8191)
_PACKAGE = number(0, 4095)
_WATTS = {"parse": read_watts}


def _check_detects_at_once(machine: Machine) -> None:
    """Refuse what makes the first driver look for domains: it sleeps meanwhile, and an event takes no time."""
    if not machine.kernel.split_driver:
        raise ValueError(f"the driver of Linux {machine.kernel.version} sleeps while it detects: use a later kernel")


@dataclass(frozen=True, slots=True)
class _OfCpus(Event):
    """What happens to one processor, or to all of a package."""

    cpu: int | None = field(default=None, metadata=_CPU)
    package: int | None = field(default=None, metadata=_PACKAGE)

    def _cpus(self, machine: Machine) -> list[int]:
        if self.cpu is None and self.package is None:
            raise ValueError("say which: cpu = 3, or package = 1 for all that it has")
        return cpus_of(machine, self.cpu, self.package)


@dataclass(frozen=True, slots=True)
class Offline(_OfCpus):
    """``do = "offline"``: processors go down; the last one of a package takes the package's zones along."""

    def check(self, machine: Machine) -> None:
        """One processor is left."""
        if not machine.driver.online - set(self._cpus(machine)):
            raise ValueError("no processor would be left: the last one cannot go down")

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Take them down, the highest first."""
        for cpu in sorted(machine.driver.online.intersection(self._cpus(machine)), reverse=True):
            machine.cpu(cpu).offline()

    def opposite(self) -> Online:
        """They come up again."""
        return Online(self.cpu, self.package)


@dataclass(frozen=True, slots=True)
class Online(_OfCpus):
    """``do = "online"``: processors come up; the first one of a package brings its zones, under the lowest free ids."""

    def check(self, machine: Machine) -> None:
        """They exist."""
        self._cpus(machine)
        _check_detects_at_once(machine)

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Bring them up, the lowest first."""
        for cpu in self._cpus(machine):
            machine.cpu(cpu).online()


@dataclass(frozen=True, slots=True)
class _Plain(Event):
    """What needs no word more."""

    def check(self, machine: Machine) -> None:
        """Every machine can."""


@dataclass(frozen=True, slots=True)
class UnloadDriver(_Plain):
    """``do = "unload-driver"``: the RAPL modules go, and their trees."""

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Unload them."""
        machine.driver.unload()

    def opposite(self) -> LoadDriver:
        """They come back."""
        return LoadDriver()


@dataclass(frozen=True, slots=True)
class LoadDriver(_Plain):
    """``do = "load-driver"``: the modules come, and detect domains anew."""

    def check(self, machine: Machine) -> None:
        """The driver takes no time for it."""
        _check_detects_at_once(machine)

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Load them."""
        machine.driver.load()


@dataclass(frozen=True, slots=True)
class Suspend(_Plain):
    """``do = "suspend"``: the machine goes to sleep; its clock and its load go on."""

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Go to sleep."""
        machine.suspend()

    def opposite(self) -> Resume:
        """It wakes up."""
        return Resume()


@dataclass(frozen=True, slots=True)
class Resume(_Plain):
    """``do = "resume"``: it wakes up; firmware loads ``[firmware]``, then the driver its limits."""

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Wake up."""
        machine.resume()


@dataclass(frozen=True, slots=True)
class Reset(_Plain):
    """``do = "reset"``: the reset button; registers as at time 0, the kernel boots anew, all processors are up."""

    def check(self, machine: Machine) -> None:
        """The driver takes no time to come up."""
        _check_detects_at_once(machine)

    def do(self, machine: Machine, module: MsrModule) -> None:
        """Push it."""
        machine.reset()
        module.allow_writes = "default"


@dataclass(frozen=True, slots=True)
class SetLoad(Event):
    """``do = "load"``: domains want other watts from now on, in every package or ``on_package``."""

    package: int | Decimal | None = field(default=None, metadata=_WATTS)
    core: int | Decimal | None = field(default=None, metadata=_WATTS)
    uncore: int | Decimal | None = field(default=None, metadata=_WATTS)
    dram: int | Decimal | None = field(default=None, metadata=_WATTS)
    psys: int | Decimal | None = field(default=None, metadata=_WATTS)
    on_package: int | None = field(default=None, metadata=_PACKAGE)

    def check(self, machine: Machine) -> None:
        """The watts fit the machine and what it draws."""
        watts, topology = self._watts(), machine.profile.topology
        if not watts:
            raise ValueError(f"names no watts: give some of {', '.join(NAMES)}")
        if self.on_package is not None:
            topology.dies_of_package(self.on_package)
        for package in range(topology.packages) if self.on_package is None else (self.on_package,):
            merge_load(machine.load.now(package), watts).check(topology)

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Set them."""
        machine.load.set(cores=None, on_package=self.on_package, **self._watts())

    def _watts(self) -> dict[str, Watts]:
        given = {one.name: getattr(self, one.name) for one in fields(self) if one.name in NAMES}
        return {name: watts for name, watts in given.items() if watts is not None}


@dataclass(frozen=True, slots=True)
class Poke(Event):
    """``do = "poke"``: firmware lets a register hold a value, without the rules that hold for a write.

    ``space`` is msr (``cpu``, ``package`` or all that have it), mmio, or tpmi (``package``).  A limit that is poked
    binds at once; the driver learns of it when it reads.
    """

    register: int = field(metadata={"parse": read_address})
    value: int = field(metadata={"parse": raw_value})
    space: str = field(default="msr", metadata={"choices": ("msr", "mmio", "tpmi")})
    cpu: int | None = field(default=None, metadata=_CPU)
    package: int | None = field(default=None, metadata=_PACKAGE)

    def check(self, machine: Machine) -> None:
        """There is such a register."""
        if not self._writers(machine):
            raise ValueError(f"there is no register 0x{self.register:X} in {self.space} there")

    def do(self, machine: Machine, module: MsrModule) -> None:  # noqa: ARG002 - all events have one signature
        """Let it hold the value."""
        for write in self._writers(machine):
            write()

    def _writers(self, machine: Machine) -> list[Callable[[], None]]:
        """What pokes each instance; several for one that processors share change nothing."""
        msr, register, value = machine.msr, self.register, self.value
        if self.space == "msr":
            cpus = cpus_of(machine, self.cpu, self.package)
            return [_poking(msr.poke, cpu, register, value) for cpu in cpus if msr.content(cpu, register) is not None]
        if self.cpu is not None:
            raise ValueError(f"{self.space} belongs to no cpu: leave cpu out")
        words = machine.mmio if self.space == "mmio" else machine.tpmi
        packages = [one for one in words.packages() if self.package in (None, one)]
        there = [one for one in packages if words.content(register, one) is not None]
        return [_poking(words.poke, register, value, one) for one in there]


def _poking(poke: Callable[[int, int, int], None], *words: int) -> Callable[[], None]:
    return lambda: poke(*words)


MACHINE_VERBS: dict[str, type[Event]] = {
    "load": SetLoad,
    "offline": Offline,
    "online": Online,
    "unload-driver": UnloadDriver,
    "load-driver": LoadDriver,
    "suspend": Suspend,
    "resume": Resume,
    "reset": Reset,
    "poke": Poke,
}
