# SPDX-License-Identifier: Apache-2.0
"""Changing the watts of a running machine, and what counters and the truth make of every change."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
NAMES = ("package", "core", "uncore", "dram", "psys")
COUNTERS = {
    "package-0": 0x611,
    "package-0/core": 0x639,
    "package-0/uncore": 0x641,
    "package-0/dram": 0x619,
    "psys": 0x64D,
}
UNLIMITED = dict.fromkeys((0x610, 0x618, 0x638, 0x640), 0)


def now(machine: Machine, package: int = 0) -> dict[str, int | None]:
    """Watts wanted now (they are whole in these tests)."""
    load = machine.load.now(package)
    values = {name: getattr(load, f"{name}_uw") for name in NAMES}
    return {name: None if uw is None else uw // 1_000_000 for name, uw in values.items()}


def test_watts_are_set_from_now_on_in_every_package(make_machine: MakeMachine) -> None:
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 1), registers=UNLIMITED, more="[load]\npackage = 10\n")
    machine.clock.advance(seconds=1)
    machine.load.set(package=100)
    machine.clock.advance(seconds=1)
    assert [machine.truth_uj(f"package-{number}") for number in (0, 1)] == [110_000_000, 110_000_000]


def test_watts_are_set_in_one_package_alone(make_machine: MakeMachine) -> None:
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 1), registers=UNLIMITED, more="[load]\npackage = 10\n")
    machine.load.set(on_package=1, package=20, dram="2.5")
    machine.clock.advance(seconds=2)
    spent = [machine.truth_uj(name) for name in ("package-0", "package-1", "package-0/dram", "package-1/dram")]
    assert spent == [20_000_000, 40_000_000, 0, 5_000_000]


@pytest.mark.parametrize("package", [-1, 2])
def test_a_package_that_does_not_exist_is_named(make_machine: MakeMachine, package: int) -> None:
    machine = make_machine("skylake-sp", topology=(2, 1, 1, 1))
    with pytest.raises(ValueError, match=f"package {package} does not exist: the machine has packages 0 to 1"):
        machine.load.set(on_package=package, package=1)


def test_a_machine_without_a_load_stands_still_until_it_is_given_one(make_machine: MakeMachine) -> None:
    machine = make_machine(registers=UNLIMITED)
    before = machine.msr.read(0, 0x611)
    machine.clock.advance(seconds=1000)
    assert machine.msr.read(0, 0x611) == before
    machine.load.set(package=1)
    machine.clock.advance(seconds=1)
    assert machine.msr.read(0, 0x611) == before + (1 << 14)


def test_cores_then_the_uncore_shrink_into_a_smaller_package(make_machine: MakeMachine) -> None:
    machine = make_machine(more="[load]\npackage = 50\ncore = 30\nuncore = 10\ndram = 5\n")
    machine.load.set(package=25)
    assert now(machine) == {"package": 25, "core": 15, "uncore": 10, "dram": 5, "psys": None}
    machine.load.set(package=6)
    assert now(machine) == {"package": 6, "core": 0, "uncore": 6, "dram": 5, "psys": None}
    machine.load.set(package=100)
    assert now(machine) == {"package": 100, "core": 0, "uncore": 6, "dram": 5, "psys": None}


def test_psys_keeps_what_it_has_above_package_and_dram(make_machine: MakeMachine) -> None:
    machine = make_machine(more="[load]\npackage = 50\ndram = 5\npsys = 70\n")
    machine.load.set(package=10)
    assert now(machine)["psys"] == 30
    machine.load.set(dram=1)
    assert now(machine)["psys"] == 26
    machine.load.set(psys=None)
    assert now(machine)["psys"] is None


def test_single_cores_are_set_one_by_one_and_shrink_evenly(make_machine: MakeMachine) -> None:
    machine = make_machine("zen3", topology=(1, 1, 2, 1), rules="silicon", more="[load]\npackage = 20\n")
    machine.load.set(cores={(0, 0, 0): 2, (0, 0, 1): 6})
    machine.clock.advance(seconds=1)
    assert [machine.truth_joules(f"package-0/core-{core}") for core in (0, 1)] == [2, 6]
    machine.load.set(package=4)
    machine.clock.advance(seconds=1)
    assert [machine.truth_joules(f"package-0/core-{core}") for core in (0, 1)] == [4, 8]


@pytest.mark.parametrize(
    ("watts", "message"),
    [
        ({"core": 60}, "core 60 W and uncore 0 W exceed package 50 W"),
        ({"package": 10, "core": 11}, "core 11 W and uncore 0 W exceed package 10 W"),
        ({"uncore": 60}, "uncore 60 W exceed package 50 W"),
        ({"psys": 20}, "psys 20 W is below package 50 W"),
        ({"package": -1}, "package is -1 W, it must be 0 or more"),
        ({"dram": "much"}, "it must be a number of watts"),
    ],
)
def test_watts_that_do_not_fit_together_are_refused_and_change_nothing(
    make_machine: MakeMachine, watts: dict[str, Any], message: str
) -> None:
    machine = make_machine(more="[load]\npackage = 50\n")
    before = now(machine)
    with pytest.raises(ValueError, match=message):
        machine.load.set(**watts)
    assert now(machine) == before


def test_watts_that_fit_one_package_and_not_the_next_change_neither(make_machine: MakeMachine) -> None:
    machine = make_machine("skylake-sp", topology=(2, 2, 2, 1))
    machine.load.set(package=60)
    machine.load.set(package=30, on_package=1)
    before = [machine.load.now(package) for package in range(2)]
    with pytest.raises(ValueError, match=r"do not fit into its share \(1/2 of package 30 W\)"):
        machine.load.set(cores={(0, 0, 0): 25})
    assert [machine.load.now(package) for package in range(2)] == before


def test_an_unknown_domain_is_refused(make_machine: MakeMachine) -> None:
    with pytest.raises(TypeError, match="unknown name 'gpu'"):
        make_machine().load.set(gpu=1)


STEPS = st.lists(
    st.tuples(
        st.fixed_dictionaries({"package": st.integers(0, 200)}, optional={"dram": st.integers(0, 40)}),
        st.integers(0, 20_000_000_000),
    ),
    max_size=8,
)


@given(steps=STEPS, share=st.integers(0, 100))
def test_the_truth_is_the_sum_of_watts_times_seconds_and_counters_follow(
    make_machine: MakeMachine, steps: list[tuple[dict[str, Any], int]], share: int
) -> None:
    machine = make_machine(registers=UNLIMITED, more=f"[load]\npackage = 100\ncore = {share}\npsys = 130\n")
    start = {name: machine.msr.read(0, register) for name, register in COUNTERS.items()}
    watts = {"package": 100, "core": share, "dram": 0}
    spent_nj = dict.fromkeys(COUNTERS, 0)
    for change, nanoseconds in steps:
        machine.load.set(**change)
        watts = {**watts, **change}
        watts["core"] = min(watts["core"], watts["package"])
        psys = watts["package"] + watts["dram"] + 30
        machine.clock.advance(nanoseconds=nanoseconds)
        of_name = {
            "package-0": watts["package"],
            "package-0/core": watts["core"],
            "package-0/dram": watts["dram"],
            "psys": psys,
        }
        for name, one in of_name.items():
            spent_nj[name] += one * nanoseconds
    for name, register in COUNTERS.items():
        assert machine.truth_joules(name) == Fraction(spent_nj[name], 10**9)
        counted = (machine.msr.read(0, register) - start[name]) % 2**32
        exact = Fraction(spent_nj[name], 10**9) * 2**14 % 2**32
        # A counter is whole steps, and as old as the last tick: at most a millisecond of 270 W.
        assert 0 <= (exact - counted) % 2**32 <= Fraction(270 * 2**14, 1000) + 1
