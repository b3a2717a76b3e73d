# SPDX-License-Identifier: Apache-2.0
"""Machines of Linux 3.13, whose driver is the first, for its tests."""

from collections.abc import Callable
from fractions import Fraction

import pytest

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
CLASS = "class/powercap"
PACKAGE = f"{CLASS}/intel-rapl:0"
CORE = f"{PACKAGE}:0"
SANDY_BRIDGE = "GenuineIntel:6:0x2A"
EVERYTHING = {"package": 20, "core": 5, "uncore": 1, "dram": 3}
SLEEP_NS = 10_000_000
UNIT = Fraction(1, 2**14)


def old_machines(make_machine: MakeMachine) -> MakeMachine:
    """What makes machines of 3.13 under a load in watts: ``old(registers={...}, watts={"package": 20})``."""

    def make(kind: str = "kabylake", *, watts: dict[str, int] | None = None, **more: object) -> Machine:
        wanted = EVERYTHING if watts is None else watts
        load = "".join(f"{name} = {watt}\n" for name, watt in wanted.items())
        more.setdefault("cpu", SANDY_BRIDGE)
        return make_machine(kind, "3.13", more=f"[load]\n{load}" if wanted else "", **more)

    return make


def names(machine: Machine) -> dict[str, str]:
    zones = sorted(zone for zone in machine.sysfs.listdir(CLASS) if ":" in zone)
    return {zone: machine.sysfs.read(f"{CLASS}/{zone}/name").decode().strip() for zone in zones}


def number(machine: Machine, path: str) -> int:
    return int(machine.sysfs.read(path))


def errno_of(call: Callable[[], object]) -> int:
    with pytest.raises(OSError, match=r"\[") as refused:
        call()
    return refused.value.errno or 0
