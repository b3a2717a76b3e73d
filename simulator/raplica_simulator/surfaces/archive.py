# SPDX-License-Identifier: Apache-2.0
"""A machine's ``/sys`` as a tar archive: the same snapshot as a directory, for places that want one file.

The same machine at the same moment gives the same bytes: members in the kernel's directory order, all times 0, owner
root, nothing of the user or the umask.  Names are relative, so it unpacks into the folder that becomes ``/sys``.
"""

import io
import os
import stat
import tarfile
from collections.abc import Iterator
from typing import IO

from raplica_simulator.machine import Machine
from raplica_simulator.surfaces.snapshot import Folder, Snapshot, Written, take_snapshot
from raplica_simulator.surfaces.target import OPEN_DIRECTORY, Refused, find_target, shown, staging_directory

__all__ = ["stream_archive", "write_archive"]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def stream_archive(machine: Machine, stream: IO[bytes]) -> Written:
    """Write the archive to an open binary stream.

    ValueError for a machine whose names no archive should hold, before anything is written; OSError of the stream.
    """
    snapshot = take_snapshot(machine.sysfs)
    _write(snapshot, stream)
    return Written(snapshot.attributes, snapshot.unreadable)


def write_archive(machine: Machine, out: str | os.PathLike[str], *, force: bool = False) -> Written:
    """Write the archive into the file ``out``, with missing folders above it; the whole file or none.

    Raises Refused for ``/``, ``/sys``, ``/proc``, ``/dev`` and what is in them, for what exists and is no plain file,
    and for a file that is not empty unless ``force``; ValueError for a machine whose names no archive should hold;
    OSError as the file system says.
    """
    path = os.fsdecode(out)
    with find_target(path, file=True) as target:
        *above, name = target.missing
        if not above:
            _check_file(path, name, target.descriptor, force=force)
        snapshot = take_snapshot(machine.sysfs)
        with staging_directory(target) as stage:
            here = os.dup(stage)
            try:
                for folder in above:
                    os.mkdir(folder, dir_fd=here)
                    here, left = os.open(folder, OPEN_DIRECTORY, dir_fd=here), here
                    os.close(left)
                with os.fdopen(os.open(name, _CREATE, 0o666, dir_fd=here), "wb") as file:
                    _write(snapshot, file)
            finally:
                os.close(here)
            first = target.missing[0]
            os.rename(first, first, src_dir_fd=stage, dst_dir_fd=target.descriptor)
    return Written(snapshot.attributes, snapshot.unreadable)


def _check_file(path: str, name: str, descriptor: int, *, force: bool) -> None:
    """Refuse to replace anything but a plain file, and one that holds something only by ``force``."""
    try:
        found = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISREG(found.st_mode):
        raise Refused(f"{shown(path)} is not a file: the tar format needs one, such as machine.tar, or - for stdout")
    if found.st_size and not force:
        raise Refused(f"{shown(path)} exists: name another file, or say --force to replace it")


def _write(snapshot: Snapshot, stream: IO[bytes]) -> None:
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT, encoding="utf-8") as archive:
        for member, content in _members(snapshot.root, ""):
            archive.addfile(member, io.BytesIO(content))


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
