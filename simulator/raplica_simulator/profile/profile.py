# SPDX-License-Identifier: Apache-2.0
"""A profile: the file that says what machine is simulated, checked and turned into numbers.

A profile is TOML (the built-in ones in raplica_fixtures/machines show every key) or a recording of a real kernel,
whose register table then is the machine. Everything that can be wrong in a file is refused here, in one line, so that
nothing behind it has to check again.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from raplica_fixtures import mac_ids, profile_ids, profile_path
from raplica_simulator.decimals import read_decimal
from raplica_simulator.hardware.registers import CpuId, lookup
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.load.demand import Load
from raplica_simulator.profile import tables
from raplica_simulator.profile.control_types import ControlType, read_control_types
from raplica_simulator.profile.parts import (
    CpuInfo,
    CpuTable,
    Faults,
    Provenance,
    Witness,
)
from raplica_simulator.profile.registers import RegisterTable, read_registers
from raplica_simulator.profile.shape import ProfileError, Where, build, file_name, known_keys, one_of, printable, text
from raplica_simulator.profile.warnings import counter_warnings

__all__ = ["Profile", "ProfileError", "load_profile"]

RULES = ("silicon", "table")
_KEYS = (
    "title",
    "source",
    "rules",
    "cpu",
    "topology",
    "registers",
    "load",
    "floor",
    "provenance",
    "witness",
    "units",
    "mmio",
    "tpmi",
    "firmware",
    "faults",
    "control_type",
)
_RECORDINGS = (".json", ".json.gz", ".json.xz")
_FILE_LIMIT = 4 * 2**20  # bytes; a profile of a thousand packages is a tenth of this


@dataclass(frozen=True, slots=True)
class Profile:
    """A machine before it runs.

    `registers` maps each logical die to address and raw value at time 0; `core_registers` maps (logical die, core in
    its die) likewise, for registers that each core has for itself. In a profile from a recording all MSRs stand in
    `registers`: the witness's table knows only dies. `units` holds joules per raw step where the file overrides
    what the CPU is known to count in. `load` is None for a machine that stands still. `recorded` says that the profile
    was made from a recording; `kernel` is then the one that it was made on, else None. `mmio` maps offset to raw value
    for package 0; `tpmi` maps instance, domain (system, package, memory) and offset; `firmware` is what reset and
    resume load, None where they change nothing. `floors_uw` are the microwatts per package below which a limit does not
    press a package or its dram unless it clamps. `permissions` are mode, uid and gid that somebody gave to paths below
    /sys before time 0.
    """

    id: str
    title: str
    source: str
    rules: str
    cpu: CpuInfo
    topology: Topology
    registers: Mapping[int, Mapping[int, int]]
    core_registers: Mapping[tuple[int, int], Mapping[int, int]]
    load: Load | None = None
    floors_uw: Mapping[str, int] = field(default_factory=dict)
    provenance: Mapping[int, Provenance] = field(default_factory=dict)
    mmio_provenance: Mapping[int, Provenance] = field(default_factory=dict)
    witnesses: tuple[Witness, ...] = ()
    units: Mapping[str, Fraction] = field(default_factory=dict)
    mmio: Mapping[int, int] | None = None
    tpmi: Mapping[int, Mapping[str, Mapping[int, int]]] | None = None
    firmware: RegisterTable | None = None
    faults: Faults = field(default_factory=Faults)
    control_types: tuple[ControlType, ...] = ()
    kernel: str | None = None
    recorded: bool = False
    permissions: Mapping[str, tuple[int, int, int]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def witnessed(self) -> tuple[str, ...]:
        """The kernels of which there is a recording on a like machine, such as ("6.1", "6.12"), oldest first."""
        kernels = {witness.kernel for witness in self.witnesses}
        return tuple(sorted(kernels, key=lambda kernel: [int(part) for part in kernel.split(".")]))


def load_profile(name_or_path: str | os.PathLike[str]) -> Profile:
    """The profile of a built-in machine by its id, or of a file by its path.

    A file is a profile (.toml) or a recording (.json, .json.gz, .json.xz). Raises `ProfileError`: one line.
    """
    name = os.fspath(name_or_path)
    if isinstance(name_or_path, str) and name in profile_ids():
        return _from_toml(profile_path(name), name, name)
    path = Path(name)
    if name.endswith(".toml"):
        try:
            return _from_toml(path, name, path.name.removesuffix(".toml"))
        except RecursionError:
            raise ProfileError(f"{file_name(name)}: is nested too deeply to be a profile") from None
    if name.endswith(_RECORDINGS):
        # Here and not above: whoever loads a TOML profile does not pay for the JSON, xz and schema code.
        from raplica_simulator.profile.recorded import profile_of_recording

        return profile_of_recording(path, name)
    if os.sep in name or isinstance(name_or_path, os.PathLike):
        raise ProfileError(f"{file_name(name)}: is no profile (.toml) and no recording ({', '.join(_RECORDINGS)})")
    if name in mac_ids():
        raise _is_a_mac(Where(file_name(name)))
    known_ids = (*profile_ids(), *mac_ids())
    near = [known for known in known_ids if name and known.startswith(name)]
    near = near or difflib.get_close_matches(name, known_ids, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"the built-in ones are {', '.join(profile_ids())}"
    raise ProfileError(f"{file_name(name)}: unknown machine; {hint} (or give the path of a .toml or .json file)")


def _from_toml(path: Path, file: str, profile_id: str) -> Profile:
    where = Where(file_name(file))
    document = read_document(path, where, "profile")
    if "macos" in document:
        raise _is_a_mac(where)
    return profile_of(document, where, profile_id)


def _is_a_mac(where: Where) -> ProfileError:
    return where.error(
        f"is a Mac, which only powermetrics shows: say `raplica exec {where.file} --as macos -- CMD` or "
        f"`raplica show {where.file}`, or name a machine of `raplica machines`"
    )


def profile_of(document: Mapping[str, object], where: Where, profile_id: str) -> Profile:
    """The profile that a document says; ``where`` is the place in a file at which it stands."""
    known_keys(document, _KEYS, where)
    for name in ("cpu", "topology"):
        if name not in document:
            raise where.error(f"table [{name}] is missing: every profile needs one")
    cpu_table = build(CpuTable, document["cpu"], where.at("cpu"))
    cpu_id = CpuId(cpu_table.vendor, cpu_table.family, cpu_table.model, cpu_table.stepping)
    topology = tables.read_topology(document["topology"], where.at("topology"))
    rules = one_of(document.get("rules", "silicon"), where.at("rules"), RULES)

    def is_core_register(address: int) -> bool | None:
        register = lookup(address, cpu_id)
        return None if register is None else register.scope == "core"

    def registers_of(key: str) -> RegisterTable:
        return read_registers(document.get(key, {}), where.at(key), topology, is_core_register)

    registers = registers_of("registers")
    load = tables.read_load(document["load"], where.at("load"), topology) if "load" in document else None
    mmio = tables.read_mmio(document["mmio"], where.at("mmio")) if "mmio" in document else None
    tpmi = tables.read_tpmi(document["tpmi"], where.at("tpmi")) if "tpmi" in document else None
    provenance, mmio_provenance = tables.read_provenance(
        document.get("provenance", {}), where.at("provenance"), registers, mmio
    )
    return Profile(
        id=profile_id,
        title=text(document.get("title", profile_id), where.at("title")),
        source=text(document.get("source", "not said"), where.at("source")),
        rules=rules,
        cpu=CpuInfo(cpu_id, cpu_table.name, frozenset(cpu_table.flags)),
        topology=topology,
        registers=registers.dies,
        core_registers=registers.cores,
        load=load,
        floors_uw=tables.read_floors(document.get("floor", {}), where.at("floor")),
        provenance=provenance,
        mmio_provenance=mmio_provenance,
        witnesses=tables.read_witnesses(document.get("witness", []), where.at("witness")),
        units=tables.read_units(document.get("units", {}), where.at("units")),
        mmio=mmio,
        tpmi=tpmi,
        firmware=registers_of("firmware") if "firmware" in document else None,
        faults=tables.read_faults(document.get("faults", {}), where.at("faults"), rules, topology, registers),
        control_types=read_control_types(document.get("control_type", []), where.at("control_type")),
        warnings=(
            *counter_warnings(load, cpu_id.vendor, registers, topology, tpmi),
            *(
                f"registers: 0x{address:X} is no register that raplica knows on this CPU; it is kept as a plain word"
                for address in sorted(registers.addresses())
                if rules == "silicon" and is_core_register(address) is None
            ),
        ),
    )


def read_document(path: Path, where: Where, what: str) -> dict[str, object]:
    """A TOML file, numbers with a point as Decimal.  Raises `ProfileError` where it is none; ``what`` it should be."""
    try:
        with path.open("rb") as file:
            content = file.read(_FILE_LIMIT + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise where.error(f"cannot be read: {reason}") from None
    if len(content) > _FILE_LIMIT:
        raise where.error(f"is larger than {_FILE_LIMIT} bytes, which no {what} needs")
    try:
        return tomllib.loads(content.decode(), parse_float=_read_float)
    except (
        ValueError
    ) as error:  # TOMLDecodeError, UnicodeDecodeError and a number of thousands of digits are all of this kind
        raise where.error(f"is not TOML: {printable(str(error).splitlines()[0])}") from None


def _read_float(text: str) -> Decimal:
    """A number with a point, an exponent or a name; TOML lets underscores stand between its digits."""
    return read_decimal(text.replace("_", ""))
