# SPDX-License-Identifier: Apache-2.0
"""Paths of a mounted machine for tests, the errno that a call on one gives, and whether it is mounted."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from raplica_simulator.surfaces import fuse_watch
from raplica_simulator.surfaces.fuse import FuseMount

POWERCAP = "sys/class/powercap"
ZONE = f"{POWERCAP}/intel-rapl:0"
LIMIT = "constraint_0_power_limit_uw"

Mount = Callable[..., FuseMount]


def errno_of(call: Callable[..., object], *arguments: object, **named: object) -> int:
    try:
        call(*arguments, **named)
    except OSError as error:
        return error.errno or 0
    return 0


def at(mount: FuseMount, path: str) -> Path:
    return Path(mount.directory) / path


def is_mounted(place: Path) -> bool:
    return bool(fuse_watch.device_of(str(place)))


def wait_until(what: Callable[[], bool]) -> None:
    for _ in range(3000):
        if what():
            return
        time.sleep(0.01)
    pytest.fail("it did not come about in half a minute")
