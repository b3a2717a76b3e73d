# SPDX-License-Identifier: Apache-2.0
"""The tables of a profile besides its registers: load, units, provenance, mmio, tpmi, faults.

Each function takes one table as tomllib gives it and the place where it stands, and gives plain values or a
`ProfileError`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction

from raplica_simulator.hardware.topology import Topology
from raplica_simulator.load.demand import CoreKey, Load, Watts, microwatts
from raplica_simulator.profile.parts import (
    PROVENANCE_KINDS,
    Faults,
    Provenance,
    RegisterFault,
    TopologyTable,
    Witness,
)
from raplica_simulator.profile.registers import RegisterTable, address_of, index_of, read_words
from raplica_simulator.profile.shape import (
    ProfileError,
    Where,
    build,
    describe,
    known_keys,
    nearest,
    printable,
    table_at,
    text,
    whole,
)

DOMAINS = ("package", "core", "uncore", "dram", "psys")
FLOORS = ("package", "dram")
TPMI_DOMAINS = ("system", "package", "memory")
MMIO_SIZE = 2**20
TPMI_SIZE = 128  # bytes of registers that a TPMI domain has
_CPU_LIMIT = 8192  # the largest NR_CPUS that Linux on x86 can be built for
_DIE_LIMIT = 4096
_FAULT_LIMIT = 10_000
_KERNEL = re.compile(r"[0-9]{1,3}\.[0-9]{1,4}")
_JOULES = re.compile(r"[0-9]{1,12}/[0-9]{1,24}|[0-9]{1,12}(\.[0-9]{1,24})?([eE]-?[0-9]{1,2})?")
_MAX_UNIT_J = 1000


def read_topology(value: object, where: Where) -> Topology:
    """`[topology]`, from a TOML table; refused where the numbers are no machine or one too large to simulate."""
    return sized_topology(build(TopologyTable, value, where), where)


def sized_topology(counts: TopologyTable, where: Where) -> Topology:
    """The topology of these counts; refused where it is too large to simulate."""
    dies = counts.packages * counts.dies_per_package
    cpus = dies * counts.cores_per_die * counts.threads_per_core
    if dies > _DIE_LIMIT:
        raise where.error(f"{dies} dies are too many: at most {_DIE_LIMIT} in all packages together")
    if cpus > _CPU_LIMIT:
        raise where.error(f"{cpus} CPUs are too many: Linux on x86 knows at most {_CPU_LIMIT}")
    return Topology(counts.packages, counts.dies_per_package, counts.cores_per_die, counts.threads_per_core)


def read_load(value: object, where: Where, topology: Topology) -> Load:
    """`[load]`: watts per package at rest.

    `core` is one number, or a table of single cores by "P.D.C", each a number or a table with `watts`.
    """
    table = table_at(value, where)
    known_keys(table, DOMAINS, where)
    cores: dict[CoreKey, Watts] = {}
    watts: dict[str, Watts] = {}
    for name, given in table.items():
        if name == "core" and isinstance(given, dict):
            cores = _core_watts(given, where.at(name), topology)
        else:
            watts[name] = read_watts(given, where.at(name))
    try:
        load = Load.of(cores=cores or None, **watts)
        load.check(topology)
    except ValueError as error:
        raise Where(where.file).error(str(error)) from None
    return load


def _core_watts(table: Mapping[str, object], where: Where, topology: Topology) -> dict[CoreKey, Watts]:
    cores: dict[CoreKey, Watts] = {}
    counts = (topology.packages, topology.dies_per_package, topology.cores_per_die)
    for key, given in table.items():
        place = where.at(f'"{key}"')
        package, die, core = index_of(key, place, counts)
        watts = {"watts": given} if not isinstance(given, dict) else given
        known_keys(watts, ("watts",), place)
        if "watts" not in watts:
            raise place.error("watts is missing: write watts = 5.0")
        cores[package, die, core] = read_watts(watts["watts"], place)
    return cores


def read_watts(value: object, where: Where) -> int | Decimal:
    """A number of watts from 0 to a million; refused otherwise."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise where.error(f"must be a number of watts such as 80.0, not {describe(value)}")
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise where.error(f"{value} W is not finite: give a number of watts")
        # Before any exact arithmetic: 1e-999999999 is a short text and a number of a billion digits.
        if value and not -12 <= value.adjusted() <= 9:
            raise where.error(f"{printable(str(value))} W is out of range: 0.000001 to 1000000")
    if value < 0:
        raise where.error(f"{printable(str(value))} W is negative: watts are 0 or more")
    if value > 1_000_000:
        raise where.error(f"{printable(str(value))} W is out of range: 0 to 1000000")
    return value


def read_floors(value: object, where: Where) -> dict[str, int]:
    """`[floor]`: microwatts per package below which a limit presses a package or its dram only if it clamps."""
    table = table_at(value, where)
    known_keys(table, FLOORS, where)
    floors: dict[str, int] = {}
    for name, given in table.items():
        try:
            floors[name] = microwatts(read_watts(given, where.at(name)), name)
        except ProfileError:
            raise
        except ValueError as error:
            raise where.at(name).error(str(error).removeprefix("load: ")) from None
    return floors


def read_units(value: object, where: Where) -> dict[str, Fraction]:
    """`[units]`: joules per raw step of a meter, where silicon does not count in what the unit register says."""
    table = table_at(value, where)
    known_keys(table, DOMAINS, where)
    units: dict[str, Fraction] = {}
    for name, given in table.items():
        words = str(given) if isinstance(given, str | Decimal | int) and not isinstance(given, bool) else ""
        if not _JOULES.fullmatch(words) or words.endswith("/0"):
            raise where.at(name).error(f'must be joules per step such as "1/65536" or 15.3e-6, not {describe(given)}')
        if "/" in words and int(words.partition("/")[2]) == 0:
            raise where.at(name).error("divides by 0: give joules per step such as 1/65536")
        units[name] = Fraction(words)
        if not 0 < units[name] <= _MAX_UNIT_J:
            raise where.at(name).error(f"{words} J is out of range: above 0, at most {_MAX_UNIT_J}")
    return units


def read_provenance(
    value: object, where: Where, registers: RegisterTable, mmio: Mapping[int, int] | None
) -> tuple[dict[int, Provenance], dict[int, Provenance]]:
    """`[provenance]` and `[provenance.mmio]`: address to where its value comes from, as `KIND` or `KIND: words`."""
    table = dict(table_at(value, where))
    mmio_table = table_at(table.pop("mmio", {}), where.at("mmio"))
    return (
        _sources(table, where, registers.addresses(), "[registers]"),
        _sources(mmio_table, where.at("mmio"), frozenset(mmio or ()), "[mmio]"),
    )


def _sources(table: Mapping[str, object], where: Where, known: frozenset[int], home: str) -> dict[int, Provenance]:
    sources: dict[int, Provenance] = {}
    for key, given in table.items():
        place = where.at(key)
        address = address_of(key, place)
        if address in sources:
            raise place.error(f"duplicate: register 0x{address:X} has its provenance already")
        if address not in known:
            raise place.error(f"there is no such register in {home}: add it there or remove this line")
        kind, _, words = text(given, place).partition(":")
        if kind not in PROVENANCE_KINDS:
            hint = nearest(kind, PROVENANCE_KINDS)
            raise place.error(f"must begin with one of {', '.join(PROVENANCE_KINDS)}, not {printable(kind)}{hint}")
        sources[address] = Provenance(kind, words.strip())
    return sources


def read_witnesses(value: object, where: Where) -> tuple[Witness, ...]:
    """`[[witness]]`: recordings of a real kernel on a like machine."""
    if not isinstance(value, list):
        raise where.error(f"must be an array of tables [[{where.key}]], not {describe(value)}")
    witnesses = tuple(build(Witness, item, where.at(index)) for index, item in enumerate(value))
    for index, witness in enumerate(witnesses):
        if not _KERNEL.fullmatch(witness.kernel):
            raise (
                where.at(index)
                .at("kernel")
                .error(f"must be a kernel version such as 6.12, not {printable(witness.kernel)}")
            )
    return witnesses


def read_mmio(value: object, where: Where) -> dict[int, int]:
    """`[mmio]`: MCHBAR offset to raw value, of package 0."""
    words = read_words(table_at(value, where), where, MMIO_SIZE)
    for offset in words:
        if offset % 4:
            raise where.at(f"0x{offset:X}").error("registers stand at multiples of 4: write the first byte's offset")
    return words


def read_tpmi(value: object, where: Where) -> dict[int, dict[str, dict[int, int]]]:
    """`[tpmi.INSTANCE.DOMAIN]`: offset to raw value; the header at offset 0 is a register like the others."""
    instances: dict[int, dict[str, dict[int, int]]] = {}
    for key, domains in table_at(value, where).items():
        place = where.at(key)
        instance = whole(int(key) if key.isascii() and key.isdigit() and len(key) < 6 else key, place, 0, 4095)
        known_keys(table_at(domains, place), TPMI_DOMAINS, place)
        instances[instance] = {}
        for name, words in domains.items():
            instances[instance][name] = read_words(table_at(words, place.at(name)), place.at(name), TPMI_SIZE)
            for offset in instances[instance][name]:
                if offset % 8:
                    raise place.at(name).at(f"0x{offset:X}").error("TPMI registers stand at multiples of 8")
    return instances


def read_faults(value: object, where: Where, rules: str, topology: Topology, registers: RegisterTable) -> Faults:
    """`[faults]`: registers that fault or do not store, paths that fail."""
    faults = build(Faults, value, where)
    count = len(faults.registers) + len(faults.sysfs)
    if count > _FAULT_LIMIT:
        raise where.error(f"{count} faults are too many: at most {_FAULT_LIMIT}, registers and paths together")
    known = registers.addresses()
    for index, fault in enumerate(faults.registers):
        place = where.at("register").at(index)
        _check_register_fault(fault, place, rules, topology, known)
    for index, sysfs in enumerate(faults.sysfs):
        if not sysfs.path or sysfs.path.startswith("/") or ".." in sysfs.path.split("/"):
            raise (
                where.at("sysfs")
                .at(index)
                .at("path")
                .error(
                    "must be a path below /sys such as class/powercap/intel-rapl:0/energy_uj, "
                    f"not {printable(sysfs.path)}"
                )
            )
    return faults


def _check_register_fault(
    fault: RegisterFault, place: Where, rules: str, topology: Topology, known: frozenset[int]
) -> None:
    if fault.register not in known:
        raise place.at("register").error(f"there is no register 0x{fault.register:X} in [registers]: it faults already")
    if fault.package is not None:
        whole(fault.package, place.at("package"), 0, topology.packages - 1)
    if fault.die is not None:
        whole(fault.die, place.at("die"), 0, topology.dies_per_package - 1)
    masks = fault.write_mask is not None or fault.ignore_when_locked is not None
    if masks and rules != "table":
        raise place.error('write_mask and ignore_when_locked belong to rules = "table"')
    if not masks and fault.on is None:
        raise place.error('does nothing: give on = "read" or "write", or a mask')
