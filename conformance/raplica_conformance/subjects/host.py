# SPDX-License-Identifier: Apache-2.0
"""The operating system under a run that writes to this machine: every question to it, and every change.

Nothing else of the suite changes a machine, so that a test can put another one in its place and stop a run at any
change. Mirrors arch/x86/kernel/msr.c (/dev/cpu/N/msr), drivers/base/cpu.c and drivers/base/topology.c (which CPUs there
are and where), drivers/char/random.c (the id of the boot).
"""

import errno
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from raplica_conformance.subjects.files import FileTree

__all__ = ["CpuFacts", "Host", "OperatingSystem", "Place"]

_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")


@dataclass(frozen=True, slots=True)
class CpuFacts:
    """What /proc/cpuinfo says of the first CPU; 0 and "" where it does not."""

    vendor: str = ""
    family: int = 0
    model: int = 0
    flags: frozenset[str] = field(default=frozenset())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a CPU is: the physical package and the die, as the kernel numbers them in zone names too."""

    package: int
    die: int


class Host(Protocol):
    """What a run that writes needs of a machine beside its tree. Paths are relative to the root of sysfs."""

    def write(self, path: str, data: bytes) -> int:
        """One write at offset 0, nothing truncated; the count that was taken, or OSError."""

    def write_refusal(self, path: str) -> int:
        """The errno of opening for writing, 0 where it opens; nothing is written."""

    def msr_read(self, cpu: int, register: int) -> int:
        """64 bits, or OSError: ENOENT without the device, EIO where the processor faults."""

    def msr_write(self, cpu: int, register: int, value: int) -> None:
        """wrmsr; OSError as above, EPERM where nobody may."""

    def msr_refusal(self, cpu: int, register: int) -> int:
        """The errno that a write would meet before it reaches the processor, 0 for none; nothing is written."""

    def boot_id(self) -> str:
        """What is another one after every boot; OSError where the kernel does not tell."""

    def cpu_facts(self) -> CpuFacts:
        """The model of the CPUs."""

    def places(self) -> Mapping[int, Place]:
        """The CPUs that are online, by number."""


class OperatingSystem:
    """Linux as it runs. Other folders than its own are given by tests only."""

    def __init__(self, sysfs: str = "/sys", dev: str = "/dev", proc: str = "/proc") -> None:
        self._tree = FileTree(sysfs)
        self._dev = Path(dev)
        self._proc = Path(proc)

    def write(self, path: str, data: bytes) -> int:
        """Open for writing alone and without cutting off what is there, then write once."""
        handle = os.open(self._tree.inside(path), os.O_WRONLY | os.O_CLOEXEC)
        try:
            return os.write(handle, data)
        finally:
            os.close(handle)

    def write_refusal(self, path: str) -> int:
        """Open and close."""
        try:
            os.close(os.open(self._tree.inside(path), os.O_WRONLY | os.O_CLOEXEC))
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def msr_read(self, cpu: int, register: int) -> int:
        """pread(2) of eight bytes at the register's number."""
        handle = os.open(self._msr(cpu), os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.pread(handle, 8, register)
        finally:
            os.close(handle)
        if len(found) != 8:
            raise OSError(errno.EIO, os.strerror(errno.EIO), f"rdmsr {register:#x} on CPU {cpu}")
        return int.from_bytes(found, "little")

    def msr_write(self, cpu: int, register: int, value: int) -> None:
        """pwrite(2) of eight bytes at the register's number."""
        handle = os.open(self._msr(cpu), os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.pwrite(handle, value.to_bytes(8, "little"), register) != 8:
                raise OSError(errno.EIO, os.strerror(errno.EIO), f"wrmsr {register:#x} on CPU {cpu}")
        finally:
            os.close(handle)

    def msr_refusal(self, cpu: int, register: int) -> int:
        """A write of no bytes: lockdown and allow_writes=off refuse it like any other, and no register is written.

        Opening alone does not tell: both let it be opened (arch/x86/kernel/msr.c msr_write, filter_write).
        """
        try:
            handle = os.open(self._msr(cpu), os.O_RDWR | os.O_CLOEXEC)
            try:
                os.pwrite(handle, b"", register)
            finally:
                os.close(handle)
        except OSError as error:
            return error.errno or errno.EIO
        return 0

    def boot_id(self) -> str:
        """/proc/sys/kernel/random/boot_id."""
        return (self._proc / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    def cpu_facts(self) -> CpuFacts:
        """The first paragraph of /proc/cpuinfo."""
        try:
            text = (self._proc / "cpuinfo").read_text(encoding="ascii", errors="replace").partition("\n\n")[0]
        except OSError:
            return CpuFacts()
        found = dict(re.findall(r"^([^\t:]+?)\s*:[ \t]*(.*)$", text, flags=re.MULTILINE))
        family, model = (int(n) if (n := found.get(name, "")).isdigit() else 0 for name in ("cpu family", "model"))
        return CpuFacts(found.get("vendor_id", ""), family, model, frozenset(found.get("flags", "").split()))

    def places(self) -> Mapping[int, Place]:
        """devices/system/cpu/online, and each CPU's topology; a kernel without die_id has one die a package."""
        places = {}
        for cpu in _numbers(self._text("devices/system/cpu/online")):
            package = self._text(f"devices/system/cpu/cpu{cpu}/topology/physical_package_id")
            die = self._text(f"devices/system/cpu/cpu{cpu}/topology/die_id")
            if package.isdigit():
                places[cpu] = Place(int(package), int(die) if die.isdigit() else 0)
        return places

    def _msr(self, cpu: int) -> Path:
        return self._dev / f"cpu/{cpu}/msr"

    def _text(self, path: str) -> str:
        """A file of sysfs without its newline, "" where it does not read."""
        try:
            return self._tree.read(path).decode("ascii", "replace").strip()
        except OSError:
            return ""


def _numbers(text: str) -> list[int]:
    """A list of CPUs as the kernel prints it: "0-3,8" (lib/bitmap.c, the format %*pbl)."""
    numbers: list[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found:
            numbers.extend(range(int(found[1]), int(found[2] or found[1]) + 1))
    return numbers
