# SPDX-License-Identifier: Apache-2.0
"""The files of a package's limits for tests: what they show, and what they show after a write."""

from collections.abc import Callable
from errno import ENODATA

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
PACKAGE = "class/powercap/intel-rapl:0"
KERNELS = ("6.1", "6.12")


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    """The errno that a call fails with, 0 where it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def show(machine: Machine, name: str, zone: str = PACKAGE) -> int | None:
    """The number in a file; None where it reads ENODATA."""
    try:
        return int(machine.sysfs.read(f"{zone}/{name}"))
    except OSError as error:
        if error.errno != ENODATA:
            raise
        return None


def store(machine: Machine, name: str, value: int, zone: str = PACKAGE) -> int:
    """Write a number and give what the file shows then."""
    text = b"%d\n" % value
    assert machine.sysfs.write(f"{zone}/{name}", text) == len(text)
    return int(machine.sysfs.read(f"{zone}/{name}"))
