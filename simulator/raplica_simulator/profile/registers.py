# SPDX-License-Identifier: Apache-2.0
"""The register tables of a profile: `[registers]` and what differs on a package, a die or a core.

Checked by hand: TOML keys are text, so `0x611`, `0x0611` and `1553` are three keys and one register, and values reach
2^64-1, which is more than TOML's own integers promise (bit 63 set is therefore also written as text).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from raplica_simulator.hardware.topology import Topology
from raplica_simulator.profile.shape import Where, describe, nearest, printable, table_at

_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,19}")
_HEX_VALUE = re.compile(r"0[xX][0-9a-fA-F]{1,16}")
_SCOPES = ("package", "die", "core")
_ADDRESS_LIMIT = 4096  # registers of one table; no RAPL machine has a hundredth of this
_CELL_LIMIT = 2_000_000  # values in one table once each die and core has its own
MSR_ADDRESSES = 2**32  # rdmsr takes the address in ECX


@dataclass(frozen=True, slots=True)
class RegisterTable:
    """Raw values at time 0: `dies` by logical die, `cores` by (logical die, core in its die), then by address."""

    dies: Mapping[int, Mapping[int, int]]
    cores: Mapping[tuple[int, int], Mapping[int, int]]

    def addresses(self) -> frozenset[int]:
        """Every address that the machine answers to somewhere."""
        return frozenset(address for words in (*self.dies.values(), *self.cores.values()) for address in words)


def address_of(key: object, where: Where, count: int = MSR_ADDRESSES) -> int:
    """The register address that a key or a text means; refused when it is no number or not below `count`."""
    if not isinstance(key, str) or not _ADDRESS.fullmatch(key):
        raise where.error(f"is no register address: write it as 0x611 or 1553{nearest(str(key), _SCOPES)}")
    address = int(key, 16 if key[:2] in ("0x", "0X") else 10)
    if address >= count:
        raise where.error(f"register address out of range: 0x0 to 0x{count - 1:X}")
    return address


def raw_value(value: object, where: Where) -> int:
    """A 64-bit register content, from a whole number or from text such as "0x800087F8001487F8"."""
    if isinstance(value, str):
        if not _HEX_VALUE.fullmatch(value):
            raise where.error(f'must be 0 to 0xFFFFFFFFFFFFFFFF, as text "0x...", not {printable(value)}')
        return int(value, 16)
    if type(value) is not int:
        raise where.error(f"must be a register value, 0 to 0xFFFFFFFFFFFFFFFF, not {describe(value)}")
    if not 0 <= value < 2**64:
        raise where.error(f"value {printable(value)} is out of range: 0 to 0xFFFFFFFFFFFFFFFF")
    return value


def read_words(table: Mapping[str, object], where: Where, count: int = MSR_ADDRESSES) -> dict[int, int]:
    """Address to raw value, from a table that holds nothing else; one register named twice is refused."""
    words: dict[int, int] = {}
    names: dict[int, str] = {}
    for key, value in table.items():
        address = address_of(key, where.at(key), count)
        if address in names:
            raise where.at(key).error(f"duplicate of {names[address]}: both are register 0x{address:X}, keep one")
        names[address] = key
        words[address] = raw_value(value, where.at(key))
    return words


def read_registers(
    value: object, where: Where, topology: Topology, is_core_register: Callable[[int], bool | None]
) -> RegisterTable:
    """Read `[registers]` with its `package.N`, `die."P.D"` and `core."P.D.C"` tables.

    What stands in the table itself holds everywhere; a package overrides it, a die overrides its package, a core its
    die. `is_core_register` says of an address whether each core has its own (None: not known, which is taken as not
    unless a core table names it) and is asked once for each. Raises `ProfileError`, also for a table that is too large
    to lay out on this many dies.
    """
    table = table_at(value, where)
    base = read_words({key: word for key, word in table.items() if key not in _SCOPES}, where)
    packages = _scoped(table.get("package", {}), where.at("package"), (topology.packages,))
    dies = _scoped(table.get("die", {}), where.at("die"), (topology.packages, topology.dies_per_package))
    cores = _scoped(
        table.get("core", {}),
        where.at("core"),
        (topology.packages, topology.dies_per_package, topology.cores_per_die),
    )
    addresses = {address for words in (base, *packages.values(), *dies.values(), *cores.values()) for address in words}
    if len(addresses) > _ADDRESS_LIMIT:
        raise where.error(f"{len(addresses)} registers are too many: at most {_ADDRESS_LIMIT} addresses in one table")
    is_core = {address: is_core_register(address) for address in addresses}
    for index, words in cores.items():
        for address in words:
            if is_core[address] is False:
                raise (
                    where.at("core")
                    .at(_quoted(index))
                    .at(f"0x{address:X}")
                    .error("is one register for the whole package: move it to [registers], package.N or die")
                )
    per_core = {address for words in cores.values() for address in words}
    per_core |= {address for address in addresses if is_core[address]}
    _check_size(len(addresses) - len(per_core), len(per_core), topology, where)
    of_dies: dict[int, dict[int, int]] = {}
    of_cores: dict[tuple[int, int], dict[int, int]] = {}
    for logical_die in topology.dies:
        package, die = divmod(logical_die, topology.dies_per_package)
        words = base | packages.get((package,), {}) | dies.get((package, die), {})
        shared = {address: raw for address, raw in words.items() if address not in per_core}
        own = {address: raw for address, raw in words.items() if address in per_core}
        of_dies[logical_die] = shared
        for core in range(topology.cores_per_die):
            if mine := own | cores.get((package, die, core), {}):
                of_cores[logical_die, core] = mine
    return RegisterTable(of_dies, of_cores)


def _check_size(shared: int, own: int, topology: Topology, where: Where) -> None:
    """Refuse a table of `shared` registers for each die and `own` for each core that would fill the memory."""
    dies = len(topology.dies)
    cells = dies * (shared + own * topology.cores_per_die)
    if cells > _CELL_LIMIT:
        raise where.error(
            f"{shared + own} registers on {dies} dies make {cells} values, which are too many: "
            f"at most {_CELL_LIMIT}, so have fewer of either"
        )


def index_of(key: str, where: Where, counts: tuple[int, ...]) -> tuple[int, ...]:
    """The index that a key such as "1", "0.1" or "0.0.3" means; refused where the topology has no such thing."""
    names = ("package", "die", "core")[: len(counts)]
    shape = ".".join(name[0].upper() for name in names)
    parts = key.split(".")
    if len(parts) != len(counts) or not all(re.fullmatch(r"0|[1-9][0-9]{0,5}", part) for part in parts):
        example = ".".join("0" for _ in counts)
        raise where.error(
            f'is no {names[-1]}: write {shape}, in quotes where it has dots, such as {names[-1]}."{example}"'
        )
    index = tuple(int(part) for part in parts)
    for name, number, count in zip(names, index, counts, strict=True):
        if number >= count:
            raise where.error(f"there is no {name} {number}: [topology] has {name} 0 to {count - 1}")
    return index


def _scoped(value: object, where: Where, counts: tuple[int, ...]) -> dict[tuple[int, ...], dict[int, int]]:
    scoped: dict[tuple[int, ...], dict[int, int]] = {}
    for key, words in table_at(value, where).items():
        place = where.at(key if "." not in key else f'"{key}"')
        index = index_of(key, place, counts)
        scoped[index] = read_words(table_at(words, place), place)
    return scoped


def _quoted(index: tuple[int, ...]) -> str:
    return '"' + ".".join(str(part) for part in index) + '"'
