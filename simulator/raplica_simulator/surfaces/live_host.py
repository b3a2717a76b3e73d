# SPDX-License-Identifier: Apache-2.0
"""What programs look at beside powercap and the msr devices, on a live surface: processors and perf's energy PMUs.

``proc/cpuinfo``, ``sys/devices/system/cpu`` and, in ``sys/bus/event_source/devices``, ``power`` and ``power_core``.
Programs count packages and processors there, and drop zones that do not agree with what they found.
"""

import stat
from collections.abc import Callable

from raplica_simulator.linux.cpu_devices import CpuDevices
from raplica_simulator.linux.cpuinfo import Cpuinfo, CpuinfoFile
from raplica_simulator.linux.perf_devices import PmuDevice
from raplica_simulator.linux.perf_power import power_pmus
from raplica_simulator.machine import Machine
from raplica_simulator.surfaces.caller import Caller
from raplica_simulator.surfaces.live_cpus import OwnFolder
from raplica_simulator.surfaces.live_entry import Entry, LiveFile, Owned, Status
from raplica_simulator.surfaces.live_sysfs import SysfsBranch

__all__ = ["HostFiles"]

_PROC_INO = 4
_CPUINFO_INO = 5
_SYSTEM_INO = 6
_BUS_INO, _EVENT_SOURCE_INO, _PMUS_INO = 7, 8, 9
# + a node's own number, for the processors and then for each PMU.
_CPUS_FIRST_INO = 2 << 32
_PMUS_FIRST_INO = 3 << 32


class HostFiles:
    """These files of one machine.

    Attributes:
        proc: the folder ``proc``.
        system: the folder ``sys/devices/system``.
        bus: the folder ``sys/bus``; None without PMUs.
        branches: what of them is a sysfs.
        cpus: the processors, which can be switched there.
    """

    def __init__(
        self,
        machine: Machine,
        inos: tuple[int, int, int],
        moment_ns: int,
        handed_out: Callable[[int], Entry | None],
        perf_type: int | None = None,
    ) -> None:
        """``inos`` are the numbers of the root, of ``sys`` and of ``sys/devices``.

        ``perf_type`` is the number of the PMU ``power``; ``power_core``, where there is one, has the next.
        """
        root_ino, sys_ino, devices_ino = inos
        self.proc = OwnFolder(
            _PROC_INO, moment_ns, root_ino, {"cpuinfo": _Cpuinfo(Cpuinfo(machine), moment_ns, _PROC_INO)}
        )
        self.cpus = devices = CpuDevices(machine)
        path = "sys/devices/system/cpu"
        cpus = SysfsBranch(devices.sysfs, _CPUS_FIRST_INO, _SYSTEM_INO, path, moment_ns, handed_out, devices.catch_up)
        self.branches = [cpus]
        self.system = OwnFolder(_SYSTEM_INO, moment_ns, devices_ino, {"cpu": cpus.root})
        self.bus: OwnFolder | None = None
        if perf_type is not None:
            pmus = OwnFolder(
                _PMUS_INO, moment_ns, _EVENT_SOURCE_INO, self._pmus(machine, perf_type, handed_out, moment_ns)
            )
            source = OwnFolder(_EVENT_SOURCE_INO, moment_ns, _BUS_INO, {"devices": pmus})
            self.bus = OwnFolder(_BUS_INO, moment_ns, sys_ino, {"event_source": source})

    def _pmus(
        self, machine: Machine, perf_type: int, handed_out: Callable[[int], Entry | None], moment_ns: int
    ) -> dict[str, Entry]:
        found = {}
        for index, pmu in enumerate(power_pmus(machine)):
            device = PmuDevice(pmu, machine.kernel, perf_type + index)
            first_ino = _PMUS_FIRST_INO + (index << 32)
            path = f"sys/bus/event_source/devices/{pmu.name}"
            branch = SysfsBranch(device.sysfs, first_ino, _PMUS_INO, path, moment_ns, handed_out, pmu.catch_up)
            self.branches.append(branch)
            found[pmu.name] = branch.root
        return found


class _Cpuinfo(Owned, LiveFile):
    """``proc/cpuinfo``."""

    __slots__ = ("_cpuinfo", "_parent_ino")
    # Only then does a seek from the end come to the open file, which refuses it.
    keeps = False

    def __init__(self, cpuinfo: Cpuinfo, moment_ns: int, parent_ino: int) -> None:
        super().__init__(_CPUINFO_INO, moment_ns, stat.S_IFREG | 0o444)
        self._cpuinfo = cpuinfo
        self._parent_ino = parent_ino

    @property
    def path(self) -> str:
        """Where it lies."""
        return "proc/cpuinfo"

    def place(self) -> tuple[int, str]:
        """In ``proc``."""
        return self._parent_ino, "cpuinfo"

    def status(self) -> Status:
        """A file of size 0, as all that is made when it is read."""
        return self.status_with(1)

    def open(self, flags: int, caller: Caller) -> CpuinfoFile:  # noqa: ARG002 - the msr device asks who it is
        """Open it; whoever its mode lets through may."""
        return CpuinfoFile(self._cpuinfo, flags)
