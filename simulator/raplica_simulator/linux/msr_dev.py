# SPDX-License-Identifier: Apache-2.0
"""/dev/cpu/N/msr: how programs that bypass the RAPL driver reach the registers.

Mirrors arch/x86/kernel/msr.c.  The file offset is the register number; a longer read or write goes to the same
register again, and the position stays where it was.  A register that faults is EIO, a processor that is down ENXIO.
There is one node for each processor that is up.
"""

import os
import stat
from collections.abc import Collection
from errno import EACCES, EINVAL, ENOTDIR, ENXIO, EPERM
from typing import NamedTuple, Protocol

from raplica_simulator.clock import Clock
from raplica_simulator.hardware.msr import RegisterFile
from raplica_simulator.linux.msr_file import MsrFile

__all__ = ["MsrDevice", "MsrModule", "UnrecognizedWrite"]

_MAJOR = 202
_MODE = 0o600
_LOG_INTERVAL_NS = 30 * 10**9
_LINES_KEPT = 1000


class UnrecognizedWrite(NamedTuple):
    """A line that the kernel would have logged about a write: when, to which register, and by which process."""

    at_ns: int
    register: int
    pid: int


class _Driver(Protocol):
    """What knows which processors are up."""

    @property
    def online(self) -> Collection[int]: ...


class _Machine(Protocol):
    """What the module needs of a machine."""

    @property
    def msr(self) -> RegisterFile: ...

    @property
    def driver(self) -> _Driver: ...

    @property
    def clock(self) -> Clock: ...


class MsrModule:
    """The module msr on one machine: a device for each processor, and who may write.

    Attributes:
        lockdown: whether the kernel is locked down, as Secure Boot does: reading goes on, writing is EPERM.
        tainted: whether anybody has written a register through a device.
        log: the writes that the kernel logged, at most one in 30 s of the machine's time, and the newest 1,000 of them.
    """

    def __init__(self, machine: _Machine, *, allow_writes: str = "default", lockdown: bool = False) -> None:
        self.machine = machine
        self.lockdown = lockdown
        self.tainted = False
        self.log: list[UnrecognizedWrite] = []
        self._allow_writes = "default"
        self.allow_writes = allow_writes

    @property
    def allow_writes(self) -> str:
        """The module's parameter: ``on``, ``off`` or ``default`` (allowed, and logged)."""
        return self._allow_writes

    @allow_writes.setter
    def allow_writes(self, value: str) -> None:
        # Blanks around are stripped, and what it does not know is the default (set_allow_writes).
        word = value.strip()
        self._allow_writes = word if word in ("on", "off") else "default"

    def online(self) -> list[int]:
        """The processors that have a device, ascending."""
        return sorted(self.machine.driver.online)

    def is_online(self, cpu: int) -> bool:
        """Whether a processor is up and has a device."""
        return cpu in self.machine.driver.online

    def device(self, cpu: int) -> "MsrDevice":
        """The device of one processor, whether or not it is up.  ValueError where the machine has no such CPU."""
        return MsrDevice(self.machine, cpu, self)

    def admit(self, register: int, pid: int) -> None:
        """Let a write pass or raise OSError(EPERM): lockdown first, then the parameter (filter_write)."""
        if self.lockdown or self._allow_writes == "off":
            raise OSError(EPERM, os.strerror(EPERM))
        if self._allow_writes == "default":
            now_ns = self.machine.clock.now_ns
            if not self.log or now_ns - self.log[-1].at_ns >= _LOG_INTERVAL_NS:
                self.log.append(UnrecognizedWrite(now_ns, register, pid))
                del self.log[:-_LINES_KEPT]


class MsrDevice:
    """One device node.

    Attributes:
        cpu: the processor that executes what is asked of it.
        module: what it has in common with the other devices.
    """

    def __init__(self, machine: _Machine, cpu: int, module: MsrModule | None = None) -> None:
        """``module`` is shared by all devices of a machine; left out, the device has one of its own.

        ValueError for a CPU that the machine does not have.
        """
        machine.msr.content(cpu, 0)  # ValueError where there is no such CPU
        self.cpu = cpu
        self.module = module or MsrModule(machine)

    @property
    def path(self) -> str:
        """Where it lies below the root of the file system."""
        return f"dev/cpu/{self.cpu}/msr"

    @property
    def is_online(self) -> bool:
        """Whether its processor is up: only then is there a node."""
        return self.module.is_online(self.cpu)

    def stat(self) -> os.stat_result:
        """What lstat gives: a character device of major 202, mode 0600 of root; all times are 0."""
        return os.stat_result(
            (stat.S_IFCHR | _MODE, 0, 0, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": os.makedev(_MAJOR, self.cpu)}
        )

    def open(self, flags: int = os.O_RDONLY, uid: int = 0, *, rawio: bool | None = None, pid: int = 0) -> "MsrFile":
        """Open it.

        ``rawio`` says whether the caller has CAP_SYS_RAWIO (default: root has), ``pid`` who the log is to name.
        OSError: EACCES for anybody but root, EPERM without the capability, ENXIO where the processor is down,
        EINVAL for O_DIRECT.
        """
        if flags & os.O_DIRECTORY:
            raise self._error(ENOTDIR)
        if uid:
            raise self._error(EACCES)
        return self.open_unchecked(flags, rawio=rawio if rawio is not None else uid == 0, pid=pid)

    def open_unchecked(self, flags: int, *, rawio: bool, pid: int = 0) -> "MsrFile":
        """Open it for a caller whom the node's mode has let through (msr_open)."""
        if not rawio:
            raise self._error(EPERM)
        if not self.is_online:
            raise self._error(ENXIO)
        # Only files with pages do that (fs/open.c, do_dentry_open).
        if flags & getattr(os, "O_DIRECT", 0):
            raise self._error(EINVAL)
        return MsrFile(self, flags, pid)

    def _error(self, errno: int) -> OSError:
        return OSError(errno, os.strerror(errno), self.path)
