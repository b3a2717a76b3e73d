# SPDX-License-Identifier: Apache-2.0
"""What is judged: the protocol that every provider of a powercap tree answers, and how to walk its zones.

The words in `can` are promises. A subject lists only what it can really show: a plain directory knows nothing
of sysfs sizes, a recording cannot be written. A clause that needs a missing word is not applicable there.

content   `read` gives what root reads
errno     an open, read or write that fails has the kernel's errno
modes     permission bits are those of sysfs
links     symbolic links and their targets are those of sysfs
order     `listdir` keeps the order of the directory
size      st_size and st_nlink are those of sysfs
live      a read is answered at the moment of the read
steps     `advance` moves the subject's own time
root      `open_errno` knows what root may open
nobody    `open_errno` knows what an unprivileged user may open
writable  `write` may be called with what is safe, and is answered; what is not safe ends the clause as skipped
wild-writes  anything may be written, by `write` and `msr_write`: nobody needs this machine
msr       `msr_read`, `msr_write` and `cpus` answer
silicon   registers have a processor's rules: what is read-only, reserved or absent faults
"""

import re
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

__all__ = [
    "CLASS",
    "DEVICES",
    "CannotTell",
    "Crashed",
    "Kind",
    "Mode",
    "Provider",
    "Reader",
    "Stat",
    "User",
    "Zone",
    "composed",
    "constraints",
    "control_types",
    "exists",
    "number",
    "readable",
    "zones",
]

#: Where the kernel keeps powercap, relative to the root of sysfs.
CLASS = "class/powercap"
DEVICES = "devices/virtual/powercap"

Kind = Literal["dir", "file", "link"]
Mode = Literal["r", "w"]
User = Literal["root", "nobody"]

_CONSTRAINT = re.compile(r"constraint_([0-9]+)_.+")


class CannotTell(OSError):
    """The subject cannot show this entry (a snapshot's empty file); the judge makes it not-applicable."""


class Crashed(Exception):
    """The subject died of the call, as a kernel does of an oops; the judge makes it a failure."""


@dataclass(frozen=True, slots=True)
class Stat:
    """lstat of one entry; `mode` is the permission bits alone; `size` and `nlink` need the word "size"."""

    kind: Kind
    mode: int
    nlink: int = 1
    size: int = 0
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone: `id` is the name of its directory `path`; right below a control type `parent` is None."""

    id: str
    path: str
    parent: str | None
    depth: int
    control_type: str


@runtime_checkable
class Provider(Protocol):
    """A powercap tree, real or made; paths are relative to the root of sysfs: "class/powercap/intel-rapl".

    Every method raises OSError, with the kernel's errno where the subject can "errno"; otherwise only ENOENT,
    ENOTDIR and EISDIR are to be relied on. Symbolic links in the middle of a path are followed.
    """

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def kernel(self) -> str | None:
        """The exact kernel, like 6.12.117, or None where nobody knows."""

    @property
    def can(self) -> frozenset[str]:
        """The promises, of the words above."""

    def listdir(self, path: str) -> list[str]:
        """The names in a directory, without . and .., in its own order where the subject can "order"."""

    def readlink(self, path: str) -> str:
        """The target of a symbolic link as it is written; EINVAL for anything else."""

    def stat(self, path: str) -> Stat:
        """lstat: a link in the last place is not followed."""

    def read(self, path: str) -> bytes:
        """What root reads from the start of the file."""

    def write(self, path: str, data: bytes) -> int:
        """One write by root at offset 0; the count that was taken."""

    def open_errno(self, path: str, mode: Mode, user: User) -> int:
        """0 where `user` may open the file for reading ("r") or writing ("w"), else the errno of open."""

    def msr_read(self, cpu: int, register: int) -> int:
        """64 bits; EIO where the processor faults."""

    def msr_write(self, cpu: int, register: int, value: int) -> None:
        """wrmsr; EIO where the processor faults."""

    def cpus(self) -> list[int]:
        """The numbers of the CPUs that are online."""

    def advance(self, nanoseconds: int) -> None:
        """Let that much of the subject's own time pass."""


@runtime_checkable
class Reader(Protocol):
    """A program that reports energy, on a machine whose truth is known: what a clause of kind "reader" judges.

    `tree` is the machine's tree, as the kernel shows it; its `advance` moves the machine's time.
    """

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def kernel(self) -> str | None:
        """The exact kernel, like 6.12.117, or None where nobody knows."""

    @property
    def can(self) -> frozenset[str]:
        """The promises, of the words above."""

    @property
    def tree(self) -> Provider:
        """The machine's tree."""

    def listed(self) -> dict[str, str]:
        """The zones that the reader finds: its path for each by id, like "intel-rapl:0:1": "package-0/dram"."""

    def sample(self) -> None:
        """Let the reader take one sample."""

    def restart(self) -> None:
        """Let the reader forget its samples: the next one is the first."""

    def spent_uj(self) -> dict[str, int | None]:
        """The uJ by id that the reader reports between its first sample and its latest, None for unknown."""

    def truth_uj(self, path: str) -> int | None:
        """The uJ that a zone really spent since the machine began, None where the machine does not know."""

    def break_reads(self, path: str, errno: int) -> None:
        """Let every read of an attribute fail from now on."""


def composed(provider: object) -> frozenset[str]:
    """The control types that are known to be nobody's but a description's: a driver of that name did not make them.

    A subject that knows such has them in its attribute `composed`. Clauses about a driver pass over them.
    """
    return frozenset(getattr(provider, "composed", ()))


def exists(provider: Provider, path: str) -> bool:
    """Whether the entry is there, as a file, a directory or a link that need not lead anywhere."""
    try:
        provider.stat(path)
    except OSError:
        return False
    return True


def readable(provider: Provider, path: str) -> bytes | None:
    """What reads, or None where it does not: for clauses about something else than whether it reads."""
    try:
        return provider.read(path)
    except OSError:
        return None


def number(provider: Provider, path: str) -> int:
    """The decimal integer in an attribute.

    Raises OSError where the read fails, and CannotTell where the text is no integer: the clauses about
    formats judge that, and one mistake must not fail every clause that counts.
    """
    text = provider.read(path)
    if not re.fullmatch(rb"-?[0-9]+\s*", text):
        raise CannotTell(0, f"{path} holds {text!r}, which is no integer")
    return int(text)


def control_types(provider: Provider) -> list[str]:
    """The names of the control types, in the order of the directory; empty where there is no powercap.

    They are the directories in devices/virtual/powercap; in a tree that holds only class/powercap, the
    entries there whose name has no colon.
    """
    try:
        names = provider.listdir(DEVICES)
    except OSError:
        return [name for name in _listing(provider, CLASS) if ":" not in name]
    return [name for name in names if _is_directory(provider, f"{DEVICES}/{name}")]


def zones(provider: Provider, control_type: str | None = None) -> list[Zone]:
    """All zones of one control type, or of all, each before its children.

    A zone is a real directory below its control type whose name begins with the control type and a colon.
    In a tree that holds only class/powercap the zones stand side by side, and the colons give the depth.
    """
    wanted = control_types(provider) if control_type is None else [control_type]
    found: list[Zone] = []
    for name in wanted:
        top = f"{DEVICES}/{name}"
        if exists(provider, top):
            _below(provider, top, None, 0, name, found)
        else:
            found.extend(_flat(provider, name))
    return found


def constraints(provider: Provider, zone: Zone) -> list[int]:
    """The numbers of a zone's constraints, ascending."""
    names = provider.listdir(zone.path)
    return sorted({int(found[1]) for found in map(_CONSTRAINT.fullmatch, names) if found})


def _below(provider: Provider, path: str, parent: str | None, depth: int, control_type: str, found: list[Zone]) -> None:
    """Add the zones in the directory `path` and everything below them."""
    for name in provider.listdir(path):
        child = f"{path}/{name}"
        if name.startswith(f"{control_type}:") and _is_directory(provider, child):
            found.append(Zone(name, child, parent, depth, control_type))
            _below(provider, child, name, depth + 1, control_type, found)


def _flat(provider: Provider, control_type: str) -> list[Zone]:
    """The zones that stand side by side in class/powercap, parents first."""
    ids = [name for name in _listing(provider, CLASS) if name.startswith(f"{control_type}:")]
    return [
        Zone(
            name,
            f"{CLASS}/{name}",
            name.rpartition(":")[0] if name.count(":") > 1 else None,
            name.count(":") - 1,
            control_type,
        )
        for name in sorted(ids, key=lambda name: name.count(":"))
    ]


def _listing(provider: Provider, path: str) -> list[str]:
    try:
        return provider.listdir(path)
    except OSError:
        return []


def _is_directory(provider: Provider, path: str) -> bool:
    try:
        return provider.stat(path).kind == "dir"
    except OSError:
        return False
