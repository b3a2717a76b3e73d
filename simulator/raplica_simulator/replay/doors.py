# SPDX-License-Identifier: Apache-2.0
"""What a recording does to a kernel from outside, done to a simulated machine: registers, modules, processors, sleep.

A recording has one table for all registers, as its witness had; a machine has three places.  And it has modules of
its own witness that stand for hardware: which interface such a module brings is told by what its loading touched and
announced, and only then by its name, so that the recording of another witness can be replayed too.
"""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from errno import EIO, ENODEV, EWOULDBLOCK

from raplica_fixtures.recording import Access, ModuleLoad, ModuleUnload, Recording, RegisterChange
from raplica_simulator.hardware.cell import Access as Machined
from raplica_simulator.hardware.registers import MMIO_REGISTERS
from raplica_simulator.linux.cpu_devices import CpuDevices
from raplica_simulator.machine import Machine
from raplica_simulator.replay.layout import ForeignLayout, foreign_layout

__all__ = ["ModuleDoor", "RegisterDoor", "switch_outside"]

_MMIO_OFFSETS = frozenset(register.address for register in MMIO_REGISTERS)
# Below the first MSR of RAPL.
_TPMI_END = 0x600
_ACTIONS = {"set": "poke", "write-mask": "write_mask", "ignore-when-locked": "ignore_when_locked"}
_BINDING = re.compile(r"/intel_rapl_msr/(bind|unbind)\Z")
_CPU_SWITCH = re.compile(r"devices/system/cpu/(cpu\d+/online)")
_COUNT = re.compile(r"\bcount=(\d+)")


class RegisterDoor:
    """The one table of a recording, laid over the register spaces of a machine."""

    def __init__(self, machine: Machine, recording: Recording) -> None:
        self._machine = machine
        self._packages = range(machine.profile.topology.packages)
        loads = [step for step in recording.steps if isinstance(step, ModuleLoad)]
        self._has_headers = machine.profile.tpmi is not None
        self._foreign: dict[int, ForeignLayout] = {}
        for load in loads if not self._has_headers else ():
            for die in self._packages:
                layout = None if die in self._foreign else foreign_layout(load, die)
                if layout is not None:
                    self._foreign[die] = layout
        # A table without a good header can still get one later.
        self._has_headers |= not self._foreign and any("tpmi" in load.module for load in loads)

    def place(self, die: int, register: int) -> tuple[str, int]:
        """The space that a register of the table lies in, and its address there."""
        # Only package 0 has an MCHBAR.
        if die == 0 and register in _MMIO_OFFSETS:
            return "mmio", register
        if die in self._foreign and register in self._foreign[die].offsets:
            return "tpmi", self._foreign[die].offsets[register]
        if self._has_headers and die in self._packages and register < _TPMI_END and register % 8 == 0:
            return "tpmi", register
        return "msr", register

    def line(self, access: Machined) -> str:
        """An access of the machine as the recording's witness would print it."""
        if access.space == "tpmi" and access.die in self._foreign:
            back = {offset: register for register, offset in self._foreign[access.die].offsets.items()}
            access = access._replace(register=back.get(access.register, access.register))
        return str(access)

    def clear(self) -> None:
        """Forget every register."""
        for space in (self._machine.msr, self._machine.mmio, self._machine.tpmi):
            space.clear()
        for die, layout in self._foreign.items():
            for offset, raw in layout.headers.items():
                self._machine.tpmi.poke(offset, raw, die)

    def change(self, step: RegisterChange) -> bool:
        """Do one change; tells whether it is known here."""
        match step:
            case RegisterChange(action="clear"):
                self.clear()
            case RegisterChange(action="fault", die=int(die), register=int(register)):
                for on in ("read", "write"):
                    self._do("inject", die, register, on, EIO if on in (step.faults or ()) else None)
            case RegisterChange(die=int(die), register=int(register), value=int(value)) if step.action in _ACTIONS:
                self._do(_ACTIONS[step.action], die, register, value)
            case _:
                return False
        return True

    def _do(self, action: str, die: int, register: int, *arguments: object) -> None:
        space, address = self.place(die, register)
        if space == "msr":
            getattr(self._machine.msr, action)(self._cpu(die), address, *arguments)
        else:
            getattr(getattr(self._machine, space), action)(address, *arguments, package=die)

    def content(self, die: int, register: int) -> int | None:
        """What a register holds; None where it does not exist."""
        space, address = self.place(die, register)
        if space == "msr":
            return self._machine.msr.content(self._cpu(die), address)
        return (self._machine.mmio if space == "mmio" else self._machine.tpmi).content(address, die)

    def _cpu(self, die: int) -> int:
        return self._machine.profile.topology.cpus_of_die(die)[0]


class ModuleDoor:
    """The modules of a recording: those of the kernel, and those of its witness that stand for hardware."""

    def __init__(self, machine: Machine, registers: RegisterDoor) -> None:
        self._driver = machine.driver
        self._log = machine.msr.log
        self._packages = range(machine.profile.topology.packages)
        self._registers = registers
        # What each module of a witness brought: "mmio", or the package of a TPMI device.
        self._brought: dict[str, list[str | int]] = {}

    def load(self, step: ModuleLoad) -> int | None:
        """Load a module: 0 or the errno; None for one that is no part of a machine."""
        match step.module:
            case "intel_rapl_common":
                return _errno_of(self._driver.load_common)
            case "intel_rapl_msr":
                if not self._driver.loaded:
                    with suppress(OSError):
                        self._driver.load_common()
                return _errno_of(self._driver.load_msr)
        brings = self._brings(step)
        if not brings:
            return None
        errno = 0
        for device in brings:
            # Each coming begins a log of its own; here they are one step.
            before = [*self._log]
            if device == "mmio":
                errno = _errno_of(self._driver.attach_mmio)
            elif isinstance(device, int):
                # A device stays, whether or not its driver takes it.
                with suppress(OSError):
                    self._driver.attach_tpmi(device)
            self._log[:0] = before
        if not errno:
            self._brought[step.module] = brings
        return errno

    def unload(self, step: ModuleUnload) -> int | None:
        """Unload a module: 0 or the errno; None for one that is no part of a machine."""
        match step.module:
            case "intel_rapl_common":
                if self._driver.has_msr:
                    return EWOULDBLOCK  # a module that another one needs (delete_module)
                self._driver.unload()
                return 0
            case "intel_rapl_msr":
                self._driver.unload_msr()
                return 0
        brought = self._brought.pop(step.module, None)
        if brought is None:
            return None
        for device in brought:
            before = [*self._log]
            if device == "mmio":
                self._driver.detach_mmio()
            elif isinstance(device, int):
                self._driver.detach_tpmi(device)
            self._log[:0] = before
        return 0

    def _brings(self, step: ModuleLoad) -> list[str | int]:
        """The devices that a module stands for: "mmio", and packages with a TPMI device."""
        if step.module in ("processor_thermal_rapl", "intel_rapl_tpmi", "intel_vsec_tpmi"):
            return []  # drivers, which wait for their devices
        announced = {word.rpartition("/")[2] for event in step.uevents for word in event[:1] if word.startswith("add@")}
        touched = {self._place(access) for access in step.accesses}
        brings: list[str | int] = []
        if "intel-rapl-mmio" in announced or "mmio" in touched or _asks_for(step, "mmio"):
            brings.append("mmio")
        packages = sorted({place for place in touched if isinstance(place, int)})
        if count := _COUNT.search(step.parameters):
            packages = list(range(int(count[1])))
        if packages or "intel-rapl" in announced or _asks_for(step, "tpmi"):
            brings += packages or self._packages
        return brings

    def _place(self, access: Access) -> str | int | None:
        space, _ = self._registers.place(access.die, access.register)
        return access.die if space == "tpmi" else space


def _asks_for(step: ModuleLoad, interface: str) -> bool:
    """Whether a module is named after an interface, or a parameter of that name is not 0."""
    parameter = re.search(rf"\b{interface}=(\S+)", step.parameters)
    return parameter[1] not in ("0", "n", "N") if parameter else interface in step.module


def _errno_of(call: Callable[[], None]) -> int:
    try:
        call()
    except OSError as error:
        return error.errno or EIO
    return 0


def switch_outside(machine: Machine, path: str, data: bytes) -> bool:
    """Do a write outside powercap that the machine has another door for; tells whether it has one.

    Raises OSError as the write failed; ENOENT stands for a file that is not there.
    """
    if switch := _CPU_SWITCH.fullmatch(path):
        CpuDevices(machine).sysfs.write(switch[1], data)
    elif bound := _BINDING.search(path):
        _bind(machine, bound[1], data)
    elif path == "power/pm_test":
        # It chooses how deep the sleep that follows goes; the notifiers, which are all that is modelled, run in each.
        pass
    elif path == "power/state":
        machine.suspend()
        machine.resume()
    else:
        return False
    return True


def _bind(machine: Machine, verb: str, device: bytes) -> None:
    """A write to the driver's ``bind`` or ``unbind``; the name of any other device is ENODEV."""
    driver = machine.driver
    if driver.has_msr and device.rstrip(b"\n") != b"intel_rapl_msr.0":
        raise OSError(ENODEV, os.strerror(ENODEV))
    driver.bind() if verb == "bind" else driver.unbind()
