# SPDX-License-Identifier: Apache-2.0
"""Which processor a machine has and where its CPUs sit: what powercap need not be told, and registers and perf must.

The places come from `devices/system/cpu/cpuN/topology` of the sysfs tree (drivers/base/topology.c) and, for this
machine, from /proc/cpuinfo; the model from /proc/cpuinfo or from `devices/system/cpu/modalias`. All of it is text that
anybody may read. Nothing here asks the CPUID instruction, which always answers for the processor the reader runs on.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from raplica_reader.files import Files, parse_number

__all__ = [
    "AMD_VENDORS",
    "FIRST_AMD_FAMILY",
    "PackageWalk",
    "Place",
    "Processor",
    "cores",
    "groups",
    "has_dies",
    "parse_cpus",
    "places",
    "processor",
    "psys_name",
]

CPU = "devices/system/cpu"
MODALIAS = re.compile(rb"cpu:type:x86,ven([0-9A-Fa-f]{4})fam([0-9A-Fa-f]{4})mod([0-9A-Fa-f]{4})")
VENDORS = {b"0000": "GenuineIntel", b"0002": "AuthenticAMD", b"0009": "HygonGenuine"}
AMD_VENDORS = frozenset({"AuthenticAMD", "HygonGenuine"})
FIRST_AMD_FAMILY = 0x17
"""The first family with energy registers; Intel's families are 6 and from 18 to 19."""
LARGEST_CPU = 1 << 16


@dataclass(frozen=True, slots=True)
class Processor:
    """Vendor as CPUID spells it, family and model as Linux counts them (extended ones added)."""

    vendor: str
    family: int
    model: int

    @property
    def is_amd(self) -> bool:
        """Whether it has AMD's registers (AMD and Hygon)."""
        return self.vendor in AMD_VENDORS

    @classmethod
    def parse(cls, text: str) -> "Processor":
        """Read FAMILY:MODEL, decimal or with 0x; the family tells the vendor. Errors: ValueError."""
        family, model = (int(part, 0) for part in text.split(":"))
        if family < 0 or model < 0:
            raise ValueError("a family and a model are not negative")
        return cls("AuthenticAMD" if family >= FIRST_AMD_FAMILY else "GenuineIntel", family, model)


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where a CPU sits: physical package, die in the kernel's numbering, core."""

    package: int
    die: int
    core: int


def processor(files: Files, cpuinfo: bytes | None) -> Processor | None:
    """Tell the processor from the text of /proc/cpuinfo (None: there is none for this machine) or from sysfs."""
    fields = next(_blocks(cpuinfo or b""), {})
    try:
        return Processor(fields[b"vendor_id"].decode(), int(fields[b"cpu family"]), int(fields[b"model"]))
    except (KeyError, ValueError):
        pass
    try:
        found = MODALIAS.match(files.read(f"{CPU}/modalias"))
    except OSError:
        return None
    if found is None:
        return None
    vendor, family, model = found.groups()
    return Processor(VENDORS.get(vendor, vendor.decode()), int(family, 16), int(model, 16))


def places(files: Files, cpus: Iterable[int], cpuinfo: bytes | None) -> dict[int, Place]:
    """Where each of these CPUs sits; one of which nobody says so is left out."""
    found = {}
    by_number = {}
    for fields in _blocks(cpuinfo or b""):
        try:
            place = Place(int(fields[b"physical id"]), 0, int(fields[b"core id"]))
            by_number[int(fields[b"processor"])] = place
        except (KeyError, ValueError):
            continue
    for cpu in cpus:
        folder = f"{CPU}/cpu{cpu}/topology"
        try:
            package = parse_number(files.read(f"{folder}/physical_package_id"))
            core = parse_number(files.read(f"{folder}/core_id"))
        except OSError:
            if cpu in by_number:
                found[cpu] = by_number[cpu]
            continue
        try:
            die = parse_number(files.read(f"{folder}/die_id"))
        except OSError:  # a kernel before 5.2
            die = 0
        found[cpu] = Place(package, die, core)
    return found


def has_dies(found: dict[int, Place]) -> bool:
    """Whether a package has more than one die."""
    dies = {(place.package, place.die) for place in found.values()}
    return len(dies) > len({package for package, _ in dies})


def groups(found: dict[int, Place], *, per_die: bool) -> dict[str, list[int]]:
    """CPUs that share package registers, by the name of their package zone, in the order of their places.

    Intel has these registers `per_die` where a package has several, and the kernel then calls the zones
    package-P-die-D (intel_rapl_common.c rapl_add_package); AMD has them per package.
    """
    shared: dict[str, list[int]] = {}
    for cpu, place in sorted(found.items(), key=lambda item: (item[1].package, item[1].die, item[0])):
        name = f"package-{place.package}-die-{place.die}" if per_die else f"package-{place.package}"
        shared.setdefault(name, []).append(cpu)
    return shared


class PackageWalk:
    """The CPUs of each package, or of each die, from one look at a machine to the next.

    That packages have several dies is known for good once it was seen: CPUs that are down are in no die.
    """

    def __init__(self) -> None:
        self._has_dies = False

    def of(self, found: dict[int, Place], model: Processor | None) -> dict[str, list[int]]:
        """As `groups`, by the rule of that processor; one that nobody knows is taken for Intel's."""
        self._has_dies = self._has_dies or has_dies(found)
        return groups(found, per_die=self._has_dies and (model is None or not model.is_amd))


def psys_name(package: str) -> str:
    """What a platform's zone is called, by the package that it is read in, as the driver does."""
    number = package.removeprefix("package-").partition("-")[0]
    return "psys" if number == "0" else f"psys-{number}"


def cores(found: dict[int, Place], cpus: Iterable[int]) -> dict[str, list[int]]:
    """Of these CPUs those that share a core, by a name that no other core of their package has.

    The name is the kernel's number of the core, so that it stays when other cores go offline. Where dies number their
    cores each from 0, as some kernels do, the die is in it too.
    """
    threads: dict[Place, list[int]] = {}
    for cpu in cpus:
        threads.setdefault(found[cpu], []).append(cpu)
    numbers = [place.core for place in threads]
    return {
        f"core-{place.core}" if numbers.count(place.core) == 1 else f"core-{place.core}-die-{place.die}": threads[place]
        for place in sorted(threads)
    }


def parse_cpus(text: bytes) -> list[int]:
    """The CPUs of a list such as "0-3,8" (lib/bitmap.c); what is no list is empty."""
    cpus: list[int] = []
    for part in text.strip().split(b","):
        first, _, last = part.partition(b"-")
        if not first.isdigit() or (last and not last.isdigit()) or int(last or first) > LARGEST_CPU:
            return []
        cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def _blocks(cpuinfo: bytes) -> Iterator[dict[bytes, bytes]]:
    """The fields of each CPU in /proc/cpuinfo."""
    for block in cpuinfo.split(b"\n\n"):
        lines = (line.partition(b":") for line in block.splitlines())
        fields = {name.strip(): value.strip() for name, separator, value in lines if separator}
        if fields:
            yield fields
