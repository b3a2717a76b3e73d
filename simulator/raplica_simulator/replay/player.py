# SPDX-License-Identifier: Apache-2.0
"""Replaying a recording of a real kernel on a simulated machine, and listing every difference.

The recording is the specification: its steps are done again in their order - registers set from outside, modules
loaded, attributes written, processors taken down - and after each one the machine has to have answered as the
kernel did: the count or errno, the value read back, the register accesses caused, the events announced, and at
every tree step each entry with its type, mode, links, order, content and who may open it.
"""

from collections import Counter
from dataclasses import dataclass, field
from errno import ENOENT

from raplica_fixtures.recording import (
    POWERCAP_ROOTS,
    Access,
    Calls,
    Crash,
    Entry,
    Framework,
    Label,
    ModuleLoad,
    ModuleUnload,
    Read,
    Recording,
    RegisterChange,
    RegisterDump,
    Step,
    TreeStep,
    Uevent,
    Write,
    WriteResult,
    is_powercap,
)
from raplica_simulator.linux.kernel import KernelCrash
from raplica_simulator.machine import Machine
from raplica_simulator.profile.profile import Profile
from raplica_simulator.replay.calls import CallsReplay
from raplica_simulator.replay.cpus import read_cpus
from raplica_simulator.replay.doors import ModuleDoor, RegisterDoor, switch_outside
from raplica_simulator.replay.entries import OPEN_ERRNOS, read_entry, read_result
from raplica_simulator.replay.framework import MODULE, FrameworkClient

__all__ = ["Difference", "Replay", "read_entry", "replay"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One point where the machine did not answer as the kernel had.

    Attributes:
        step: the index of the step in the recording.
        what: the path, or what happened.
        kernel: what was recorded.
        machine: what the machine did.
    """

    step: int
    what: str
    kernel: object
    machine: object

    def __str__(self) -> str:
        return f"step {self.step}: {self.what}: the kernel {self.kernel}, the machine {self.machine}"


@dataclass(slots=True)
class Replay:
    """What came out.

    Attributes:
        entries: how many tree entries were compared.
        steps: how many reads and writes below powercap were compared.
        causes: how many other steps (modules, processors, suspend) had their accesses, events or answers compared.
        calls: how many single system calls of the odd kind were compared.
        left_out: what was not compared, by name, with how often.
        differences: every difference.
    """

    entries: int = 0
    steps: int = 0
    causes: int = 0
    calls: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)


def replay(recording: Recording, profile: Profile) -> Replay:
    """Do every step of ``recording`` again on a machine of ``profile`` (made from it, with rules ``table``)."""
    machine = Machine.from_profile(profile)
    # A recording begins before the modules are loaded and before any register exists.
    machine.driver.unload()
    return _Player(machine, recording).play()


class _Player:
    def __init__(self, machine: Machine, recording: Recording) -> None:
        self._machine = machine
        self._recording = recording
        self._registers = RegisterDoor(machine, recording)
        self._registers.clear()
        self._modules = ModuleDoor(machine, self._registers)
        self._calls = CallsReplay(machine.sysfs)
        self._framework = FrameworkClient(machine.powercap)
        self._out = Replay()
        self._index = 0

    def play(self) -> Replay:
        for index, step in enumerate(self._recording.steps):
            self._index = index
            self._machine.uevents.clear()
            self._machine.msr.log.clear()
            if isinstance(step, Framework):
                self._tell_framework(step)
            else:
                self._do(step)
        return self._out

    def _do(self, step: Step) -> None:
        match step:
            case Label():
                pass
            case RegisterChange():
                if not self._registers.change(step):
                    self._out.left_out[f"register change {step.action}"] += 1
            case RegisterDump():
                self._compare_registers(step)
            case TreeStep():
                self._compare_tree(step)
            case ModuleLoad() | ModuleUnload():
                self._change_module(step)
            case Read():
                self._read(step)
            case Write():
                self._write(step)
            case Crash():
                self._crash(step)
            case Calls():
                compared, left_out, wrong = self._calls.compare(step)
                self._out.calls += compared
                self._out.left_out.update(left_out)
                for what, kernel, machine in wrong:
                    self._differ(what, kernel, machine)
            case _:
                self._out.left_out[f"step {type(step).__name__}"] += 1

    def _differ(self, what: str, kernel: object, machine: object) -> None:
        self._out.differences.append(Difference(self._index, what, kernel, machine))

    def _compare_registers(self, step: RegisterDump) -> None:
        for row in step.rows:
            held = self._registers.content(row.die, row.register)
            if held != row.value:
                self._differ(f"register {row.register:#x} on die {row.die}", row.value, held)

    # Modules, processors, sleep.

    def _change_module(self, step: ModuleLoad | ModuleUnload) -> None:
        if step.module == MODULE:
            errno = None if isinstance(step, ModuleLoad) else self._framework.unload()
        else:
            errno = self._modules.load(step) if isinstance(step, ModuleLoad) else self._modules.unload(step)
        # A driver that waits for its device, and a module of the witness's own, come and go and cause nothing.
        errno = errno or 0
        if step.errno != errno:
            self._differ(f"{type(step).__name__} {step.module}", step.errno, errno)
        self._compare_causes(type(step).__name__, step.accesses, step.uevents)

    def _tell_framework(self, step: Framework) -> None:
        """A client of the framework registers, or takes out, what the step says."""
        errno, called = self._framework.do(step)
        if (errno, called) != (step.errno, step.called):
            self._differ(step.command, (step.errno, step.called), (errno, called))
        self._compare_causes(step.command, (), step.uevents)

    def _compare_causes(self, what: str, accesses: tuple[Access, ...], uevents: tuple[Uevent, ...]) -> None:
        self._out.causes += 1
        self._compare_accesses(what, accesses)
        wanted = [_comparable(event) for event in uevents if "SUBSYSTEM=powercap" in event]
        if wanted != self._machine.uevents:
            self._differ(f"{what}: events", wanted, list(self._machine.uevents))

    def _compare_accesses(self, what: str, accesses: tuple[Access, ...]) -> None:
        wanted = [_access_line(access) for access in accesses]
        seen = [self._registers.line(access) for access in self._machine.msr.log]
        if wanted != seen:
            self._differ(f"{what}: register accesses", wanted, seen)

    def _outside(self, step: Write) -> None:
        """A write outside powercap that the machine has another door for."""
        result = WriteResult(count=len(step.data))
        try:
            if not switch_outside(self._machine, step.path, step.data):
                self._out.left_out[f"write {step.path}"] += 1
                return
        except OSError as error:
            missing = error.errno == ENOENT
            result = WriteResult(open_errno=ENOENT) if missing else WriteResult(errno=error.errno)
        if result != step.result:
            self._differ(step.path, step.result, result)
        self._compare_causes(step.path, step.accesses, step.uevents)

    # Attributes.

    def _read(self, step: Read) -> None:
        if not is_powercap(step.path):
            self._read_outside(step)
            return
        self._out.steps += 1
        result = read_result(self._machine.sysfs, step.path)
        if result != step.result:
            self._differ(f"read {step.path}", step.result, result)
        self._compare_accesses(f"read {step.path}", step.accesses)

    def _read_outside(self, step: Read) -> None:
        """A read outside powercap: where the processors lie is answered by the topology."""
        answer = read_cpus(self._machine, step.path)
        if answer is None:
            self._out.left_out[f"read {step.path}"] += 1
            return
        self._out.causes += 1
        if answer != step.result.content:
            self._differ(f"read {step.path}", step.result, answer)

    def _write(self, step: Write) -> None:
        if not is_powercap(step.path):
            self._outside(step)
            return
        self._out.steps += 1
        sysfs = self._machine.sysfs
        try:
            result = WriteResult(count=sysfs.write(step.path, step.data))
        except OSError as error:
            opening = error.errno in OPEN_ERRNOS
            result = WriteResult(open_errno=error.errno) if opening else WriteResult(errno=error.errno)
        what = f"write {step.data[:32]!r} to {step.path}"
        if result != step.result:
            self._differ(what, step.result, result)
        self._compare_accesses(what, step.accesses)
        wanted = [_comparable(event) for event in step.uevents]
        if wanted != self._machine.uevents:
            self._differ(f"{what}: events", wanted, list(self._machine.uevents))
        if step.after is not None and (after := read_result(sysfs, step.path)) != step.after:
            self._differ(f"{what}, read back", step.after, after)

    def _crash(self, step: Crash) -> None:
        """A write that the kernel did not survive: the machine crashes, too, with the same accesses before."""
        what = f"write {step.data[:32]!r} to {step.path}"
        try:
            if is_powercap(step.path):
                self._out.steps += 1
                self._machine.sysfs.write(step.path, step.data)
            else:
                self._out.causes += 1
                switch_outside(self._machine, step.path, step.data)
        except KernelCrash:
            self._compare_accesses(what, step.accesses)
        except OSError as error:
            self._differ(what, f"crashed, signal {step.signal}", f"errno {error.errno}")
        else:
            self._differ(what, f"crashed, signal {step.signal}", "went on")

    # Trees.

    def _compare_tree(self, step: TreeStep) -> None:
        seen: dict[str, Entry] = {}
        for root in POWERCAP_ROOTS:
            self._walk(root, seen)
        for path in {**step.entries, **seen}:
            self._out.entries += 1
            kernel, machine = step.entries.get(path), seen.get(path)
            if kernel != machine:
                self._differ(f"tree ({step.label}): {path}", kernel, machine)

    def _walk(self, path: str, seen: dict[str, Entry]) -> None:
        seen[path] = entry = read_entry(self._machine.sysfs, path)
        for name in entry.order or ():
            self._walk(f"{path}/{name}", seen)


def _access_line(access: Access) -> str:
    return (
        f"{access.op} die{access.die} cpu{access.cpu} {access.register:#x} mask={access.mask:#x} "
        f"val={access.value:#x} reg={access.content:#x} err={-access.errno}"
    )


def _comparable(event: Uevent) -> Uevent:
    """An event without its header and its sequence number, which count other subsystems' events too."""
    return tuple(word for word in event[1:] if not word.startswith("SEQNUM="))
