# SPDX-License-Identifier: Apache-2.0
"""Each event by itself, on a machine whose time stands: what it does, and what ends it."""

import os
from collections.abc import Callable
from errno import EACCES, EINVAL, EIO, ENODATA, ENODEV, ENOENT, EPERM
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.faults.event import Event
from raplica_simulator.faults.trigger import Trigger
from raplica_simulator.faults.verbs import VERBS, read_event
from raplica_simulator.linux.msr_dev import MsrModule

ENERGY = "class/powercap/intel-rapl:0/energy_uj"
WRAP = 1 << 32
TREE = "devices/virtual/powercap"

Happen = Callable[..., None]


@pytest.fixture
def machine() -> Machine:
    return Machine.from_profile("skylake-sp-2s")


def errno_of(function: Callable[..., object], *arguments: Any) -> int:
    """The errno of a call, 0 where it goes well."""
    try:
        function(*arguments)
    except OSError as error:
        return error.errno or -1
    return 0


def zones(machine: Machine) -> list[str]:
    return sorted(machine.sysfs.listdir("class/powercap"))


# Errors.


def test_a_fault_on_open_is_met_by_root_and_ends_when_it_is_healed(machine: Machine, happen: Happen) -> None:
    happen("fault", path=ENERGY, on="open", errno="EACCES")
    assert errno_of(machine.sysfs.read, ENERGY) == EACCES
    assert errno_of(machine.sysfs.open, f"/sys/{ENERGY}", os.O_RDONLY) == EACCES
    happen("heal", path=f"/sys/{ENERGY}")
    assert errno_of(machine.sysfs.read, ENERGY) == 0


def test_only_the_third_read_of_a_file_fails(machine: Machine, happen: Happen) -> None:
    happen("fault", path=ENERGY, errno="EIO", read=3)
    assert [errno_of(machine.sysfs.read, ENERGY) for _ in range(5)] == [0, 0, EIO, 0, 0]


def test_reads_of_one_descriptor_are_counted_too(machine: Machine, happen: Happen) -> None:
    happen("fault", path=ENERGY, errno="ENODATA", after=1, times=2)
    with machine.sysfs.open(ENERGY) as file:
        assert [errno_of(file.pread, 100, 0) for _ in range(4)] == [0, ENODATA, ENODATA, 0]


def test_several_files_fail_by_one_event_and_each_counts_for_itself(machine: Machine, happen: Happen) -> None:
    other = "class/powercap/intel-rapl:1/energy_uj"
    happen("fault", path=[ENERGY, other], errno="EIO", read=2)
    assert [errno_of(machine.sysfs.read, path) for path in (ENERGY, ENERGY, other, other)] == [0, EIO, 0, EIO]


def test_of_two_faults_of_one_call_the_later_holds_and_other_calls_have_their_own(
    machine: Machine, happen: Happen
) -> None:
    happen("fault", path=ENERGY, errno="EIO", read=3)
    happen("fault", path=ENERGY, on="open", errno="EACCES", after=2)
    happen("fault", path=ENERGY, errno="ENODATA", after=1)
    assert [errno_of(machine.sysfs.read, ENERGY) for _ in range(3)] == [0, ENODATA, EACCES]
    happen("heal", path=ENERGY, on="open")
    assert errno_of(machine.sysfs.read, ENERGY) == ENODATA
    for errno, times in (("EIO", 5), ("EIO", 1)):
        happen("fault", register="0x611", package=0, errno=errno, times=times)
    assert [errno_of(machine.msr.read, 0, 0x611) for _ in range(2)] == [EIO, 0]


def test_a_fault_of_a_register_is_eio_at_the_device_and_einval_in_the_tree(machine: Machine, happen: Happen) -> None:
    happen("fault", register="0x611", package=0, times=2)
    assert errno_of(machine.msr.read, 3, 0x611) == EIO
    assert errno_of(machine.sysfs.read, ENERGY) == EINVAL
    assert errno_of(machine.sysfs.read, ENERGY) == 0
    assert errno_of(machine.msr.read, 20, 0x611) == 0


def test_reads_of_a_register_are_counted_whoever_executes_them(machine: Machine, happen: Happen) -> None:
    happen("fault", register=0x611, read=3, errno="ENXIO")
    found = [errno_of(machine.msr.read, 0, 0x611), errno_of(machine.sysfs.read, ENERGY)]
    found += [errno_of(machine.msr.read, 1, 0x611), errno_of(machine.msr.read, 1, 0x611)]
    assert found == [0, 0, 6, 0]
    # The other package's register is another instance and has its own count.
    assert [errno_of(machine.msr.read, 20, 0x611) for _ in range(4)] == [0, 0, 6, 0]


def test_a_register_that_cannot_be_written_is_healed_by_both_names(machine: Machine, happen: Happen) -> None:
    value = machine.msr.read(0, 0x610)
    happen("fault", register=0x610, cpu=0, on="write")
    assert errno_of(machine.msr.write, 0, 0x610, value) == EIO
    assert machine.msr.read(0, 0x610) == value
    happen("heal", register=0x610, cpu=0, on="read")
    assert errno_of(machine.msr.write, 0, 0x610, value) == EIO
    happen("heal", register=0x610)
    assert errno_of(machine.msr.write, 0, 0x610, value) == 0


def test_words_in_memory_fail_and_count_as_registers_do(make_machine: Callable[..., Machine]) -> None:
    machine = make_machine("kabylake", rules="silicon", more="[mmio]\n0x5938 = 0xA0E03\n0x593C = 0x1234\n0x59A0 = 0")
    machine.mmio.inject(0x593C, errno=EIO, after=1, times=1)
    assert [errno_of(machine.mmio.read, 0x593C) for _ in range(3)] == [0, EIO, 0]
    machine.mmio.inject(0x59A0, on="write", errno=EIO, times=1)
    assert [errno_of(machine.mmio.write, 0x59A0, 8) for _ in range(2)] == [EIO, 0]
    # A word that no table lists reads 0, and fails all the same where it is told to.
    machine.mmio.inject(0x7000, errno=EIO, times=1)
    assert errno_of(machine.mmio.read, 0x7000) == EIO
    assert machine.mmio.read(0x7000) == 0


@given(after=st.integers(0, 5), times=st.none() | st.integers(0, 5), calls=st.integers(0, 15))
def test_a_trigger_lets_some_pass_then_fails_some_then_none(after: int, times: int | None, calls: int) -> None:
    trigger = Trigger("read", EIO, after, times)
    last = calls if times is None else after + times
    assert [trigger.trips() for _ in range(calls)] == [after <= call < last for call in range(calls)]


def test_a_closed_msr_device_lets_read_and_not_write(machine: Machine, module: MsrModule, happen: Happen) -> None:
    happen("msr-device", allow_writes="off")
    with module.device(0).open(os.O_RDWR) as file:
        assert errno_of(file.pwrite, bytes(8), 0x610) == EPERM
        assert errno_of(file.pread, 8, 0x610) == 0
    happen("msr-device", lockdown=True)
    assert (module.allow_writes, module.lockdown) == ("default", True)
    end = read_event({"do": "msr-device", "lockdown": True}).opposite()
    assert end is not None
    end.do(machine, module)
    assert (module.allow_writes, module.lockdown) == ("default", False)


# Masks.


def test_below_a_mask_nothing_is_found_and_links_lead_nowhere(machine: Machine, happen: Happen) -> None:
    before = zones(machine)
    happen("mask")
    assert zones(machine) == before
    assert machine.sysfs.readlink("class/powercap/intel-rapl:0").endswith("/intel-rapl/intel-rapl:0")
    assert errno_of(machine.sysfs.read, ENERGY) == ENOENT
    assert errno_of(machine.sysfs.stat, f"{TREE}/intel-rapl") == ENOENT
    assert machine.sysfs.listdir(TREE) == []
    mask = machine.sysfs.stat(TREE)
    assert (oct(mask.st_mode), mask.st_size, mask.st_nlink) == ("0o41777", 40, 2)
    happen("unmask")
    assert zones(machine) == before
    assert errno_of(machine.sysfs.read, ENERGY) == 0


def test_who_has_a_file_open_reads_on_below_a_mask(machine: Machine, happen: Happen) -> None:
    with machine.sysfs.open(ENERGY) as file, machine.sysfs.open(TREE) as folder:
        before = file.pread(100, 0)
        happen("mask")
        assert file.pread(100, 0) == before
        assert folder.listdir() == ["intel-rapl"]


def test_drivers_go_on_below_a_mask(machine: Machine, happen: Happen) -> None:
    happen("mask")
    happen("offline", package=1)
    happen("unmask")
    assert zones(machine) == ["intel-rapl", "intel-rapl:0", "intel-rapl:0:0"]


def test_a_mask_goes_with_the_directory_below_it(machine: Machine, happen: Happen) -> None:
    happen("mask")
    with machine.sysfs.open(TREE) as mask:
        happen("unload-driver")
        assert mask.listdir() == []
    assert errno_of(machine.sysfs.listdir, TREE) == ENOENT
    happen("load-driver")
    assert errno_of(machine.sysfs.read, ENERGY) == 0


def test_what_lies_below_a_mask_goes_with_the_directory_above(machine: Machine, happen: Happen) -> None:
    happen("mask", path=f"{TREE}/intel-rapl/intel-rapl:0")
    with machine.sysfs.open(f"{TREE}/intel-rapl/intel-rapl:1/energy_uj") as other:
        happen("unload-driver")
        assert errno_of(other.pread, 10, 0) == ENODEV
    happen("load-driver")
    assert errno_of(machine.sysfs.read, ENERGY) == 0


def test_a_mask_lies_over_a_directory_and_only_once(machine: Machine) -> None:
    assert errno_of(machine.sysfs.mask, ENERGY) == 20  # ENOTDIR
    assert errno_of(machine.sysfs.mask, "/sys") == 16  # EBUSY
    machine.sysfs.mask(TREE)
    assert errno_of(machine.sysfs.mask, TREE) == 16
    machine.sysfs.unmask(TREE)
    assert errno_of(machine.sysfs.unmask, TREE) == EINVAL


# The machine as a whole.


def test_a_package_goes_with_its_processors_and_comes_back(machine: Machine, happen: Happen) -> None:
    before = zones(machine)
    with machine.sysfs.open("class/powercap/intel-rapl:1/energy_uj") as file:
        happen("offline", package=1)
        assert errno_of(file.pread, 10, 0) == ENODEV
    assert zones(machine) == ["intel-rapl", "intel-rapl:0", "intel-rapl:0:0"]
    happen("offline", cpu=3)
    assert not machine.cpu(3).is_online
    happen("offline", cpu=3)
    happen("online", cpu=3)
    happen("online", package=1)
    happen("online", package=1)
    assert zones(machine) == before


def test_the_driver_goes_and_comes_and_the_machine_sleeps_and_wakes(machine: Machine, happen: Happen) -> None:
    before = zones(machine)
    happen("unload-driver")
    assert zones(machine) == []
    happen("load-driver")
    assert zones(machine) == before
    happen("suspend")
    assert machine.msr.log != []
    happen("resume")
    assert errno_of(machine.sysfs.read, ENERGY) == 0


def test_a_reset_opens_the_msr_device_again_and_begins_the_counters_anew(
    machine: Machine, module: MsrModule, happen: Happen
) -> None:
    happen("msr-device", allow_writes="off")
    first = machine.msr.read(0, 0x611)
    machine.clock.advance(seconds=5)
    happen("reset")
    assert (machine.msr.read(0, 0x611), module.allow_writes) == (first, "default")


def test_watts_change_in_every_package_or_in_one(machine: Machine, happen: Happen) -> None:
    happen("load", package=50, dram=3)
    happen("load", package=20, on_package=1)
    machine.clock.advance(seconds=1)
    assert [machine.truth_uj(f"package-{n}") for n in (0, 1)] == [50_000_000, 20_000_000]
    assert machine.draw_w("package-1/dram") == 3


def test_a_limit_that_firmware_lowers_binds(machine: Machine, happen: Happen) -> None:
    happen("load", package=150)
    happen("poke", register=0x610, value=0x000185A0001181E0, package=0)
    machine.clock.advance(seconds=100)
    assert 60 * 100 <= machine.truth_uj("package-0") / 1e6 < 60 * 101
    assert machine.truth_uj("package-1") == 15_000_000_000


def test_firmware_reaches_memory_as_well(make_machine: Callable[..., Machine]) -> None:
    machine = make_machine("kabylake", more="[mmio]\n0x5938 = 0xA0E03\n0x593C = 0x1234\n0x59A0 = 0")
    for words in ({"space": "mmio"}, {"space": "mmio", "package": 0}):
        event = read_event({"do": "poke", "register": "0x59A0", "value": 7, **words})
        event.check(machine)
        event.do(machine, MsrModule(machine))
        assert machine.mmio.read(0x59A0) == 7
    with pytest.raises(ValueError, match="belongs to no cpu"):
        read_event({"do": "poke", "register": 1, "value": 7, "space": "tpmi", "cpu": 0}).check(machine)


def test_what_ends_an_event_undoes_it(machine: Machine, module: MsrModule) -> None:
    tables: list[dict[str, object]] = [
        {"do": "offline", "package": 1},
        {"do": "unload-driver"},
        {"do": "mask"},
        {"do": "fault", "path": ENERGY, "on": "open", "errno": "EACCES"},
        {"do": "suspend"},
        {"do": "stop-counter", "domain": "package-0"},
    ]
    for table in tables:
        event = read_event(table)
        end = event.opposite()
        assert end is not None
        event.do(machine, module)
        end.check(machine)
        end.do(machine, module)
        before = machine.sysfs.read(ENERGY)
        machine.clock.advance(seconds=1)
        assert (zones(machine)[-1], machine.sysfs.read(ENERGY) != before) == ("intel-rapl:1:0", True)
    ends = {name for name, verb in VERBS.items() if verb.opposite is not Event.opposite}
    assert ends == {str(table["do"]) for table in tables} | {"msr-device"}
