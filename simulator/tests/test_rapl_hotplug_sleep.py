# SPDX-License-Identifier: Apache-2.0
"""A machine that sleeps: what the driver remembers, what it writes back, and what firmware has done meanwhile."""

from collections.abc import Callable

import pytest

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
KERNELS = ("6.1", "6.12")

pytestmark = pytest.mark.parametrize("kernel", KERNELS)


@pytest.mark.pitfall("suspend-restores-package-limits-only")
def test_suspend_reads_the_limits_of_packages_and_resume_writes_them_back(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("alderlake", kernel)
    machine.suspend()
    machine.msr.poke(0, 0x610, 0)
    machine.msr.poke(0, 0x601, 0)
    machine.msr.poke(0, 0x638, 0x8001)
    machine.resume()
    # No enable, no window, no other zone.
    assert (machine.msr.read(0, 0x610), machine.msr.read(0, 0x601)) == (0x440_0000_03E8, 0x3F0)
    assert machine.msr.read(0, 0x638) == 0x8001
    accesses = [(access.op, access.register, access.mask) for access in machine.msr.log]
    fields = [(0x610, 0x7FFF), (0x610, 0x7FFF << 32), (0x601, 0x1FFF)]
    assert accesses == [*(("r", *one) for one in fields), *(("w", *one) for one in fields)]


def test_a_limit_of_0_is_not_written_back(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel, registers={0x610: 0x7 << 32})
    machine.suspend()
    machine.resume()
    assert [access.mask for access in machine.msr.log if access.op == "w"] == [0x7FFF << 32]


def test_the_newest_package_is_asked_first(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(3, 1, 1, 1))
    machine.cpu(1).offline()
    machine.cpu(1).online()
    machine.suspend()
    assert [access.cpu for access in machine.msr.log] == [1, 1, 2, 2, 0, 0]


def test_6_1_asks_for_the_first_declared_limits_where_only_peak_power_is_valid(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("alderlake", kernel, registers={0x610: None})
    machine.suspend()
    machine.msr.poke(0, 0x601, 0)
    machine.resume()
    assert machine.msr.read(0, 0x601) == {"6.1": 0, "6.12": 0x3F0}[kernel]
    assert machine.msr.log[0].register == {"6.1": 0x610, "6.12": 0x601}[kernel]


def test_a_locked_limit_is_written_back_by_6_1_alone(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel, registers={0x610: 1 << 63 | 0x83E8})
    machine.suspend()
    machine.msr.poke(0, 0x610, 1 << 63)
    machine.resume()
    assert machine.msr.read(0, 0x610) & 0x7FFF == {"6.1": 0x3E8, "6.12": 0}[kernel]


@pytest.mark.pitfall("suspend-restores-package-limits-only")
def test_what_firmware_loads_on_resume_stays_but_for_the_limits_of_packages(
    make_machine: MakeMachine, kernel: str
) -> None:
    firmware = '[firmware]\n0x610 = "0x1"\n0x638 = "0x2"\n0x601 = 0\n[firmware.package.0]\n0x640 = 3\n'
    machine = make_machine("alderlake", kernel, more=firmware)
    machine.suspend()
    machine.resume()
    words = {register: machine.msr.read(0, register) for register in (0x610, 0x601, 0x638, 0x640)}
    assert words == {0x610: 0x440_0000_03E8, 0x601: 0x3F0, 0x638: 2, 0x640: 3}


def test_time_does_not_pass_while_the_machine_sleeps(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel, more="[load]\npackage = 10\n")
    before = machine.msr.read(0, 0x611), machine.clock.now_ns
    machine.suspend()
    machine.resume()
    assert (machine.msr.read(0, 0x611), machine.clock.now_ns) == before
