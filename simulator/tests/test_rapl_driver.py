# SPDX-License-Identifier: Apache-2.0
"""Which packages and domains the driver finds, what it calls them, and what happens when one of them fails."""

from collections.abc import Callable, Mapping
from errno import EBUSY, EIO, ENODEV, ENOENT

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
CLASS = "class/powercap"
PACKAGE = "class/powercap/intel-rapl:0"
KERNELS = ("6.1", "6.12")
COUNTERS = {"package-0": 0x611, "core": 0x639, "uncore": 0x641, "dram": 0x619, "psys": 0x64D}

pytestmark = pytest.mark.parametrize("kernel", KERNELS)


def tree(machine: Machine) -> dict[str, str]:
    """Zone ids and names, in the order of the ids."""
    zones = (zone for zone in machine.sysfs.listdir(CLASS) if ":" in zone)
    return {zone: machine.sysfs.read(f"{CLASS}/{zone}/name").decode().rstrip("\n") for zone in sorted(zones)}


def errno_of(call: Callable[..., object], *arguments: object) -> int | None:
    """The errno that a call fails with, 0 where it does not."""
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0


@pytest.mark.pitfall("psys-is-a-top-level-zone")
def test_a_client_has_its_domains_below_the_package_and_psys_beside_it(make_machine: MakeMachine, kernel: str) -> None:
    assert tree(make_machine("kabylake", kernel)) == {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "core",
        "intel-rapl:0:1": "uncore",
        "intel-rapl:0:2": "dram",
        "intel-rapl:1": "psys",
    }


@given(st.sets(st.sampled_from(sorted(COUNTERS))))
def test_the_domains_whose_counter_counts_are_there_with_packed_ids(
    make_machine: MakeMachine, kernel: str, silent: set[str]
) -> None:
    machine = make_machine("kabylake", kernel, registers=dict.fromkeys((COUNTERS[name] for name in silent), 0))
    if "package-0" in silent:
        assert machine.sysfs.listdir(CLASS) == []
        return
    children = [name for name in ("core", "uncore", "dram") if name not in silent]
    wanted = {"intel-rapl:0": "package-0"} | {f"intel-rapl:0:{number}": name for number, name in enumerate(children)}
    assert tree(machine) == wanted | ({} if "psys" in silent else {"intel-rapl:1": "psys"})


@pytest.mark.pitfall("dram-is-child-zero-on-servers")
def test_on_a_server_the_first_child_is_dram(make_machine: MakeMachine, kernel: str) -> None:
    assert tree(make_machine("skylake-sp", kernel)) == {"intel-rapl:0": "package-0", "intel-rapl:0:0": "dram"}


@pytest.mark.pitfall("zero-counter-no-zone")
@pytest.mark.parametrize("raw", [0, 0x1_0000_0000, 0xFFFFFFFF_00000000])
def test_a_counter_whose_low_half_reads_0_at_load_means_no_domain(
    make_machine: MakeMachine, kernel: str, raw: int
) -> None:
    machine = make_machine("kabylake", kernel, registers={0x641: raw})
    assert "uncore" not in tree(machine).values()
    machine.msr.poke(0, 0x641, 1)
    assert "uncore" not in tree(machine).values()
    machine.driver.unload()
    machine.driver.load()
    assert tree(machine)["intel-rapl:0:1"] == "uncore"


@pytest.mark.parametrize("register", [0x639, 0x641, 0x619, 0x64D])
def test_a_counter_that_faults_at_load_means_no_domain(make_machine: MakeMachine, kernel: str, register: int) -> None:
    machine = make_machine("kabylake", kernel)
    machine.driver.unload()
    machine.msr.inject(0, register, "read", EIO)
    machine.driver.load()
    assert len(tree(machine)) == 4


@pytest.mark.pitfall("package-counter-zero-no-tree")
@pytest.mark.parametrize("registers", [{0x611: 0}, {0x611: None}])
def test_without_a_package_counter_there_is_no_tree_and_loading_still_succeeds(
    make_machine: MakeMachine, kernel: str, registers: Mapping[int, int | None]
) -> None:
    machine = make_machine("kabylake", kernel, registers=registers)
    assert machine.sysfs.listdir(CLASS) == []
    assert machine.driver.loaded
    machine.msr.poke(0, 0x611, 1)
    machine.driver.load()
    assert tree(machine)["intel-rapl:0"] == "package-0"


@pytest.mark.pitfall("kvm-reads-five-zeros")
def test_a_kvm_guest_reads_five_zeros_faults_on_the_rest_and_has_no_tree(
    make_machine: MakeMachine, kernel: str
) -> None:
    zeros = dict.fromkeys((0x606, 0x611, 0x619, 0x639, 0x641), 0)
    faulting: dict[int, int | None] = dict.fromkeys((0x601, 0x610, 0x613, 0x614, 0x618, 0x61B, 0x638, 0x640, 0x64D))
    others = dict.fromkeys((0x63A, 0x642, 0x65C))
    machine = make_machine("kabylake", kernel, registers={**zeros, **faulting, **others}, rules="silicon")
    assert machine.sysfs.listdir(CLASS) == []
    assert [machine.msr.read(0, register) for register in zeros] == [0] * 5
    for register in faulting:
        assert errno_of(machine.msr.read, 0, register) == EIO


@pytest.mark.pitfall("psys-shifts-package-ids")
def test_top_ids_are_given_in_the_order_in_which_processors_come(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("sapphirerapids", kernel, topology=(2, 1, 2, 1))
    assert tree(machine) == {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "dram",
        "intel-rapl:1": "psys",
        "intel-rapl:2": "package-1",
        "intel-rapl:2:0": "dram",
        "intel-rapl:3": "psys-1",
    }


def test_a_platform_meter_on_the_second_socket_alone_is_psys_1(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine(
        "sapphirerapids", kernel, topology=(2, 1, 2, 1), registers={0x64D: 0}, where={"package.1": {0x64D: 5}}
    )
    assert tree(machine) == {
        "intel-rapl:0": "package-0",
        "intel-rapl:0:0": "dram",
        "intel-rapl:1": "package-1",
        "intel-rapl:1:0": "dram",
        "intel-rapl:2": "psys-1",
    }


@pytest.mark.pitfall("die-in-package-name")
def test_dies_count_from_0_in_each_package_before_6_9_and_through_all_after(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(2, 2, 1, 1))
    second = {"6.1": (0, 1), "6.12": (2, 3)}[kernel]
    names = [name for zone, name in tree(machine).items() if zone.count(":") == 1]
    assert names == ["package-0-die-0", "package-0-die-1", *(f"package-1-die-{die}" for die in second)]


def test_psys_of_a_second_die_is_named_after_its_package(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("sapphirerapids", kernel, topology=(2, 2, 1, 1))
    names = [name for name in tree(machine).values() if name.startswith("psys")]
    assert names == ["psys", "psys-0", "psys-1", "psys-1"]


@pytest.mark.pitfall("die-in-package-name")
def test_amd_packages_are_dies_before_6_11_and_sockets_after(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("zen3", kernel, topology=(2, 2, 2, 1))
    names = [name for name in tree(machine).values() if name != "core"]
    assert (
        names
        == {
            # AMD's die ids are node ids, which count through all sockets on every kernel.
            "6.1": ["package-0-die-0", "package-0-die-1", "package-1-die-2", "package-1-die-3"],
            "6.12": ["package-0", "package-1"],
        }[kernel]
    )
    assert tree(make_machine("zen3", kernel, topology=(1, 1, 2, 1)))["intel-rapl:0"] == "package-0"


@pytest.mark.pitfall("hexadecimal-zone-ids")
@pytest.mark.parametrize(("packages", "last"), [(11, "intel-rapl:a"), (17, "intel-rapl:10")])
def test_the_eleventh_package_is_a_and_the_seventeenth_10(
    make_machine: MakeMachine, kernel: str, packages: int, last: str
) -> None:
    zones = tree(make_machine("skylake-sp", kernel, topology=(packages, 1, 1, 1)))
    assert (zones[last], zones[f"{last}:0"]) == (f"package-{packages - 1}", "dram")


@pytest.mark.pitfall("amd-has-no-constraints")
def test_amd_has_a_package_and_a_core_without_constraints_that_read_disabled(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("zen3", kernel)
    assert tree(machine) == {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core"}
    for zone in tree(machine):
        assert not [name for name in machine.sysfs.listdir(f"{CLASS}/{zone}") if name.startswith("constraint")]
        assert machine.sysfs.read(f"{CLASS}/{zone}/enabled") == b"0\n"
    assert machine.sysfs.read(f"{PACKAGE}/max_energy_range_uj") == b"65532610987\n"


@pytest.mark.pitfall("amd-core-is-one-core")
def test_the_core_zone_of_amd_is_the_lead_processors_core(make_machine: MakeMachine, kernel: str) -> None:
    load = "[load]\npackage = 64\ncore = 32\n"
    machine = make_machine("zen3", kernel, topology=(1, 1, 4, 1), rules="silicon", more=load)
    before = int(machine.sysfs.read(f"{PACKAGE}:0/energy_uj"))
    machine.clock.advance(seconds=100)
    shown = int(machine.sysfs.read(f"{PACKAGE}:0/energy_uj")) - before
    # A quarter of 32 W, and a truncated unit below the true one.
    assert 0 <= 800_000_000 - shown < 800_000_000 * 60 // 1_000_000
    assert machine.truth_uj("package-0/core") == 800_000_000


def test_a_machine_whose_register_0_counts_gets_zones_that_cannot_be_read(
    make_machine: MakeMachine, kernel: str
) -> None:
    # AMD has no uncore, dram and psys registers, so that detection asks for MSR 0.
    machine = make_machine("zen3", kernel, registers={0: 0x8000})
    assert [*tree(machine).values()] == ["package-0", "core", "uncore", "dram", "psys"]
    with pytest.raises(OSError, match=f"{PACKAGE}:1/energy_uj"):
        machine.sysfs.read(f"{PACKAGE}:1/energy_uj")
    assert machine.msr.log == []


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_one_failing_package_takes_the_whole_tree_away(make_machine: MakeMachine, kernel: str, failing: int) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(3, 1, 2, 1), where={f"package.{failing}": {0x611: 0}})
    assert machine.sysfs.listdir(CLASS) == []
    assert machine.driver.loaded
    # The rollback has switched off the limits of the packages that had come before.
    enabled = [machine.msr.read(2 * package, 0x610) >> 15 & 1 for package in range(3)]
    assert enabled == [0 if package < failing else 1 for package in range(3)]
    assert [machine.msr.read(2 * package, 0x618) >> 15 & 1 for package in range(3)] == enabled
    # Each on its last processor, in the order of the processors.
    written = [access.cpu for access in machine.msr.log if access.op == "w"]
    assert list(dict.fromkeys(written)) == [2 * package + 1 for package in range(failing)]


def test_domains_without_a_package_around_them_are_looked_at_and_make_no_zone(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("skylake-sp", kernel, registers={0x611: 0})
    # The dram domain was found, its limit read; the missing parent is noticed last.
    assert (0x618, 0x7FFF) in {(access.register, access.mask) for access in machine.msr.log}
    assert machine.sysfs.listdir(CLASS) == []
    assert [words[0] for words in machine.uevents] == ["ACTION=add", "ACTION=remove"]


def test_unloading_clears_enables_and_clamps_and_loading_finds_them_so(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel, registers={0x610: 0x00438440001B83E8, 0x638: 0x18123})
    machine.driver.unload()
    assert (machine.sysfs.listdir(CLASS), machine.driver.loaded) == ([], False)
    assert (machine.msr.read(0, 0x610), machine.msr.read(0, 0x638)) == (0x00420440001A03E8, 0x123)
    machine.driver.unload()
    machine.driver.load()
    machine.driver.load()
    assert machine.sysfs.read(f"{PACKAGE}/enabled") == b"0\n"
    assert machine.sysfs.read(f"{PACKAGE}/constraint_0_power_limit_uw") == b"125000000\n"


def test_the_log_holds_what_the_last_step_caused_also_where_that_is_nothing(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("kabylake", kernel)
    assert machine.msr.log
    machine.driver.load()
    assert machine.msr.log == []
    machine.driver.unload()
    assert machine.msr.log
    machine.driver.unload()
    assert machine.msr.log == []


def test_teardown_runs_on_the_last_processor_of_a_package(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("skylake-sp", kernel, topology=(2, 1, 3, 1))
    machine.driver.unbind()
    assert {(access.die, access.cpu) for access in machine.msr.log} == {(0, 2), (1, 5)}


def test_binding_again_detects_anew_and_twice_is_refused_as_the_kernel_refuses_it(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("kabylake", kernel)
    machine.driver.unbind()
    assert machine.driver.loaded
    machine.msr.poke(0, 0x641, 0)
    refused = []
    for call in (machine.driver.unbind, machine.driver.bind, machine.driver.bind):
        try:
            call()
        except OSError as error:
            refused.append(error.errno)
    assert refused == [ENODEV, EBUSY]
    assert len(tree(machine)) == 4
    machine.driver.unbind()
    machine.msr.poke(0, 0x611, 0)
    with pytest.raises(OSError, match="No such device"):
        machine.driver.bind()
    assert machine.sysfs.listdir(CLASS) == []


def test_a_control_type_that_somebody_else_has_registered_leaves_no_tree(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = make_machine("kabylake", kernel)
    machine.driver.unload()
    taken = machine.powercap.register_control_type("intel-rapl")
    machine.driver.load()
    assert machine.sysfs.listdir(CLASS) == ["intel-rapl"]
    machine.powercap.unregister_control_type(taken)
    machine.driver.bind()
    assert len(tree(machine)) == 5


def test_without_a_unit_register_6_1_has_no_tree_and_6_12_one_of_zeros(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("kabylake", kernel, registers={0x606: None})
    if kernel == "6.1":
        assert machine.sysfs.listdir(CLASS) == []
        assert errno_of(machine.sysfs.stat, "devices/virtual/powercap") == ENOENT
        return
    for zone in tree(machine):
        for name in machine.sysfs.listdir(f"{CLASS}/{zone}"):
            if name.endswith(("_uj", "limit_uw", "window_us")):
                assert machine.sysfs.read(f"{CLASS}/{zone}/{name}") == b"0\n"
    assert machine.sysfs.read(f"{PACKAGE}/enabled") == b"1\n"
    assert machine.sysfs.read(f"{PACKAGE}/constraint_0_max_power_uw") == b"0\n"


@pytest.mark.parametrize("field", [30, 31])
def test_an_energy_unit_too_small_for_a_nanojoule_is_0(make_machine: MakeMachine, kernel: str, field: int) -> None:
    machine = make_machine("kabylake", kernel, registers={0x606: 0xA0003 | field << 8})
    for name in ("energy_uj", "max_energy_range_uj"):
        assert machine.sysfs.read(f"{PACKAGE}/{name}") == b"0\n"
    assert machine.sysfs.read(f"{PACKAGE}/constraint_0_power_limit_uw") == b"125000000\n"
