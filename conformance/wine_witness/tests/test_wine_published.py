# SPDX-License-Identifier: Apache-2.0
"""Whether the driver's file holds what the simulated machine's registers hold, and nothing that is not there."""

from __future__ import annotations

import struct

import pytest

from wine_witness.failure import WitnessError
from wine_witness.published import MACHINES, REGISTERS, make_machine, pack

HEAD = 0xFFFFFFFF


def records(content: bytes) -> list[tuple[int, int, int]]:
    return list(struct.iter_unpack("<IIQ", content))


@pytest.mark.parametrize(("name", "vendor", "processors"), [("intel", 1, 4), ("amd", 2, 2)])
def test_the_first_record_tells_of_the_machine(name: str, vendor: int, processors: int) -> None:
    assert records(pack(make_machine(name)))[0] == (HEAD, processors, vendor)


@pytest.mark.parametrize("name", MACHINES)
def test_the_others_are_the_registers_that_can_be_read(name: str) -> None:
    machine = make_machine(name)
    machine.clock.advance(seconds=5)
    found = {(register, cpu): value for register, cpu, value in records(pack(machine))[1:]}
    for register in REGISTERS:
        for cpu in machine.profile.topology.cpus:
            if (register, cpu.number) in found:
                assert machine.msr.read(cpu=cpu.number, register=register) == found[register, cpu.number]
            else:
                with pytest.raises(OSError, match="Input/output error"):
                    machine.msr.read(cpu=cpu.number, register=register)
    assert len(found) > len(machine.profile.topology.cpus)


def test_packages_have_registers_of_their_own_and_counters_wrap() -> None:
    machine = make_machine("intel")
    at_first = [value for register, _, value in records(pack(machine)) if register == 0x611]
    machine.clock.advance(seconds=1000)
    later = [value for register, _, value in records(pack(machine)) if register == 0x611]
    # 100 W for 1000 s, in steps of 2^-14 J, modulo 2^32.
    moved = {(one - other) % 2**32 for one, other in zip(later, at_first, strict=True)}
    assert at_first == [0xFFFFF000, 0xFFFFF000, 0x7FFFF000, 0x7FFFF000]
    assert moved == {100 * 1000 * 2**14}
    assert later[0] < at_first[0]


def test_a_machine_that_there_is_not_is_told() -> None:
    with pytest.raises(WitnessError, match="no machine 'arm' for the witness; there are intel, amd"):
        make_machine("arm")
