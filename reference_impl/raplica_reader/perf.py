# SPDX-License-Identifier: Apache-2.0
"""Find zones in the perf PMUs `power` and `power_core` (mirrors arch/x86/events/rapl.c and its files in sysfs).

Each file `events/energy-X` is a domain, to be opened once for each CPU in `cpumask`: one of each die or package. The
kernel extends the counter to 64 bits of 2^-32 J, so a count does not wrap in a lifetime; it begins at 0 when the event
is opened and ends when it is closed. Type, event codes and scale are read and never assumed.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import gcd

from raplica_reader.counter import RawCounter
from raplica_reader.files import Files, errno_name, parse_number
from raplica_reader.perf_event import PerfEvents
from raplica_reader.possible import possible_w
from raplica_reader.processor import PackageWalk, Place, Processor, cores, parse_cpus, places, processor, psys_name
from raplica_reader.zone import Handle, Zone

__all__ = ["PMUS", "EnergyEvent", "Perf", "parse_config", "parse_scale"]

PMUS = "bus/event_source/devices"
NAMES = {"pkg": "package", "cores": "core", "gpu": "uncore", "ram": "dram", "psys": "psys"}
PER_PACKAGE, PER_CORE = "power", "power_core"
BITS = 64
COUNT = 8
NANO = 10**9


@dataclass(frozen=True, slots=True)
class EnergyEvent:
    """An event on a CPU, as a gauge. Closing it would forget its count, so it stays open."""

    pmu_type: int
    config: int
    cpu: int
    events: PerfEvents = field(repr=False, compare=False)

    counts_on = False

    def open(self) -> Handle:
        """Begin to count."""
        return self.events.open(self.pmu_type, self.config, self.cpu)

    def once(self) -> bytes:
        """An event that is not open has no count: ENODATA."""
        raise OSError(errno.ENODATA, "a perf event counts only while it is open")

    def check(self) -> None:
        """A type and a code are always the same event."""

    def decode(self, content: bytes) -> int:
        """The 64-bit count; an event in error reads as nothing (ENODATA)."""
        if len(content) != COUNT:
            raise OSError(errno.ENODATA, "the event counts no more")
        return int.from_bytes(content, "little")


class Perf:
    """The energy events of a machine, as a source: its sysfs tree, and what opens events."""

    name = "perf"

    def __init__(
        self, events: PerfEvents, files: Files, cpuinfo: bytes | None = None, known: Processor | None = None
    ) -> None:
        self.events = events
        self.files = files
        self.cpuinfo = cpuinfo
        self.known = known
        self._packages = PackageWalk()

    def signature(self) -> object:
        """The CPUs that count."""
        answers = []
        for pmu in (PER_PACKAGE, PER_CORE):
            try:
                answers.append(self.files.read(f"{PMUS}/{pmu}/cpumask"))
            except OSError as error:
                answers.append(errno_name(error).encode())
        return tuple(answers)

    def discover(self) -> tuple[Zone, ...]:
        """Find every energy event on one CPU of each package, die or core.

        Errors: OSError with the kernel's errno where the PMU `power` is not there (ENOENT).
        """
        pmu = _Pmu(self.files, PER_PACKAGE)
        model = self.known or processor(self.files, self.cpuinfo)
        zones: list[Zone] = []
        found = self._places(pmu.cpus)
        for package, cpus in self._packages.of(found, model).items():
            zones.extend(self._package(pmu, package, cpus[0]))
        zones.extend(self._cores(zones, found))
        return tuple(zones)

    def _package(self, pmu: "_Pmu", package: str, cpu: int) -> Iterator[Zone]:
        """The zones of a package, itself first."""
        order = [event for event in NAMES if event in pmu.events]
        for event in (*order, *sorted(pmu.events.keys() - NAMES.keys())):
            kind = NAMES.get(event, event)
            name = package if kind == "package" else kind
            above = None if kind in {"package", "psys"} else package
            if kind == "psys":
                name = psys_name(package)
            yield from self._zone(pmu, event, cpu, name, above)

    def _cores(self, zones: list[Zone], found: dict[int, Place]) -> Iterator[Zone]:
        """A zone for each core, where the kernel has the PMU for that (AMD, from 6.14 on)."""
        try:
            pmu = _Pmu(self.files, PER_CORE)
        except OSError:
            return
        sits = self._places(pmu.cpus)
        for package in sorted({place.package for place in found.values()}):
            above = f"package-{package}"
            readers = [cpu for cpu, place in sits.items() if place.package == package]
            if "core" in pmu.events and any(zone.path == above for zone in zones):
                for name, cpus in cores(sits, readers).items():
                    yield from self._zone(pmu, "core", cpus[0], name, above)

    def _zone(self, pmu: "_Pmu", event: str, cpu: int, name: str, above: str | None) -> Iterator[Zone]:
        config, unit = pmu.events[event]
        path = name if above is None else f"{above}/{name}"
        yield Zone(
            id=f"perf:{path}",
            path=path,
            name=name,
            control_type="perf",
            parent=None if above is None else f"perf:{above}",
            max_energy_range_uj=None,
            has_energy=True,
            error=None,
            counter=RawCounter(unit, BITS),
            possible_w=possible_w(name, ()),
            mirror_of=None,
            gauge=EnergyEvent(pmu.type, config, cpu, self.events),
        )

    def _places(self, cpus: list[int]) -> dict[int, Place]:
        """Where the counting CPUs sit. If nobody says so, each stands for a package, which the mask implies."""
        found = places(self.files, cpus, self.cpuinfo)
        if len(found) < len(cpus):
            return {cpu: Place(number, 0, cpu) for number, cpu in enumerate(cpus)}
        return found


class _Pmu:
    """The files of one PMU: its type, its CPUs, its energy events with code and unit."""

    def __init__(self, files: Files, name: str) -> None:
        folder = f"{PMUS}/{name}"
        self.type = parse_number(files.read(f"{folder}/type"))
        self.cpus = parse_cpus(files.read(f"{folder}/cpumask"))
        self.events: dict[str, tuple[int, tuple[int, int]]] = {}
        for entry in files.listdir(f"{folder}/events"):
            if not entry.startswith("energy-") or "." in entry:
                continue
            config = parse_config(files.read(f"{folder}/events/{entry}"))
            unit = parse_scale(files.read(f"{folder}/events/{entry}.scale"))
            if (
                config is not None
                and unit is not None
                and files.read(f"{folder}/events/{entry}.unit").strip() == b"Joules"
            ):
                self.events[entry.removeprefix("energy-")] = config, unit


def parse_config(text: bytes) -> int | None:
    """The code in "event=0x02"; None for what is more than that or something else."""
    name, _, value = text.strip().partition(b"=")
    try:
        return int(value, 0) if name == b"event" else None
    except ValueError:
        return None


def parse_scale(text: bytes) -> tuple[int, int] | None:
    """The exact ratio of nanojoules to counts in a decimal number of joules; None for what is no such number.

    >>> parse_scale(b"2.3283064365386962890625e-10")
    (1953125, 8388608)
    """
    mantissa, has_exponent, exponent = text.strip().lower().partition(b"e")
    whole, _, fraction = mantissa.partition(b".")
    digits = whole + fraction
    try:
        power = int(exponent if has_exponent else b"0") - len(fraction)
    except ValueError:
        return None
    if not digits.isdigit() or not -100 < power < 100 or int(digits) == 0:
        return None
    numerator, denominator = int(digits) * 10 ** max(power, 0) * NANO, 10 ** max(-power, 0)
    shared = gcd(numerator, denominator)
    return numerator // shared, denominator // shared
