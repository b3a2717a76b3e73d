# SPDX-License-Identifier: Apache-2.0
"""A folder of the machine's in which more is to be seen than the machine has there."""

import stat
from collections.abc import Iterator, Mapping

from raplica_simulator.surfaces.live_entry import Entry, Folder, Status

__all__ = ["JoinedFolder", "folder_at"]


class JoinedFolder(Folder):
    """A folder under its own number, with entries that lie in it beside its own; of one name its own is seen."""

    __slots__ = ("_folder", "_more")

    def __init__(self, folder: Folder, more: Mapping[str, Entry]) -> None:
        super().__init__(folder.ino, folder.times_ns[1])
        self._folder = folder
        self._more = more

    @property
    def alive(self) -> bool:
        """As long as the folder itself."""
        return self._folder.alive

    def place(self) -> tuple[int, str]:
        """Where the folder itself lies."""
        return self._folder.place()

    def status(self) -> Status:
        """As the folder itself, with a link for each directory more."""
        status = self._folder.status()
        return status._replace(nlink=status.nlink + sum(isinstance(entry, Folder) for entry in self._more.values()))

    def change(self, mode: int | None, uid: int | None, gid: int | None) -> None:
        """It is that of the folder itself."""
        self._folder.change(mode, uid, gid)

    def find(self, name: str) -> Entry | None:
        """What is its own, then the rest."""
        return self._folder.find(name) or self._more.get(name)

    def listing(self) -> Iterator[tuple[int, int, str]]:
        """What is its own, then the rest."""
        own = set()
        for ino, kind, name in self._folder.listing():
            own.add(name)
            yield ino, kind, name
        for name, entry in self._more.items():
            if name not in own:
                yield entry.ino, stat.S_IFDIR if isinstance(entry, Folder) else stat.S_IFREG, name


def folder_at(folder: Folder, *names: str) -> Folder:
    """The folder that a path leads to; TypeError where it leads to something else."""
    for name in names:
        found = folder.find(name)
        if not isinstance(found, Folder):
            raise TypeError(f"{name} is no folder here")
        folder = found
    return folder
