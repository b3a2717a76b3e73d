# SPDX-License-Identifier: Apache-2.0
"""What a person should hear about a profile that is valid and still not what they may have meant.

The driver takes an energy counter whose low 32 bits read 0 for a domain that does not exist
(drivers/powercap/intel_rapl_common.c rapl_check_domain), so watts given to such a domain are spent where no zone
shows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from raplica_simulator.hardware.topology import Topology
from raplica_simulator.load.demand import Load
from raplica_simulator.profile.registers import RegisterTable

_INTEL_COUNTERS = {"package": 0x611, "core": 0x639, "uncore": 0x641, "dram": 0x619, "psys": 0x64D}
_AMD_COUNTERS = {"package": 0xC001029B, "core": 0xC001029A}
# The TPMI domain that counts what a domain spends, and where in it.
_TPMI_DOMAINS = {"package": "package", "dram": "memory", "psys": "system"}
_TPMI_STATUS = 0x38

Tpmi = Mapping[int, Mapping[str, Mapping[int, int]]]


def counters(vendor: str) -> Mapping[str, int]:
    """The energy status register of each domain that a vendor's CPUs can have."""
    return _INTEL_COUNTERS if vendor == "GenuineIntel" else _AMD_COUNTERS


def counter_warnings(
    load: Load | None, vendor: str, registers: RegisterTable, topology: Topology, tpmi: Tpmi | None = None
) -> tuple[str, ...]:
    """One line for each domain that is given watts and that no counter shows, neither an MSR nor one of TPMI's."""
    if load is None:
        return ()
    return tuple(_counter_warnings(load, vendor, registers, topology, tpmi or {}))


def _counter_warnings(
    load: Load, vendor: str, registers: RegisterTable, topology: Topology, tpmi: Tpmi
) -> Iterator[str]:
    given = {
        "package": load.package_uw,
        "core": load.core_uw or sum(load.cores_uw.values()),
        "uncore": load.uncore_uw,
        "dram": load.dram_uw,
        "psys": load.psys_uw or 0,
    }
    for domain in (name for name, uw in given.items() if uw):
        address = counters(vendor).get(domain)
        if address is None:
            yield f"load: {domain} has watts, but {vendor} CPUs have no counter for it: no zone will show them"
            continue
        dark = [
            die
            for die in topology.dies
            if not _counts(registers, die, topology.cores_per_die, address)
            and not _counts_in_tpmi(tpmi.get(topology.package_of_die(die), {}), domain)
        ]
        # The platform is metered once for the whole machine, on whichever package carries the counter.
        if not dark or (domain == "psys" and len(dark) < len(topology.dies)):
            continue
        places = "" if len(dark) == len(topology.dies) else f" on {', '.join(_names(dark, topology))}"
        yield (
            f"load: {domain} has watts, but its counter 0x{address:X} is missing or reads 0{places}: "
            f"no {domain} zone there; give the counter a value or leave the watts out"
        )


def _counts(registers: RegisterTable, die: int, cores: int, address: int) -> bool:
    values = [registers.cores.get((die, core), {}).get(address, 0) for core in range(cores)]
    values.append(registers.dies[die].get(address, 0))
    return any(value & 0xFFFF_FFFF for value in values)


def _counts_in_tpmi(domains: Mapping[str, Mapping[int, int]], domain: str) -> bool:
    return bool(domains.get(_TPMI_DOMAINS.get(domain, ""), {}).get(_TPMI_STATUS, 0) & 0xFFFF_FFFF)


def _names(dies: list[int], topology: Topology) -> list[str]:
    names = []
    for logical_die in dies[:4]:
        package, die = divmod(logical_die, topology.dies_per_package)
        names.append(f"package {package}" if topology.dies_per_package == 1 else f'die "{package}.{die}"')
    return names + (["and more"] if len(dies) > 4 else [])
