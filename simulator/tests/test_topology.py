# SPDX-License-Identifier: Apache-2.0
"""CPU numbers and the dies and cores behind them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator.hardware.topology import Cpu, Topology

topologies = st.builds(Topology, st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(1, 2))


def test_first_threads_of_all_cores_come_before_second_threads() -> None:
    topology = Topology(packages=2, dies_per_package=1, cores_per_die=2, threads_per_core=2)
    assert [(cpu.package, cpu.core, cpu.thread) for cpu in topology.cpus] == [
        (0, 0, 0),
        (0, 1, 0),
        (1, 0, 0),
        (1, 1, 0),
        (0, 0, 1),
        (0, 1, 1),
        (1, 0, 1),
        (1, 1, 1),
    ]
    assert topology.cpus_of_die(1) == (2, 3, 6, 7)


def test_dies_count_in_their_package_and_over_the_machine() -> None:
    topology = Topology(packages=2, dies_per_package=2, cores_per_die=3, threads_per_core=1)
    assert topology.dies == range(4)
    assert topology.cpus[9] == Cpu(number=9, package=1, die=1, logical_die=3, core=0, core_index=9, thread=0)
    assert topology.package_of_die(2) == 1
    assert topology.dies_of_package(1) == range(2, 4)
    assert topology.cores_of_die(3) == range(9, 12)


@given(topologies)
def test_every_cpu_lies_on_exactly_one_die_and_its_numbers_agree(topology: Topology) -> None:
    on_dies = sorted(number for die in topology.dies for number in topology.cpus_of_die(die))
    assert on_dies == list(range(len(topology.cpus)))
    for cpu in topology.cpus:
        assert topology.cpus[cpu.number] is cpu
        assert cpu.number in topology.cpus_of_die(cpu.logical_die)
        assert cpu.logical_die == cpu.package * topology.dies_per_package + cpu.die
        assert cpu.core_index == cpu.logical_die * topology.cores_per_die + cpu.core
        assert cpu.core_index in topology.cores_of_die(cpu.logical_die)


@given(topologies)
def test_siblings_share_a_core_and_are_a_whole_machine_apart(topology: Topology) -> None:
    by_core: dict[int, list[Cpu]] = {}
    for cpu in topology.cpus:
        by_core.setdefault(cpu.core_index, []).append(cpu)
    assert len(by_core) == topology.core_count
    for siblings in by_core.values():
        assert [cpu.thread for cpu in siblings] == list(range(topology.threads_per_core))
        assert {cpu.number % topology.core_count for cpu in siblings} == {siblings[0].core_index}


@pytest.mark.parametrize("count", [0, -1, True, 1.0, "2"])
def test_a_count_that_is_no_number_of_things_is_refused_by_name(count: object) -> None:
    with pytest.raises(ValueError, match=r"topology: cores_per_die is .* at least 1"):
        Topology(1, 1, count, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("die", [-1, 2])
def test_a_die_that_does_not_exist_is_refused(die: int) -> None:
    topology = Topology(2, 1, 1, 1)
    for ask in (topology.cpus_of_die, topology.package_of_die, topology.cores_of_die):
        with pytest.raises(ValueError, match="machine has dies 0 to 1"):
            ask(die)
    with pytest.raises(ValueError, match="machine has packages 0 to 1"):
        topology.dies_of_package(die)
