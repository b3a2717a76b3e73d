# SPDX-License-Identifier: Apache-2.0
"""``dev/cpu/N/msr`` on a live surface: a directory and a device for each processor that is up.

Mirrors what devtmpfs makes of arch/x86/kernel/msr.c.  The device is a plain file here: to open a character device is
to open the host's own.  The order of the directories is that of the processors; no witness has looked at it.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from errno import ENXIO, ESTALE

from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.linux.msr_file import MsrFile
from raplica_simulator.surfaces.caller import Caller
from raplica_simulator.surfaces.live_entry import Entry, Folder, LiveFile, Owned, Status

__all__ = ["Cpus", "OwnFolder"]

_FIRST_INO = 16  # + 2 N for the directory of processor N, and 1 more for its device


class OwnFolder(Owned, Folder):
    """A directory that the surface itself adds; what lies in it never changes."""

    __slots__ = ("_children", "_parent_ino")

    def __init__(self, ino: int, moment_ns: int, parent_ino: int, children: Mapping[str, Entry]) -> None:
        super().__init__(ino, moment_ns, stat.S_IFDIR | 0o755)
        self._parent_ino = parent_ino
        self._children = children

    def place(self) -> tuple[int, str]:
        """Only its directory: it never goes, so nobody asks for its name."""
        return self._parent_ino, ""

    def status(self) -> Status:
        """A link for each directory in it."""
        return self.status_with(2 + sum(isinstance(child, Folder) for child in self._children.values()))

    def find(self, name: str) -> Entry | None:
        """What lies in it under a name."""
        return self._children.get(name)

    def listing(self) -> Iterator[tuple[int, int, str]]:
        """In the order in which they were given."""
        for name, child in self._children.items():
            yield child.ino, stat.S_IFDIR if isinstance(child, Folder) else stat.S_IFREG, name


class Cpus(OwnFolder):
    """``dev/cpu``: the processors that are up."""

    __slots__ = ("_cpus", "_module", "_moment_ns")

    def __init__(self, ino: int, moment_ns: int, parent_ino: int, module: MsrModule) -> None:
        super().__init__(ino, moment_ns, parent_ino, {})
        self._module = module
        self._moment_ns = moment_ns
        self._cpus: dict[int, _Cpu] = {}

    def status(self) -> Status:
        """A link for each processor that is up."""
        return self.status_with(2 + len(self._module.online()))

    def find(self, name: str) -> Entry | None:
        """The directory of a processor."""
        if not name.isdecimal() or not name.isascii() or str(int(name)) != name:
            return None
        cpu = int(name)
        if not self._module.is_online(cpu):
            return None
        # Kept, for what somebody did to its mode.
        return self._cpus.setdefault(cpu, _Cpu(self._module, cpu, self._moment_ns, self.ino))

    def listing(self) -> Iterator[tuple[int, int, str]]:
        """In the order of their numbers."""
        for cpu in self._module.online():
            yield _FIRST_INO + 2 * cpu, stat.S_IFDIR, str(cpu)


class _Cpu(Owned, Folder):
    """``dev/cpu/N``."""

    __slots__ = ("_cpu", "_module", "_msr", "_parent_ino")

    def __init__(self, module: MsrModule, cpu: int, moment_ns: int, parent_ino: int) -> None:
        super().__init__(_FIRST_INO + 2 * cpu, moment_ns, stat.S_IFDIR | 0o755)
        self._module = module
        self._cpu = cpu
        self._parent_ino = parent_ino
        self._msr = _Msr(module, cpu, moment_ns)

    @property
    def alive(self) -> bool:
        """Only while its processor is up."""
        return self._module.is_online(self._cpu)

    def place(self) -> tuple[int, str]:
        """In ``dev/cpu``."""
        return self._parent_ino, str(self._cpu)

    def status(self) -> Status:
        """A directory without directories."""
        return self.status_with(2)

    def find(self, name: str) -> Entry | None:
        """The device."""
        return self._msr if name == "msr" and self.alive else None

    def listing(self) -> Iterator[tuple[int, int, str]]:
        """The device."""
        if self.alive:
            yield self._msr.ino, stat.S_IFREG, "msr"


class _Msr(Owned, LiveFile):
    """``dev/cpu/N/msr``."""

    __slots__ = ("_cpu", "_module")
    # A seek from the end comes as a question after the size, and only where the last answer was not kept.
    keeps = False

    def __init__(self, module: MsrModule, cpu: int, moment_ns: int) -> None:
        super().__init__(_FIRST_INO + 2 * cpu + 1, moment_ns, stat.S_IFREG | 0o600)
        self._module = module
        self._cpu = cpu

    @property
    def alive(self) -> bool:
        """Only while its processor is up."""
        return self._module.is_online(self._cpu)

    @property
    def path(self) -> str:
        """Where it lies."""
        return f"dev/cpu/{self._cpu}/msr"

    def place(self) -> tuple[int, str]:
        """In ``dev/cpu/N``."""
        return self.ino - 1, "msr"

    def status(self) -> Status:
        """A file of size 0."""
        return self.status_with(1)

    def open(self, flags: int, caller: Caller) -> MsrFile:
        """Open the device: EPERM without CAP_SYS_RAWIO, ESTALE where the processor has gone down meanwhile."""
        try:
            return self._module.device(self._cpu).open_unchecked(flags, rawio=caller.has_rawio(), pid=caller.pid)
        except OSError as error:
            if error.errno == ENXIO:
                raise OSError(ESTALE, os.strerror(ESTALE)) from error
            raise
