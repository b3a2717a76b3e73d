# SPDX-License-Identifier: Apache-2.0
"""Windows: processor groups, and on which processor a thread runs."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raplica_simulator.hardware.topology import Topology
from raplica_simulator.windows.processors import GroupAffinity, Processors, Thread

counts = st.builds(Topology, st.integers(1, 4), st.integers(1, 3), st.integers(1, 40), st.integers(1, 2))


def sizes(processors: Processors) -> list[int]:
    return [len(group) for group in processors.groups]


@given(counts, st.integers(1, 64))
def test_every_processor_is_in_one_group_and_no_group_is_too_large(topology: Topology, group_size: int) -> None:
    processors = Processors(topology, group_size=group_size)
    assert sorted(one.cpu.number for one in processors.active) == list(range(len(topology.cpus)))
    assert [one.index for one in processors.active] == list(range(len(topology.cpus)))
    assert max(sizes(processors)) <= group_size
    for number, group in enumerate(processors.groups):
        assert [(one.group, one.number) for one in group] == [(number, place) for place in range(len(group))]


def test_windows_counts_the_threads_of_a_core_together_and_packages_one_by_one() -> None:
    active = Processors(Topology(2, 1, 2, 2)).active
    assert [(one.cpu.package, one.cpu.core_index, one.cpu.thread) for one in active] == [
        (0, 0, 0),
        (0, 0, 1),
        (0, 1, 0),
        (0, 1, 1),
        (1, 2, 0),
        (1, 2, 1),
        (1, 3, 0),
        (1, 3, 1),
    ]
    assert [one.cpu.number for one in active] == [0, 4, 1, 5, 2, 6, 3, 7]


@pytest.mark.parametrize(
    ("topology", "wanted"),
    [
        (Topology(1, 1, 4, 2), [8]),
        (Topology(2, 1, 16, 2), [64]),  # both packages fit into one group
        (Topology(2, 1, 20, 2), [40, 40]),  # they do not
        (Topology(4, 1, 16, 1), [64]),
        (Topology(3, 1, 24, 1), [48, 24]),
        (Topology(1, 1, 96, 1), [48, 48]),  # a package is larger than a group
        (Topology(2, 1, 64, 1), [64, 64]),
    ],
)
def test_packages_share_a_group_where_they_fit_and_are_torn_only_where_they_must_be(
    topology: Topology, wanted: list[int]
) -> None:
    assert sizes(Processors(topology)) == wanted


def test_empty_slots_count_for_the_maximum_only() -> None:
    processors = Processors(Topology(1, 1, 4, 1), empty_slots=3)
    assert (len(processors.active), processors.maximum) == (4, 7)


@pytest.mark.parametrize(
    ("options", "told"), [({"group_size": 0}, "group_size"), ({"group_size": 65}, "64"), ({"empty_slots": -1}, "slots")]
)
def test_sizes_that_cannot_be_are_refused(options: dict[str, int], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Processors(Topology(1, 1, 4, 1), **options)


def test_a_thread_begins_on_the_processor_that_it_is_given_and_nowhere_else() -> None:
    processors = Processors(Topology(2, 1, 4, 1), group_size=4)
    thread = Thread(processors, cpu=6)
    assert (thread.cpu, thread.affinity) == (6, GroupAffinity(1, 0b1111))
    for cpu in (-1, 8):
        with pytest.raises(ValueError, match=r"no processor .* has 0 to 7"):
            Thread(processors, cpu=cpu)


def test_a_program_moves_its_thread_to_another_group_and_it_stays_there() -> None:
    thread = Thread(Processors(Topology(2, 1, 4, 1), group_size=4))
    assert thread.set_affinity(1, 0b1100) == GroupAffinity(0, 0b1111)
    assert thread.cpu == 6
    assert thread.set_affinity(1, 0b1111) == GroupAffinity(1, 0b1100)
    assert thread.cpu == 6


@given(st.integers(-1, 3), st.integers(-1, 40))
def test_an_affinity_that_is_not_valid_changes_nothing(group: int, mask: int) -> None:
    assume(group not in (0, 1) or not 0 < mask < 16)
    thread = Thread(Processors(Topology(2, 1, 4, 1), group_size=4), cpu=2)
    assert thread.set_affinity(group, mask) is None
    assert thread.set_system_affinity(group, mask) == GroupAffinity(0, 0)
    assert (thread.cpu, thread.affinity, thread.system_affinity) == (2, GroupAffinity(0, 0b1111), None)


@given(st.integers(0, 3), st.integers(1, 15))
def test_a_driver_moves_a_thread_to_one_of_its_processors_and_back(cpu: int, mask: int) -> None:
    thread = Thread(Processors(Topology(2, 1, 4, 1), group_size=4), cpu=cpu)
    previous = thread.set_system_affinity(1, mask)
    assert previous == GroupAffinity(0, 0)
    assert mask >> thread.processor.number & 1
    assert thread.processor.group == 1
    within = thread.set_system_affinity(0, 1)
    assert (within, thread.cpu) == (GroupAffinity(1, mask), 0)
    thread.revert_affinity(within)
    assert thread.system_affinity == GroupAffinity(1, mask)
    thread.revert_affinity(previous)
    assert thread.cpu == cpu


def test_a_thread_stays_where_it_is_as_long_as_that_is_allowed() -> None:
    thread = Thread(Processors(Topology(1, 1, 8, 1)), cpu=2)
    thread.set_system_affinity(0, 0b101)
    assert thread.cpu == 2
