# SPDX-License-Identifier: Apache-2.0
"""What the driver core puts into every device directory: uevent, power/, and the events that are announced."""

from collections.abc import Callable
from errno import EACCES, EEXIST, EINVAL, EIO, ENOENT

import pytest

from raplica_simulator import Machine
from raplica_simulator.linux.powercap_sys import ConstraintOps, ControlType, Zone, ZoneOps

MakeMachine = Callable[..., Machine]
PACKAGE = "class/powercap/intel-rapl:0"
UUID = "12345678-9abc-def0-1234-56789abcdef0"
CONSTRAINTS = ConstraintOps(
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


def register(machine: Machine, control_type: ControlType, parent: Zone | None = None) -> Zone:
    monitor = ZoneOps(get_power_uw=lambda _: 0)
    return machine.powercap.register_zone(control_type, "zone", monitor, parent=parent, constraint_ops=CONSTRAINTS)


@pytest.fixture
def machine(make_machine: MakeMachine) -> Machine:
    return make_machine("kabylake", "6.12")


def sent(machine: Machine) -> list[tuple[str, str]]:
    """Action and path of every event so far, and forget them."""
    events = [(words[0].removeprefix("ACTION="), words[1].removeprefix("DEVPATH=")) for words in machine.uevents]
    machine.uevents.clear()
    return events


def test_loading_announces_each_device_once_parents_first(machine: Machine) -> None:
    base = "/devices/virtual/powercap/intel-rapl"
    zones = ["", "/intel-rapl:0", "/intel-rapl:0/intel-rapl:0:0", "/intel-rapl:0/intel-rapl:0:1"]
    zones += ["/intel-rapl:0/intel-rapl:0:2", "/intel-rapl:1"]
    assert machine.uevents[0] == ("ACTION=add", f"DEVPATH={base}", "SUBSYSTEM=powercap")
    assert sent(machine) == [("add", base + zone) for zone in zones]


def test_unloading_announces_children_then_their_package_then_the_control_type(machine: Machine) -> None:
    sent(machine)
    machine.driver.unload()
    base = "/devices/virtual/powercap/intel-rapl"
    zones = ["/intel-rapl:0/intel-rapl:0:0", "/intel-rapl:0/intel-rapl:0:1", "/intel-rapl:0/intel-rapl:0:2"]
    assert sent(machine) == [("remove", base + zone) for zone in [*zones, "/intel-rapl:1", "/intel-rapl:0", ""]]


@pytest.mark.pitfall("uevent-reads-empty")
def test_uevent_reads_empty_and_reading_announces_nothing(machine: Machine) -> None:
    machine.uevents.clear()
    for zone in ("intel-rapl", "intel-rapl:0", "intel-rapl:0:0"):
        assert machine.sysfs.read(f"class/powercap/{zone}/uevent") == b""
    assert machine.uevents == []


@pytest.mark.parametrize("verb", ["add", "remove", "change", "move", "online", "offline", "bind", "unbind"])
@pytest.mark.parametrize("end", ["", "\n", "\0"])
def test_a_verb_written_to_uevent_is_announced(machine: Machine, verb: str, end: str) -> None:
    machine.uevents.clear()
    data = (verb + end).encode()
    assert machine.sysfs.write(f"{PACKAGE}/uevent", data) == len(data)
    path = "DEVPATH=/devices/virtual/powercap/intel-rapl/intel-rapl:0"
    assert machine.uevents == [(f"ACTION={verb}", path, "SUBSYSTEM=powercap", "SYNTH_UUID=0")]


def test_a_uuid_and_words_written_to_uevent_are_announced_with_it(machine: Machine) -> None:
    machine.uevents.clear()
    data = f"change {UUID} A=1 key2=Val\n".encode()
    assert machine.sysfs.write("class/powercap/intel-rapl/uevent", data) == len(data)
    assert machine.uevents[0][3:] == (f"SYNTH_UUID={UUID}", "SYNTH_ARG_A=1", "SYNTH_ARG_key2=Val")


@pytest.mark.parametrize(
    "text",
    [
        "nothing",
        "adds",
        "ad",
        "Add",
        " add",
        "add ",
        "add\n\n",
        "\n",
        "add A=1",
        f"add {UUID[:-1]}",
        f"add {UUID}x",
        f"add {UUID} ",
        f"add {UUID}  A=1",
        f"add {UUID} A=",
        f"add {UUID} =1",
        f"add {UUID} A",
        f"add {UUID} A=1=2",
        f"add {UUID} A_B=1",
        f"add {UUID} A=1 ",
    ],
)
def test_anything_else_written_to_uevent_is_refused_and_announces_nothing(machine: Machine, text: str) -> None:
    machine.uevents.clear()
    assert errno_of(lambda: machine.sysfs.write(f"{PACKAGE}/uevent", text.encode())) == EINVAL
    assert machine.sysfs.write(f"{PACKAGE}/uevent", b"") == 0
    assert machine.uevents == []


def test_power_shows_a_device_without_runtime_power_management(machine: Machine) -> None:
    power = f"{PACKAGE}/power"
    texts = {}
    for name in machine.sysfs.listdir(power):
        if name != "autosuspend_delay_ms":
            texts[name] = machine.sysfs.read(f"{power}/{name}")
    assert texts == {
        "async": b"disabled\n",
        "control": b"auto\n",
        "runtime_active_kids": b"0\n",
        "runtime_active_time": b"0\n",
        "runtime_enabled": b"disabled\n",
        "runtime_status": b"unsupported\n",
        "runtime_suspended_time": b"0\n",
        "runtime_usage": b"0\n",
    }


@pytest.mark.pitfall("uevent-reads-empty")
def test_the_autosuspend_delay_can_be_neither_read_nor_written(machine: Machine) -> None:
    path = f"{PACKAGE}/power/autosuspend_delay_ms"
    assert errno_of(machine.sysfs.read, path) == EIO
    assert [errno_of(machine.sysfs.write, path, text) for text in (b"100", b"x")] == [EIO, EIO]


def test_power_settings_take_their_two_words_and_no_other(machine: Machine) -> None:
    power = f"{PACKAGE}/power"
    for name, word, text in (("control", b"on\n", b"on\n"), ("async", b"enabled\0x", b"enabled\n")):
        assert machine.sysfs.write(f"{power}/{name}", word) == len(word)
        assert machine.sysfs.read(f"{power}/{name}") == text
        for bad in (b"1", b"On", b"on \n", b"enabled\n\n", b"\n"):
            assert errno_of(machine.sysfs.write, f"{power}/{name}", bad) == EINVAL
    assert machine.sysfs.read(f"{power}/runtime_usage") == b"1\n"
    assert machine.sysfs.read(f"{power}/runtime_enabled") == b"disabled & forbidden\n"
    machine.sysfs.write(f"{power}/control", b"auto")
    assert machine.sysfs.read(f"{power}/runtime_usage") == b"0\n"
    assert errno_of(machine.sysfs.write, f"{power}/runtime_status", b"active") == EACCES


def test_a_slash_in_a_name_becomes_an_exclamation_mark_everywhere(machine: Machine) -> None:
    machine.uevents.clear()
    control_type = machine.powercap.register_control_type("a/b")
    register(machine, control_type)
    assert machine.sysfs.listdir("devices/virtual/powercap/a!b/a!b:0")
    assert machine.sysfs.readlink("class/powercap/a!b:0") == "../../devices/virtual/powercap/a!b/a!b:0"
    assert sent(machine) == [
        ("add", "/devices/virtual/powercap/a!b"),
        ("add", "/devices/virtual/powercap/a!b/a!b:0"),
    ]
    assert errno_of(machine.powercap.register_control_type, "a!b") == EEXIST


def test_the_directory_of_virtual_devices_is_there_while_there_are_any(machine: Machine) -> None:
    control_type = machine.powercap.register_control_type("plain")
    machine.driver.unload()
    assert machine.sysfs.listdir("devices/virtual/powercap") == ["plain"]
    machine.powercap.unregister_control_type(control_type)
    assert errno_of(machine.sysfs.stat, "devices/virtual/powercap") == ENOENT
    assert machine.sysfs.listdir("class/powercap") == []


def test_a_child_that_outlives_its_parent_is_announced_below_nothing_but_it(machine: Machine) -> None:
    control_type = machine.powercap.register_control_type("plain")
    parent = register(machine, control_type)
    child = register(machine, control_type, parent)
    sent(machine)
    parent.unregister()
    assert errno_of(machine.sysfs.listdir, "class/powercap/plain:0:0") == ENOENT
    # Only the class link of the child is left, and it leads nowhere.
    assert "plain:0:0" in machine.sysfs.listdir("class/powercap")
    child.unregister()
    assert "plain:0:0" not in machine.sysfs.listdir("class/powercap")
    # kobject_del has forgotten what the parent was below (lib/kobject.c).
    assert sent(machine) == [("remove", "/devices/virtual/powercap/plain/plain:0"), ("remove", "/plain:0/plain:0:0")]


def test_a_name_that_is_taken_in_the_class_leaves_no_half_made_device(machine: Machine) -> None:
    before = machine.sysfs.listdir("devices/virtual/powercap")
    assert errno_of(machine.powercap.register_control_type, "intel-rapl:0") == EEXIST
    assert machine.sysfs.listdir("devices/virtual/powercap") == before
    clash = machine.powercap.register_control_type("plain:0")
    plain = machine.powercap.register_control_type("plain")
    assert errno_of(lambda: register(machine, plain)) == EEXIST
    machine.powercap.unregister_control_type(clash)
    # The id was given back.
    assert register(machine, plain).id == 0


def test_of_very_many_events_the_newest_are_kept(machine: Machine) -> None:
    for number in range(20_001):
        machine.sysfs.write(f"{PACKAGE}/uevent", f"change {UUID} N={number}".encode())
    assert 10_000 <= len(machine.uevents) <= 20_000
    assert [words[-1] for words in machine.uevents[-2:]] == ["SYNTH_ARG_N=19999", "SYNTH_ARG_N=20000"]
    numbers = [int(words[-1].rpartition("=")[2]) for words in machine.uevents]
    assert numbers == list(range(numbers[0], 20_001))
