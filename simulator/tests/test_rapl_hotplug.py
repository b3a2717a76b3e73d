# SPDX-License-Identifier: Apache-2.0
"""Processors and packages that go and come back, and machines that sleep: zones, ids, registers, events."""

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from errno import EBUSY, ENODEV, ENOENT

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
KERNELS = ("6.1", "6.12")
CLASS, DEVICES = "class/powercap", "devices/virtual/powercap"

pytestmark = pytest.mark.parametrize("kernel", KERNELS)


def tree(machine: Machine) -> dict[str, str]:
    """Zone ids and names."""
    zones = (zone for zone in machine.sysfs.listdir(CLASS) if ":" in zone)
    return {zone: machine.sysfs.read(f"{CLASS}/{zone}/name").decode().rstrip("\n") for zone in sorted(zones)}


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    """The errno that a call fails with, 0 where it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


def offline(machine: Machine, *cpus: int) -> None:
    for cpu in cpus:
        machine.cpu(cpu).offline()


@pytest.mark.pitfall("hotplug-redetects")
def test_the_last_processor_of_a_package_takes_its_zones_along(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(2, 1, 2, 1))
    offline(machine, 2)
    assert len(tree(machine)) == 4
    offline(machine, 3)
    assert tree(machine) == {"intel-rapl:0": "package-0", "intel-rapl:0:0": "dram"}
    assert errno_of(machine.sysfs.read, f"{CLASS}/intel-rapl:1/name") == ENOENT
    machine.cpu(3).online()
    assert tree(machine)["intel-rapl:1:0"] == "dram"
    assert (machine.cpu(3).is_online, machine.cpu(2).is_online) == (True, False)


@pytest.mark.pitfall("hotplug-redetects")
def test_a_package_that_was_away_comes_back_switched_off_with_its_limits(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(2, 1, 1, 1))
    zone = f"{CLASS}/intel-rapl:1"
    limits = [machine.sysfs.read(f"{zone}/constraint_{number}_power_limit_uw") for number in (0, 1)]
    offline(machine, 1)
    assert machine.msr.read(1, 0x610) == 0x000184B0001183E8 & ~0x1_8000_0001_8000
    machine.cpu(1).online()
    assert [machine.sysfs.read(f"{zone}/constraint_{number}_power_limit_uw") for number in (0, 1)] == limits
    assert machine.sysfs.read(f"{zone}/enabled") == b"0\n"
    assert machine.sysfs.read(f"{CLASS}/intel-rapl:0/enabled") == b"1\n"


@pytest.mark.pitfall("hotplug-redetects")
def test_a_package_that_comes_back_is_detected_anew(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(2, 1, 1, 1), where={"package.1": {0x64D: 0, 0x65C: 0}})
    offline(machine, 1)
    machine.msr.poke(1, 0x619, 0)
    machine.msr.poke(1, 0x64D, 9)
    machine.cpu(1).online()
    assert tree(machine) == {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:2": "psys-1",
    }


def test_accesses_move_to_the_lowest_processor_left_and_stay_there(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(2, 1, 3, 1))
    leads = []
    for cpu, up in ((3, False), (5, False), (4, False), (5, True), (3, True), (5, False)):
        if up:
            machine.cpu(cpu).online()
        else:
            offline(machine, cpu)
        if "intel-rapl:1" in tree(machine):
            machine.sysfs.read(f"{CLASS}/intel-rapl:1/energy_uj")
            leads.append(machine.msr.log[0].cpu)
    assert leads == [4, 4, 5, 5, 3]


@pytest.mark.pitfall("zone-ids-are-reused")
def test_packages_that_come_back_take_the_lowest_free_ids(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(4, 1, 1, 1))
    offline(machine, 0, 1)
    machine.cpu(1).online()
    machine.cpu(0).online()
    names = [tree(machine)[f"intel-rapl:{number}"] for number in range(4)]
    assert names == ["package-1", "package-0", "package-2", "package-3"]


def test_a_package_without_a_counter_cannot_come_back_and_nobody_else_is_hurt(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(2, 1, 2, 1))
    offline(machine, 2, 3)
    machine.msr.poke(2, 0x611, 0)
    for cpu in (2, 3):
        assert errno_of(machine.cpu(cpu).online) == ENODEV
        assert not machine.cpu(cpu).is_online
    assert tree(machine) == {"intel-rapl:0": "package-0", "intel-rapl:0:0": "dram"}
    assert machine.sysfs.read(f"{CLASS}/intel-rapl:0/enabled") == b"1\n"
    machine.msr.poke(2, 0x611, 1)
    machine.cpu(3).online()
    assert tree(machine)["intel-rapl:1"] == "package-1"


def test_the_last_processor_of_the_machine_stays(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(2, 1, 1, 1))
    offline(machine, 0)
    assert errno_of(machine.cpu(1).offline) == EBUSY
    assert tree(machine) == {"intel-rapl:1": "package-1", "intel-rapl:1:0": "dram"}


def test_what_is_up_cannot_come_up_and_what_is_down_cannot_go_down(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(2, 1, 1, 1))
    machine.uevents.clear()
    machine.cpu(1).online()
    assert (machine.uevents, machine.msr.log) == ([], [])
    offline(machine, 1)
    machine.uevents.clear()
    offline(machine, 1)
    assert (machine.uevents, machine.msr.log) == ([], [])
    with pytest.raises(ValueError, match="there is no CPU 2; this machine has 0 to 1"):
        machine.cpu(2)


def test_a_driver_that_is_loaded_later_looks_at_what_is_up_then(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(2, 1, 2, 1))
    machine.driver.unload()
    offline(machine, 0, 1, 2)
    machine.cpu(1).online()
    machine.driver.load()
    assert {access.cpu for access in machine.msr.log} == {1, 3}
    assert list(tree(machine).values()) == ["package-0", "dram", "package-1", "dram"]


def test_an_event_tells_of_each_zone_that_goes_and_comes(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(2, 1, 1, 1))
    machine.uevents.clear()
    offline(machine, 1)
    machine.cpu(1).online()
    package = f"DEVPATH=/{DEVICES}/intel-rapl/intel-rapl:1"
    assert [words[:2] for words in machine.uevents] == [
        ("ACTION=remove", f"{package}/intel-rapl:1:0"),
        ("ACTION=remove", package),
        ("ACTION=add", package),
        ("ACTION=add", f"{package}/intel-rapl:1:0"),
    ]


# Any sequence at all.


@dataclass
class Plain:
    """What should be there: who leads each package, and which top id each package and psys has."""

    with_psys: frozenset[int]
    online: set[int]
    leads: dict[int, int] = field(default_factory=dict)
    ids: dict[tuple[int, str], int] = field(default_factory=dict)

    def up(self, cpu: int) -> None:
        self.online.add(cpu)
        package = cpu // 2
        if package not in self.leads:
            self.leads[package] = cpu
            for name in ("package", *(["psys"] if package in self.with_psys else [])):
                self.ids[package, name] = min(set(range(9)) - set(self.ids.values()))

    def down(self, cpu: int) -> None:
        self.online.discard(cpu)
        package = cpu // 2
        left = self.online & {2 * package, 2 * package + 1}
        if not left:
            del self.leads[package]
            self.ids = {key: number for key, number in self.ids.items() if key[0] != package}
        elif self.leads[package] == cpu:
            self.leads[package] = min(left)

    def zones(self) -> dict[str, str]:
        found = {}
        for (package, name), number in self.ids.items():
            if name == "package":
                found[f"intel-rapl:{number:x}:0"] = "dram"
            found[f"intel-rapl:{number:x}"] = "psys" if (package, name) == (0, "psys") else f"{name}-{package}"
        return found


def directories(machine: Machine, path: str) -> Iterator[str]:
    """Every directory below one, links not followed."""
    for name in machine.sysfs.listdir(path):
        if stat.S_ISDIR(machine.sysfs.stat(f"{path}/{name}").st_mode):
            yield f"{path}/{name}"
            yield from directories(machine, f"{path}/{name}")


@settings(max_examples=40)
@given(
    with_psys=st.frozensets(st.integers(0, 2)),
    steps=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=25),
)
def test_after_any_hotplug_the_tree_is_whole(
    make_machine: MakeMachine, kernel: str, with_psys: frozenset[int], steps: list[tuple[int, bool]]
) -> None:
    where = {f"package.{package}": {0x64D: int(package in with_psys), 0x65C: 0} for package in range(3)}
    machine = make_machine("sapphirerapids", kernel, topology=(3, 1, 2, 1), registers={0x64D: None}, where=where)
    plain = Plain(with_psys, set())
    for cpu in range(6):
        plain.up(cpu)
    for cpu, up in steps:
        if up:
            machine.cpu(cpu).online()
            plain.up(cpu)
        elif plain.online == {cpu}:
            assert errno_of(machine.cpu(cpu).offline) == EBUSY
        elif cpu in plain.online:
            machine.cpu(cpu).offline()
            plain.down(cpu)
        zones = tree(machine)
        assert zones == plain.zones()
        devices = {path.rpartition("/")[2]: path for path in directories(machine, DEVICES) if "/power" not in path[25:]}
        links = {name: machine.sysfs.readlink(f"{CLASS}/{name}") for name in machine.sysfs.listdir(CLASS)}
        assert links == {name: f"../../{path}" for name, path in devices.items()}
        for path in (DEVICES, *directories(machine, DEVICES)):
            below = [f"{path}/{name}" for name in machine.sysfs.listdir(path)]
            kinds = [machine.sysfs.stat(one).st_mode for one in below]
            assert machine.sysfs.stat(path).st_nlink == 2 + sum(map(stat.S_ISDIR, kinds))
            for one, mode in zip(below, kinds, strict=True):
                assert not stat.S_ISLNK(mode) or machine.sysfs.listdir(one)
        for package, lead in plain.leads.items():
            machine.sysfs.read(f"{CLASS}/intel-rapl:{plain.ids[package, 'package']:x}/energy_uj")
            assert [access.cpu for access in machine.msr.log] == [lead]
