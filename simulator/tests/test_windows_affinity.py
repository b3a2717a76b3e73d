# SPDX-License-Identifier: Apache-2.0
"""Windows: on which CPU the Scaphandre driver really reads, with the wrong affinity mask and with the right one.

The machines here have a counter of its own in every core, so that a value says where it was read.
"""

import struct
from collections.abc import Callable

import pytest

from raplica_simulator import Machine
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import Win32Calls

NEW = r"\\.\ScaphandreDriver"
RW = 0xC0000000
CORE_ENERGY = 0xC001029A
FIRST = 0x00010000


def per_core(make_machine: Callable[..., Machine], packages: int, cores: int) -> Machine:
    """A machine of AMD's whose core N reads FIRST + N."""
    where = {
        f'core."{package}.0.{core}"': {CORE_ENERGY: FIRST + package * cores + core}
        for package in range(packages)
        for core in range(cores)
    }
    return make_machine(
        "zen3", registers={CORE_ENERGY: None}, where=where, topology=(packages, 1, cores, 1), rules="silicon"
    )


@pytest.fixture(scope="module")
def machine(make_machine: Callable[..., Machine]) -> Machine:
    """128 CPUs: two packages, two groups of 64."""
    return per_core(make_machine, 2, 64)


def reader(
    machine: Machine, version: str, home: int, group_size: int = 64, *, fixed: bool = False
) -> tuple[Win32Calls, Callable[[int], int]]:
    """A process whose thread is at home on one CPU, and what tells where a request for a CPU was read."""
    # The list that counts on every processor would let nothing pass here: it is a defect of its own.
    driver = ScaphandreDriver(version, fixed=fixed)
    driver = ScaphandreDriver(version, defects=driver.defects - {"intel-only"})
    system = WindowsSystem(machine, group_size=group_size)
    system.kernel.load(driver)
    process = system.process(cpu=home)
    handle = process.create_file(NEW, RW)

    def read_at(cpu: int) -> int:
        done = process.device_io_control(handle, 0x0022D844, struct.pack("<II", CORE_ENERGY, cpu), 8)
        assert (done.ok, done.returned) == (True, 8)
        return int.from_bytes(done.output, "little") - FIRST

    return process, read_at


@pytest.mark.parametrize("version", ["v3.1", "v3.2"])
@pytest.mark.parametrize(
    ("sent", "home", "read"),
    [
        (0, 0, 0),
        (0, 40, 40),  # an empty mask changes nothing
        (0, 100, 100),
        (1, 40, 0),
        (2, 40, 1),
        (3, 40, 0),  # 0 or 1
        (3, 1, 1),
        (5, 40, 0),  # 0 or 2
        (5, 2, 2),
        (5, 1, 0),
        (8, 40, 3),
        (32, 40, 5),
        (64, 40, 70),  # bit 6 in group 1
        (65, 40, 64),  # bits 0 and 6 in group 1
        (127, 3, 64),
    ],
)
def test_the_wrong_mask_leads_where_its_bits_say(
    machine: Machine, version: str, sent: int, home: int, read: int
) -> None:
    process, read_at = reader(machine, version, home)
    assert read_at(sent) == read
    assert process.thread.cpu == home


@pytest.mark.parametrize("version", ["v3.1", "v3.2"])
def test_of_all_cpus_sent_the_bits_of_the_index_decide(machine: Machine, version: str) -> None:
    _, read_at = reader(machine, version, 40)
    for sent in range(1, 128):
        group = sent // 64
        allowed = {group * 64 + bit for bit in range(7) if sent >> bit & 1}
        assert read_at(sent) in allowed


def test_a_bit_for_which_the_group_has_no_processor_changes_nothing(make_machine: Callable[..., Machine]) -> None:
    _, read_at = reader(per_core(make_machine, 2, 4), "v3.2", 3, group_size=4)
    # Group 1 is the CPUs 4 to 7. Their indexes have bit 2, which it has; with group_size 2 it would not.
    assert [read_at(sent) for sent in range(8)] == [3, 0, 1, 0, 6, 4, 5, 4]
    _, read_at = reader(per_core(make_machine, 2, 4), "v3.2", 3, group_size=2)
    assert [read_at(sent) for sent in range(8)] == [3, 0, 3, 3, 3, 3, 3, 3]


def test_the_first_version_with_a_cpu_reads_wherever_the_caller_runs(machine: Machine) -> None:
    for home in (0, 7, 100):
        _, read_at = reader(machine, "v3", home)
        assert {read_at(sent) for sent in range(128)} == {home}


@pytest.mark.parametrize("version", ["v3", "v3.1", "v3.2"])
def test_a_fixed_driver_reads_where_it_is_told_to(machine: Machine, version: str) -> None:
    process, read_at = reader(machine, version, 40, fixed=True)
    assert [read_at(sent) for sent in range(128)] == list(range(128))
    assert process.thread.cpu == 40


def test_a_request_for_the_second_socket_reads_the_first_one() -> None:
    machine = Machine.from_profile("zen2-epyc-2s")
    system = WindowsSystem.with_driver(machine, ScaphandreDriver())
    process = system.process()
    handle = process.create_file(NEW, RW)
    second = next(one for one in system.kernel.processors.active if one.cpu.package == 1)
    done = process.device_io_control(handle, 0x0022D844, struct.pack("<II", 0xC001029B, second.index), 8)
    sockets = [machine.msr.read(cpu.number, 0xC001029B) for cpu in machine.profile.topology.cpus[:32:16]]
    assert len(set(sockets)) == 2
    assert sockets.index(int.from_bytes(done.output, "little")) == 0


def test_where_the_caller_pins_its_thread_the_first_version_reads_the_right_socket() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    system = WindowsSystem.with_driver(machine, ScaphandreDriver("v2-8-allow"))
    process = system.process()
    handle = process.create_file(NEW, RW)
    for group, package_cpu in ((0, 0), (1, 20)):
        process.set_thread_group_affinity(group, 1)
        done = process.device_io_control(handle, 0x0022D844, struct.pack("<Q", 0x611), 8)
        assert int.from_bytes(done.output, "little") == machine.msr.read(package_cpu, 0x611)


@pytest.mark.parametrize(("defects", "kept"), [(["affinity-kept"], True), ([], False)])
def test_after_a_fault_the_thread_stays_where_the_driver_has_put_it(
    machine: Machine, defects: list[str], *, kept: bool
) -> None:
    system = WindowsSystem(machine)
    system.kernel.load(ScaphandreDriver(defects=defects))
    process = system.process(cpu=40)
    handle = process.create_file(NEW, RW)
    machine.msr.inject(9, CORE_ENERGY, times=1)
    request = struct.pack("<II", CORE_ENERGY, 9)
    assert process.device_io_control(handle, 0x0022D844, request, 8).error == 1117
    assert process.thread.cpu == (9 if kept else 40)
    assert bool(system.kernel.findings) == kept
    # The next request gives the thread back to where it found it.
    assert process.device_io_control(handle, 0x0022D844, struct.pack("<II", CORE_ENERGY, 11), 8).ok
    assert process.thread.cpu == (9 if kept else 40)
