# SPDX-License-Identifier: Apache-2.0
"""Where each processor lies, as the kernel says it: the files of ``cpuN/topology`` and the ids behind them.

Mirrors drivers/base/topology.c, and arch/x86/kernel/cpu/topology*.c for the numbers.  Firmware gives each processor an
APIC id in which thread, core, die and package have bits of their own; the kernel cuts its ids out of that, so the ids
of cores have gaps where a die has not 2^n of them.  Masks hold the processors that are up.  AMD's dies were its nodes
up to 6.8; later kernels take a die for one only where the processor lists it, which none is taken to do here.
"""

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from raplica_simulator.hardware.topology import Cpu
from raplica_simulator.linux.kernel import Kernel
from raplica_simulator.linux.rapl_models import counts_dies_through, is_amd
from raplica_simulator.profile.profile import Profile

__all__ = ["CpuTopology", "HasCpus", "cpu_list", "cpu_mask"]

# What topology_cluster_id() says where nobody told which processors share an L2 cache: BAD_APICID in 16 bits.
_NO_CLUSTER = 0xFFFF
# Since when a file is there, by the first listed kernel that has it (5.3: dies; 5.16: clusters).
_SINCE_5_5 = (5, 5)
_SINCE_6_1 = (6, 1)

_IDS = {
    "physical_package_id": (),
    "core_id": (),
    "die_id": _SINCE_5_5,
    "cluster_id": _SINCE_6_1,
}
# Masks by the name of the file without ``_list``, and whom they hold.
_MASKS: dict[str, tuple[str, tuple[int, ...]]] = {
    "thread_siblings": ("core", ()),
    "core_siblings": ("package", ()),
    "core_cpus": ("core", _SINCE_5_5),
    "die_cpus": ("die", _SINCE_5_5),
    "package_cpus": ("package", _SINCE_5_5),
    # As many processors as share an L2 cache, which are those of a core here.
    "cluster_cpus": ("core", _SINCE_6_1),
}
_SAME: dict[str, Callable[[Cpu], int]] = {
    "core": lambda cpu: cpu.core_index,
    "die": lambda cpu: cpu.logical_die,
    "package": lambda cpu: cpu.package,
}


class _Driver(Protocol):
    @property
    def online(self) -> Collection[int]: ...


class HasCpus(Protocol):
    """A machine as far as its processors go."""

    @property
    def profile(self) -> Profile:
        """What it was made from."""
        ...

    @property
    def kernel(self) -> Kernel:
        """What it runs."""
        ...

    @property
    def driver(self) -> _Driver:
        """What knows which processors are up."""
        ...


class CpuTopology:
    """The topology of one machine as its kernel tells it.

    Attributes:
        files: the names in ``cpuN/topology`` on this kernel, in no order that means anything.
    """

    def __init__(self, machine: HasCpus) -> None:
        self._machine = machine
        self._topology = machine.profile.topology
        cpu = machine.profile.cpu.id
        self._through = counts_dies_through(cpu, machine.kernel)
        self._knows_clusters = not is_amd(cpu)
        version = machine.kernel.number
        ids = [name for name, since in _IDS.items() if version >= since]
        masks = [name for name, (_, since) in _MASKS.items() if version >= since]
        self.files = (*ids, *masks, *(f"{name}_list" for name in masks))
        # Up to 6.8 a processor whose die has one core, and that one thread, is nobody's sibling (set_cpu_sibling_map).
        one = self._topology.cores_per_die * self._topology.threads_per_core == 1
        self._is_alone = one and not is_amd(cpu) and not machine.kernel.global_die_ids
        # Since 6.9 a die of AMD's is what CPUID leaf 0x80000026 says, and without that leaf the package is one.
        self._dies_are_packages = is_amd(cpu) and machine.kernel.global_die_ids
        self._same = _SAME | {"die": _SAME["package" if self._dies_are_packages else "die"]}
        self._groups = {kind: self._group_by(key) for kind, key in self._same.items()}

    def _group_by(self, key: Callable[[Cpu], int]) -> dict[int, list[int]]:
        groups: dict[int, list[int]] = {}
        for cpu in self._topology.cpus:
            groups.setdefault(key(cpu), []).append(cpu.number)
        return groups

    @property
    def online(self) -> Collection[int]:
        """The processors that are up."""
        return self._machine.driver.online

    def read(self, cpu: int, name: str) -> bytes:
        """The text of one file of ``cpuN/topology``; KeyError for a name that this kernel does not have."""
        if name not in self.files:
            raise KeyError(name)
        if name in _IDS:
            return b"%d\n" % self._id(cpu, name)
        kind, _ = _MASKS[name.removesuffix("_list")]
        members = self.siblings(kind, cpu)
        return cpu_list(members) if name.endswith("_list") else cpu_mask(members, len(self._topology.cpus))

    def _id(self, cpu: int, name: str) -> int:
        here = self._topology.cpus[cpu]
        if name == "physical_package_id":
            return here.package
        if name == "die_id":
            return self._die_id(here)
        if name == "core_id":
            return self.core_id(cpu)
        # The lowest APIC id that shares the L2 cache (6.1 and 6.12 asked on Intel, 65535 on AMD).
        return self.apic_id(cpu) & ~((1 << self._thread_bits) - 1) if self._knows_clusters else _NO_CLUSTER

    def _die_id(self, here: Cpu) -> int:
        if self._dies_are_packages:
            return here.package
        return self._topology.die_number(here.package, here.die) if self._through else here.die

    def siblings(self, kind: str, cpu: int) -> list[int]:
        """The processors that are up in the ``core``, ``die`` or ``package`` of one, ascending."""
        online = self.online
        if self._is_alone:
            return [cpu] if cpu in online else []
        return [number for number in self._groups[kind][self._same[kind](self._topology.cpus[cpu])] if number in online]

    def package(self, cpu: int) -> int:
        """The package's number."""
        return self._topology.cpus[cpu].package

    def core_id(self, cpu: int) -> int:
        """The core's number in its package: the bits of die and core in the APIC id."""
        here = self._topology.cpus[cpu]
        return here.die << self._core_bits | here.core

    def apic_id(self, cpu: int) -> int:
        """The number by which hardware knows a processor."""
        here = self._topology.cpus[cpu]
        package = here.package << self._die_bits + self._core_bits
        return (package | self.core_id(cpu)) << self._thread_bits | here.thread

    def booted_cores(self, cpu: int) -> int:
        """The cores of a processor's package that have a thread that is up."""
        cpus = self._topology.cpus
        return len({cpus[number].core_index for number in self.siblings("package", cpu)})

    @property
    def _thread_bits(self) -> int:
        return (self._topology.threads_per_core - 1).bit_length()

    @property
    def _core_bits(self) -> int:
        return (self._topology.cores_per_die - 1).bit_length()

    @property
    def _die_bits(self) -> int:
        return (self._topology.dies_per_package - 1).bit_length()


def cpu_list(numbers: Iterable[int]) -> bytes:
    """Processors as the kernel lists them: ``0-3,8`` and a newline (lib/vsprintf.c bitmap_list_string)."""
    ranges: list[list[int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][-1] == number - 1:
            ranges[-1].append(number)
        else:
            ranges.append([number])
    texts = (f"{one[0]}-{one[-1]}" if len(one) > 1 else f"{one[0]}" for one in ranges)
    return ",".join(texts).encode() + b"\n"


def cpu_mask(numbers: Iterable[int], width: int) -> bytes:
    """Processors as a mask of ``width`` bits: hexadecimal words of 32 bits, the first as short as it can be.

    ``width`` is how many processors the machine has; a mask of 80 is ``ffff,ffffffff,ffffffff`` (bitmap_string).
    """
    mask = sum(1 << number for number in set(numbers))
    words = [f"{mask >> 32 * word & 0xFFFFFFFF:08x}" for word in range((width + 31) // 32)]
    first = width % 32 or 32
    words[-1] = words[-1][-((first + 3) // 4) :]
    return ",".join(reversed(words)).encode() + b"\n"
