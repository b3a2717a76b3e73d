# SPDX-License-Identifier: Apache-2.0
"""What the kernel is told of an entry of a live surface, and how it is told that this no longer holds.

Names and attributes hold until they are called in, so a path is walked once and every later open asks one question
only.  What was told of an entry is remembered with it, and compared.
"""

from collections.abc import Iterator

from raplica_simulator.surfaces import fuse_wire as wire
from raplica_simulator.surfaces.live_entry import Entry, Folder

__all__ = ["attributes_reply", "changes", "listing", "lookup_reply"]

_KEEP_S = 86_400


def lookup_reply(entry: Entry) -> bytes:
    """The answer to LOOKUP."""
    return wire.entry_reply(entry.ino, _attributes(entry), _KEEP_S, _KEEP_S if entry.keeps else 0)


def attributes_reply(entry: Entry) -> bytes:
    """The answer to GETATTR and SETATTR."""
    return wire.attributes_reply(_attributes(entry), _KEEP_S if entry.keeps else 0)


def _attributes(entry: Entry) -> bytes:
    """What stat shows; remembered, so that a change can be called in."""
    entry.told = entry.status()
    return wire.attributes(entry.ino, entry.told, entry.times_ns)


def changes(entry: Entry) -> Iterator[bytes]:
    """What calls in an entry that is no longer as it was told."""
    if entry.alive:
        entry.called_in = False
    elif not entry.called_in:
        entry.called_in = True
        yield wire.inval_entry(*entry.place())
        yield wire.inval_attributes(entry.ino)
    if entry.told is not None and entry.told != entry.status():
        entry.told = None
        yield wire.inval_attributes(entry.ino)


def listing(folder: Folder) -> list[bytes]:
    """A directory's names as READDIR hands them out, itself and what it lies in first."""
    whole = [(folder.ino, 0o040000, "."), (folder.place()[0], 0o040000, ".."), *folder.listing()]
    return [wire.directory_entry(ino, index, mode, name) for index, (ino, mode, name) in enumerate(whole, 1)]
