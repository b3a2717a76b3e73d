# SPDX-License-Identifier: Apache-2.0
"""A machine as plain files, run by processes of their own: sysfs, /dev/cpu/N/msr and /proc below one folder.

    machine_of_files.py build ROOT          make it
    machine_of_files.py run ROOT N          judge it N times with every clause that writes
    machine_of_files.py restore ROOT        what `conformance restore` does
    machine_of_files.py kill ROOT SEED N    N times: run, SIGKILL at a random change, look, restore, look

Its state are the msr files and nothing else, which survive every process; between them and the attributes stands the
simulated driver.
"""

import json
import os
import random
import re
import signal
import socket
import stat
import sys
from pathlib import Path

from raplica_conformance import loop
from raplica_conformance.clause import load_clauses
from raplica_conformance.subjects.disk import FileSystem
from raplica_conformance.subjects.guarded import GuardedMachine
from raplica_conformance.subjects.host import OperatingSystem
from raplica_conformance.subjects.journal import REGISTERS
from raplica_conformance.subjects.putback import restore
from raplica_conformance.subjects.real import RealMachine
from raplica_simulator import Machine
from raplica_simulator.surfaces.directory import write_tree

POWERCAP = "devices/virtual/powercap/intel-rapl"
ZONES = (
    f"{POWERCAP}/intel-rapl:0",
    *(f"{POWERCAP}/intel-rapl:0/intel-rapl:0:{n}" for n in range(3)),
    f"{POWERCAP}/intel-rapl:1",
)
ATTRIBUTE = re.compile(r"(enabled|_power_limit_uw|_time_window_us)$")
JOURNAL = "state/writes.journal"
CPUS = range(4)
#: A whole run makes some more.
CHANGES = 70


class MachineOfFiles(OperatingSystem):
    """The operating system of the machine in ROOT; a byte on `told` for each change, after which a socket answers.

    With `shows` the files of the attributes follow the registers, for a reader that knows of no driver.
    """

    def __init__(self, root: Path, told: int | None = None, *, shows: bool = True) -> None:
        super().__init__(str(root / "sys"), str(root / "dev"), str(root / "proc"))
        self.root = root
        self.told = told
        self.shows = shows
        self.machine = Machine.from_profile("kabylake", kernel="6.12")
        self.shown: dict[str, bytes] = {}
        if shows:
            self._show()

    def text(self, path: str) -> bytes:
        """What an attribute reads."""
        self._load()
        return self.machine.sysfs.read(path)

    def write(self, path: str, data: bytes) -> int:
        before = self._load()
        taken = self.machine.sysfs.write(path, data)
        for register, raw in before.items():
            if (now := self.machine.msr.read(0, register)) != raw:
                super().msr_write(0, 8 * register, now)
        self._changed()
        return taken

    def msr_read(self, cpu: int, register: int) -> int:
        """Eight bytes each: the device has 64 bits at every number, and a plain file has room for eight."""
        return super().msr_read(cpu, 8 * register)

    def msr_write(self, cpu: int, register: int, value: int) -> None:
        super().msr_write(cpu, 8 * register, value)
        self._changed()

    def _load(self) -> dict[int, int]:
        """Let the driver see the registers as they are in the files."""
        held = {register: self.msr_read(0, register) for register in self.machine.msr.addresses(0)}
        for register in held.keys() & REGISTERS:
            self.machine.msr.poke(0, register, held[register])
        return {register: held[register] for register in sorted(held.keys() & REGISTERS)}

    def _changed(self) -> None:
        if self.shows:
            self._show()
        if self.told is not None:
            os.write(self.told, b".")
            if stat.S_ISSOCK(os.fstat(self.told).st_mode):
                os.read(self.told, 1)

    def _show(self) -> None:
        for zone in ZONES:
            for name in self.machine.sysfs.listdir(zone):
                if ATTRIBUTE.search(name) and self.shown.get(path := f"{zone}/{name}") != (text := self.text(path)):
                    self.shown[path] = text
                    (self.root / "sys" / path).write_bytes(text)


class Tree(RealMachine):
    """/sys of that machine, with a driver behind the attributes that registers stand behind."""

    def __init__(self, root: Path, driver: MachineOfFiles) -> None:
        super().__init__(str(root / "sys"))
        self.kernel = "6.12.117"
        self.driver = driver

    def read(self, path: str) -> bytes:
        return self.driver.text(path) if ATTRIBUTE.search(path) else super().read(path)


def build(root: Path) -> None:
    machine = Machine.from_profile("kabylake", kernel="6.12")
    machine.msr.poke(0, 0x1B2, 0x0100_0003)
    write_tree(machine, root / "sys")
    cpus = root / "sys/devices/system/cpu"
    for cpu in CPUS:
        (cpus / f"cpu{cpu}/topology").mkdir(parents=True)
        (cpus / f"cpu{cpu}/topology/physical_package_id").write_text("0\n")
        (cpus / f"cpu{cpu}/topology/die_id").write_text("0\n")
        (root / f"dev/cpu/{cpu}").mkdir(parents=True)
    (cpus / "online").write_text(f"0-{CPUS[-1]}\n")
    first = root / "dev/cpu/0/msr"
    with first.open("wb") as file:
        for register in machine.msr.addresses(0):
            os.pwrite(file.fileno(), machine.msr.read(0, register).to_bytes(8, "little"), 8 * register)
    for cpu in CPUS[1:]:
        (root / f"dev/cpu/{cpu}/msr").hardlink_to(first)
    (root / "proc/sys/kernel/random").mkdir(parents=True)
    (root / "proc/sys/kernel/random/boot_id").write_text("3d0c9a4e-0000-4000-8000-000000000001\n")
    (root / "proc/cpuinfo").write_text(
        "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 142\nflags\t\t: fpu pts pln\n\n"
    )


def run(root: Path, told: int | None = None, times: int = 1) -> list[str]:
    """What every clause that writes says; at the end everything is put back."""
    host = MachineOfFiles(root, told, shows=False)
    subject = GuardedMachine(Tree(root, host), host, FileSystem(), root / JOURNAL, folders=[root / "sys"])
    clauses = [clause for clause in load_clauses().values() if "writable" in clause.needs]
    try:
        verdicts = [verdict for _ in range(times) for verdict in loop.run([(clause, subject) for clause in clauses])]
    finally:
        subject.close()
    return [verdict.verdict for verdict in verdicts] + subject.unrestored


def put_back(root: Path) -> tuple[int, list[str]]:
    host = MachineOfFiles(root, shows=False)
    return restore(root / JOURNAL, Tree(root, host), host, FileSystem(), [root / "sys"])


def kill(root: Path, seed: int, count: int) -> dict[str, object]:
    """How often a run was killed, how often its registers were not as before then, and what restore said wrongly."""
    chance = random.Random(seed)  # noqa: S311 - where to kill, not a secret
    registers = root / "dev/cpu/0/msr"
    before = registers.read_bytes()
    killed = dirty = 0
    wrong = []
    for _ in range(count):
        ours, theirs = socket.socketpair()
        child = os.fork()
        if child == 0:
            ours.close()
            run(root, theirs.fileno())
            os._exit(0)
        theirs.close()
        with ours:
            # It waits at each change, however late this host lets us hear of it: at the last one it is still there.
            for change in reversed(range(chance.randrange(1, CHANGES))):
                ours.recv(1)
                if change:
                    ours.send(b".")
            os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
        killed += os.WIFSIGNALED(status)
        dirty += registers.read_bytes() != before
        said = put_back(root)
        if said[0] or registers.read_bytes() != before or (root / JOURNAL).exists():
            wrong.append(said)
    return {"killed": killed, "dirty": dirty, "wrong": wrong}


def main(command: str, root: Path, *numbers: str) -> object:
    match command:
        case "build":
            build(root)
            return "built"
        case "run":
            # Whoever starts this may ignore signals, as a shell does for what runs in the background.
            for number in (signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            return run(root, 1, int(numbers[0]))
        case "restore":
            return put_back(root)
        case _:
            return kill(root, *map(int, numbers))


if __name__ == "__main__":
    found = main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
    sys.stderr.write(json.dumps(found) + "\n")
