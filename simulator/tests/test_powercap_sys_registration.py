# SPDX-License-Identifier: Apache-2.0
"""Registering and unregistering control types and zones: what is refused, which ids are handed out, what is left."""

import stat
from collections.abc import Callable
from dataclasses import replace
from errno import EEXIST, EINVAL, ENODEV, ENOENT, ENOMEM
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine, ProfileError
from raplica_simulator.linux.powercap_sys import ConstraintOps, ControlType, ControlTypeOps, Zone, ZoneOps

MakeMachine = Callable[..., Machine]
MONITOR = ZoneOps(get_power_uw=lambda _: 0)
COMPLETE = ConstraintOps(
    set_power_limit_uw=lambda _zone, _number, _value: None,
    get_power_limit_uw=lambda _zone, _number: 0,
    set_time_window_us=lambda _zone, _number, _value: None,
    get_time_window_us=lambda _zone, _number: 0,
)


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    """The errno that a call fails with, 0 where it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


@pytest.fixture
def machine(make_machine: MakeMachine) -> Machine:
    return make_machine("zen3")


@pytest.fixture
def control_type(machine: Machine) -> ControlType:
    return machine.powercap.register_control_type("plain")


def register(
    machine: Machine,
    control_type: ControlType,
    parent: Zone | None = None,
    *,
    name: str | None = "zone",
    ops: ZoneOps = MONITOR,
    constraints: int = 0,
    constraint_ops: ConstraintOps | None = COMPLETE,
) -> Zone:
    return machine.powercap.register_zone(
        control_type, name, ops, parent=parent, constraints=constraints, constraint_ops=constraint_ops
    )


def test_a_control_type_is_refused_without_a_name_or_under_one_that_is_taken(machine: Machine) -> None:
    assert errno_of(machine.powercap.register_control_type, None) == EINVAL
    assert errno_of(machine.powercap.register_control_type, "") == EINVAL
    assert errno_of(machine.powercap.register_control_type, "intel-rapl") == EEXIST
    assert machine.sysfs.listdir("devices/virtual/powercap") == ["intel-rapl"]


def test_the_profile_that_names_a_taken_control_type_is_refused_in_one_line(make_machine: MakeMachine) -> None:
    with pytest.raises(ProfileError, match="control_type: control type 'intel-rapl' exists: give it another name"):
        make_machine("zen3", more='[[control_type]]\nname = "intel-rapl"\n')


def test_a_zone_needs_a_name_and_something_to_measure(machine: Machine, control_type: ControlType) -> None:
    nothing = ZoneOps(get_max_energy_range_uj=lambda _: 1, get_max_power_range_uw=lambda _: 1)
    assert errno_of(lambda: register(machine, control_type, name=None)) == EINVAL
    assert errno_of(lambda: register(machine, control_type, ops=nothing)) == EINVAL
    assert errno_of(lambda: register(machine, control_type, name="")) == 0


@pytest.mark.parametrize(("count", "errno"), [(0, 0), (10, 0), (11, EINVAL), (-1, ENOMEM)])
def test_a_zone_has_at_most_ten_constraints(
    machine: Machine, control_type: ControlType, count: int, errno: int
) -> None:
    assert errno_of(lambda: register(machine, control_type, constraints=count)) == errno


@pytest.mark.parametrize(
    "missing", ["set_power_limit_uw", "get_power_limit_uw", "set_time_window_us", "get_time_window_us"]
)
@pytest.mark.parametrize("count", [0, 1])
def test_the_four_constraint_functions_are_needed_even_for_no_constraint(
    machine: Machine, control_type: ControlType, missing: str, count: int
) -> None:
    ops = replace(COMPLETE, **{missing: None})
    assert errno_of(lambda: register(machine, control_type, constraints=count, constraint_ops=ops)) == EINVAL
    assert errno_of(lambda: register(machine, control_type, constraints=count, constraint_ops=None)) == EINVAL


def test_a_refused_zone_leaves_nothing_behind(machine: Machine, control_type: ControlType) -> None:
    before = machine.sysfs.listdir("class/powercap")
    for refused in (
        lambda: register(machine, control_type, constraints=11),
        lambda: register(machine, control_type, constraints=-1, constraint_ops=None),
        lambda: register(machine, control_type, constraint_ops=None),
    ):
        assert errno_of(refused) != 0
    assert machine.sysfs.listdir("class/powercap") == before
    assert control_type.zone_count == 0
    assert register(machine, control_type).id == 0


@pytest.mark.pitfall("hexadecimal-zone-ids")
def test_ids_are_hexadecimal_in_names_of_directories(machine: Machine, control_type: ControlType) -> None:
    zones = [register(machine, control_type) for _ in range(18)]
    names = [zone.device.name for zone in zones]
    assert names[9:12] == ["plain:9", "plain:a", "plain:b"]
    assert names[15:] == ["plain:f", "plain:10", "plain:11"]
    assert register(machine, control_type, zones[16]).device.name == "plain:10:0"
    assert machine.sysfs.read("class/powercap/plain:10:0/name") == b"zone\n"


@pytest.mark.pitfall("zone-ids-are-reused")
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=60))
def test_the_lowest_free_id_is_handed_out(make_machine: MakeMachine, steps: list[tuple[bool, int]]) -> None:
    machine = make_machine("zen3")
    control_type = machine.powercap.register_control_type("plain")
    alive: dict[int, Zone] = {}
    for add, which in steps:
        if add or not alive:
            free = next(number for number in range(100) if number not in alive)
            zone = register(machine, control_type)
            assert (zone.id, zone.device.name) == (free, f"plain:{free:x}")
            alive[free] = zone
        else:
            alive.pop(sorted(alive)[which % len(alive)]).unregister()
        listed = {name for name in machine.sysfs.listdir("class/powercap") if name.startswith("plain:")}
        assert listed == {f"plain:{number:x}" for number in alive}
        assert control_type.zone_count == len(alive)


def test_ids_are_counted_for_each_parent_by_itself(machine: Machine, control_type: ControlType) -> None:
    first, second = register(machine, control_type), register(machine, control_type)
    children = [register(machine, control_type, parent) for parent in (first, second, first)]
    assert [zone.device.name for zone in children] == ["plain:0:0", "plain:1:0", "plain:0:1"]


def test_zones_may_have_the_same_name(machine: Machine, control_type: ControlType) -> None:
    for _ in range(2):
        register(machine, control_type, name="twin")
    assert machine.sysfs.read("class/powercap/plain:0/name") == machine.sysfs.read("class/powercap/plain:1/name")


def test_a_parent_of_another_control_type_is_accepted_and_gives_its_name(
    machine: Machine, control_type: ControlType
) -> None:
    other = machine.powercap.register_control_type("other")
    parent = register(machine, other)
    child = register(machine, control_type, parent)
    assert child.device.name == "other:0:0"
    assert machine.sysfs.readlink("class/powercap/other:0:0").endswith("other/other:0/other:0:0")
    # It counts where it was registered.
    assert (other.zone_count, control_type.zone_count) == (1, 1)


@pytest.mark.pitfall("zones-unregister-before-children")
def test_a_control_type_with_zones_cannot_be_unregistered(machine: Machine, control_type: ControlType) -> None:
    parent = register(machine, control_type)
    child = register(machine, control_type, parent)
    unregister = machine.powercap.unregister_control_type
    assert errno_of(lambda: unregister(control_type)) == EINVAL
    parent.unregister()
    assert errno_of(lambda: unregister(control_type)) == EINVAL
    child.unregister()
    unregister(control_type)
    assert "plain" not in machine.sysfs.listdir("class/powercap")
    assert errno_of(lambda: unregister(control_type)) == ENODEV
    assert errno_of(lambda: register(machine, control_type)) == EINVAL


@pytest.mark.pitfall("zones-unregister-before-children")
def test_a_zone_with_children_can_be_unregistered_and_its_id_stays_taken_until_they_go(
    machine: Machine, control_type: ControlType
) -> None:
    parent = register(machine, control_type)
    child = register(machine, control_type, parent)
    parent.unregister()
    assert errno_of(machine.sysfs.stat, "devices/virtual/powercap/plain/plain:0") == ENOENT
    assert register(machine, control_type).id == 1
    child.unregister()
    assert register(machine, control_type).id == 0


def test_memory_of_the_callers_own_needs_a_release_which_is_called_last(machine: Machine) -> None:
    told: list[str] = []
    type_ops = ControlTypeOps(release=lambda control_type: told.append(control_type.name))
    zone_ops = replace(MONITOR, release=lambda zone: told.append(zone.name))
    powercap = machine.powercap
    assert errno_of(lambda: powercap.register_control_type("own", caller_owned=True)) == EINVAL
    own = powercap.register_control_type("own", type_ops, caller_owned=True)
    register_own = partial(powercap.register_zone, own, "z", constraint_ops=COMPLETE, caller_owned=True)
    assert errno_of(register_own, MONITOR) == EINVAL
    assert errno_of(register_own, zone_ops) == 0
    zone = powercap.register_zone(own, "parent", zone_ops, constraint_ops=COMPLETE)
    child = powercap.register_zone(own, "child", zone_ops, parent=zone, constraint_ops=COMPLETE)
    powercap.unregister_zone(own, zone)
    assert told == []
    powercap.unregister_zone(own, child)
    assert told == ["parent", "child"]


def test_what_the_device_model_refuses_is_released_and_what_the_framework_refuses_is_not(machine: Machine) -> None:
    told: list[str] = []
    ops = ControlTypeOps(release=lambda control_type: told.append(control_type.name))
    assert errno_of(machine.powercap.register_control_type, "intel-rapl", ops) == EEXIST
    assert told == ["intel-rapl"]
    assert errno_of(machine.powercap.register_control_type, None, ops) == EINVAL
    assert told == ["intel-rapl"]


def test_nothing_can_be_registered_below_a_zone_that_has_gone(machine: Machine, control_type: ControlType) -> None:
    parent = register(machine, control_type)
    child = register(machine, control_type, parent)
    parent.unregister()
    for above in (parent, child):
        assert errno_of(lambda: register(machine, control_type, above)) == ENOENT  # noqa: B023
    child.unregister()
    with pytest.raises(ValueError, match="zone plain:0 has gone"):
        register(machine, control_type, parent)


def test_a_zone_is_counted_where_the_caller_says_it_was(machine: Machine, control_type: ControlType) -> None:
    other = machine.powercap.register_control_type("other")
    zone = register(machine, control_type)
    unregister = machine.powercap.unregister_zone
    assert errno_of(unregister, None, zone) == errno_of(unregister, other, None) == EINVAL
    unregister(other, zone)
    assert (control_type.zone_count, other.zone_count) == (1, -1)
    # Neither can go any more.
    for left in (control_type, other):
        assert errno_of(machine.powercap.unregister_control_type, left) == EINVAL
    with pytest.raises(ValueError, match="zone plain:0 has been unregistered already"):
        zone.unregister()


def test_control_types_stand_beside_the_drivers_own(machine: Machine, control_type: ControlType) -> None:
    register(machine, control_type)
    machine.driver.unload()
    assert sorted(machine.sysfs.listdir("class/powercap")) == ["plain", "plain:0"]
    machine.driver.load()
    assert sorted(machine.sysfs.listdir("devices/virtual/powercap")) == ["intel-rapl", "plain"]
    assert stat.S_ISDIR(machine.sysfs.stat("devices/virtual/powercap/plain/plain:0").st_mode)


def test_zones_of_a_profile_keep_what_is_written_to_them(make_machine: MakeMachine) -> None:
    more = """
[[control_type]]
name = "dtpm"
enabled = true
[[control_type.zone]]
name = "pkg"
power_uw = 5000000
max_power_range_uw = 20000000
[[control_type.zone.constraint]]
name = "Instantaneous"
power_limit_uw = 9223372036854775808
max_power_uw = 20000000
[[control_type.zone.zone]]
name = "cpu0-cpufreq"
energy_uj = 7
"""
    machine = make_machine("zen3", more=more)
    zone = "class/powercap/dtpm:0"
    assert machine.sysfs.read(f"{zone}/constraint_0_power_limit_uw") == b"-9223372036854775808\n"
    assert machine.sysfs.write(f"{zone}/constraint_0_power_limit_uw", b"6\n") == 2
    assert machine.sysfs.write(f"{zone}/constraint_0_time_window_us", b"7") == 1
    texts = {name: machine.sysfs.read(f"{zone}/constraint_0_{name}") for name in ("power_limit_uw", "time_window_us")}
    assert texts == {"power_limit_uw": b"6\n", "time_window_us": b"7\n"}
    assert machine.sysfs.read(f"{zone}/constraint_0_name") == b"Instantaneous\n"
    assert machine.sysfs.read(f"{zone}/constraint_0_max_power_uw") == b"20000000\n"
    assert "constraint_0_min_power_uw" not in machine.sysfs.listdir(zone)
    assert machine.sysfs.read(f"{zone}:0/energy_uj") == b"7\n"
    assert machine.sysfs.write("class/powercap/dtpm/enabled", b"off") == 3
    assert machine.sysfs.read("class/powercap/dtpm/enabled") == b"0\n"
