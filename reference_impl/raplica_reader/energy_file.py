# SPDX-License-Identifier: Apache-2.0
"""The file `energy_uj` of a powercap zone, as a gauge.

The kernel makes the number afresh at each read at offset 0, also on a descriptor that stays open (fs/kernfs/file.c),
which costs a tenth of opening the file. Behind a path there may be another counter one day: ids go to whoever is
registered next, so after a failure the names of the zone and of those above it are looked at before its file is
believed again: `dram` is in every package.
"""

import errno
from dataclasses import dataclass, field
from functools import partial

from raplica_reader.files import NUMBER, Files, OsFiles, parse_number
from raplica_reader.zone import Handle

__all__ = ["EnergyFile"]


@dataclass(frozen=True, slots=True)
class EnergyFile:
    """`energy_uj` in `directory` (relative to the root of the tree; None: outside of it) of the zone `name`.

    `error`: the errno name of why the directory cannot be reached, if it cannot. `above`: the file of the zone that
    this one lies in.
    """

    directory: str | None
    name: bytes | None
    error: str | None
    above: "EnergyFile | None"
    files: Files = field(repr=False, compare=False)

    counts_on = True

    def open(self) -> Handle:
        """Open the file where it is one; a tree that is none of this machine's files is asked each time."""
        path = self._path()
        if isinstance(self.files, OsFiles):
            descriptor, read = self.files.keep_open(path)
            return Handle(read, descriptor)
        return Handle(partial(self.files.read, path), None)

    def once(self) -> bytes:
        """Open, read, close."""
        return self.files.read(self._path())[:NUMBER]

    def check(self) -> None:
        """Look whether the directories still have these zones' names; ENODEV where one has another."""
        if self.directory is not None and self.name is not None:
            now = self.files.read(f"{self.directory}/name")
            if now != self.name:
                raise OSError(errno.ENODEV, "another zone has taken this id", self.directory)
        if self.above is not None:
            self.above.check()

    @staticmethod
    def decode(content: bytes) -> int:
        """Whole microjoules; a counter below 0 is none (EBADMSG)."""
        # Nearly always digits and a newline; the careful way is for what is not.
        if content[:-1].isdigit() and len(content) < NUMBER:
            try:
                return int(content)
            except ValueError:  # its last character is neither a digit nor blank
                pass
        energy_uj = parse_number(content)
        if energy_uj < 0:
            raise OSError(errno.EBADMSG, "a negative counter")
        return energy_uj

    def _path(self) -> str:
        if self.directory is None:
            raise OSError(getattr(errno, self.error or "ENOENT"), "outside the tree")
        return f"{self.directory}/energy_uj"
