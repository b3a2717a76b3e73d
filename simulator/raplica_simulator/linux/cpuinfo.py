# SPDX-License-Identifier: Apache-2.0
"""``/proc/cpuinfo``: a block of text for each processor that is up.

Mirrors show_cpuinfo of arch/x86/kernel/cpu/proc.c and fs/seq_file.c.  A profile knows who made the processor, its
numbers, its name and a few flags; what it does not know is left out where the kernel leaves it out too (microcode,
cache size) and else composed, the same for every machine: ``cpuid level``, ``address sizes``, a base frequency of
2 GHz where the name says none, and of the flags those that every 64-bit processor has.
"""

import os
import re
import select
from collections.abc import Collection
from decimal import Decimal
from errno import EBADF, EINVAL, EIO

from raplica_simulator.linux.cpu_topology import CpuTopology, HasCpus
from raplica_simulator.linux.rapl_models import is_amd

__all__ = ["Cpuinfo", "CpuinfoFile"]

_PAGE = 4096
_MAX_OFFSET = (1 << 63) - 1
_FREQUENCY = re.compile(r"@ *([0-9.]+) *GHz", re.IGNORECASE)
_DEFAULT_MHZ = Decimal(2000)
# What a kernel for x86-64 demands of any processor, with the two that every driver here reads registers by: msr, tsc.
_BASE_FLAGS = ("fpu", "tsc", "msr", "pae", "cx8", "cmov", "fxsr", "sse", "sse2", "syscall", "nx", "lm")
# The kernel prints flags by their number; of those that a profile may name, in that order (cpufeatures.h).
_ORDER = (
    *("fpu", "vme", "de", "pse", "tsc", "msr", "pae", "mce", "cx8", "apic", "sep", "mtrr", "pge", "mca", "cmov", "pat"),
    *("pse36", "clflush", "dts", "acpi", "mmx", "fxsr", "sse", "sse2", "ss", "ht", "tm", "pbe", "syscall", "nx"),
    *("pdpe1gb", "rdtscp", "lm", "constant_tsc", "art", "arch_perfmon", "pebs", "bts", "rep_good", "nopl", "xtopology"),
    *("nonstop_tsc", "cpuid", "extd_apicid", "aperfmperf", "rapl", "tsc_known_freq", "pni", "monitor", "est", "tm2"),
    *("x2apic", "hypervisor", "epb", "dtherm", "ida", "arat", "pln", "pts", "hwp", "hwp_notify", "hwp_epp"),
)
_RANK = {flag: rank for rank, flag in enumerate(_ORDER)}
# Since when the line of known bugs is there; before, each had its own.
_HAS_BUGS_LINE = (3, 14)
# CPUID 8000_0007 EDX bit 14 is RAPL, which the kernel has no word for among these (arch/x86/kernel/cpu/powerflags.c).
_RAPL_POWER_FLAG = " [14]"


class Cpuinfo:
    """The text of one machine."""

    def __init__(self, machine: HasCpus) -> None:
        self._topology = CpuTopology(machine)
        cpu = machine.profile.cpu
        found = _FREQUENCY.search(cpu.name)
        mhz = Decimal(found[1]) * 1000 if found else _DEFAULT_MHZ
        flags = {*_BASE_FLAGS, *cpu.flags}
        if len(machine.profile.topology.cpus) > machine.profile.topology.packages:
            flags.add("ht")
        ordered = sorted(flags, key=lambda flag: (_RANK.get(flag, len(_RANK)), flag))
        amd = is_amd(cpu.id)
        bugs = "bugs\t\t:\n" if machine.kernel.number >= _HAS_BUGS_LINE else ""
        self._head = (
            f"vendor_id\t: {cpu.id.vendor}\n"
            f"cpu family\t: {cpu.id.family}\n"
            f"model\t\t: {cpu.id.model}\n"
            f"model name\t: {cpu.name or 'unknown'}\n"
            f"stepping\t: {cpu.id.stepping}\n"
            f"cpu MHz\t\t: {mhz:.3f}\n"
        )
        self._tail = (
            "fpu\t\t: yes\n"
            "fpu_exception\t: yes\n"
            f"cpuid level\t: {16 if amd else 22}\n"
            "wp\t\t: yes\n"
            f"flags\t\t: {' '.join(ordered)}\n"
            f"{bugs}bogomips\t: {2 * mhz:.2f}\n"
            "clflush size\t: 64\n"
            "cache_alignment\t: 64\n"
            "address sizes\t: 46 bits physical, 48 bits virtual\n"
            f"power management:{_RAPL_POWER_FLAG if amd and 'rapl' in cpu.flags else ''}\n\n"
        )

    @property
    def online(self) -> Collection[int]:
        """The processors that have a block."""
        return self._topology.online

    def block(self, cpu: int) -> bytes:
        """What stands about one processor, with the empty line behind it."""
        topology = self._topology
        apic_id = topology.apic_id(cpu)
        place = (
            f"physical id\t: {topology.package(cpu)}\n"
            f"siblings\t: {len(topology.siblings('package', cpu))}\n"
            f"core id\t\t: {topology.core_id(cpu)}\n"
            f"cpu cores\t: {topology.booted_cores(cpu)}\n"
            f"apicid\t\t: {apic_id}\n"
            f"initial apicid\t: {apic_id}\n"
        )
        return f"processor\t: {cpu}\n{self._head}{place}{self._tail}".encode()

    def text(self) -> bytes:
        """The whole file as it is now."""
        return b"".join(self.block(cpu) for cpu in sorted(self.online))


class CpuinfoFile:
    """An open ``/proc/cpuinfo``.

    As seq_file does it: a read hands out what is left of the block that was begun, then whole blocks up to a page, so
    that who reads on gets the whole file and a block never changes under a reader of single bytes.
    """

    def __init__(self, cpuinfo: Cpuinfo, flags: int) -> None:
        self._cpuinfo = cpuinfo
        self._access = flags & os.O_ACCMODE
        self._next = 0  # the processor that comes next
        self._left = b""
        self._position = 0

    def pread(self, size: int, offset: int) -> bytes:
        """Read at an offset; b"" at the end.  EBADF for a descriptor that cannot read, EINVAL below 0."""
        if self._access in (os.O_WRONLY, os.O_ACCMODE):
            raise _error(EBADF)
        if offset < 0 or size < 0:
            raise _error(EINVAL)
        if offset != self._position:
            self._go_to(offset)
        taken, self._left = self._left[:size], self._left[size:]
        if len(taken) < size:
            taken += self._fill(size - len(taken))
        self._position = offset + len(taken)
        return taken

    def _go_to(self, offset: int) -> None:
        """Begin anew and leave out what lies before an offset (traverse)."""
        self._next, self._left = 0, b""
        while offset and (block := self._block()):
            self._left = block[offset:]
            offset = max(0, offset - len(block))

    def _fill(self, size: int) -> bytes:
        """Whole blocks as long as a page holds them and more is wanted; at least one."""
        held = b""
        while len(held) < size:
            cpu = self._next
            block = self._block()
            if not block:
                break
            if held and len(held) + len(block) > _PAGE:
                self._next = cpu
                break
            held += block
        self._left = held[size:]
        return held[:size]

    def _block(self) -> bytes:
        """The next processor's, and it counts as shown; b"" behind the last one."""
        cpu = min((cpu for cpu in self._cpuinfo.online if cpu >= self._next), default=None)
        if cpu is None:
            return b""
        self._next = cpu + 1
        return self._cpuinfo.block(cpu)

    def pwrite(self, data: bytes, offset: int) -> int:
        """There is nothing to write to: EIO, or EBADF for a descriptor that cannot write."""
        del data, offset
        raise _error(EBADF if self._access in (os.O_RDONLY, os.O_ACCMODE) else EIO)

    def poll(self) -> int:
        """Always readable and writable."""
        return select.POLLIN | select.POLLOUT

    def lseek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """EINVAL from the end: nobody knows where it is (seq_lseek)."""
        if whence not in (os.SEEK_SET, os.SEEK_CUR) or not 0 <= offset <= _MAX_OFFSET:
            raise _error(EINVAL)
        return offset


def _error(errno: int) -> OSError:
    return OSError(errno, os.strerror(errno), "proc/cpuinfo")
