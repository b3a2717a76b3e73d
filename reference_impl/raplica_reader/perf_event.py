# SPDX-License-Identifier: Apache-2.0
"""Open perf events: the one system call that needs more than the standard library's open, and a way around it.

`PerfEvents` is what the perf source asks; `Kernel` answers it with perf_event_open(2), which Python has no name for, so
it is called by its number through ctypes. Something else with the same method can stand in for the kernel.
"""

import ctypes
import errno
import os
import struct
from functools import partial
from typing import Protocol

from raplica_reader.zone import Handle

__all__ = ["Kernel", "PerfEvents"]

MACHINES = frozenset({"x86_64", "i386", "i686"})
"""What uname calls x86, the only machines with the PMU of RAPL."""
NUMBERS = {8: 298, 4: 336}
"""Number of perf_event_open by the bytes of a pointer of this process (arch/x86/entry/syscalls): a 32-bit program has
the numbers of its own kind on a 64-bit kernel too."""
CLOSE_ON_EXEC = 1 << 3
ATTRIBUTES = struct.Struct("=IIQQQQQIIQ")
"""struct perf_event_attr, first version: type, size, config, sample_period, sample_type, read_format, flags,
wakeup_events, bp_type, config1 (include/uapi/linux/perf_event.h). All but the first three are 0: one counter that
counts, for everybody, as long as it is open."""
EVERY_PROCESS, NO_GROUP = -1, -1
COUNT = 8


class PerfEvents(Protocol):
    """Opens counting events."""

    def open(self, pmu_type: int, config: int, cpu: int) -> Handle:
        """Start to count an event of a PMU on a CPU; each reading gives 8 bytes, the count since it was opened.

        OSError: EACCES or EPERM without the right (kernel.perf_event_paranoid), ENOENT for a PMU that is not there,
        EINVAL for an event that is not, ENODEV for a CPU that is not.
        """
        ...


class Kernel:
    """The kernel that this process runs on."""

    def open(self, pmu_type: int, config: int, cpu: int) -> Handle:
        """Call perf_event_open; ENOSYS where its number is not known."""
        number = NUMBERS.get(struct.calcsize("P")) if os.uname().machine in MACHINES else None
        if number is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        attributes = ctypes.create_string_buffer(
            ATTRIBUTES.pack(pmu_type, ATTRIBUTES.size, config, 0, 0, 0, 0, 0, 0, 0), ATTRIBUTES.size
        )
        call = ctypes.CDLL(None, use_errno=True).syscall
        call.restype = ctypes.c_long
        arguments = (EVERY_PROCESS, cpu, NO_GROUP, CLOSE_ON_EXEC)
        descriptor = call(ctypes.c_long(number), attributes, *map(ctypes.c_long, arguments))
        if descriptor < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return Handle(partial(os.read, descriptor, COUNT), descriptor)
