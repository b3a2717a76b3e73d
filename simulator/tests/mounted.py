# SPDX-License-Identifier: Apache-2.0
"""Paths of a mounted machine for tests, and the errno that a call on one gives."""

from collections.abc import Callable
from pathlib import Path

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
