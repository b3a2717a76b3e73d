# SPDX-License-Identifier: Apache-2.0
"""The files of a live surface: ``sys`` and ``dev/cpu/N/msr`` of one machine, each with a number of its own.

What lies beside powercap comes along where it is asked for (:mod:`.live_host`).  Everything is where a real system has
it, below the root of the surface.  Knows nothing of how the files reach other processes.  One thread at a time.
"""

import os
from collections.abc import Callable, Mapping
from errno import ESTALE

from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.machine import Machine
from raplica_simulator.surfaces.live_cpus import Cpus, OwnFolder
from raplica_simulator.surfaces.live_entry import Entry, Folder
from raplica_simulator.surfaces.live_host import HostFiles
from raplica_simulator.surfaces.live_joined import JoinedFolder, folder_at
from raplica_simulator.surfaces.live_sysfs import SysfsBranch

__all__ = ["ROOT_INO", "LiveTree"]

ROOT_INO = 1
_DEV_INO = 2
_CPUS_INO = 3
_SYSFS_FIRST_INO = 1 << 32


class LiveTree:
    """All files of one machine.

    Attributes:
        root: the directory in which ``sys``, ``dev`` and, with the files of the host, ``proc`` lie.
        sysfs: what lies below ``sys``.
        moment_ns: what every file shows as its times until somebody changes them.
        when_switched: called when somebody took a processor down or brought it up by a write to its
            ``online``: files went or came, and who was told of them is to be told.
    """

    def __init__(
        self,
        sysfs: Sysfs,
        module: MsrModule,
        moment_ns: int,
        *,
        host_files: bool = False,
        perf_type: int | None = None,
    ) -> None:
        """``host_files`` adds the files of :mod:`.live_host`; ``perf_type`` the power PMUs, with such a type.

        ValueError for a ``perf_type`` without ``host_files``, TypeError for them where ``module`` is of no Machine.
        """
        if perf_type is not None and not host_files:
            raise ValueError("perf_type is given without host_files: the files of perf lie among those")
        self.sysfs = sysfs
        self.moment_ns = moment_ns
        self.when_switched: Callable[[], None] = lambda: None
        self._handed_out: dict[int, Entry] = {}
        cpus = Cpus(_CPUS_INO, moment_ns, _DEV_INO, module)
        dev = OwnFolder(_DEV_INO, moment_ns, ROOT_INO, {"cpu": cpus})
        self._branches = [SysfsBranch(sysfs, _SYSFS_FIRST_INO, ROOT_INO, "sys", moment_ns, self._handed_out.get)]
        top = self._branches[0].root
        if not isinstance(top, Folder):
            raise TypeError("the root of a sysfs is a folder")
        folders: dict[str, Entry] = {"sys": top, "dev": dev}
        if host_files:
            machine = module.machine
            if not isinstance(machine, Machine):
                raise TypeError(f"host_files need a Machine behind the msr devices, not {type(machine).__name__}")
            devices = folder_at(top, "devices")
            inos = ROOT_INO, top.ino, devices.ino
            host = HostFiles(machine, inos, moment_ns, self._handed_out.get, perf_type)
            host.cpus.when_switched = self._switched
            self._branches += host.branches
            self.join(devices, {"system": host.system})
            if host.bus is not None:
                folders["sys"] = self.join(top, {"bus": host.bus})
            folders["proc"] = host.proc
        self.root = OwnFolder(ROOT_INO, moment_ns, ROOT_INO, folders)

    def join(self, folder: Folder, more: Mapping[str, Entry]) -> Folder:
        """Let more be seen in a folder of the machine, for good: who asks for that finds what is returned."""
        joined = JoinedFolder(folder, more)
        self.hand_out(joined)
        return joined

    def _switched(self) -> None:
        # Looked up now: it may be set at any time.
        self.when_switched()

    def handed_out(self) -> list[Entry]:
        """Every entry that somebody outside knows of, the root aside."""
        for branch in self._branches:
            branch.catch_up()
        return list(self._handed_out.values())

    def entry(self, ino: int) -> Entry:
        """What was handed out under a number; ESTALE for a number that was not."""
        found = self._handed_out.get(ino)
        if found is None:
            if ino == ROOT_INO:
                return self.root
            raise OSError(ESTALE, os.strerror(ESTALE))
        return found

    def hand_out(self, entry: Entry) -> None:
        """Count one more who knows of an entry."""
        entry.lookups += 1
        self._handed_out[entry.ino] = entry

    def take_back(self, ino: int, lookups: int) -> None:
        """Count those who have forgotten it."""
        entry = self._handed_out.get(ino)
        if entry is not None:
            entry.lookups -= lookups
            if entry.lookups <= 0:
                entry.lookups = 0
                entry.told = None
                entry.called_in = False
                del self._handed_out[ino]
