# SPDX-License-Identifier: Apache-2.0
"""Replaying a recording of a real kernel on a simulated machine, and listing every difference.

The recording is the specification: its steps are done again in their order - registers set from outside, modules
loaded, attributes written, processors taken down - and after each one the machine has to have answered as the
kernel did: the count or errno, the value read back, the register accesses caused, the events announced, and at
every tree step each entry with its type, mode, links, order, content and who may open it.
"""

import os
import re
import stat
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from errno import EACCES, EIO, EISDIR, ELOOP, ENODEV, ENOENT, ENOTDIR

from raplica_fixtures.recording import (
    POWERCAP_ROOTS,
    Access,
    Calls,
    Entry,
    Label,
    ModuleLoad,
    ModuleUnload,
    Opens,
    Read,
    ReadResult,
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
from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.machine import Machine
from raplica_simulator.profile import Profile
from raplica_simulator.replay_calls import compare_calls

__all__ = ["Difference", "Replay", "read_entry", "replay"]

_NOBODY = 65534
# What open refuses with; anything else that a read or write fails with comes from the driver.
_OPEN_ERRNOS = frozenset({EACCES, EISDIR, ELOOP, ENOENT, ENOTDIR})
_BINDING = re.compile(r"/intel_rapl_msr/(bind|unbind)\Z")
_CPU_SWITCH = re.compile(r"devices/system/cpu/cpu(\d+)/online\Z")


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
        causes: how many other steps (modules, processors, suspend) had their accesses and events compared.
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
    machine.msr.clear()
    return _Player(machine, recording).play()


class _Player:
    def __init__(self, machine: Machine, recording: Recording) -> None:
        self._machine = machine
        self._recording = recording
        self._out = Replay()
        self._index = 0

    def play(self) -> Replay:
        for index, step in enumerate(self._recording.steps):
            self._index = index
            self._machine.uevents.clear()
            self._machine.msr.log.clear()
            self._do(step)
        return self._out

    def _do(self, step: Step) -> None:
        match step:
            case Label():
                pass
            case RegisterChange():
                self._change_register(step)
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
            case Calls():
                compared, left_out, wrong = compare_calls(self._machine.sysfs, step)
                self._out.calls += compared
                self._out.left_out.update(left_out)
                for what, kernel, machine in wrong:
                    self._differ(what, kernel, machine)

    def _differ(self, what: str, kernel: object, machine: object) -> None:
        self._out.differences.append(Difference(self._index, what, kernel, machine))

    # Registers.

    def _cpu(self, die: int) -> int:
        return self._machine.profile.topology.cpus_of_die(die)[0]

    def _change_register(self, step: RegisterChange) -> None:
        msr = self._machine.msr
        match step:
            case RegisterChange(action="clear"):
                msr.clear()
            case RegisterChange(action="fault", die=int(die), register=int(register)):
                for on in ("read", "write"):
                    msr.inject(self._cpu(die), register, on, EIO if on in (step.faults or ()) else None)
            case RegisterChange(action="set", die=int(die), register=int(register), value=int(value)):
                msr.poke(self._cpu(die), register, value)
            case RegisterChange(action="write-mask", die=int(die), register=int(register), value=int(value)):
                msr.write_mask(self._cpu(die), register, value)
            case RegisterChange(action="ignore-when-locked", die=int(die), register=int(register), value=int(value)):
                msr.ignore_when_locked(self._cpu(die), register, value)
            case _:
                self._out.left_out[f"register change {step.action}"] += 1

    def _compare_registers(self, step: RegisterDump) -> None:
        for row in step.rows:
            held = self._machine.msr.content(self._cpu(row.die), row.register)
            if held != row.value:
                self._differ(f"register {row.register:#x} on die {row.die}", row.value, held)

    # Modules, processors, sleep.

    def _change_module(self, step: ModuleLoad | ModuleUnload) -> None:
        driver = self._machine.driver
        match step:
            case ModuleLoad(module="intel_rapl_msr"):
                # Loading succeeds whether or not the device could be probed.
                if driver.loaded:
                    with suppress(OSError):
                        driver.bind()
                else:
                    driver.load()
            case ModuleUnload(module="intel_rapl_msr"):
                with suppress(OSError):
                    driver.unbind()
            case ModuleUnload(module="intel_rapl_common"):
                driver.unload()
            case _:
                # The common module alone makes no tree, and the witness's own modules are not part of a machine.
                self._out.left_out[f"module: {step.module}"] += 1
                return
        if step.errno:
            self._differ(f"{type(step).__name__} {step.module}", step.errno, 0)
        self._compare_causes(type(step).__name__, step.accesses, step.uevents)

    def _compare_causes(self, what: str, accesses: tuple[Access, ...], uevents: tuple[Uevent, ...]) -> None:
        self._out.causes += 1
        self._compare_accesses(what, accesses)
        wanted = [_comparable(event) for event in uevents if "SUBSYSTEM=powercap" in event]
        if wanted != self._machine.uevents:
            self._differ(f"{what}: events", wanted, list(self._machine.uevents))

    def _compare_accesses(self, what: str, accesses: tuple[Access, ...]) -> None:
        wanted = [_access_line(access) for access in accesses]
        seen = [str(access) for access in self._machine.msr.log]
        if wanted != seen:
            self._differ(f"{what}: register accesses", wanted, seen)

    def _outside(self, step: Write) -> None:
        """A write outside powercap that the machine has another door for."""
        machine = self._machine
        result = WriteResult(count=len(step.data))
        if switch := _CPU_SWITCH.search(step.path):
            cpu = machine.cpu(int(switch[1]))
            try:
                cpu.online() if step.data.startswith(b"1") else cpu.offline()
            except OSError as error:
                result = WriteResult(errno=error.errno)
        elif bound := _BINDING.search(step.path):
            try:
                self._bind(bound[1], step.data)
            except OSError as error:
                missing = error.errno == ENOENT
                result = WriteResult(open_errno=ENOENT) if missing else WriteResult(errno=error.errno)
        elif step.path == "power/state":
            machine.suspend()
            machine.resume()
        else:
            self._out.left_out[f"write {step.path}"] += 1
            return
        if result != step.result:
            self._differ(step.path, step.result, result)
        self._compare_causes(step.path, step.accesses, step.uevents)

    def _bind(self, verb: str, device: bytes) -> None:
        """A write to the driver's ``bind`` or ``unbind``; the name of any other device is ENODEV."""
        driver = self._machine.driver
        if driver.loaded and device.rstrip(b"\n") != b"intel_rapl_msr.0":
            raise OSError(ENODEV, os.strerror(ENODEV))
        driver.bind() if verb == "bind" else driver.unbind()

    # Attributes.

    def _read(self, step: Read) -> None:
        if not is_powercap(step.path):
            # Topology files and the like, which lie outside the powercap tree.
            self._out.left_out[f"read below {step.path.rpartition('/cpu/')[0] or step.path}"] += 1
            return
        self._out.steps += 1
        result = _read_result(self._machine.sysfs, step.path)
        if result != step.result:
            self._differ(f"read {step.path}", step.result, result)
        self._compare_accesses(f"read {step.path}", step.accesses)

    def _write(self, step: Write) -> None:
        if not is_powercap(step.path):
            self._outside(step)
            return
        self._out.steps += 1
        sysfs = self._machine.sysfs
        try:
            result = WriteResult(count=sysfs.write(step.path, step.data))
        except OSError as error:
            opening = error.errno in _OPEN_ERRNOS
            result = WriteResult(open_errno=error.errno) if opening else WriteResult(errno=error.errno)
        what = f"write {step.data[:32]!r} to {step.path}"
        if result != step.result:
            self._differ(what, step.result, result)
        self._compare_accesses(what, step.accesses)
        wanted = [_comparable(event) for event in step.uevents]
        if wanted != self._machine.uevents:
            self._differ(f"{what}: events", wanted, list(self._machine.uevents))
        if step.after is not None and (after := _read_result(sysfs, step.path)) != step.after:
            self._differ(f"{what}, read back", step.after, after)

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


def read_entry(sysfs: Sysfs, path: str) -> Entry:
    """One path as a recording would hold it."""
    try:
        status = sysfs.stat(path)
    except OSError as error:
        return Entry(kind="missing", errno=error.errno)
    shared = Entry(
        kind="dir",
        mode=stat.S_IMODE(status.st_mode),
        nlink=status.st_nlink,
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size,
        blksize=status.st_blksize,
        blocks=status.st_blocks,
    )
    if stat.S_ISDIR(status.st_mode):
        return replace(shared, order=tuple(sysfs.listdir(path)))
    if stat.S_ISLNK(status.st_mode):
        return replace(shared, kind="link", target=sysfs.readlink(path))
    # The witness tries nobody's write only on files that have a write bit at all.
    writable = status.st_mode & 0o222
    opens = Opens(
        root_read=_opens(sysfs, path, os.O_RDONLY, 0),
        root_write=_opens(sysfs, path, os.O_WRONLY, 0),
        nobody_read=_opens(sysfs, path, os.O_RDONLY, _NOBODY),
        nobody_write=_opens(sysfs, path, os.O_WRONLY, _NOBODY) if writable else None,
    )
    return replace(shared, kind="file", read=_read_result(sysfs, path), opens=opens)


def _opens(sysfs: Sysfs, path: str, flags: int, uid: int) -> int:
    try:
        sysfs.open(path, flags, uid).close()
    except OSError as error:
        return error.errno or EIO
    return 0


def _read_result(sysfs: Sysfs, path: str) -> ReadResult:
    try:
        return ReadResult(content=sysfs.read(path))
    except OSError as error:
        if error.errno in _OPEN_ERRNOS:
            return ReadResult(open_errno=error.errno)
        return ReadResult(errno=error.errno)


def _access_line(access: Access) -> str:
    return (
        f"{access.op} die{access.die} cpu{access.cpu} {access.register:#x} mask={access.mask:#x} "
        f"val={access.value:#x} reg={access.content:#x} err={-access.errno}"
    )


def _comparable(event: Uevent) -> Uevent:
    """An event without its header and its sequence number, which count other subsystems' events too."""
    return tuple(word for word in event[1:] if not word.startswith("SEQNUM="))
