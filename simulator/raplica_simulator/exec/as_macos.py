# SPDX-License-Identifier: Apache-2.0
"""A live machine as a Mac: the stand-ins in PATH, a door by which they reach the machine, and nothing of Linux's on it.

The stand-ins are files of :mod:`raplica_simulator.macos`.  A machine that has no control door of its own gets one for
the time, in a folder that ends with it, or with the next one where it was killed.
"""

import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import raplica_simulator
from raplica_simulator import macos
from raplica_simulator.linux.msr_dev import MsrModule
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.macos.dates import FIRST_BOOT_NS
from raplica_simulator.macos.mac import Mac
from raplica_simulator.macos.powermetrics import BOOT, DOOR, MAC

__all__ = ["PROGRAMS", "environment", "own_door", "without_linux"]

#: The folder of the programs that stand in for macOS's.
PROGRAMS = Path(macos.__file__).with_name("bin")
_PREFIX, _DOOR = "raplica-door-", "door"
_USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"


class _NoMsrDevices(MsrModule):
    """The module that no Mac has."""

    def online(self) -> list[int]:
        """No processor has a device."""
        return []

    def is_online(self, cpu: int) -> bool:  # noqa: ARG002 - none has
        """No processor has a device."""
        return False


def without_linux(live: LiveMachine) -> None:
    """Let a machine have no powercap zones and no msr devices, as it would not where macOS runs on it."""
    live.machine.driver.unload()
    live.msr_module = _NoMsrDevices(live.machine)


@contextmanager
def own_door() -> Iterator[str]:
    """Where a control door can stand that nobody has named; what those left behind that were killed is taken away."""
    _clear_abandoned()
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as folder, _opened(Path(folder)) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield os.path.join(folder, _DOOR)  # noqa: PTH118 - text


def _clear_abandoned() -> None:
    """Take away our own folders that nobody holds and that have a door: one without is about to be held."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError), _opened(folder) as descriptor:
            if os.fstat(descriptor).st_uid == os.geteuid():
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(_DOOR, dir_fd=descriptor)
                folder.rmdir()


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def environment(mac: Mac, live: LiveMachine, door: str, path: str | None, *, runs: bool) -> Mapping[str, str]:
    """What a command finds in its environment; ``path`` is its PATH so far.

    Dates are the host's where the machine's time ``runs``: programs hold the date of a sample against their own clock.
    """
    boot_ns = time.time_ns() - live.machine.clock.now_ns if runs else FIRST_BOOT_NS
    return {
        DOOR: door,
        MAC: mac.to_json(),
        BOOT: str(boot_ns),
        "PATH": f"{PROGRAMS}{os.pathsep}{path or _USUAL_PATH}",
        "RAPLICA_PATH": str(Path(raplica_simulator.__file__).parents[1]),
        "RAPLICA_PYTHON": sys.executable,
    }
