# SPDX-License-Identifier: Apache-2.0
"""A load that follows this host: as busy as its processors are, so hot runs the machine.

Nothing samples in the background.  The kernel counts busy and idle time, so whoever looks finds out how busy the host
was since the last look, however long ago that was; what has already been shown to somebody is never changed.
"""

import os
from collections.abc import Callable
from pathlib import Path

from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.timeline import Course
from raplica_simulator.machine import Machine

__all__ = ["HostLoad", "host_times"]

# The kernel counts in ticks of 10 ms (USER_HZ), so a share of a shorter time than this says little.
_LOOK_EVERY_NS = 100_000_000
_TICKS_IN_THAT = 10
_FALLBACK_UW = 50_000_000


def host_times(stat: Path = Path("/proc/stat")) -> tuple[int, int]:
    """The host's busy time and its whole time since boot, in clock ticks of all processors together (proc(5))."""
    with stat.open("rb") as file:
        ticks = [int(word) for word in file.readline().split()[1:9]]
    # user nice system idle iowait irq softirq steal
    idle = ticks[3] + ticks[4]
    return sum(ticks) - idle, sum(ticks)


class HostLoad:
    """Between the profile's own watts, while the host is idle, and the package's thermal design power when it is full.

    What is above the profile's watts is drawn by the cores, where the profile gives the cores any.
    """

    def __init__(self, times: Callable[[], tuple[int, int]] = host_times, processors: int | None = None) -> None:
        """``times`` says how long as many ``processors`` (None: the host's) were busy, see :func:`host_times`."""
        self._times = times
        self._least_ticks = _TICKS_IN_THAT * (os.cpu_count() or 1 if processors is None else processors)

    def begin(self, machine: Machine, clock: LiveClock) -> Course:
        """Start at the profile's watts."""
        return _Follower(machine, clock, self._times, self._least_ticks)


class _Follower:
    """One machine that follows."""

    def __init__(
        self, machine: Machine, clock: LiveClock, times: Callable[[], tuple[int, int]], least_ticks: int
    ) -> None:
        self._machine = machine
        self._clock = clock
        self._times = times
        self._least_ticks = least_ticks
        self._busy, self._whole = times()
        self._asked_ns = self._seen_ns = clock.now_ns
        load = machine.load.now()
        self._rest_uw = load.package_uw
        self._core_uw = load.core_uw
        self._above_uw = _full_uw(machine, self._rest_uw) - self._rest_uw

    def due_ns(self) -> int:
        """Whenever time has moved: what was seen once stays as it was."""
        return self._seen_ns + 1

    def go(self, until_ns: int) -> None:
        """Let the machine have drawn, since the last look, what the host's processors were busy since then."""
        if until_ns - self._asked_ns >= _LOOK_EVERY_NS * self._clock.speed:
            self._asked_ns = until_ns
            busy, whole = self._times()
            ticks = whole - self._whole
            # Fewer where time was moved on: what the host did in that moment says nothing of the hours passed over.
            if ticks >= self._least_ticks:
                # The kernel may take back time in which a processor waited for a disk.
                share = min(max(busy - self._busy, 0), ticks)
                with self._clock.held_at(self._seen_ns):
                    self._set(self._above_uw * share // ticks)
                self._busy, self._whole = busy, whole
        self._seen_ns = until_ns

    def _set(self, above_uw: int) -> None:
        load = self._machine.load
        package = _watts(self._rest_uw + above_uw)
        if self._core_uw:
            load.set(package=package, core=_watts(self._core_uw + above_uw))
        else:
            load.set(package=package)


def _full_uw(machine: Machine, rest_uw: int) -> int:
    """What a package draws under full load: its thermal design power where the machine says one above the rest."""
    try:
        design_uw = int(machine.sysfs.read("class/powercap/intel-rapl:0/constraint_0_max_power_uw"))
    except (OSError, ValueError):
        design_uw = 0
    return design_uw if design_uw > rest_uw else max(2 * rest_uw, _FALLBACK_UW)


def _watts(uw: int) -> str:
    return f"{uw // 1_000_000}.{uw % 1_000_000:06d}"
