# SPDX-License-Identifier: Apache-2.0
"""Control types that a profile writes down: what their zones do, and what is refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from errno import EACCES, EINVAL, ENODATA, ENOSYS
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine, ProfileError, load_profile

MakeMachine = Callable[..., Machine]
ZONE = "class/powercap/made:0"
TYPE = '[[control_type]]\nname = "made"\n'


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    """The errno that a call fails with, 0 where it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def made(make_machine: MakeMachine, zone: str, constraint: str = "", type_: str = "") -> Machine:
    """A machine whose profile has one control type with one zone, and perhaps a constraint."""
    more = f'{TYPE}{type_}\n[[control_type.zone]]\nname = "a zone"\n{zone}\n'
    if constraint:
        more += f"[[control_type.zone.constraint]]\n{constraint}\n"
    return make_machine("zen3", more=more)


def read(machine: Machine, name: str) -> int:
    """The number in an attribute of the zone."""
    return int(machine.sysfs.read(f"{ZONE}/{name}"))


def test_a_counter_with_watts_grows_with_the_machines_time(make_machine: MakeMachine) -> None:
    machine = made(make_machine, "energy_uj = 100\nwatts = 2.5")
    assert read(machine, "energy_uj") == 100
    machine.clock.advance(seconds=3)
    assert read(machine, "energy_uj") == 7_500_100
    machine.clock.advance(nanoseconds=399)
    assert read(machine, "energy_uj") == 7_500_100
    machine.clock.advance(nanoseconds=1)
    assert read(machine, "energy_uj") == 7_500_101
    # Without a range there is no zone of which the machine would know what it spent.
    with pytest.raises(ValueError, match="made/a zone"):
        machine.truth_uj("made/a zone")


@given(st.integers(0, 10**6), st.integers(0, 10**7), st.lists(st.integers(0, 10**6), max_size=5))
def test_a_counter_wraps_after_its_range_and_the_truth_does_not(
    make_machine: MakeMachine, start_uj: int, draws_uw: int, steps_s: list[int]
) -> None:
    watts = f"{draws_uw // 10**6}.{draws_uw % 10**6:06}"
    machine = made(make_machine, f"energy_uj = {start_uj}\nmax_energy_range_uj = 1000000\nwatts = {watts}")
    for seconds in steps_s:
        machine.clock.advance(seconds=seconds)
    spent_uj = draws_uw * sum(steps_s)
    assert machine.truth_uj("made/a zone") == spent_uj
    assert read(machine, "energy_uj") == (start_uj + spent_uj) % 1_000_001


def test_writing_0_resets_a_counter_that_can_be_reset(make_machine: MakeMachine) -> None:
    machine = made(make_machine, "energy_uj = 5000000\nmax_energy_range_uj = 9000000\nresettable = true\nwatts = 1")
    assert machine.sysfs.stat(f"{ZONE}/energy_uj").st_mode & 0o777 == 0o600
    machine.clock.advance(seconds=2)
    assert machine.sysfs.write(f"{ZONE}/energy_uj", b"1\n") == 2
    assert read(machine, "energy_uj") == 7_000_000
    assert machine.sysfs.write(f"{ZONE}/energy_uj", b"0\n") == 2
    assert read(machine, "energy_uj") == 0
    machine.clock.advance(seconds=3)
    assert read(machine, "energy_uj") == 3_000_000
    assert machine.truth_uj("made/a zone") == 5_000_000


def test_a_counter_that_cannot_be_reset_cannot_be_written_and_a_reset_that_fails_is_einval(
    make_machine: MakeMachine,
) -> None:
    machine = made(make_machine, "energy_uj = 5")
    assert errno_of(machine.sysfs.write, f"{ZONE}/energy_uj", b"0") == EACCES
    machine = made(make_machine, 'energy_uj = 5\nerrors = { reset_energy_uj = "EBUSY" }')
    assert machine.sysfs.stat(f"{ZONE}/energy_uj").st_mode & 0o777 == 0o600
    assert errno_of(machine.sysfs.write, f"{ZONE}/energy_uj", b"0") == EINVAL
    assert machine.sysfs.write(f"{ZONE}/energy_uj", b"7") == 1


@pytest.mark.parametrize("name", ["energy_uj", "max_energy_range_uj", "power_uw", "max_power_range_uw"])
def test_a_monitor_that_fails_has_a_file_and_reads_einval(make_machine: MakeMachine, name: str) -> None:
    machine = made(make_machine, f'power_uw = 1\nerrors = {{ get_{name} = "EIO" }}')
    assert errno_of(machine.sysfs.read, f"{ZONE}/{name}") == EINVAL


def test_a_switch_is_stored_unless_its_callbacks_fail(make_machine: MakeMachine) -> None:
    machine = made(make_machine, "power_uw = 1\nenabled = false", type_="enabled = true")
    for path, first in ((f"{ZONE}/enabled", b"0\n"), ("class/powercap/made/enabled", b"1\n")):
        assert machine.sysfs.read(path) == first
        for word in (b"1", b"0"):
            assert machine.sysfs.write(path, word) == 1
            assert machine.sysfs.read(path) == word + b"\n"
    fails = 'errors = { set_enable = "EPERM", get_enable = "EIO" }'
    machine = made(make_machine, f"power_uw = 1\nenabled = true\n{fails}", type_=fails)
    for path in (f"{ZONE}/enabled", "class/powercap/made/enabled"):
        assert machine.sysfs.read(path) == b"0\n"
        assert errno_of(machine.sysfs.write, path, b"1") == ENOSYS


@pytest.mark.parametrize("name", ["power_limit_uw", "time_window_us"])
def test_a_constraint_whose_callbacks_fail_is_enodata(make_machine: MakeMachine, name: str) -> None:
    errors = f'errors = {{ get_{name} = "EIO", set_{name} = "EACCES" }}'
    machine = made(make_machine, "power_uw = 1", f"power_limit_uw = 7\ntime_window_us = 8\n{errors}")
    path = f"{ZONE}/constraint_0_{name}"
    assert errno_of(machine.sysfs.read, path) == ENODATA
    assert errno_of(machine.sysfs.write, path, b"5") == ENODATA
    assert errno_of(machine.sysfs.write, path, b"x") == EINVAL


def test_constraints_share_their_files_but_not_what_is_behind_them(make_machine: MakeMachine) -> None:
    constraint = """
max_power_uw = 9
errors = { get_min_power_uw = "EIO" }
[[control_type.zone.constraint]]
name = "second"
"""
    machine = made(make_machine, "power_uw = 1", constraint)
    for number, texts in enumerate(
        ({"max_power_uw": b"9\n", "min_power_uw": None, "name": None}, {"max_power_uw": None, "name": b"second\n"})
    ):
        for name, text in texts.items():
            path = f"{ZONE}/constraint_{number}_{name}"
            if text is None:
                assert errno_of(machine.sysfs.read, path) == ENODATA
            else:
                assert machine.sysfs.read(path) == text
    assert "constraint_0_max_time_window_us" not in machine.sysfs.listdir(ZONE)


DTPM = '[[control_type]]\nname = "dtpm"\ndriver = "dtpm"\n'


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (f"{TYPE}zone = [{{name = 'z', power_uw = 1, resettable = true}}]", "resettable: needs energy_uj: there is no"),
        (f"{TYPE}zone = [{{name = 'z', power_uw = 1, watts = 1}}]", "zone[0].watts: needs energy_uj: there is no"),
        (
            f"{TYPE}zone = [{{name = 'z', energy_uj = 6, max_energy_range_uj = 5}}]",
            "zone[0].energy_uj: 6 is above max_energy_range_uj, 5",
        ),
        (f"{TYPE}zone = [{{name = 'z', energy_uj = 1, watts = -1}}]", "zone[0].watts: -1 W is negative"),
        (f"{TYPE}zone = [{{name = 'z', energy_uj = 1, watts = 0.0000001}}]", "watts: 1E-7 W is finer than a microwatt"),
        (f"{TYPE}zone = [{{name = 'z', energy_uj = 1, watts = 'x'}}]", "watts: must be a number of watts"),
        (f"{TYPE}zone = [{{name = 'z', errors = {{set_enable = 'EIO'}}}}]", "zone[0]: needs energy_uj or power_uw"),
        (
            f"{TYPE}zone = [{{name = 'z', power_uw = 1, errors = {{get_powr_uw = 'EIO'}}}}]",
            "errors.get_powr_uw: unknown key; did you mean get_power_uw? (known here: ",
        ),
        (
            f"{TYPE}zone = [{{name = 'z', power_uw = 1, errors = {{get_power_uw = 'EWRONG'}}}}]",
            "errors.get_power_uw: EWRONG is not one of",
        ),
        (f"{TYPE}errors = {{get_energy_uj = 'EIO'}}", "control_type[0].errors.get_energy_uj: unknown key"),
        (
            f"{TYPE}zone = [{{name = 'z', power_uw = 1, constraint = [{{errors = {{get_name = 'EIO'}}}}]}}]",
            "constraint[0].errors.get_name: unknown key",
        ),
        (
            f"{TYPE}zone = [{{name = 'z', power_uw = 1, states_uw = [1]}}]",
            "states_uw: belongs to a control type with driver",
        ),
        (f"{TYPE}driver = 'intel-rapl'", "control_type[0].driver: intel-rapl is not one of dtpm"),
        (f"{TYPE}driver = 'dtpm'", 'control_type[0].name: must be "dtpm"'),
        (f"{DTPM}", "control_type[0]: has 0 top zones: dtpm has one"),
        (f"{DTPM}enabled = true", "control_type[0].enabled: dtpm has no such callback"),
        (
            f"{DTPM}errors = {{get_enable = 'EIO'}}",
            "control_type[0].errors: dtpm has no such callback",
        ),
        (f"{DTPM}zone = [{{name = 'soc'}}]", "zone[0]: needs states_uw, the powers of a device, or"),
        (
            f"{DTPM}zone = [{{name = 'soc', power_uw = 1, zone = []}}]",
            "zone[0].power_uw: does not belong here: a node of dtpm has name and zone",
        ),
        (
            f"{DTPM}zone = [{{name = 'soc', states_uw = [1], enabled = true}}]",
            "zone[0].enabled: does not belong here: a device of dtpm has name, states_uw and power_uw",
        ),
        (
            f"{DTPM}zone = [{{name = 'x', states_uw = [1], zone = [{{name = 'y', states_uw = [1]}}]}}]",
            "zone[0].zone: does not belong here: a device of dtpm",
        ),
        (
            f"{DTPM}zone = [{{name = 'soc', states_uw = []}}]",
            "states_uw: must be an array of 1 to 1000",
        ),
        (
            f"{DTPM}zone = [{{name = 'soc', states_uw = [2, 2]}}]",
            "states_uw[1]: 2 is not above the power",
        ),
        (f"{DTPM}zone = [{{name = 'soc', states_uw = [0]}}]", "states_uw[0]: 0 is out of range"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tmp_path: Path, more: str, message: str) -> None:
    path = tmp_path / "odd.toml"
    head = '[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 15\n[topology]\npackages = 1\n'
    path.write_text(f"{head}{more}\n")
    with pytest.raises(ProfileError) as refused:
        load_profile(path)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
