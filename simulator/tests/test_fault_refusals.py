# SPDX-License-Identifier: Apache-2.0
"""Events that are none, or do not fit the machine: one line that says where, what, and what to do."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.faults.verbs import VERBS, read_event

ENERGY = "class/powercap/intel-rapl:0/energy_uj"

Happen = Callable[..., None]


@pytest.fixture
def machine() -> Machine:
    return Machine.from_profile("skylake-sp-2s")


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({}, 'event: do is missing: say what happens, such as do = "wrap"'),
        ({"do": "wrp"}, "event: do: the text wrp is no event; did you mean wrap? (known are load, offline, "),
        ({"do": 5}, "event: do: the whole number 5 is no event (known are load, "),
        ({"do": "wrap", "in_s": 1}, "event: wrap: domain is missing: every [wrap] needs it"),
        ({"do": "wrap", "domain": "package-0", "in_s": 0}, "event: wrap.in_s: a counter wraps after some time"),
        ({"do": "wrap", "domain": "package-0", "in_s": "soon"}, "event: wrap.in_s: must be a number of seconds"),
        ({"do": "wrap", "domain": "package-0", "in_s": True}, "event: wrap.in_s: must be a number of seconds"),
        ({"do": "wrap", "domain": "package-0", "in_s": "nan"}, "event: wrap.in_s: nan s is out of range"),
        ({"do": "wrap", "domain": "package-0", "in_s": -0.5}, "event: wrap.in_s: -0.5 s is out of range: 0 to 1000000"),
        ({"do": "wrap", "domain": "package-0", "in_s": "1e-10"}, "event: wrap.in_s: 1e-10 s is finer than a nanosec"),
        ({"do": "wrap", "domain": "package-0", "in_s": "1e999999999"}, "event: wrap.in_s: 1e999999999 s is out of r"),
        ({"do": "set-counter", "domain": "p", "raw": 1 << 32}, "event: set-counter.raw: 0x100000000 is out of range"),
        ({"do": "fault", "paht": "x"}, "event: fault.paht: unknown key; did you mean path?"),
        ({"do": "fault", "path": "a/../b"}, "event: fault.path: must be a path below /sys such as class/powercap/"),
        ({"do": "fault", "path": []}, "event: fault.path: must be a path below /sys or an array"),
        ({"do": "fault", "path": [1]}, "event: fault.path: must be a path below /sys, not the whole number 1"),
        ({"do": "fault", "path": ENERGY, "errno": "ENODAT"}, "event: fault.errno: ENODAT is not one of the "),
        ({"do": "fault", "path": ENERGY, "times": 0}, "event: fault.times: 0 is out of range: 1 to "),
        ({"do": "poke", "register": "EAX", "value": 0}, "event: poke.register: is no register address"),
        ({"do": "load", "package": -1}, "event: load.package: -1 W is negative"),
    ],
)
def test_a_table_that_is_no_event_is_refused_in_one_line(table: dict[str, object], line: str) -> None:
    with pytest.raises(ValueError, match="event") as refused:
        read_event(table)
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ({"do": "fault"}, "give either path or register"),
        ({"do": "fault", "path": ENERGY, "register": 0x611}, "give either path or register"),
        ({"do": "fault", "path": ENERGY, "cpu": 0}, "cpu and package belong to a register"),
        ({"do": "fault", "path": ENERGY, "on": "open", "read": 2}, "read counts reads by itself"),
        ({"do": "fault", "path": ENERGY, "after": 1, "read": 2}, "read counts reads by itself"),
        ({"do": "fault", "path": "class/x/y"}, "class/x/y: No such file or directory: name a file that is there"),
        ({"do": "fault", "path": "class/powercap"}, "class/powercap: is no file: name an attribute in it"),
        ({"do": "fault", "register": 0x99}, "there is no register 0x99 here: it faults already"),
        ({"do": "fault", "register": 0x611, "cpu": 80}, "there is no CPU 80; this machine has 0 to 79"),
        ({"do": "fault", "register": 0x611, "package": 2}, "package 2 does not exist: the machine has packages 0 to 1"),
        ({"do": "fault", "register": 0x611, "cpu": 0, "package": 0}, "cpu and package are both given"),
        ({"do": "heal", "register": 0x611, "on": "open"}, "a register is not opened"),
        ({"do": "mask", "path": "class/nothing"}, "class/nothing: No such file or directory: name a directory"),
        ({"do": "mask", "path": ENERGY}, f"{ENERGY}: is no directory: only directories are masked here"),
        ({"do": "unmask"}, "devices/virtual/powercap: is not masked at that moment"),
        ({"do": "unmask", "path": "class/nothing"}, "class/nothing: is not masked at that moment"),
        (
            {"do": "wrap", "domain": "package-9", "in_s": 1},
            "no domain 'package-9' here: say psys or package-N (0 to 1)",
        ),
        ({"do": "stop-counter", "domain": "package-0/core"}, None),
        ({"do": "stop-counter", "domain": "intel-rapl-mmio/package-0"}, "no domain 'intel-rapl-mmio/package-0' here"),
        ({"do": "offline"}, "say which: cpu = 3, or package = 1"),
        ({"do": "online", "cpu": 99}, "there is no CPU 99"),
        ({"do": "load"}, "names no watts: give some of package, core, uncore, dram, psys"),
        ({"do": "load", "package": 5, "on_package": 2}, "package 2 does not exist"),
        ({"do": "load", "package": 5, "core": 6}, "load: core 6 W and uncore 0 W exceed package 5 W"),
        ({"do": "poke", "register": 0x99, "value": 1}, "there is no register 0x99 in msr there"),
        ({"do": "poke", "register": 0x59A0, "value": 1, "space": "mmio"}, "there is no register 0x59A0 in mmio there"),
    ],
)
def test_an_event_that_does_not_fit_the_machine_is_refused(
    machine: Machine, table: dict[str, object], line: str | None
) -> None:
    event = read_event(table)
    if line is None:
        event.check(machine)
        return
    with pytest.raises(ValueError, match=r".") as refused:
        event.check(machine)
    assert str(refused.value).startswith(line)
    assert "\n" not in str(refused.value)


def test_a_mask_is_not_laid_over_a_mask(happen: Happen) -> None:
    happen("mask")
    with pytest.raises(ValueError, match="is masked already"):
        happen("mask")


def test_the_last_processor_stays_up(make_machine: Callable[..., Machine]) -> None:
    machine = make_machine("kabylake")
    with pytest.raises(ValueError, match="no processor would be left"):
        read_event({"do": "offline", "package": 0}).check(machine)


@pytest.mark.parametrize("table", [{"do": "load-driver"}, {"do": "online", "cpu": 1}, {"do": "reset"}])
def test_a_driver_that_sleeps_while_it_looks_is_not_made_to(table: dict[str, object]) -> None:
    machine = Machine.from_profile("sandybridge", kernel="3.13")
    with pytest.raises(ValueError, match=r"Linux 3\.13 sleeps while it detects: use a later kernel"):
        read_event(table).check(machine)


@given(
    st.dictionaries(
        st.sampled_from(["do", "path", "register", "domain", "in_s", "raw", "cpu", "package", "errno", "value", "x"]),
        st.one_of(st.sampled_from([*VERBS]), st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.none()),
    )
)
def test_whatever_a_table_holds_it_is_read_or_refused_in_one_line(table: dict[str, object]) -> None:
    try:
        read_event(table)
    except ValueError as error:
        assert "\n" not in str(error)  # noqa: PT017 - both ends are right
