# SPDX-License-Identifier: Apache-2.0
"""The random walk, on a tree that stands still: which way it goes, and where it must not go."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kernel_witness.guest import walk
from kernel_witness.guest.machine import CLASS, Machine, Zone

ATTRIBUTES = ["constraint_0_power_limit_uw", "constraint_0_time_window_us", "enabled", "energy_uj", "name"]
WORDS = {0x606: 0xA0E03, 0x610: 0x8320, 0x611: 1000, 0x614: 0x3E8}


class Notes:
    """A recorder that does nothing and keeps what it was asked, each step as its name and its arguments."""

    def __init__(self) -> None:
        self.steps: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def note(*arguments: Any) -> Any:
            self.steps.append((name, *(one for one in arguments if not callable(one))))
            return True

        return note

    def fill(self, registers: dict[int, dict[int, int]]) -> None:
        self.steps.append(("fill", {die: dict(words) for die, words in registers.items()}))


@pytest.fixture
def walked(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[tuple[Any, ...]]]:
    """What a machine of this name is asked on its walk."""
    zones = [Zone(f"{CLASS}/intel-rapl:{number}", f"package-{number}") for number in (0, 1)]
    monkeypatch.setattr(walk, "find_zones", lambda: zones)
    monkeypatch.setattr(walk, "attributes", lambda _: ATTRIBUTES)
    monkeypatch.setattr(walk, "control_types", lambda: [f"{CLASS}/intel-rapl"])
    monkeypatch.setattr(walk, "touch", lambda recorder, zone: recorder.touch(zone.path))

    def walked(name: str) -> list[tuple[Any, ...]]:
        modules = (("intel_rapl_common", ""), ("intel_rapl_msr", ""))
        registers = {die: dict(WORDS) for die in (0, 1)}
        machine = Machine(name, "6.12", (0, 0, 1, 1), 1, (0,), modules, registers, (), (), "record", {}, 0, 0)
        notes = Notes()
        walk.walk(notes, machine)  # type: ignore[arg-type]
        assert registers == dict.fromkeys((0, 1), WORDS)
        return notes.steps

    return walked


def test_a_machine_goes_its_own_way_and_the_same_one_again(walked: Callable[[str], list[tuple[Any, ...]]]) -> None:
    first = walked("one")
    assert walked("one") == first
    assert walked("two") != first
    # Whatever there is to do was done.
    assert {step[0] for step in first} >= {"write_read", "write", "read", "control", "calls", "touch", "fill", "tree"}
    written = {step[1].rpartition("/")[2] for step in first if step[0] == "write"}
    assert written >= {"online", "state", "bind", "unbind", "uevent"}
    assert [step[1] for step in first[-3:]] == [f"/sys/devices/system/cpu/cpu{cpu}/online" for cpu in (1, 2, 3)]


@pytest.mark.parametrize("name", ["one", "two", "three", "four"])
def test_nothing_is_divided_by_a_unit_that_is_not_there(
    name: str, walked: Callable[[str], list[tuple[Any, ...]]]
) -> None:
    has_units = True
    lacked = 0
    for what, *arguments in walked(name):
        if what == "fill":
            has_units = all(0x606 in words for words in arguments[0].values())
            lacked += not has_units
        if what == "control":
            verb, _, address, *_ = f"{arguments[0]} - -".split()
            assert (verb, address) not in {("set", "0x606"), ("fault", "0x606")}
        # An odd call may write, and so may what is held open.
        writes = what in {"write", "write_read", "touch"} or (what == "calls" and arguments[0] in {"sys", "held"})
        if writes and not has_units:
            assert not str(arguments[1 if what == "calls" else 0]).endswith(("power_limit_uw", "time_window_us"))
            assert what != "touch"
    assert lacked
