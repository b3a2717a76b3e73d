# SPDX-License-Identifier: Apache-2.0
"""A machine's ``/sys`` as a directory: a snapshot of plain files, links and directories with the kernel's modes.

A snapshot does not count, does not fail and cannot refuse root what the kernel refuses: an attribute whose read
fails is an empty file here.  Everything is first written into a directory of our own beside its place and then
renamed, so a reader meets whole files only, and an error or an interrupt leaves nothing behind.  No path is ever
resolved twice: all calls are relative to open directories and none follows a link.
"""

import os
from contextlib import suppress

from raplica_simulator.machine import Machine
from raplica_simulator.surfaces.selection import Selection, select
from raplica_simulator.surfaces.snapshot import Folder, Written, take_snapshot
from raplica_simulator.surfaces.target import OPEN_DIRECTORY, Refused, find_target, shown, staging_directory

__all__ = ["write_tree"]

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ALL_BITS = 0o777
_MODE_ABOVE = 0o775  # less the umask: nobody else writes there even without one
_EVERYTHING = Selection()


def write_tree(
    machine: Machine, out: str | os.PathLike[str], *, selection: Selection = _EVERYTHING, force: bool = False
) -> Written:
    """Write the tree as it is now into ``out``, which becomes the ``/sys`` root, with missing folders above it.

    Modes do not depend on the umask.  A directory that exists keeps its own mode.  Raises Refused for ``/``, for
    anything in ``/sys``, ``/proc`` and ``/dev``, for a directory that is not empty (unless ``force``, which replaces
    files and deletes nothing else) and for a directory, or a link in its place, where the machine has something
    else; ValueError for a machine whose names no directory can hold and for a selection that fits nothing; OSError as
    the file system says.
    """
    path = os.fsdecode(out)
    with find_target(path) as target:
        is_new = bool(target.missing) or _is_empty(target.descriptor)
        if not is_new and not force:
            raise Refused(f"{shown(path)} is not empty: name another folder, or say --force to replace files in it")
        snapshot = select(take_snapshot(machine.sysfs), selection)
        strangers: list[str] = []
        if not is_new:
            _compare(snapshot.root, target.descriptor, ".", path, strangers)
        with staging_directory(target) as stage:
            masked = _masked_bits(stage)
            if target.missing:
                _fill_below(snapshot.root, stage, target.missing, masked)
                first = target.missing[0]
                os.rename(first, first, src_dir_fd=stage, dst_dir_fd=target.descriptor)
            else:
                _fill(snapshot.root, stage, masked)
                try:
                    _move(snapshot.root, stage, target.descriptor)
                except BaseException:
                    if is_new:
                        _take_back(snapshot.root, stage, target.descriptor)
                    raise
    return Written(snapshot.attributes, snapshot.unreadable, tuple(strangers))


# Writing, in a directory of our own.


def _masked_bits(stage: int) -> int:
    """The permission bits that a new file here does not get, be it for the umask or for an access control list.

    Asking a file is the only way that does not change the umask of the whole process for a moment.
    """
    name = "probe"
    probe = os.open(name, _CREATE, _ALL_BITS, dir_fd=stage)
    try:
        return _ALL_BITS & ~os.fstat(probe).st_mode
    finally:
        os.close(probe)
        os.unlink(name, dir_fd=stage)


def _fill_below(root: Folder, stage: int, names: tuple[str, ...], masked: int) -> None:
    """Make the folders ``names`` in each other, the last of them the ``/sys`` root."""
    *above, last = names
    here = os.dup(stage)
    try:
        for name in above:
            os.mkdir(name, _MODE_ABOVE, dir_fd=here)
            here, left = os.open(name, OPEN_DIRECTORY, dir_fd=here), here
            os.close(left)
        _make(root, here, last, masked)
    finally:
        os.close(here)


def _make(folder: Folder, above: int, name: str, masked: int) -> None:
    """Make one directory and fill it."""
    os.mkdir(name, folder.mode, dir_fd=above)
    if folder.mode & masked:
        os.chmod(name, folder.mode, dir_fd=above)
    here = os.open(name, OPEN_DIRECTORY, dir_fd=above)
    try:
        _fill(folder, here, masked)
    finally:
        os.close(here)


def _fill(folder: Folder, here: int, masked: int) -> None:
    """Write what is in a folder into an open, empty directory."""
    for name, mode, content in folder.files:
        file = os.open(name, _CREATE, mode, dir_fd=here)
        try:
            rest = content
            while rest:
                rest = rest[os.write(file, rest) :]
            if mode & masked:
                os.fchmod(file, mode)
        finally:
            os.close(file)
    for name, target in folder.links:
        os.symlink(target, name, dir_fd=here)
    for below in folder.folders:
        _make(below, here, below.name, masked)


# Putting it in its place.


def _is_empty(descriptor: int) -> bool:
    here = os.open(".", OPEN_DIRECTORY, dir_fd=descriptor)
    try:
        with os.scandir(here) as entries:
            return next(entries, None) is None
    finally:
        os.close(here)


def _compare(folder: Folder, above: int, name: str, path: str, strangers: list[str]) -> None:
    """Look at a directory that exists before anything in it is changed: note what is not of the machine.

    Refused where a directory would be replaced, or where a link or a file stands in the place of one: writing goes
    through no link.
    """
    folders = {below.name: below for below in folder.folders}
    others = {file[0] for file in folder.files} | {link[0] for link in folder.links}
    here = os.open(name, OPEN_DIRECTORY, dir_fd=above)
    try:
        with os.scandir(here) as entries:
            found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
        for entry, is_directory in found:
            place = f"{path}/{entry}"
            if entry in others:
                if is_directory:
                    raise Refused(f"{shown(place)} is a directory where a file belongs: move it away")
            elif entry in folders:
                if not is_directory:
                    raise Refused(f"{shown(place)} is a file or a link where a directory belongs: move it away")
                _compare(folders[entry], here, entry, place, strangers)
            else:
                strangers.append(place)
    finally:
        os.close(here)


def _move(folder: Folder, source: int, destination: int) -> None:
    """Rename what stands in one open directory into another: whole subtrees where they are new, else file by file."""
    for name in (*(file[0] for file in folder.files), *(link[0] for link in folder.links)):
        os.rename(name, name, src_dir_fd=source, dst_dir_fd=destination)
    for below in folder.folders:
        try:
            to = os.open(below.name, OPEN_DIRECTORY, dir_fd=destination)
        except FileNotFoundError:
            os.rename(below.name, below.name, src_dir_fd=source, dst_dir_fd=destination)
            continue
        try:
            out_of = os.open(below.name, OPEN_DIRECTORY, dir_fd=source)
            try:
                _move(below, out_of, to)
            finally:
                os.close(out_of)
            os.rmdir(below.name, dir_fd=source)
        finally:
            os.close(to)


def _take_back(root: Folder, stage: int, destination: int) -> None:
    """Bring what was moved into an empty directory back, to be deleted with the rest."""
    for below in root.folders:
        with suppress(OSError):
            os.rename(below.name, below.name, src_dir_fd=destination, dst_dir_fd=stage)
