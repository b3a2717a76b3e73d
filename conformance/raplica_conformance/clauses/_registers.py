# SPDX-License-Identifier: Apache-2.0
"""Which register stands behind which file, for clauses that look at both.

Mirrors the register tables of drivers/powercap/intel_rapl_msr.c and the primitives of intel_rapl_common.c. A CPU does
not say here to which package it belongs, but the zones are made in the order in which CPUs come online: the
first CPU belongs to the package with the lowest id.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from raplica_conformance.clause import not_applicable, skip
from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._driver import Units
from raplica_conformance.clauses._reading import (
    MSR_RAPL,
    constraint_path,
    family,
    has_tpmi,
    kind,
    name_of,
    rapl_zones,
    since,
    value,
)
from raplica_conformance.subject import Provider, Zone, constraints, readable

__all__ = [
    "AMD_UNIT",
    "ENERGY",
    "INFO",
    "INTEL_UNIT",
    "LIMIT",
    "LOCKS",
    "PEAK",
    "Limit",
    "code_to_set",
    "cpus_behind",
    "energy_register",
    "first_family",
    "limits",
    "lowered",
    "place",
    "register",
    "settable",
    "steps_to_set",
    "unit_of",
    "unit_register",
    "units",
]

INTEL_UNIT = 0x606
AMD_UNIT = 0xC0010299
PEAK = 0x601

ENERGY = {"package": 0x611, "core": 0x639, "uncore": 0x641, "dram": 0x619, "psys": 0x64D}
_AMD_ENERGY = {"package": 0xC001029B, "core": 0xC001029A}
INFO = {"package": 0x614, "dram": 0x61C}
LIMIT = {"package": 0x610, "core": 0x638, "uncore": 0x640, "dram": 0x618, "psys": 0x65C}

#: Both places of the lock: bit 63 with two limits in a register, bit 31 with one. The other bit is reserved.
LOCKS = 1 << 63 | 1 << 31


@dataclass(frozen=True, slots=True)
class Limit:
    """One constraint and the bits behind it: `shift` and `width` of the limit, `window_shift` of its 7-bit window.

    `enable` is the mask of its enable bit, `clamp` that of its clamp bit; peak_power has neither and no window.
    """

    zone: Zone
    number: int
    name: str
    register: int
    shift: int
    width: int
    window_shift: int
    enable: int
    clamp: int
    units: Units

    @property
    def limit_path(self) -> str:
        """constraint_N_power_limit_uw."""
        return constraint_path(self.zone, self.number, "power_limit_uw")

    @property
    def window_path(self) -> str:
        """constraint_N_time_window_us."""
        return constraint_path(self.zone, self.number, "time_window_us")

    @property
    def enabled_path(self) -> str:
        """`enabled` of the zone."""
        return f"{self.zone.path}/enabled"

    @property
    def limit_mask(self) -> int:
        """The bits of the limit in place."""
        return ((1 << self.width) - 1) << self.shift

    @property
    def window_mask(self) -> int:
        """The bits of the window in place."""
        return 0x7F << self.window_shift if self.window_shift else 0


def unit_register(tree: Provider) -> int:
    """The register that holds the units on this machine's first CPU, or not applicable where none reads."""
    if has_tpmi(tree):
        not_applicable("the zones of this machine are made from TPMI: its MSRs are not behind them")
    for address in (INTEL_UNIT, AMD_UNIT):
        if register(tree, tree.cpus()[0], address):
            return address
    return not_applicable("no unit register reads here")


def register(tree: Provider, cpu: int, address: int) -> int | None:
    """A register, or None where reading it faults."""
    try:
        return tree.msr_read(cpu, address)
    except OSError:
        return None


def energy_register(tree: Provider, zone: Zone) -> int | None:
    """The address of the counter behind a zone."""
    table = _AMD_ENERGY if unit_register(tree) == AMD_UNIT else ENERGY
    return table.get(kind(tree, zone))


def units(tree: Provider) -> Units:
    """The units of the first CPU's register, read the way that fits the ranges of the zones."""
    raw = register(tree, tree.cpus()[0], unit_register(tree)) or 0
    core, atom = Units.of(raw), Units.of(raw, atom=True)
    ranges = {value(tree, f"{zone.path}/max_energy_range_uj") for zone in rapl_zones(tree, MSR_RAPL)}
    return atom if _driver.range_uj(atom.energy_nj) in ranges else core


def first_family(tree: Provider) -> list[Zone]:
    """The package of the first CPU with its parts, and `psys`: the zones whose registers that CPU reads."""
    families = sorted(family(tree, MSR_RAPL), key=lambda pair: int(pair[0].id.rpartition(":")[2], 16))
    if not since(tree, "4.11"):
        # Packages were collected at the head of a list, so that the first one found got the highest id.
        families.reverse()
    packages = [[top, *below] for top, below in families if kind(tree, top) == "package"]
    psys = [top for top, _ in families if name_of(tree, top) == "psys"]
    return [*(packages[0] if packages else []), *psys]


def cpus_behind(tree: Provider, zone: Zone) -> list[int]:
    """The CPUs whose register may stand behind a zone: the first where that is known, else all."""
    first = {zone.path for zone in first_family(tree)}
    return tree.cpus()[:1] if zone.path in first else tree.cpus()


def limits(tree: Provider) -> Iterator[Limit]:
    """Every named constraint of the first CPU's zones with the bits behind it.

    A zone whose range is 0 is left out: the driver found no unit register for it. So is a limit whose register does
    not read: the first driver (3.13) has a package's two all the same.
    """
    if unit_register(tree) != INTEL_UNIT:
        not_applicable("AMD and Hygon have no limits in powercap")
    by_register, cpu = units(tree), tree.cpus()[0]
    for zone in first_family(tree):
        what, unit_nj = kind(tree, zone), unit_of(tree, zone)
        if what not in LIMIT or unit_nj == 0:
            continue
        for n in constraints(tree, zone):
            name = (readable(tree, constraint_path(zone, n, "name")) or b"").decode("ascii", "replace").strip()
            bits = place(name, wide=what == "psys" and unit_nj == _driver.PSYS_NJ)
            target = PEAK if name == "peak_power" else LIMIT[what]
            if bits is not None and register(tree, cpu, target) is not None:
                yield Limit(zone, n, name, target, *bits, by_register)


def settable(tree: Provider) -> Iterator[Limit]:
    """The limits that a write reaches: unlocked, and on Silvermont and Airmont PL1 alone, whose register has no PL2."""
    for limit in limits(tree):
        raw = register(tree, tree.cpus()[0], limit.register)
        if raw is None or raw & LOCKS or (limit.units.atom and limit.name != "long_term"):
            continue
        yield limit


def lowered(tree: Provider, *, locked: bool = False) -> Iterator[tuple[Limit, int]]:
    """Each limit that can be set, or with `locked` each at all, and the whole steps to set it to for a moment.

    40 steps on a machine that nobody needs; else three quarters of what it is, where that is less. Ends the clause as
    skipped where there are limits and none is high enough to be lowered.
    """
    found = list(limits(tree) if locked else settable(tree))
    usable = [(limit, steps) for limit in found if (steps := steps_to_set(tree, limit))]
    if found and not usable:
        skip("no limit here is so high that it could be lowered for a moment")
    yield from usable


def steps_to_set(tree: Provider, limit: Limit) -> int | None:
    """Whole steps to which this limit may be set, None where there are none."""
    if "wild-writes" in tree.can:
        return 40
    steps = (value(tree, limit.limit_path) or 0) // limit.units.power_uw
    return 3 * steps // 4 if steps > 1 else None


def code_to_set(tree: Provider, limit: Limit) -> int | None:
    """The code to which this window may be set: 1 s or 4 steps, or on a machine that somebody needs the next lower one.

    None where there is none that the driver stores as it is.
    """
    if "wild-writes" in tree.can:
        return 4 if limit.units.atom else 0x0A
    code = ((register(tree, tree.cpus()[0], limit.register) or 0) & limit.window_mask) >> limit.window_shift
    if limit.units.atom:
        return code - 1 if code > 1 else None
    exponent, fraction = code & 0x1F, code >> 5
    lower = exponent | (fraction - 1) << 5 if fraction else exponent - 1 | 3 << 5
    step = limit.units.time_us
    survives = exponent < 31 and lower >= 0 and _driver.window_code(_driver.window_us(lower, step), step) == lower
    return lower if survives else None


def unit_of(tree: Provider, zone: Zone) -> int | None:
    """The nJ that a step of the zone's counter is worth, by its range: 0 for 0, None where no whole number fits."""
    found = value(tree, f"{zone.path}/max_energy_range_uj")
    return None if found is None or found < 0 else _driver.unit_nj(found)


def place(name: str, *, wide: bool) -> tuple[int, int, int, int, int] | None:
    """shift, width, window's shift, enable mask, clamp mask; `wide` is psys of Sapphire Rapids, which has no clamp."""
    if name == "peak_power":
        return 0, 13, 0, 0, 0
    if name == "long_term":
        return (0, 17, 19, 1 << 17, 0) if wide else (0, 15, 17, 1 << 15, 1 << 16)
    if name == "short_term":
        return (32, 17, 51, 1 << 49, 0) if wide else (32, 15, 49, 1 << 47, 1 << 48)
    return None
