# SPDX-License-Identifier: Apache-2.0
"""The attributes of the powercap framework over callbacks of any kind: presence, text, modes and errno."""

import stat
from collections.abc import Callable
from dataclasses import replace
from errno import EACCES, EINVAL, EIO, ENODATA, ENOSYS, EPERM
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.linux.powercap_sys import ConstraintOps, ControlTypeOps, Zone, ZoneOps

MakeMachine = Callable[..., Machine]
ZONE = "class/powercap/plain:0"


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    """The errno that a call fails with, 0 where it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def fails(*_: object) -> Any:
    """A driver's function that refuses with an errno of its own."""
    raise OSError(EPERM, "the driver's own errno")


def nothing(*_: object) -> None:
    pass


PLAIN = ConstraintOps(
    set_power_limit_uw=nothing,
    get_power_limit_uw=lambda _zone, number: 1000 + number,
    set_time_window_us=nothing,
    get_time_window_us=lambda _zone, number: 2000 + number,
)
REFUSING = ConstraintOps(
    set_power_limit_uw=fails,
    get_power_limit_uw=fails,
    set_time_window_us=fails,
    get_time_window_us=fails,
    get_max_power_uw=fails,
    get_min_power_uw=fails,
    get_max_time_window_us=fails,
    get_min_time_window_us=fails,
    get_name=lambda _zone, _number: None,
)


@pytest.fixture
def machine(make_machine: MakeMachine) -> Machine:
    return make_machine("zen3")


def add_zone(
    machine: Machine,
    ops: ZoneOps,
    *,
    constraints: int = 0,
    constraint_ops: ConstraintOps = PLAIN,
    name: str = "a zone",
    control_ops: ControlTypeOps | None = None,
) -> Zone:
    control_type = machine.powercap.register_control_type("plain", control_ops)
    return machine.powercap.register_zone(
        control_type, name, ops, constraints=constraints, constraint_ops=constraint_ops
    )


def own_files(machine: Machine, path: str) -> set[str]:
    """The regular files of a directory that the driver core does not put there."""
    files = (name for name in machine.sysfs.listdir(path) if stat.S_ISREG(machine.sysfs.stat(f"{path}/{name}").st_mode))
    return set(files) - {"uevent"}


ALL_MONITORS = ZoneOps(
    get_energy_uj=lambda _: 1,
    get_max_energy_range_uj=lambda _: 2,
    get_power_uw=lambda _: 3,
    get_max_power_range_uw=lambda _: 4,
)


@given(st.sets(st.sampled_from(["get_max_energy_range_uj", "get_max_power_range_uw"])), st.booleans(), st.booleans())
def test_a_monitor_has_a_file_exactly_when_the_driver_has_its_function(
    make_machine: MakeMachine,
    dropped: set[str],
    without_power: bool,  # noqa: FBT001 - drawn
    without_energy: bool,  # noqa: FBT001
) -> None:
    machine = make_machine("zen3")
    gone = dropped | ({"get_power_uw"} if without_power else {"get_energy_uj"} if without_energy else set())
    add_zone(machine, replace(ALL_MONITORS, **dict.fromkeys(gone)))
    wanted = {"energy_uj", "max_energy_range_uj", "power_uw", "max_power_range_uw"}
    wanted -= {name.removeprefix("get_") for name in gone}
    assert own_files(machine, ZONE) == wanted | {"name", "enabled"}


@pytest.mark.pitfall("control-type-has-no-name")
def test_a_control_type_has_enabled_and_nothing_else_of_its_own(machine: Machine) -> None:
    machine.powercap.register_control_type("plain")
    assert own_files(machine, "class/powercap/plain") == {"enabled"}
    assert set(machine.sysfs.listdir("class/powercap/plain")) == {"enabled", "uevent", "power", "subsystem"}


@pytest.mark.pitfall("attributes-rapl-never-has")
def test_a_constraint_has_two_files_and_one_for_each_optional_function(machine: Machine) -> None:
    add_zone(machine, ZoneOps(get_power_uw=lambda _: 0), constraints=2)
    wanted = {f"constraint_{number}_{name}" for number in (0, 1) for name in ("power_limit_uw", "time_window_us")}
    assert own_files(machine, ZONE) == wanted | {"name", "enabled", "power_uw"}
    machine.powercap.register_zone(
        machine.powercap.control_types["plain"], "b", ALL_MONITORS, constraints=1, constraint_ops=REFUSING
    )
    names = ("max_power_uw", "min_power_uw", "max_time_window_us", "min_time_window_us", "name")
    for name in (*names, "power_limit_uw", "time_window_us"):
        assert f"constraint_0_{name}" in machine.sysfs.listdir("class/powercap/plain:1")


def test_constraint_files_are_numbered_in_decimal_and_answer_for_their_number(machine: Machine) -> None:
    add_zone(machine, ALL_MONITORS, constraints=10)
    for number in range(10):
        assert machine.sysfs.read(f"{ZONE}/constraint_{number}_power_limit_uw") == b"%d\n" % (1000 + number)
        assert machine.sysfs.read(f"{ZONE}/constraint_{number}_time_window_us") == b"%d\n" % (2000 + number)
    assert "constraint_10_power_limit_uw" not in machine.sysfs.listdir(ZONE)


@given(st.integers(0, 2**64 - 1))
def test_a_value_is_printed_as_a_signed_64_bit_number(make_machine: MakeMachine, value: int) -> None:
    machine = make_machine("zen3")
    ops = replace(PLAIN, get_max_power_uw=lambda _zone, _number: value)
    add_zone(machine, replace(ALL_MONITORS, get_power_uw=lambda _: value), constraints=1, constraint_ops=ops)
    printed = b"%d\n" % int.from_bytes(value.to_bytes(8, "little"), "little", signed=True)
    assert machine.sysfs.read(f"{ZONE}/power_uw") == printed
    assert machine.sysfs.read(f"{ZONE}/constraint_0_max_power_uw") == printed


def test_2_to_the_63_shows_as_the_most_negative_number(machine: Machine) -> None:
    add_zone(machine, ZoneOps(get_power_uw=lambda _: 1 << 63))
    assert machine.sysfs.read(f"{ZONE}/power_uw") == b"-9223372036854775808\n"


@pytest.mark.pitfall("one-errno-per-attribute")
def test_whatever_the_driver_says_each_kind_of_attribute_has_one_errno(machine: Machine) -> None:
    refusing = ZoneOps(
        get_energy_uj=fails,
        get_max_energy_range_uj=fails,
        get_power_uw=fails,
        get_max_power_range_uw=fails,
        reset_energy_uj=fails,
        set_enable=fails,
        get_enable=fails,
    )
    add_zone(machine, refusing, constraints=1, constraint_ops=REFUSING)
    for name in ("energy_uj", "max_energy_range_uj", "power_uw", "max_power_range_uw"):
        assert errno_of(machine.sysfs.read, f"{ZONE}/{name}") == EINVAL
    for name in machine.sysfs.listdir(ZONE):
        if name.startswith("constraint_"):
            assert (name, errno_of(machine.sysfs.read, f"{ZONE}/{name}")) == (name, ENODATA)
    for name in ("power_limit_uw", "time_window_us"):
        path = f"{ZONE}/constraint_0_{name}"
        assert errno_of(machine.sysfs.write, path, b"1") == ENODATA
        assert errno_of(machine.sysfs.write, path, b"x") == EINVAL
    assert machine.sysfs.read(f"{ZONE}/enabled") == b"0\n"
    assert errno_of(machine.sysfs.write, f"{ZONE}/enabled", b"1") == ENOSYS
    assert errno_of(machine.sysfs.write, f"{ZONE}/enabled", b"x") == EINVAL
    assert errno_of(machine.sysfs.write, f"{ZONE}/energy_uj", b"0") == EINVAL


def test_a_zone_without_an_enable_function_is_on_and_cannot_be_switched(machine: Machine) -> None:
    add_zone(machine, ZoneOps(get_power_uw=lambda _: 0))
    assert machine.sysfs.read(f"{ZONE}/enabled") == b"1\n"
    assert errno_of(machine.sysfs.write, f"{ZONE}/enabled", b"1") == ENOSYS


@pytest.mark.pitfall("control-type-enabled-always-one")
def test_a_control_type_without_functions_is_on_and_cannot_be_switched(machine: Machine) -> None:
    path = "class/powercap/intel-rapl/enabled"
    assert machine.sysfs.read(path) == b"1\n"
    for text, errno in ((b"0", ENOSYS), (b"1\n", ENOSYS), (b"x", EINVAL)):
        assert errno_of(machine.sysfs.write, path, text) == errno
    assert machine.sysfs.write(path, b"") == 0


def test_a_control_type_with_functions_shows_and_takes_what_they_say(machine: Machine) -> None:
    state = [False]

    def put(_: object, on: bool) -> None:  # noqa: FBT001 - the kernel's callback
        state[0] = on

    machine.powercap.register_control_type("switched", ControlTypeOps(set_enable=put, get_enable=lambda _: state[0]))
    machine.powercap.register_control_type("broken", ControlTypeOps(set_enable=fails, get_enable=fails))
    path = "class/powercap/switched/enabled"
    assert machine.sysfs.read(path) == b"0\n"
    assert machine.sysfs.write(path, b"Yes please\n") == 11
    assert (state, machine.sysfs.read(path)) == ([True], b"1\n")
    assert machine.sysfs.read("class/powercap/broken/enabled") == b"0\n"
    assert errno_of(machine.sysfs.write, "class/powercap/broken/enabled", b"1") == ENOSYS


def test_energy_with_a_reset_is_0600_and_only_0_resets_it(machine: Machine) -> None:
    resets: list[Zone] = []
    zone = add_zone(machine, replace(ALL_MONITORS, reset_energy_uj=resets.append))
    path = f"{ZONE}/energy_uj"
    assert stat.S_IMODE(machine.sysfs.stat(path).st_mode) == 0o600
    assert errno_of(lambda: machine.sysfs.read(path, uid=1000)) == EACCES
    for text in (b"1", b"18446744073709551615\n", b"+7"):
        assert machine.sysfs.write(path, text) == len(text)
    assert errno_of(machine.sysfs.write, path, b"zero") == EINVAL
    assert resets == []
    assert machine.sysfs.write(path, b"000\n") == 4
    assert resets == [zone]


@pytest.mark.pitfall("constraint-name-cut-at-29")
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("long_term", b"long_term\n"),
        ("x" * 28, b"x" * 28 + b"\n"),
        ("x" * 29, b"x" * 29 + b"\n"),
        ("x" * 30, b"x" * 29 + b"\n"),
        ("x" * 200, b"x" * 29 + b"\n"),
        ("", b"\n"),
    ],
)
def test_a_constraints_name_is_cut_to_29_characters(machine: Machine, name: str, text: bytes) -> None:
    ops = replace(PLAIN, get_name=lambda _zone, _number: name)
    add_zone(machine, ALL_MONITORS, constraints=1, constraint_ops=ops)
    assert machine.sysfs.read(f"{ZONE}/constraint_0_name") == text


@pytest.mark.parametrize("name", ["", "zone", "x" * 200, "a/b", "two words"])
def test_a_zones_name_is_shown_as_it_is(machine: Machine, name: str) -> None:
    add_zone(machine, ALL_MONITORS, name=name)
    assert machine.sysfs.read(f"{ZONE}/name") == name.encode() + b"\n"


def test_callbacks_are_given_the_zone_and_the_number_and_are_asked_every_time(machine: Machine) -> None:
    asked: list[tuple[object, int]] = []

    def get(zone: Zone, number: int) -> int:
        asked.append((zone.driver_data, number))
        if len(asked) == 2:
            raise OSError(EIO, "once")
        return len(asked)

    control_type = machine.powercap.register_control_type("plain")
    ops = replace(PLAIN, get_min_power_uw=get)
    machine.powercap.register_zone(
        control_type, "z", ALL_MONITORS, constraints=3, constraint_ops=ops, driver_data="mine"
    )
    path = f"{ZONE}/constraint_2_min_power_uw"
    assert machine.sysfs.read(path) == b"1\n"
    assert errno_of(machine.sysfs.read, path) == ENODATA
    assert machine.sysfs.read(path) == b"3\n"
    assert asked == [("mine", 2)] * 3


def test_a_counter_that_cannot_be_reset_takes_any_number_but_0_once_its_mode_allows_it(machine: Machine) -> None:
    add_zone(machine, ALL_MONITORS)
    path = f"{ZONE}/energy_uj"
    assert errno_of(machine.sysfs.write, path, b"1") == EACCES
    # All counters share one store function; the mode alone keeps root away (powercap_sys.c energy_uj_store).
    machine.sysfs.chmod(path, 0o600)
    assert machine.sysfs.write(path, b"1") == 1
    assert errno_of(machine.sysfs.write, path, b"0") == EINVAL
