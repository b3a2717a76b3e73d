# SPDX-License-Identifier: Apache-2.0
"""One moment of a case's machine as plain files: what a program in any language can read without raplica.

A directory cannot refuse root, answer ENODATA or hold registers at offsets, so what a file is not able to show stands
beside it as data: modes and errnos of every attribute, registers by processor, counts of perf events.

Every attribute is read once, as a reader does that samples once a step: a fault of the third read is in step-02.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raplica_conformance.readers.stage import Stage

__all__ = ["Events", "Step", "decoded", "encoded", "write_step"]

CLASS = "class/powercap"
_PMUS = "bus/event_source/devices"
_PAGE = 4096
_ODD = re.compile(r'[%:<>"\\|?*\x00-\x1f]')  # what Windows, Go modules or a URL cannot have in a name


def encoded(name: str) -> str:
    """A name that any file system can hold: a character that some refuse is % and two digits.

    >>> encoded("intel-rapl:0:1")
    'intel-rapl%3A0%3A1'
    """
    return _ODD.sub(lambda odd: f"%{ord(odd[0]):02X}", name)


def decoded(name: str) -> str:
    """The kernel's name of what :func:`encoded` made.

    >>> decoded("intel-rapl%3A0%3A1")
    'intel-rapl:0:1'
    """
    return re.sub("%([0-9A-F]{2})", lambda code: chr(int(code[1], 16)), name)


@dataclass(slots=True)
class Step:
    """What a moment shows besides the content of its files.

    Attributes:
        at_ns: nanoseconds since the machine was switched on.
        entries: what class/powercap lists, by the kernel's name: the directory here, and the modes of its attributes.
        errors: what cannot be had: the path here, the errno, and the call that says so (open or read).
        registers: processors that read the same, with what they read, by address; an errno where one faults.
        events: what each open perf event has counted, with its processor, its unit and its scale.
    """

    at_ns: int
    entries: dict[str, dict[str, object]] = field(default_factory=dict)
    errors: list[tuple[str, str, str]] = field(default_factory=list)
    registers: list[dict[str, object]] = field(default_factory=list)
    events: list[dict[str, object]] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """As step.json has it."""
        errors = [{"path": path, "errno": name, "on": on} for path, name, on in self.errors]
        found: dict[str, object] = {"at_ns": self.at_ns, "entries": self.entries, "errors": errors}
        if self.registers:
            found["registers"] = self.registers
        if self.events:
            found["events"] = self.events
        return found


class Events:
    """The perf events of a machine, opened at the first step on every processor that the masks name."""

    def __init__(self, stage: Stage) -> None:
        self._open: list[tuple[dict[str, object], Callable[[], bytes]]] = []
        tree = stage.tree
        for pmu in tree.listdir(_PMUS):
            folder = f"{_PMUS}/{pmu}"
            kind = int(tree.read(f"{folder}/type"))
            for name in sorted(one for one in tree.listdir(f"{folder}/events") if "." not in one):
                config = tree.read(f"{folder}/events/{name}").decode().strip()
                scale = tree.read(f"{folder}/events/{name}.scale").decode().strip()
                for cpu in _listed(tree.read(f"{folder}/cpumask").decode()):
                    about: dict[str, object] = {"pmu": pmu, "event": name, "cpu": cpu, "scale": scale}
                    event = tree.events.open(kind, int(config.removeprefix("event="), 0), cpu)
                    self._open.append((about, event.read))

    def counts(self) -> list[dict[str, object]]:
        """What each has counted since then."""
        return [{**about, "count": int.from_bytes(read(), "little")} for about, read in self._open]


def write_step(stage: Stage, directory: Path, *, registers: bool, events: Events | None) -> Step:
    """Write class/powercap of this moment below `directory`, and give all else that there is to know.

    Entries are plain directories that hold their attributes; what lies nested in the kernel's tree lies flat here, as
    the class shows it. `power` is there and empty, the links `device` and `subsystem` are left out.
    """
    step = Step(stage.now_ns())
    directory.mkdir()
    sysfs = stage.live.machine.sysfs
    with stage.live.held():
        try:
            names = sorted(sysfs.listdir(CLASS))
        except OSError as error:
            step.errors.append((CLASS, _name(error), "open"))
        else:
            (directory / CLASS).mkdir(parents=True)
            for name in names:
                _write_entry(stage, directory, name, step)
        if registers:
            step.registers = _registers(stage)
        if events is not None:
            step.events = events.counts()
    return step


def _write_entry(stage: Stage, directory: Path, name: str, step: Step) -> None:
    sysfs = stage.live.machine.sysfs
    below = f"{CLASS}/{encoded(name)}"
    modes: dict[str, str] = {}
    step.entries[name] = {"directory": below, "modes": modes}
    try:
        attributes = sysfs.listdir(f"{CLASS}/{name}")
    except OSError as error:
        step.errors.append((below, _name(error), "open"))
        return
    (directory / below).mkdir()
    for attribute in sorted(attributes):
        path = f"{CLASS}/{name}/{attribute}"
        mode = sysfs.stat(path).st_mode
        if attribute == "power":
            (directory / below / attribute).mkdir()
        if not stat.S_ISREG(mode):
            continue
        modes[attribute] = f"{stat.S_IMODE(mode):04o}"
        on = "open"
        try:
            with sysfs.open(path, os.O_RDONLY) as file:
                on = "read"
                content = file.pread(_PAGE, 0)
        except OSError as error:
            if error.errno != errno.EACCES or mode & 0o444:  # what nobody may read is no error of a reader
                step.errors.append((f"{below}/{attribute}", _name(error), on))
        else:
            (directory / below / encoded(attribute)).write_bytes(content)


def _registers(stage: Stage) -> list[dict[str, object]]:
    """What processors read, those that read the same together."""
    machine = stage.live.machine
    groups: dict[str, dict[str, object]] = {}
    for cpu in machine.profile.topology.cpus:
        if cpu.number not in machine.driver.online:
            continue
        words: dict[str, str] = {}
        for address in sorted(machine.msr.addresses(cpu.number)):
            try:
                words[f"{address:#x}"] = f"{machine.msr.read(cpu.number, address):#018x}"
            except OSError as error:
                words[f"{address:#x}"] = _name(error)
        key = f"{cpu.package} {cpu.logical_die} {words}"
        group = groups.setdefault(key, {"package": cpu.package, "die": cpu.logical_die, "cpus": [], "registers": words})
        cpus = group["cpus"]
        if isinstance(cpus, list):
            cpus.append(cpu.number)
    return list(groups.values())


def _listed(text: str) -> list[int]:
    """The processors of a list such as "0,20"; ranges too."""
    cpus: list[int] = []
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def _name(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error.errno))
