# SPDX-License-Identifier: Apache-2.0
"""The kernel's ids and masks of processors, and the tree of switches, held against what kernels showed.

What is marked as witnessed was read on unmodified kernels 6.1.192 and 6.12.117 (and, where it says so, 7.2.12) in an
emulator, with the topology of the test.
"""

import os
import re
from collections.abc import Callable
from errno import EACCES, EBUSY, EINVAL, ENODEV, ENOENT

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.hardware.topology import Cpu
from raplica_simulator.linux.cpu_devices import CpuDevices
from raplica_simulator.linux.cpu_topology import CpuTopology, cpu_list, cpu_mask
from raplica_simulator.replay.cpus import read_cpus

Make = Callable[..., Machine]

SHAPES = st.tuples(*(st.integers(1, most) for most in (3, 3, 5, 3)))
SAME: dict[str, Callable[[Cpu], int]] = {
    "core": lambda cpu: cpu.core_index,
    "die": lambda cpu: cpu.logical_die,
    "package": lambda cpu: cpu.package,
}
EARLY = ["core_id", "core_siblings", "core_siblings_list", "physical_package_id"]
EARLY += ["thread_siblings", "thread_siblings_list"]
DIES = ["core_cpus", "core_cpus_list", "die_cpus", "die_cpus_list", "die_id", "package_cpus", "package_cpus_list"]
CLUSTERS = ["cluster_cpus", "cluster_cpus_list", "cluster_id"]


def errno_of(call: Callable[..., object], *arguments: object) -> int:
    try:
        call(*arguments)
    except OSError as error:
        return error.errno or 0
    return 0


def ids(topology: CpuTopology, cpu: int) -> dict[str, int]:
    return {name: int(topology.read(cpu, name)) for name in topology.files if name.endswith("_id")}


def numbers_of(listed: bytes) -> set[int]:
    """Read a list of processors back."""
    found: set[int] = set()
    for part in listed.decode().strip().split(",") if listed.strip() else ():
        first, _, last = part.partition("-")
        found |= set(range(int(first), int(last or first) + 1))
    return found


# Ids.


def test_ids_of_cores_have_gaps_where_a_die_has_not_a_power_of_two_of_them(make_machine: Make) -> None:
    """Witnessed, and on one package of two dies with three cores each: core 0 of the second die is 4, not 3."""
    topology = CpuTopology(make_machine("skylake-sp", topology=(1, 2, 3, 2)))
    firsts = [cpu for cpu in range(12) if topology.apic_id(cpu) % 2 == 0]
    assert [ids(topology, cpu)["core_id"] for cpu in firsts] == [0, 1, 2, 4, 5, 6]
    assert [ids(topology, cpu)["cluster_id"] for cpu in firsts] == [0, 2, 4, 8, 10, 12]
    assert [ids(topology, cpu)["die_id"] for cpu in firsts] == [0, 0, 0, 1, 1, 1]


def test_no_cluster_has_a_number_on_amd(make_machine: Make) -> None:
    """Witnessed: 65535, and the mask of a cluster is that of a core."""
    topology = CpuTopology(make_machine("zen3", topology=(2, 1, 3, 2)))
    assert {ids(topology, cpu)["cluster_id"] for cpu in range(12)} == {65535}
    assert {topology.read(cpu, "cluster_cpus") == topology.read(cpu, "core_cpus") for cpu in range(12)} == {True}
    # A die's number goes on in the next package.
    assert [ids(topology, cpu)["die_id"] for cpu in range(12)] == [0, 0, 0, 1, 1, 1] * 2


@pytest.mark.parametrize(("kernel", "dies"), [("6.1", [0, 1, 2, 0, 1, 2]), ("6.12", [0, 1, 2, 4, 5, 6])])
def test_dies_that_are_counted_through_the_machine_have_gaps_too(
    make_machine: Make, kernel: str, dies: list[int]
) -> None:
    """Witnessed: a die has whole bits of the APIC id, so behind three of them a number is missing."""
    machine = make_machine("skylake-sp", topology=(2, 3, 1, 1), kernel=kernel)
    topology = CpuTopology(machine)
    assert [ids(topology, cpu)["die_id"] for cpu in range(6)] == dies
    names = [machine.sysfs.read(f"class/powercap/intel-rapl:{zone}/name").decode().strip() for zone in range(6)]
    assert names == [f"package-{cpu // 3}-die-{die}" for cpu, die in enumerate(dies)]
    machine.load.set(package=60)
    machine.clock.advance(seconds=1)
    assert {machine.truth_uj(name) for name in names} == {20_000_000}


@pytest.mark.parametrize(("kernel", "fellows"), [("6.1", b"1\n"), ("6.12", b"0-1\n")])
def test_a_processor_alone_on_its_die_had_no_fellow_in_its_package(
    make_machine: Make, kernel: str, fellows: bytes
) -> None:
    """Witnessed, on one package of four dies and on two of two."""
    machine = make_machine("skylake-sp", topology=(2, 2, 1, 1), kernel=kernel)
    topology = CpuTopology(machine)
    assert topology.read(1, "package_cpus_list") == fellows
    machine.cpu(1).offline()
    assert topology.read(1, "die_cpus_list") == b"\n"
    pair = CpuTopology(make_machine("skylake-sp", topology=(2, 2, 2, 1), kernel=kernel))
    assert pair.read(1, "package_cpus_list") == b"0-3\n"


@pytest.mark.parametrize(
    ("kernel", "dies", "last"),
    [("6.1", [0, 1, 2, 3], b"3\n"), ("6.12", [0, 0, 1, 1], b"2-3\n"), ("7.2", [0, 0, 1, 1], b"2-3\n")],
)
def test_a_die_of_amd_is_a_node_at_first_and_later_the_whole_package(
    make_machine: Make, kernel: str, dies: list[int], last: bytes
) -> None:
    """Witnessed on 6.12 and 7.2, of processors that do not list their dies."""
    topology = CpuTopology(make_machine("zen3", topology=(2, 2, 1, 1), kernel=kernel))
    assert [ids(topology, cpu)["die_id"] for cpu in range(4)] == dies
    assert topology.read(3, "die_cpus_list") == last


@given(shape=SHAPES)
@settings(max_examples=40, deadline=None)
def test_ids_tell_processors_apart_as_their_places_do(make_machine: Make, shape: tuple[int, int, int, int]) -> None:
    machine = make_machine("skylake-sp", topology=shape)
    topology = CpuTopology(machine)
    cpus = machine.profile.topology.cpus
    assert len({topology.apic_id(cpu.number) for cpu in cpus}) == len(cpus)
    places: dict[tuple[int, int], int] = {}
    for one in cpus:
        for kind, same in SAME.items():
            fellows = [cpu.number for cpu in cpus if same(cpu) == same(one)]
            assert topology.siblings(kind, one.number) == fellows
            assert numbers_of(topology.read(one.number, f"{kind}_cpus_list")) == set(fellows)
        place = (one.package, ids(topology, one.number)["core_id"])
        assert places.setdefault(place, one.core_index) == one.core_index
    assert len(places) == machine.profile.topology.core_count


# Lists and masks.


@given(numbers=st.sets(st.integers(0, 200)))
def test_a_list_names_each_processor_once_in_the_shortest_way(numbers: set[int]) -> None:
    listed = cpu_list(numbers)
    assert numbers_of(listed) == numbers
    assert re.fullmatch(rb"(\d+(-\d+)?(,\d+(-\d+)?)*)?\n", listed)
    runs = sum(number - 1 not in numbers for number in numbers)
    assert len(listed.strip().split(b",")) == max(runs, 1)


@given(width=st.integers(1, 200), data=st.data())
def test_a_mask_is_as_wide_as_the_machine(width: int, data: st.DataObject) -> None:
    numbers = data.draw(st.sets(st.integers(0, width - 1)))
    mask = cpu_mask(numbers, width).decode()
    assert mask.endswith("\n")
    words = mask.strip().split(",")
    assert [len(word) for word in words[1:]] == [8] * ((width - 1) // 32)
    assert len(words[0]) == -(-(width % 32 or 32) // 4)
    assert int("".join(words), 16) == sum(1 << number for number in numbers)


@pytest.mark.parametrize(
    ("numbers", "width", "mask"),
    [((0, 1), 8, "03"), (range(12), 12, "fff"), (range(6), 12, "03f"), ((2, 3), 4, "c"), ((1,), 2, "2")],
)
def test_masks_look_as_they_were_witnessed(numbers: tuple[int, ...], width: int, mask: str) -> None:
    assert cpu_mask(numbers, width) == mask.encode() + b"\n"


# Files.


@pytest.mark.parametrize(
    ("kernel", "files"),
    [
        ("3.13", EARLY),
        ("5.5", EARLY + DIES),
        ("6.1", EARLY + DIES + CLUSTERS),
        ("6.12", EARLY + DIES + CLUSTERS),
        ("7.2", EARLY + DIES + CLUSTERS),
    ],
)
def test_a_processor_has_the_files_that_its_kernel_knows(make_machine: Make, kernel: str, files: list[str]) -> None:
    """Witnessed for 6.1, 6.12 and 7.2; 5.3 brought dies, 5.16 clusters."""
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 1), kernel=kernel)
    devices = CpuDevices(machine)
    assert sorted(devices.sysfs.listdir("cpu1/topology")) == sorted(files)
    with pytest.raises(KeyError):
        devices.topology.read(0, "book_id")
    if kernel == "3.13":
        assert errno_of(devices.sysfs.read, "cpu1/topology/die_id") == ENOENT
        assert read_cpus(machine, "devices/system/cpu/cpu1/topology/die_id") is None


def test_folders_list_in_the_order_that_was_witnessed(make_machine: Make) -> None:
    devices = CpuDevices(make_machine("skylake-sp", topology=(2, 2, 1, 2), kernel="6.12"))
    topology = "cluster_cpus die_id cluster_cpus_list physical_package_id core_cpus_list die_cpus_list core_siblings "
    topology += "cluster_id core_siblings_list package_cpus package_cpus_list die_cpus thread_siblings_list core_id "
    assert devices.sysfs.listdir("cpu1/topology") == [*topology.split(), "core_cpus", "thread_siblings"]
    # Without what is not there: crash_hotplug, cpuidle, nohz_full and the like.
    names = "cpu7 cpu5 possible offline present cpu3 online cpu1 cpu6 cpu4 isolated kernel_max cpu2 cpu0"
    assert devices.sysfs.listdir(".") == names.split()
    assert devices.sysfs.listdir("cpu1") == ["online", "topology"]


def test_a_machine_says_how_many_processors_there_are(make_machine: Make) -> None:
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 2))
    devices = CpuDevices(machine)
    machine.cpu(3).offline()
    texts = {name: devices.sysfs.read(name) for name in devices.sysfs.listdir(".") if not name.startswith("cpu")}
    assert texts == {
        "possible": b"0-7\n",
        "present": b"0-7\n",
        "online": b"0-2,4-7\n",
        "offline": b"3\n",
        "isolated": b"\n",
        "kernel_max": b"8191\n",
    }
    assert devices.sysfs.stat("online").st_size == 4096
    assert devices.sysfs.stat("online").st_mode & 0o7777 == 0o444


# Switches.


def test_a_switch_takes_what_the_kernel_takes(make_machine: Make) -> None:
    """Witnessed, write by write."""
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 1))
    sysfs = CpuDevices(machine).sysfs
    path = "cpu1/online"
    assert sysfs.stat(path).st_mode & 0o7777 == 0o644
    assert [sysfs.write(path, data) for data in (b"0", b"0\n", b"off")] == [1, 2, 3]
    assert sysfs.read(path) == b"0\n"
    assert [errno_of(sysfs.write, path, data) for data in (b"x", b"2", b" 1")] == [EINVAL] * 3
    assert sysfs.write(path, b"") == 0
    assert sysfs.read(path) == b"0\n"
    assert [sysfs.write(path, data) for data in (b"1", b"1")] == [1, 1]
    assert sysfs.read(path) == b"1\n"
    assert machine.cpu(1).is_online


def test_a_switch_moves_the_zones_as_well(make_machine: Make) -> None:
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 1))
    sysfs = CpuDevices(machine).sysfs
    before = set(machine.sysfs.listdir("class/powercap"))
    for cpu in (2, 3):
        sysfs.write(f"cpu{cpu}/online", b"0")
    assert set(machine.sysfs.listdir("class/powercap")) < before
    sysfs.write("cpu3/online", b"1")
    assert set(machine.sysfs.listdir("class/powercap")) == before


def test_the_last_processor_cannot_be_taken_down(make_machine: Make) -> None:
    machine = make_machine("skylake-sp", topology=(1, 1, 2, 1))
    sysfs = CpuDevices(machine).sysfs
    machine.cpu(0).offline()
    assert errno_of(sysfs.write, "cpu1/online", b"0") == EBUSY
    assert sysfs.read("cpu1/online") == b"1\n"


def test_a_package_that_cannot_be_registered_keeps_its_processor_down(make_machine: Make) -> None:
    machine = make_machine("skylake-sp", topology=(2, 1, 1, 1))
    sysfs = CpuDevices(machine).sysfs
    sysfs.write("cpu1/online", b"0")
    machine.msr.poke(1, 0x611, 0)
    assert errno_of(sysfs.write, "cpu1/online", b"1") == ENODEV
    assert sysfs.read("cpu1/online") == b"0\n"


def test_the_first_processor_has_no_switch(make_machine: Make) -> None:
    """Witnessed on 6.1, 6.12 and 7.2."""
    sysfs = CpuDevices(make_machine("skylake-sp", topology=(1, 1, 2, 1))).sysfs
    assert errno_of(sysfs.read, "cpu0/online") == ENOENT
    assert errno_of(sysfs.open, "online", os.O_WRONLY) == EACCES


def test_a_processor_that_is_down_has_no_topology_and_is_in_no_mask(make_machine: Make) -> None:
    """Witnessed: of eight processors the second went, and who shares its core, die or package counts without it."""
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 2))
    sysfs = CpuDevices(machine).sysfs
    inode = sysfs.stat("cpu4/topology").st_ino
    with sysfs.open("cpu4/topology/core_id") as held, sysfs.open("cpu4/topology") as folder:
        assert held.pread(10, 0) == b"0\n"
        sysfs.write("cpu4/online", b"0")
        assert sysfs.listdir("cpu4") == ["online"]
        assert errno_of(sysfs.read, "cpu4/topology/core_id") == ENOENT
        assert errno_of(held.pread, 10, 0) == ENODEV
        assert sysfs.read("cpu0/topology/core_cpus_list") == b"0\n"
        assert sysfs.read("cpu0/topology/package_cpus_list") == b"0-1,5\n"
        assert sysfs.read("cpu0/topology/package_cpus") == b"23\n"
        sysfs.write("cpu4/online", b"1")
        assert errno_of(held.pread, 10, 0) == ENODEV
        assert folder.listdir() == []
    assert sysfs.read("cpu4/topology/package_cpus_list") == b"0-1,4-5\n"
    assert sysfs.stat("cpu4/topology").st_ino != inode


def test_what_happens_behind_the_tree_shows_at_the_next_look(make_machine: Make) -> None:
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 1))
    devices = CpuDevices(machine)
    with devices.sysfs.open("cpu3/topology/die_id") as held:
        machine.cpu(3).offline()
        assert errno_of(held.pread, 10, 0) == ENODEV
    machine.cpu(0).offline()
    devices.catch_up()
    assert devices.sysfs.listdir("cpu0") == []
    assert devices.sysfs.read("online") == b"1-2\n"
    machine.reset()
    devices.catch_up()
    assert devices.sysfs.read("cpu0/topology/package_cpus_list") == b"0-1\n"


@given(flips=st.lists(st.tuples(st.integers(1, 7), st.booleans()), max_size=12))
@settings(max_examples=25, deadline=None)
def test_the_tree_agrees_with_the_machine_whoever_switches(make_machine: Make, flips: list[tuple[int, bool]]) -> None:
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 2))
    devices = CpuDevices(machine)
    sysfs = devices.sysfs
    for cpu, through_tree in flips:
        up = machine.cpu(cpu).is_online
        if through_tree:
            sysfs.write(f"cpu{cpu}/online", b"0" if up else b"1")
        else:
            (machine.cpu(cpu).offline if up else machine.cpu(cpu).online)()
        devices.catch_up()
        online = set(machine.driver.online)
        assert numbers_of(sysfs.read("online")) == online
        assert numbers_of(sysfs.read("offline")) == set(range(8)) - online
        assert {number for number in range(8) if "topology" in sysfs.listdir(f"cpu{number}")} == online
        packages = [numbers_of(sysfs.read(f"cpu{number}/topology/package_cpus_list")) for number in online]
        assert set.union(*packages) == online


def test_a_recording_is_answered_from_the_same_topology(make_machine: Make) -> None:
    machine = make_machine("skylake-sp", topology=(2, 1, 3, 2))
    sysfs = CpuDevices(machine).sysfs
    folder = "devices/system/cpu"
    assert read_cpus(machine, f"{folder}/online") == sysfs.read("online")
    for name in sysfs.listdir("cpu5/topology"):
        assert read_cpus(machine, f"{folder}/cpu5/topology/{name}") == sysfs.read(f"cpu5/topology/{name}")
    assert read_cpus(machine, f"{folder}/cpu5/cache/size") is None
