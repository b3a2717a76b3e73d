# SPDX-License-Identifier: Apache-2.0
"""Which registers lie behind a zone of this machine, and on which CPU, as far as it can be made sure of.

Mirrors drivers/powercap/intel_rapl_msr.c (registers), intel_rapl_common.c (the names of zones say package and die).
Nothing here is believed because of a name alone: the register has to show exactly what the zone shows. Behind the
zones of TPMI and MMIO there is no register that the msr device reaches, and an emulator answers with zeros.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._driver import Units
from raplica_conformance.clauses._reading import constraint_path, has_tpmi, kind, name_of, value
from raplica_conformance.clauses._registers import INTEL_UNIT, LIMIT, PEAK, Limit, place, unit_of
from raplica_conformance.subject import Provider, Zone, constraints, readable
from raplica_conformance.subjects.host import Host, Place

__all__ = ["Behind", "NotBehind", "cpu_of", "look_behind"]

_PACKAGE = re.compile(r"package-([0-9]+)(?:-die-([0-9]+))?")
_PSYS = re.compile(r"psys(?:-([0-9]+))?")


class NotBehind(Exception):
    """No register is known to lie behind a zone; the text says why."""


@dataclass(frozen=True, slots=True)
class Behind:
    """The registers behind one zone: `limits` says which bits of them, `values` what they held a moment ago."""

    cpu: int
    limits: tuple[Limit, ...]
    values: Mapping[int, int]

    @property
    def bits(self) -> list[tuple[Limit, int]]:
        """Each limit with the 64 bits of its register."""
        return [(limit, self.values[limit.register]) for limit in self.limits]


def cpu_of(tree: Provider, top: Zone, places: Mapping[int, Place]) -> int | None:
    """The lowest CPU of the package or die after which a top-level zone is called, None where the name does not tell.

    `psys` without a number belongs to the first package; a package of several dies is one zone a die.
    """
    name = name_of(tree, top)
    if name == "psys":
        return min(places, default=None)
    found = _PACKAGE.fullmatch(name) or _PSYS.fullmatch(name)
    if found is None:
        return None
    package, die = (int(n) if n else None for n in (*found.groups(), None)[:2])
    there = {cpu: where for cpu, where in places.items() if where.package == package}
    if die is not None:
        return min((cpu for cpu, where in there.items() if where.die == die), default=None)
    return min(there, default=None) if len({where.die for where in there.values()}) == 1 else None


def look_behind(tree: Provider, host: Host, zone: Zone, cpu: int | None) -> Behind:
    """The registers behind a zone whose package or die `cpu` belongs to. Raises NotBehind."""
    if zone.control_type != "intel-rapl":
        raise NotBehind(f"no register of the msr device lies behind {zone.control_type}")
    if has_tpmi(tree):
        raise NotBehind(
            "the zones of this machine are made from TPMI, and no register of the msr device lies behind them"
        )
    if cpu is None:
        raise NotBehind(f"which CPU {zone.id} belongs to is not known")
    limits = _limits(tree, zone, _units(tree, host, zone, cpu))
    values = {}
    for limit in limits:
        values[limit.register] = _read(host, cpu, limit.register)
        if not _shows(tree, limit, values[limit.register]):
            raise NotBehind(f"register {limit.register:#x} of CPU {cpu} does not hold what {zone.id} shows")
    if not limits:
        raise NotBehind(f"{zone.id} has no limit with a known register")
    return Behind(cpu, tuple(limits), values)


def _units(tree: Provider, host: Host, zone: Zone, cpu: int) -> Units:
    """The units of the CPU's register, if the zone's range follows from them."""
    step = unit_of(tree, zone)
    units = Units.of(_read(host, cpu, INTEL_UNIT), atom=bool(_driver.is_atom(step)))
    own = {"dram": _driver.DRAM_NJ, "psys": _driver.PSYS_NJ}.get(kind(tree, zone))
    if not step or step not in (units.energy_nj, own):
        raise NotBehind(f"the unit register of CPU {cpu} does not fit the range of {zone.id}")
    return units


def _limits(tree: Provider, zone: Zone, units: Units) -> list[Limit]:
    """Every constraint of the zone with its bits. NotBehind where one is of no known name: it may be anywhere."""
    found = []
    what = kind(tree, zone)
    for n in constraints(tree, zone):
        name = (readable(tree, constraint_path(zone, n, "name")) or b"").decode("ascii", "replace").strip()
        bits = place(name, wide=what == "psys" and unit_of(tree, zone) == _driver.PSYS_NJ)
        if bits is None or what not in LIMIT:
            raise NotBehind(f"which register constraint {n} of {zone.id} has is not known")
        found.append(Limit(zone, n, name, PEAK if name == "peak_power" else LIMIT[what], *bits, units))
    return found


def _shows(tree: Provider, limit: Limit, raw: int) -> bool:
    """Whether limit and window read what the bits say."""
    field = (raw & limit.limit_mask) >> limit.shift
    if value(tree, limit.limit_path) != field * limit.units.power_uw:
        return False
    code = (raw & limit.window_mask) >> limit.window_shift
    return not limit.window_mask or value(tree, limit.window_path) == limit.units.window_us(code)


def _read(host: Host, cpu: int, register: int) -> int:
    try:
        return host.msr_read(cpu, register)
    except FileNotFoundError:
        raise NotBehind(f"there is no /dev/cpu/{cpu}/msr (modprobe msr)") from None
    except OSError as error:
        raise NotBehind(f"register {register:#x} of CPU {cpu} does not read ({error.strerror})") from error
