# SPDX-License-Identifier: Apache-2.0
"""The doors of a simulated machine for readers in this process: its tree, its registers, its perf events.

Nothing here makes a system call, so a case takes milliseconds. What a reader asks is answered by the same code that
answers programs on a mount, and what it was given is kept, for a failure to show. A *tree* has the three calls that
`raplica_reader.Files` asks (`listdir`, `readlink`, `read`), `registers` what its `Registers` asks, `events` what its
`PerfEvents` asks, `cpuinfo` is the text of /proc/cpuinfo.
"""

import errno
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from raplica_conformance.readers.moment import Gauge
from raplica_conformance.subjects.windows import begin_windows
from raplica_simulator import Machine
from raplica_simulator.linux.cpu_devices import CpuDevices
from raplica_simulator.linux.cpuinfo import Cpuinfo
from raplica_simulator.linux.perf_devices import PmuDevice
from raplica_simulator.linux.perf_power import PowerPmu, power_pmus
from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.linux.sysfs_nodes import Attribute
from raplica_simulator.live.measured import ZonePlace, domain_of_msr, zones
from raplica_simulator.macos import plist as property_list
from raplica_simulator.macos import text
from raplica_simulator.macos.dates import FIRST_BOOT_NS
from raplica_simulator.macos.mac_files import mac_of
from raplica_simulator.macos.meters import MachineMeters
from raplica_simulator.macos.samples import samples
from raplica_simulator.windows.win32_calls import Win32Calls

__all__ = [
    "SHOWN",
    "MachineEvents",
    "MachinePowermetrics",
    "MachineRegisters",
    "MachineTree",
    "OpenEvent",
    "counter_of",
    "powercap_unit_nj",
]

_SAMPLERS = frozenset({"cpu_power", "gpu_power"})
_CPU = "devices/system/cpu"
_PMUS = "bus/event_source/devices"
_FIRST_TYPE = 1000
_WORD = 8
_RAW_MAX = (1 << 32) - 1

#: Told what a reader was given: the id of a zone or the path of a domain, and the text or the errno's name.
Witness = Callable[[str, str], None]


class MachineRegisters:
    """The model-specific registers, by processor."""

    def __init__(self, machine: Machine, seen: Witness) -> None:
        self._machine = machine
        self._seen = seen

    def cpus(self) -> list[int]:
        """The processors that are up."""
        return sorted(self._machine.driver.online)

    def read(self, cpu: int, register: int) -> int:
        """One rdmsr: OSError ENXIO where the processor is down, EIO where the register faults."""
        domain = domain_of_msr(self._machine, cpu, register) or f"cpu{cpu}:{register:#x}"
        try:
            if cpu not in self._machine.driver.online:
                raise OSError(errno.ENXIO, "the processor is down")
            word = self._machine.msr.read(cpu, register)
        except OSError as error:
            self._seen(domain, errno.errorcode.get(error.errno or 0, str(error.errno)))
            raise
        self._seen(domain, f"{word:#x}")
        return word


class OpenEvent(NamedTuple):
    """A perf event that counts: a call that gives its 8 bytes, no descriptor to close and nothing to give back."""

    read: Callable[[], bytes]
    descriptor: None = None
    release: None = None


class MachineEvents:
    """perf_event_open on the machine's own PMUs."""

    def __init__(self, machine: Machine, pmus: list[PowerPmu], seen: Witness) -> None:
        self._machine = machine
        self._pmus = pmus
        self._seen = seen

    def open(self, pmu_type: int, config: int, cpu: int) -> OpenEvent:
        """Begin to count; OSError as the kernel has it, ENOENT for a PMU that is not there."""
        if not 0 <= pmu_type - _FIRST_TYPE < len(self._pmus):
            raise OSError(errno.ENOENT, "no such PMU")
        pmu = self._pmus[pmu_type - _FIRST_TYPE]
        counter = pmu.open(config, cpu)
        name = f"{pmu.name}/{counter.event.name} on cpu{cpu}"

        def read() -> bytes:
            count = counter.read()
            self._seen(name, str(count))
            return count.to_bytes(_WORD, "little")

        return OpenEvent(read)


class MachinePowermetrics:
    """powermetrics as `-i 0 -b 0` runs it: it samples when it is told to, and each sample begins where one ended."""

    def __init__(self, machine: Machine) -> None:
        self._mac = mac_of(machine.profile)
        self._samples = samples(MachineMeters(machine), self._mac, 0)
        self._between = b""
        next(self._samples)

    def sample(self, *, plist: bool = True, samplers: frozenset[str] = _SAMPLERS) -> bytes:
        """What it prints of the time since the last sample: a property list with a NUL before all but the first."""
        sample = next(self._samples)
        if not plist:
            return text.block(self._mac, sample, samplers, FIRST_BOOT_NS).encode()
        between, self._between = self._between, property_list.SEPARATOR
        return between + property_list.document(self._mac, sample, samplers, FIRST_BOOT_NS)


class MachineTree:
    """The machine's /sys for root: powercap, the processors, the power PMUs; with the other doors beside it.

    Attributes:
        seen: what was given at the latest look, by the id of a zone or the path of a domain.
    """

    def __init__(self, machine: Machine, driver: str | None = None) -> None:
        self._machine = machine
        self._driver = driver
        self.seen: dict[str, str] = {}

    def windows(self) -> Win32Calls:
        """A process on a Windows of its own, which runs on this machine; a reader may crash it.

        LookupError for a case that says nothing of what a reader meets there.
        """
        if self._driver is None:
            raise LookupError("this case is not about Windows")
        return begin_windows(self._machine, self._driver)

    def powermetrics(self) -> "MachinePowermetrics":
        """MacOS's powermetrics, which begins now, where the machine is a Mac."""
        return MachinePowermetrics(self._machine)

    @cached_property
    def registers(self) -> MachineRegisters:
        """The registers."""
        return MachineRegisters(self._machine, self.seen.__setitem__)

    @cached_property
    def events(self) -> MachineEvents:
        """The perf events."""
        return MachineEvents(self._machine, self._pmus, self.seen.__setitem__)

    @property
    def cpuinfo(self) -> bytes:
        """The text of /proc/cpuinfo as it is now."""
        return Cpuinfo(self._machine).text()

    def listdir(self, path: str) -> list[str]:
        """The names in a directory, in the kernel's order."""
        if path.strip("/") == _PMUS:
            return list(self._pmu_trees)
        tree, below = self._place(path)
        return tree.listdir(below)

    def readlink(self, path: str) -> str:
        """The text of a link."""
        tree, below = self._place(path)
        return tree.readlink(below)

    def read(self, path: str) -> bytes:
        """An attribute as root reads it: open, read, close."""
        tree, below = self._place(path)
        if not path.endswith("/energy_uj"):
            return tree.read(below)
        zone = path.split("/")[-2]
        try:
            text = tree.read(below)
        except OSError as error:
            self.seen[zone] = errno.errorcode.get(error.errno or 0, str(error.errno))
            raise
        self.seen[zone] = text.decode(errors="backslashreplace").removesuffix("\n")
        return text

    @cached_property
    def _pmus(self) -> list[PowerPmu]:
        return list(power_pmus(self._machine))

    @cached_property
    def _pmu_trees(self) -> dict[str, Sysfs]:
        kernel = self._machine.kernel
        return {pmu.name: PmuDevice(pmu, kernel, _FIRST_TYPE + number).sysfs for number, pmu in enumerate(self._pmus)}

    @cached_property
    def _cpus(self) -> Sysfs:
        return CpuDevices(self._machine).sysfs

    def _place(self, path: str) -> tuple[Sysfs, str]:
        """Which tree has a path, and what it is called there."""
        below = path.strip("/").removeprefix("sys/")
        if below == _CPU or below.startswith(f"{_CPU}/"):
            return self._cpus, below.removeprefix(_CPU).strip("/")
        name, _, rest = below.removeprefix(f"{_PMUS}/").partition("/")
        if below.startswith(f"{_PMUS}/") and name in self._pmu_trees:
            return self._pmu_trees[name], rest
        return self._machine.sysfs, path


def powercap_unit_nj(zone: ZonePlace) -> Fraction | None:
    """The nanojoules of a step in powercap, from the range, which is that of the largest raw value.

    None where the range does not say. Drivers up to 3.13 did not cut the unit to whole nanojoules.
    """
    attribute = zone.directory.children.get("max_energy_range_uj")
    if not isinstance(attribute, Attribute) or attribute.show is None:
        return None
    try:
        range_uj = int(attribute.show())
    except (OSError, ValueError):
        return None
    unit_nj = -(-range_uj * 1000 // _RAW_MAX)
    if _RAW_MAX * unit_nj // 1000 == range_uj:
        return Fraction(unit_nj)
    exact = (shift for shift in range(32) if _RAW_MAX * 10**6 >> shift == range_uj)
    return next((Fraction(10**9, 1 << shift) for shift in exact), None)


def _powercap(machine: Machine) -> Iterator[Gauge]:
    """The zones that have a counter of energy."""
    for zone in zones(machine):
        if "energy_uj" in zone.directory.children:
            yield Gauge(zone.id, zone.names)


def _msr(machine: Machine) -> Iterator[Gauge]:
    """The domains that a register counts which a processor that is up can read."""
    online = machine.driver.online
    found: dict[str, None] = {}
    for cpu in machine.profile.topology.cpus:
        if cpu.number in online:
            for address in machine.msr.addresses(cpu.number):
                domain = domain_of_msr(machine, cpu.number, address)
                # A counter that reads 0 when everything else counts is a domain that is not there.
                if domain is not None and machine.msr.content(cpu.number, address):
                    found[domain] = None
    return (Gauge(domain, domain) for domain in found)


def _perf(machine: Machine) -> Iterator[Gauge]:
    """The domains that an event of the PMU `power` counts."""
    kinds = {event.kind for pmu in power_pmus(machine) for event in pmu.events}
    for gauge in _msr(machine):
        place = machine.place_of(gauge.path)
        if place.kind in kinds:
            yield gauge


def _packages(machine: Machine) -> Iterator[Gauge]:
    """The packages: powermetrics has other names for what is in them, and cases tell those by themselves."""
    for number in range(machine.profile.topology.packages):
        yield Gauge(f"package-{number}", f"package-{number}")


#: The counters that each interface shows, by its name.
SHOWN: Mapping[str, Callable[[Machine], Iterator[Gauge]]] = {
    "powercap": _powercap,
    "msr": _msr,
    "perf": _perf,
    "windows": _msr,
    "powermetrics": _packages,
}


def counter_of(path: str, offset: int, machine: Machine) -> str | None:
    """Which counter a call was about: the id of a zone, or the path of a domain; None for any other file."""
    parts = path.split("/")
    if parts[-1] == "energy_uj" and len(parts) > 1:
        return parts[-2]
    if path.startswith("dev/cpu/") and parts[2].isdigit():
        return domain_of_msr(machine, int(parts[2]), offset & 0xFFFFFFFF)
    return None
