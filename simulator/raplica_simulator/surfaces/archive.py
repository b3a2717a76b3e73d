# SPDX-License-Identifier: Apache-2.0
"""A machine's ``/sys`` in one file: the same snapshot as a directory, for places that want one; here as a tar archive.

The same machine at the same moment gives the same bytes: members in the kernel's directory order, all times 0, owner
root, nothing of the user or the umask.  Names are relative, so it unpacks into the folder that becomes ``/sys``.
"""

import io
import os
import tarfile
from collections.abc import Callable, Iterator
from typing import IO

from raplica_simulator.machine import Machine
from raplica_simulator.surfaces.selection import Selection, select
from raplica_simulator.surfaces.snapshot import Folder, Snapshot, Written, take_snapshot
from raplica_simulator.surfaces.whole_file import write_whole_file

__all__ = ["WriteSnapshot", "stream_archive", "write_archive", "write_tar"]

# Writes a snapshot to an open binary stream; one for each format.
WriteSnapshot = Callable[[Snapshot, IO[bytes]], None]
_EVERYTHING = Selection()


def write_tar(snapshot: Snapshot, stream: IO[bytes], prefix: str = "") -> None:
    """Write the snapshot as a tar archive (pax), its members below ``prefix``.  OSError of the stream."""
    above = "".join(f"{part}/" for part in prefix.split("/") if part)
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        for end in (index for index, letter in enumerate(above) if letter == "/"):
            archive.addfile(_member(above[:end], tarfile.DIRTYPE, snapshot.root.mode))
        for member, content in _members(snapshot.root, above):
            archive.addfile(member, io.BytesIO(content))


def stream_archive(
    machine: Machine, stream: IO[bytes], *, write: WriteSnapshot = write_tar, selection: Selection = _EVERYTHING
) -> Written:
    """Write the archive to an open binary stream.

    ValueError for a machine whose names the format cannot hold and for a selection that fits nothing, before anything
    is written; OSError of the stream.
    """
    snapshot = select(take_snapshot(machine.sysfs), selection)
    write(snapshot, stream)
    return Written(snapshot.attributes, snapshot.unreadable)


def write_archive(
    machine: Machine,
    out: str | os.PathLike[str],
    *,
    write: WriteSnapshot = write_tar,
    selection: Selection = _EVERYTHING,
    example: str = "machine.tar",
    force: bool = False,
) -> Written:
    """Write the archive into the file ``out``, with missing folders above it; the whole file or none.

    ``example`` is a name for such a file.  Raises Refused and OSError as ``write_whole_file`` does, and ValueError as
    ``stream_archive`` does.
    """
    taken: list[Snapshot] = []

    def prepare() -> Callable[[IO[bytes]], None]:
        taken.append(select(take_snapshot(machine.sysfs), selection))
        return lambda stream: write(taken[0], stream)

    write_whole_file(out, prepare, example=example, force=force)
    return Written(taken[0].attributes, taken[0].unreadable)


def _members(folder: Folder, above: str) -> Iterator[tuple[tarfile.TarInfo, bytes]]:
    """The members below a folder, each directory before what is in it."""
    for name, mode, content in folder.files:
        yield _member(above + name, tarfile.REGTYPE, mode, size=len(content)), content
    for name, target in folder.links:
        yield _member(above + name, tarfile.SYMTYPE, 0o777, link=target), b""
    for below in folder.folders:
        yield _member(above + below.name, tarfile.DIRTYPE, below.mode), b""
        yield from _members(below, f"{above}{below.name}/")


def _member(name: str, kind: bytes, mode: int, *, size: int = 0, link: str = "") -> tarfile.TarInfo:
    """A header without anything that would differ from one user, host or day to another."""
    member = tarfile.TarInfo(name)
    member.type = kind
    member.mode = mode
    member.size = size
    member.linkname = link
    member.uname = member.gname = "root"
    return member
