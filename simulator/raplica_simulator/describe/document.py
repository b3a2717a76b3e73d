# SPDX-License-Identifier: Apache-2.0
"""A machine as one document: what `raplica show` and `raplica machines` tell of it, in JSON.

Zones are described from the tree itself, read as root would read it, so that what is told is what a program finds;
the exact unit of a counter, which no tree shows, comes from the silicon's tables.  Registers carry where their
values come from.  Numbers keep the unit that is in their name; registers and exact units are text, since JSON's
numbers hold neither 64 bits nor fractions everywhere.
"""

from collections.abc import Mapping
from errno import errorcode
from fractions import Fraction
from typing import Any

from raplica_simulator.hardware.registers import lookup
from raplica_simulator.linux.kernel import KERNELS, Kernel
from raplica_simulator.linux.profile_zones import has_driver
from raplica_simulator.linux.rapl_models import find_defaults
from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.load.demand import Load
from raplica_simulator.machine import Machine
from raplica_simulator.profile.parts import Provenance
from raplica_simulator.profile.profile import Profile

__all__ = ["FORMAT", "describe", "load_uw", "summarize", "topology"]

FORMAT = 1
_DEVICES = "devices/virtual/powercap"
# Its zones have the names of those beside it.
_MMIO = "intel-rapl-mmio"
_STEPS = (1 << 32) - 1  # what max_energy_range_uj of a RAPL zone is counted in


def summarize(machine: Machine) -> dict[str, Any]:
    """One line's worth of a machine: id, title, CPU, topology, zones, and the kernels that drive it or witness it."""
    profile = machine.profile
    return {
        "id": profile.id,
        "title": profile.title,
        "cpu": _cpu(profile),
        "topology": topology(profile),
        "zones": [
            name
            for kind in _control_types(machine)
            for name in _names(kind["zones"], f"{_MMIO}/" if kind["name"] == _MMIO else "")
        ],
        "kernels": [_kernel(kernel) for kernel in KERNELS.values() if _drives(kernel, profile)],
        "witnessed": list(profile.witnessed),
    }


def describe(machine: Machine) -> dict[str, Any]:
    """Everything that is known of a machine now."""
    profile = machine.profile
    return {
        "format": FORMAT,
        "id": profile.id,
        "title": profile.title,
        "source": profile.source,
        "rules": profile.rules,
        "kernel": _kernel(machine.kernel),
        "cpu": _cpu(profile),
        "topology": topology(profile),
        "load_uw": load_uw(profile),
        "floors_uw": dict(profile.floors_uw),
        "control_types": _control_types(machine),
        "composed_control_types": [kind.name for kind in profile.control_types],
        "registers": _registers(profile),
        "mmio": _mmio(profile),
        "tpmi": _tpmi(profile),
        "witnessed": list(profile.witnessed),
        "witnesses": [
            {"kernel": witness.kernel, "recording": witness.recording, "like": witness.like}
            for witness in profile.witnesses
        ],
        "warnings": list(machine.warnings),
    }


def _kernel(kernel: Kernel) -> dict[str, Any]:
    return {"version": kernel.version, "release": kernel.release, "witnessed": kernel.witnessed}


def _drives(kernel: Kernel, profile: Profile) -> bool:
    """Whether a kernel has a driver for a machine like this, which may still find nothing there."""
    by_msr = find_defaults(profile.cpu.id, kernel) is not None
    by_mmio = kernel.mmio_has_own_tables and bool(profile.mmio)
    by_tpmi = kernel.has_tpmi and bool(profile.tpmi)
    return by_msr or by_mmio or by_tpmi or _brings_its_own(kernel, profile)


def _brings_its_own(kernel: Kernel, profile: Profile) -> bool:
    """Whether a machine without registers has control types that its profile writes down, on this kernel."""
    if any(profile.registers.values()):
        return False
    return any(has_driver(kind, kernel) for kind in profile.control_types)


def _cpu(profile: Profile) -> dict[str, Any]:
    cpu = profile.cpu.id
    return {
        "vendor": cpu.vendor,
        "family": cpu.family,
        "model": cpu.model,
        "stepping": cpu.stepping,
        "name": profile.cpu.name,
        "flags": sorted(profile.cpu.flags),
    }


def load_uw(profile: Profile) -> dict[str, Any] | None:
    """What every package wants, in microwatts by domain; None for a machine that stands still."""
    load = profile.load
    if load is None:
        return None
    return {
        "package": load.package_uw,
        "core": _cores_uw(load, profile.topology.packages),
        "uncore": load.uncore_uw,
        "dram": load.dram_uw,
        "psys": load.psys_uw,
    }


def _cores_uw(load: Load, packages: int) -> int | list[int]:
    """What the cores of a package want together; by package where single cores make packages differ."""
    if not load.cores_uw:
        return load.core_uw
    totals = [0] * packages
    for (package, _, _), uw in load.cores_uw.items():
        totals[package] += uw
    return totals[0] if len(set(totals)) == 1 else totals


def topology(profile: Profile) -> dict[str, int]:
    """How many there are of everything."""
    shape = profile.topology
    return {
        "packages": shape.packages,
        "dies_per_package": shape.dies_per_package,
        "cores_per_die": shape.cores_per_die,
        "threads_per_core": shape.threads_per_core,
        "cpus": len(shape.cpus),
    }


# Zones, as the tree shows them.


def _control_types(machine: Machine) -> list[dict[str, Any]]:
    sysfs = machine.sysfs
    # No register, and so no exact unit, is behind what a profile brings under whatever name.
    composed = {kind.name for kind in machine.profile.control_types}
    try:
        names = sorted(sysfs.listdir(_DEVICES))
    except FileNotFoundError:
        return []
    return [
        {
            "name": name,
            "enabled": _Attributes(sysfs, f"{_DEVICES}/{name}").flag("enabled"),
            "zones": _zones(sysfs, f"{_DEVICES}/{name}", name, {} if name in composed else machine.counter_units(name)),
        }
        for name in names
    ]


def _zones(sysfs: Sysfs, path: str, parent: str, units: Mapping[str, Fraction]) -> list[dict[str, Any]]:
    """The zones right below a control type or a zone, by their number."""
    names = [name for name in sysfs.listdir(path) if name.startswith(f"{parent}:")]
    names.sort(key=lambda name: int(name.rpartition(":")[2], 16))
    return [_zone(sysfs, f"{path}/{name}", name, units) for name in names]


def _zone(sysfs: Sysfs, path: str, zone_id: str, units: Mapping[str, Fraction]) -> dict[str, Any]:
    attributes = _Attributes(sysfs, path)
    name = attributes.text("name") or ""
    # package-0-die-1 counts as a package does, psys-1 as the platform.
    unit_j = units.get(name.partition("-")[0])
    range_uj = attributes.number("max_energy_range_uj") if "max_energy_range_uj" in attributes.names else None
    zone: dict[str, Any] = {"id": zone_id, "name": name, "path": path, "enabled": attributes.flag("enabled")}
    for monitor in ("energy_uj", "max_energy_range_uj", "power_uw", "max_power_range_uw"):
        if monitor in attributes.names:
            zone[monitor] = attributes.number(monitor)
    if unit_j is not None and range_uj is not None:
        zone["unit_j"] = str(unit_j)
        # The driver's own unit is an integer; from the range it comes back exactly (fidelity rule 7).  The first
        # driver has none: it divides last.
        unit_nj = -(-range_uj * 1000 // _STEPS)
        zone["unit_nj"] = unit_nj if unit_nj * _STEPS // 1000 == range_uj else None
    zone["constraints"] = _constraints(attributes)
    zone["errors"] = attributes.errors
    zone["zones"] = _zones(sysfs, path, zone_id, units)
    return zone


def _constraints(attributes: "_Attributes") -> list[dict[str, Any]]:
    """The constraints by number, each with the attributes that it has."""
    found: dict[int, dict[str, Any]] = {}
    for attribute in sorted(attributes.names):
        if attribute.startswith("constraint_"):
            number, _, what = attribute.removeprefix("constraint_").partition("_")
            constraint = found.setdefault(int(number), {"number": int(number)})
            constraint[what] = attributes.text(attribute) if what == "name" else attributes.number(attribute)
    return [found[number] for number in sorted(found)]


class _Attributes:
    """What one device says.  Attributes that cannot be read are None and stand in ``errors`` by name and errno."""

    def __init__(self, sysfs: Sysfs, path: str) -> None:
        self._sysfs = sysfs
        self._path = path
        self.names = frozenset(sysfs.listdir(path))
        self.errors: dict[str, str] = {}

    def text(self, name: str) -> str | None:
        try:
            return self._sysfs.read(f"{self._path}/{name}").decode(errors="replace").removesuffix("\n")
        except OSError as error:
            self.errors[name] = errorcode.get(error.errno or 0, str(error.errno))
            return None

    def number(self, name: str) -> int | None:
        text = self.text(name)
        return None if text is None else int(text)

    def flag(self, name: str) -> bool | None:
        text = self.text(name)
        return None if text is None else text == "1"


def _names(zones: list[dict[str, Any]], above: str) -> list[str]:
    """The zones as paths of names, such as package-0/dram, in the order of their ids."""
    names: list[str] = []
    for zone in zones:
        names += [above + zone["name"], *_names(zone["zones"], f"{above}{zone['name']}/")]
    return names


# Registers.


def _registers(profile: Profile) -> list[dict[str, Any]]:
    """Every register of the profile by address, with its values and where they come from."""
    each = profile.topology.dies_per_package
    values: dict[int, dict[int, list[str]]] = {}
    for die, words in profile.registers.items():
        place = f"package {die}" if each == 1 else f"die {die // each}.{die % each}"
        for address, raw in words.items():
            values.setdefault(address, {}).setdefault(raw, []).append(place)
    for (die, core), words in profile.core_registers.items():
        for address, raw in words.items():
            values.setdefault(address, {}).setdefault(raw, []).append(f"core {die // each}.{die % each}.{core}")
    registers = []
    for address, raws in sorted(values.items()):
        register = lookup(address, profile.cpu.id)
        provenance = profile.provenance.get(address)
        registers.append(
            {
                "address": f"0x{address:X}",
                "name": register.name if register else None,
                "values": [{"raw": f"0x{raw:016X}", "on": places} for raw, places in raws.items()],
                **_provenance(provenance),
            }
        )
    return registers


def _mmio(profile: Profile) -> list[dict[str, Any]]:
    """The words of package 0's MCHBAR by offset."""
    words = []
    for offset, raw in sorted((profile.mmio or {}).items()):
        register = lookup(offset, profile.cpu.id, "mmio")
        words.append(
            {
                "offset": f"0x{offset:X}",
                "name": register.name if register else None,
                "raw": f"0x{raw:016X}",
                **_provenance(profile.mmio_provenance.get(offset)),
            }
        )
    return words


def _tpmi(profile: Profile) -> list[dict[str, Any]]:
    """The words of each package's TPMI domains by offset in their domain."""
    return [
        {
            "package": package,
            "domain": domain,
            "offset": f"0x{offset:02X}",
            "name": register.name if (register := lookup(offset, profile.cpu.id, "tpmi")) else None,
            "raw": f"0x{raw:016X}",
            **_provenance(None),
        }
        for package, domains in sorted((profile.tpmi or {}).items())
        for domain, words in domains.items()
        for offset, raw in sorted(words.items())
    ]


def _provenance(provenance: Provenance | None) -> dict[str, str | None]:
    """Observed, documented or composed, with the words for a person; None where the profile does not say."""
    if provenance is None:
        return {"provenance": None, "provenance_text": None}
    return {"provenance": provenance.kind, "provenance_text": provenance.text}
