# SPDX-License-Identifier: Apache-2.0
"""Reading a counter of a simulated machine, beside what Python takes to read any file from memory."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raplica_simulator import Machine

# The two ways to read the package's counter, as statements on a machine.
SYSFS = "read('class/powercap/intel-rapl:0/energy_uj')"
MSR = "read(0, 0x611)"
# As bytes and by open(): the fastest that is still ordinary. Reading text takes half as long again.
FILE = "with open(path, 'rb') as file: file.read()"
ROUNDS = 500

Machines = dict[tuple[str, str], Machine]
Loop = Callable[..., Callable[[], object]]


@pytest.fixture
def plain_file(tmp_path: Path) -> Iterator[Path]:
    """A file with a counter's text, on tmpfs where the host has one."""
    memory = Path("/dev/shm")  # noqa: S108 - that it lies in memory is the point
    path = (memory if os.access(memory, os.W_OK) else tmp_path) / f"raplica-benchmark-{os.getpid()}"
    path.write_bytes(b"65536098889\n")
    yield path
    path.unlink()


@pytest.mark.parametrize(("way", "name"), [(SYSFS, "sysfs.read(energy_uj)"), (MSR, "msr.read")])
def test_a_file_takes_longer_than_a_counter(
    compare: Callable[..., None], loop: Loop, machines: Machines, plain_file: Path, way: str, name: str
) -> None:
    machine = machines["1 zone", "a second"]
    read = machine.sysfs.read if way == SYSFS else machine.msr.read
    compare(
        *("open and read a file on tmpfs", loop(FILE, {"path": str(plain_file)})),
        *(name, loop(way, {"read": read})),
        aim="3 or more",
        rounds=ROUNDS,
    )


@pytest.mark.parametrize(("way", "name"), [(SYSFS, "sysfs.read(energy_uj)"), (MSR, "msr.read")])
@pytest.mark.parametrize(
    ("zones", "time"), [("1000 zones", "a second"), ("1 zone", "a year"), ("1000 zones", "a year")]
)
def test_a_counter_costs_the_same_after_any_time_and_among_any_number(
    compare: Callable[..., None], loop: Loop, machines: Machines, way: str, name: str, zones: str, time: str
) -> None:
    def reading(machine: Machine) -> Callable[[], object]:
        return loop(way, {"read": machine.sysfs.read if way == SYSFS else machine.msr.read})

    compare(
        *(f"{name}, {zones}, after {time}", reading(machines[zones, time])),
        *("1 zone, after a second", reading(machines["1 zone", "a second"])),
        aim="1",
        rounds=ROUNDS,
    )
