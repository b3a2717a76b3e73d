# SPDX-License-Identifier: Apache-2.0
"""The parts of a profile as frozen values: CPU, provenance, witnesses, faults.

Field metadata carries the bounds that `shape.build` checks, so each part is described once, here. Nothing
here knows how a machine is run.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import Any

from raplica_fixtures.recording_errnos import ERRNOS
from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.profile.registers import MSR_ADDRESSES, address_of, raw_value
from raplica_simulator.profile.shape import Where, one_of, whole

VENDORS = ("GenuineIntel", "AuthenticAMD", "HygonGenuine")
PROVENANCE_KINDS = ("observed", "documented", "composed")


def number(low: int, high: int) -> dict[str, Any]:
    """Metadata of a whole number from low to high."""
    return {"low": low, "high": high}


def read_address(value: object, where: Where) -> int:
    """A register address as a value: a whole number, or text like a key."""
    if isinstance(value, str):
        return address_of(value, where)
    return whole(value, where, 0, MSR_ADDRESSES - 1)


def read_errno(value: object, where: Where) -> int:
    """The number of an errno that is written by its name, such as ENODATA."""
    return ERRNOS[one_of(value, where, ERRNOS)]


_U63 = number(0, 2**63 - 1)


@dataclass(frozen=True, slots=True)
class CpuTable:
    """`[cpu]` as it stands in the file: the decimal numbers of /proc/cpuinfo."""

    vendor: str = field(metadata={"choices": VENDORS})
    family: int = field(metadata=number(0, 15 + 255))  # CPUID leaf 1: base plus extended family
    model: int = field(metadata=number(0, 255))
    stepping: int = field(default=0, metadata=number(0, 15))
    name: str = ""
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TopologyTable:
    """`[topology]` as it stands in the file. Bounds keep a typing mistake from filling the memory."""

    packages: int = field(metadata=number(1, 4096))
    dies_per_package: int = field(default=1, metadata=number(1, 64))
    cores_per_die: int = field(default=1, metadata=number(1, 1024))
    threads_per_core: int = field(default=1, metadata=number(1, 8))


@dataclass(frozen=True, slots=True)
class CpuInfo:
    """The CPU of a machine: what decides its registers and driver tables, its brand string, its /proc/cpuinfo flags."""

    id: CpuId
    name: str
    flags: frozenset[str]


@dataclass(frozen=True, slots=True)
class Provenance:
    """Where a register's value comes from, and the words for a person.

    `kind` is observed (on a real machine), documented (by the vendor) or composed.
    """

    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Witness:
    """A recording of a real kernel on a machine like this one."""

    kernel: str
    recording: str
    like: str


@dataclass(frozen=True, slots=True)
class RegisterFault:
    """`[[faults.register]]`: a register that faults or does not store what is written, from time 0 on.

    `package` and `die` (in its package) None means every one. `on` None: only the masks apply. The masks belong to
    `table` rules.
    """

    register: int = field(metadata={"parse": read_address})
    package: int | None = field(default=None, metadata=number(0, 4095))
    die: int | None = field(default=None, metadata=number(0, 63))
    on: str | None = field(default=None, metadata={"choices": ("read", "write")})
    errno: int = field(default=errno.EIO, metadata={"parse": read_errno})
    write_mask: int | None = field(default=None, metadata={"parse": raw_value})
    ignore_when_locked: int | None = field(default=None, metadata={"parse": raw_value})


@dataclass(frozen=True, slots=True)
class SysfsFault:
    """`[[faults.sysfs]]`: a path below /sys that fails with an errno.

    It fails `times` times (None: for good), once `after` calls have gone well.
    """

    path: str
    on: str = field(metadata={"choices": ("open", "read", "write")})
    errno: int = field(metadata={"parse": read_errno})
    after: int = field(default=0, metadata=_U63)
    times: int | None = field(default=None, metadata=number(1, 2**63 - 1))


@dataclass(frozen=True, slots=True)
class Faults:
    """`[faults]`: what goes wrong from the start."""

    registers: tuple[RegisterFault, ...] = field(default=(), metadata={"key": "register"})
    sysfs: tuple[SysfsFault, ...] = ()
