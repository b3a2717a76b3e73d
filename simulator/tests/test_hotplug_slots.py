# SPDX-License-Identifier: Apache-2.0
"""Who is told of a processor that comes or goes, in which order, and what is undone when one of them fails."""

from collections.abc import Callable
from errno import ENODEV

import pytest

from raplica_simulator import Machine
from raplica_simulator.linux.rapl_hotplug import CpuFollower, HotplugSlots


class Told(CpuFollower):
    """A follower that writes down what it is told, and fails for some processors."""

    def __init__(self, name: str, book: list[str], fails_on: tuple[int, ...] = ()) -> None:
        self._name = name
        self._book = book
        self._fails_on = fails_on

    def cpu_online(self, cpu: int) -> None:
        if cpu in self._fails_on:
            raise OSError(ENODEV, "no package")
        self._book.append(f"{self._name}+{cpu}")

    def cpu_offline(self, cpu: int) -> None:
        self._book.append(f"{self._name}-{cpu}")


def test_coming_goes_up_the_slots_and_going_down() -> None:
    book: list[str] = []
    slots = HotplugSlots(range(2))
    slots.add(Told("a", book))
    slots.add(Told("b", book))
    slots.tear_down(1)
    slots.bring_up(1)
    assert book == ["a+0", "a+1", "b+0", "b+1", "b-1", "a-1", "a+1", "b+1"]
    assert slots.online == {0, 1}


def test_a_slot_that_was_given_back_is_the_next_one_handed_out() -> None:
    book: list[str] = []
    slots = HotplugSlots(range(2))
    first = Told("a", book)
    slots.add(first)
    slots.add(Told("b", book))
    slots.remove(first)
    slots.add(Told("c", book))
    book.clear()
    slots.tear_down(0)
    assert book == ["b-0", "c-0"]


def test_one_that_fails_undoes_those_before_it_and_the_processor_stays_down() -> None:
    book: list[str] = []
    slots = HotplugSlots(range(3))
    slots.tear_down(2)
    for name, fails_on in (("a", ()), ("b", ()), ("c", (2,)), ("d", ())):
        slots.add(Told(name, book, fails_on))
    book.clear()
    with pytest.raises(OSError, match="no package"):
        slots.bring_up(2)
    assert book == ["a+2", "b+2", "b-2", "a-2"]
    assert slots.online == {0, 1}


def test_one_that_cannot_be_added_is_told_that_all_went_again() -> None:
    book: list[str] = []
    slots = HotplugSlots(range(3))
    with pytest.raises(OSError, match="No such device"):
        slots.add(Told("a", book, (2,)))
    slots.tear_down(0)
    assert book == ["a+0", "a+1", "a-0", "a-1"]


def test_before_6_12_a_processor_brings_its_msr_package_before_its_mmio_package(
    make_machine: Callable[..., Machine],
) -> None:
    mmio = '[mmio]\n0x5938 = 0xA0E03\n0x593C = 5\n0x59A0 = "0x8000"'
    machine = make_machine("kabylake", "6.1", topology=(2, 1, 1, 1), more=mmio)
    machine.cpu(0).offline()
    spaces = list(dict.fromkeys(access.space for access in machine.msr.log))
    machine.cpu(0).online()
    assert (spaces, list(dict.fromkeys(access.space for access in machine.msr.log))) == (
        ["mmio", "msr"],
        ["msr", "mmio"],
    )
