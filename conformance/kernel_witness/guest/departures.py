# SPDX-License-Identifier: Apache-2.0
"""Probes in which something goes and comes back: processors, the driver, the whole machine to sleep."""

from __future__ import annotations

import os

from kernel_witness.guest.calls import Held
from kernel_witness.guest.files import touch_all
from kernel_witness.guest.machine import Machine, control_types, kind_of, zones_of_die
from kernel_witness.guest.recorder import Recorder
from kernel_witness.guest.registers import registers_of_zones

__all__ = [
    "crash_rebind",
    "held",
    "hotplug",
    "hotplug_changes",
    "hotplug_order",
    "odd_suspend",
    "rebind",
    "suspend",
    "teardown_faults",
    "while_offline",
]

_ALL = 0xFFFFFFFFFFFFFFFF
_DRIVER = "/sys/bus/platform/drivers/intel_rapl_msr"


def hotplug(recorder: Recorder, machine: Machine) -> None:
    """Take the processors of each die down and bring them up again, in more than one order."""
    dies = sorted(set(machine.cpu_dies))
    for die in dies:
        cpus = [cpu for cpu, place in enumerate(machine.cpu_dies) if place == die and cpu]
        if len(cpus) > 1:
            recorder.label(f"the lead processor of die {die} goes offline and comes back")
            _switch(recorder, cpus[0], "0")
            for zone in zones_of_die(machine, die):
                recorder.read(f"{zone.path}/energy_uj")
            _switch(recorder, cpus[0], "1")
            for zone in zones_of_die(machine, die):
                recorder.read(f"{zone.path}/energy_uj")
        recorder.label(f"die {die}'s processors go offline, but for processor 0")
        for cpu in cpus:
            _switch(recorder, cpu, "0")
        recorder.tree(f"die {die} offline")
        recorder.dump()
        recorder.label(f"die {die}'s processors come back, the last first")
        for cpu in reversed(cpus):
            _switch(recorder, cpu, "1")
        recorder.tree(f"die {die} online again")
        touch_all(recorder, machine)
    recorder.dump()


def hotplug_order(recorder: Recorder, machine: Machine) -> None:
    """Take all dies but the first down, change registers meanwhile, bring them up in the other order."""
    last = max(machine.cpu_dies)
    recorder.label("all dies but the first go offline")
    for cpu, die in enumerate(machine.cpu_dies):
        if die:
            _switch(recorder, cpu, "0")
    recorder.tree("only die 0 online")
    recorder.label("the last die comes back first")
    for cpu in reversed([cpu for cpu, die in enumerate(machine.cpu_dies) if die]):
        _switch(recorder, cpu, "1")
    recorder.tree("the last die came back first")
    recorder.label("the last die comes back with other domains")
    cpus = [cpu for cpu, die in enumerate(machine.cpu_dies) if die == last]
    for address, value in machine.registers[last].items():
        if kind_of(address) == "counter":
            for cpu in cpus:
                _switch(recorder, cpu, "0")
            recorder.control(f"set {last} {address:#x} 0x0")
            for cpu in cpus:
                _switch(recorder, cpu, "1")
            recorder.tree(f"{address:#x} reads 0 on die {last}")
            recorder.control(f"set {last} {address:#x} {value:#x}")
            # What failed to come up is offline, and comes up now.
            for cpu in cpus:
                _switch(recorder, cpu, "0")
            for cpu in cpus:
                _switch(recorder, cpu, "1")
    recorder.tree("as before")


def hotplug_changes(recorder: Recorder, machine: Machine) -> None:
    """Change registers of the last die while its processors are down: none of the units, all limits locked, faults."""
    last = max(machine.cpu_dies)
    cpus = [cpu for cpu, die in enumerate(machine.cpu_dies) if die == last and cpu]
    words = machine.registers[last]
    units = [address for address in words if kind_of(address) == "unit"]
    limits = [address for address in words if kind_of(address) == "limit"]
    changes = {
        "the unit register faults": [f"fault {last} {address:#x} 1" for address in units],
        "other units": [f"set {last} {address:#x} 0xa1001" for address in units],
        "locked at bit 63": [f"set {last} {address:#x} {words[address] | 1 << 63:#x}" for address in limits],
        "locked at bit 31": [f"set {last} {address:#x} {words[address] | 1 << 31:#x}" for address in limits],
        "limits fault": [f"fault {last} {address:#x} 3" for address in limits],
    }
    for what, commands in changes.items():
        recorder.label(f"die {last} goes, and comes back changed: {what}")
        for cpu in cpus:
            _switch(recorder, cpu, "0")
        for command in commands:
            recorder.control(command)
        for cpu in cpus:
            _switch(recorder, cpu, "1")
        recorder.tree(f"die {last} came back changed: {what}")
        if what != "the unit register faults":
            touch_all(recorder, machine)
        for cpu in cpus:
            _switch(recorder, cpu, "0")
        recorder.dump()
        for address, value in words.items():
            recorder.control(f"fault {last} {address:#x} 0")
            recorder.control(f"set {last} {address:#x} {value:#x}")
        for cpu in cpus:
            _switch(recorder, cpu, "1")
    recorder.tree(f"die {last} is as it was")


def while_offline(recorder: Recorder, machine: Machine) -> None:
    """Load, suspend and unload the driver while the last die's processors are down."""
    last = max(machine.cpu_dies)
    cpus = [cpu for cpu, die in enumerate(machine.cpu_dies) if die == last and cpu]
    recorder.label(f"the driver goes and comes while die {last} is down")
    for cpu in cpus:
        _switch(recorder, cpu, "0")
    recorder.write(f"{_DRIVER}/unbind", "intel_rapl_msr.0")
    recorder.write(f"{_DRIVER}/bind", "intel_rapl_msr.0")
    recorder.tree(f"loaded while die {last} is down")
    suspend(recorder, machine)
    recorder.write(f"{_DRIVER}/unbind", "intel_rapl_msr.0")
    for cpu in cpus:
        _switch(recorder, cpu, "1")
    recorder.write(f"{_DRIVER}/bind", "intel_rapl_msr.0")
    recorder.tree("all processors are up")
    recorder.write(f"{_DRIVER}/bind", "intel_rapl_msr.0")
    recorder.write(f"{_DRIVER}/bind", "no-such-device")
    recorder.write(f"{_DRIVER}/unbind", "no-such-device")
    recorder.tree("bound once more")


def _switch(recorder: Recorder, cpu: int, state: str) -> None:
    recorder.write(f"/sys/devices/system/cpu/cpu{cpu}/online", state)


def rebind(recorder: Recorder, machine: Machine) -> None:
    """Unbind the driver from its device and bind it again: zones go and come, the modules stay."""
    recorder.label("driver unbound and bound")
    recorder.write(f"{_DRIVER}/unbind", "intel_rapl_msr.0")
    recorder.tree("unbound")
    recorder.write(f"{_DRIVER}/bind", "intel_rapl_msr.0")
    recorder.tree("bound again")
    touch_all(recorder, machine)


def crash_rebind(recorder: Recorder, _: Machine) -> None:
    """Bind the driver a second time where that writes to memory which is read-only by then. This ends the recording.

    A kernel that does not list the processor has no device to bind, and lives on.
    """
    if not os.path.lexists(f"{_DRIVER}/intel_rapl_msr.0"):
        return
    recorder.label("driver unbound and bound, which it does not survive")
    recorder.write(f"{_DRIVER}/unbind", "intel_rapl_msr.0")
    recorder.tree("unbound")
    recorder.crash(f"{_DRIVER}/bind", "intel_rapl_msr.0")


def suspend(recorder: Recorder, _: Machine) -> None:
    """Suspend and resume, as far as the freezer: the driver's notifier is called."""
    recorder.label("suspend: the driver's notifier, with the freezer test level")
    recorder.write("/sys/power/pm_test", "freezer")
    recorder.write("/sys/power/state", "freeze")
    recorder.write("/sys/power/pm_test", "none")
    recorder.dump()


def odd_suspend(recorder: Recorder, machine: Machine) -> None:
    """Suspend with limits of zero, with registers that fault, and with limits that changed while asleep."""
    for die, zone, address, value in registers_of_zones(machine, "limit"):
        for content in (0, 0x8000_0000_8000, 0x7FFF, 0x7FFF_0000_0000, value | 1 << 63, value | 1 << 31):
            recorder.control(f"set {die} {address:#x} {content:#x}")
            suspend(recorder, machine)
        recorder.control(f"set {die} {address:#x} {value:#x}")
        for fault in (1, 2, 3):
            recorder.control(f"fault {die} {address:#x} {fault}")
            suspend(recorder, machine)
            recorder.read(f"{zone.path}/constraint_0_power_limit_uw")
        recorder.control(f"fault {die} {address:#x} 0")


def teardown_faults(recorder: Recorder, machine: Machine) -> None:
    """Let each register fault, drop bits or be locked while the driver goes, and then while it comes."""
    for die in machine.sweep_dies:
        for address, value in sorted(machine.registers[die].items()):
            for command, undo in (("fault", 0), ("wmask", _ALL), ("ignlock", 0)):
                if kind_of(address) == "unit":
                    continue
                recorder.label(f"{address:#x}: {command} while the driver goes")
                change = {"fault": 3, "wmask": 0, "ignlock": _ALL}[command]
                recorder.control(f"{command} {die} {address:#x} {_number(command, change)}")
                recorder.write(f"{_DRIVER}/unbind", "intel_rapl_msr.0")
                recorder.write(f"{_DRIVER}/bind", "intel_rapl_msr.0")
                recorder.tree(f"{address:#x}: {command} while the driver came")
                recorder.control(f"{command} {die} {address:#x} {_number(command, undo)}")
                recorder.control(f"set {die} {address:#x} {value:#x}")
                recorder.write(f"{_DRIVER}/unbind", "intel_rapl_msr.0")
                recorder.write(f"{_DRIVER}/bind", "intel_rapl_msr.0")
    recorder.tree("as before")


def _number(command: str, value: int) -> str:
    """Faults are written in decimal, everything else in hexadecimal."""
    return str(value) if command == "fault" else f"{value:#x}"


def held(recorder: Recorder, machine: Machine) -> None:
    """Keep an attribute and its directory open while the driver goes and comes."""
    for name in ("constraint_0_power_limit_uw", "enabled"):
        path = next((f"{control_type}:0/{name}" for control_type in control_types()), "/none")
        if not os.path.lexists(path):
            continue
        recorder.label(f"attribute held open while the driver goes: {name}")
        opened: list[Held] = []

        def hold() -> dict[str, object]:
            opened.append(Held(path))  # noqa: B023
            return opened[0].opened()  # noqa: B023

        recorder.calls("hold", path, hold)
        last, parameters = machine.modules[-1]
        recorder.rmmod(last)
        recorder.calls("held", None, opened[0].try_again)
        recorder.insmod(last, parameters)
