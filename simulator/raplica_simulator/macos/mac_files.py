# SPDX-License-Identifier: Apache-2.0
"""Macs as files: the built-in ones, those of a user, and any Intel machine as if it were a Mac.

The file of an Intel Mac is a profile with a table ``[macos]``.  Apple silicon has no CPUID and no registers, so there
``[chip]`` stands in place of ``[cpu]``, ``[topology]`` and ``[registers]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

from raplica_fixtures import mac_ids, mac_path
from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.macos.mac import Cluster, Mac
from raplica_simulator.profile import tables
from raplica_simulator.profile.parts import CpuInfo, number
from raplica_simulator.profile.profile import Profile, profile_of, read_document
from raplica_simulator.profile.shape import Where, build, describe, file_name, known_keys, text

__all__ = ["APPLE", "intel_mac", "mac_of", "read_mac"]

APPLE = "Apple"
_KEYS = ("title", "source", "chip", "load", "macos")
_INTEL = "GenuineIntel"
_MOST_CORES = 1024


def _read_part(value: object, where: Where) -> Fraction:
    """A share from 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not 0 <= value <= 1:
        raise where.error(f"must be a number from 0 to 1, not {describe(value)}")
    return Fraction(value)


@dataclass(frozen=True, slots=True)
class _ClusterTable:
    name: str
    cores: int = field(metadata=number(1, _MOST_CORES))


@dataclass(frozen=True, slots=True)
class _ChipTable:
    name: str
    clusters: tuple[_ClusterTable, ...] = field(metadata={"key": "cluster"})
    ane_part: Fraction = field(default=Fraction(0), metadata={"parse": _read_part})


@dataclass(frozen=True, slots=True)
class _MacosTable:
    model: str
    release: int = field(metadata=number(11, 99))
    build: str
    boot_arguments: str = ""
    smc_version: str = ""
    efi_version: str = ""
    seed: int = field(default=0, metadata=number(0, 2**32 - 1))


def read_mac(machine: str) -> tuple[Profile, Mac] | None:
    """The machine and the Mac of a built-in id or of a ``.toml`` file with a table ``[macos]``.

    None for everything else, which is a machine or a mistake that others know.  Raises ProfileError in one line.
    """
    built_in = machine in mac_ids()
    if not built_in and not machine.endswith(".toml"):
        return None
    path = mac_path(machine) if built_in else Path(machine)
    where = Where(file_name(machine))
    document = read_document(path, where, "profile")
    if "macos" not in document:
        return None
    about = build(_MacosTable, document.pop("macos"), where.at("macos"))
    name = path.name.removesuffix(".toml")
    if "chip" in document:
        return _apple(document, where, name, about)
    profile = profile_of(document, where, name)
    _check_intel(profile, where)
    return profile, _mac(about, packages=profile.topology.packages)


def intel_mac(profile: Profile) -> Mac:
    """Any Intel machine as if it were a Mac.  ProfileError for one of another vendor: no Mac had such a processor.

    It has no model, firmware or build that Apple gave out, and says so where a Mac would name them.
    """
    _check_intel(profile, Where(profile.id))
    nothing = "raplica"
    about = _MacosTable(nothing, 14, nothing, smc_version=nothing, efi_version=nothing)
    return _mac(about, packages=profile.topology.packages)


def mac_of(profile: Profile) -> Mac:
    """The Mac that a machine is: a built-in one by its id, else any Intel machine as if it were one.

    Raises as :func:`intel_mac`.
    """
    found = read_mac(profile.id) if profile.id in mac_ids() else None
    return intel_mac(profile) if found is None else found[1]


def _check_intel(profile: Profile, where: Where) -> None:
    vendor = profile.cpu.id.vendor
    if vendor != _INTEL:
        raise where.error(
            f"no Mac has a processor of {vendor}: name an Intel machine, or one of {', '.join(mac_ids())}"
        )


def _mac(about: _MacosTable, *, packages: int = 1, chip: _ChipTable | None = None) -> Mac:
    clusters: list[Cluster] = []
    for one in chip.clusters if chip is not None else ():
        clusters.append(Cluster(one.name, sum(before.cores for before in clusters), one.cores))
    return Mac(
        about.model,
        about.release,
        about.build,
        tuple(clusters),
        packages,
        Fraction(0) if chip is None else chip.ane_part,
        about.boot_arguments,
        about.smc_version,
        about.efi_version,
        about.seed,
    )


def _apple(document: Mapping[str, object], where: Where, name: str, about: _MacosTable) -> tuple[Profile, Mac]:
    known_keys(document, _KEYS, where)
    chip = build(_ChipTable, document["chip"], where.at("chip"))
    cores = sum(one.cores for one in chip.clusters)
    if not 0 < cores <= _MOST_CORES:
        raise where.at("chip").error(f"{cores} cores: a chip has [[chip.cluster]] with 1 to {_MOST_CORES} in all")
    names = [one.name for one in chip.clusters]
    if len(set(names)) < len(names):
        raise where.at("chip").error(f"clusters have one name: {', '.join(names)}; give each its own")
    topology = Topology(1, 1, cores, 1)
    profile = Profile(
        id=name,
        title=text(document.get("title", name), where.at("title")),
        source=text(document.get("source", "not said"), where.at("source")),
        rules="silicon",
        cpu=CpuInfo(CpuId(APPLE, 0, 0, 0), chip.name, frozenset()),
        topology=topology,
        registers={0: {}},
        core_registers={},
        load=tables.read_load(document["load"], where.at("load"), topology) if "load" in document else None,
    )
    return profile, _mac(about, chip=chip)
