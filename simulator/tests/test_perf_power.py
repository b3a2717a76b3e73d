# SPDX-License-Identifier: Apache-2.0
"""perf's power PMUs: which events there are, what their files say, who reads, and that counts are the energy spent.

What is marked as witnessed was read on unmodified kernels 6.1.192, 6.12.117 and 7.2.12 in an emulator, or off their
module rapl.
"""

from collections.abc import Callable
from errno import EACCES, EINVAL, ENODEV, ENOENT
from fractions import Fraction
from pathlib import Path

import pytest

from raplica_simulator import Machine
from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.linux.kernel import find_kernel
from raplica_simulator.linux.perf_devices import PmuDevice
from raplica_simulator.linux.perf_models import find_model
from raplica_simulator.linux.perf_power import PowerPmu, free_perf_type, power_pmus

Make = Callable[..., Machine]

STEP_J = Fraction(1, 1 << 32)
NOTHING: frozenset[str] = frozenset()
# Intel models of family 6 in the alias table of the module.
IN_6_1 = frozenset(
    (*(0x2A, 0x2D, 0x3A, 0x3E, 0x3C, 0x3F, 0x45, 0x46, 0x3D, 0x47, 0x4F, 0x56, 0x57, 0x85, 0x4E, 0x5E, 0x55, 0x8E),
     *(0x9E, 0x66, 0x5C, 0x5F, 0x7A, 0x7E, 0x7D, 0x6C, 0x6A, 0xA6, 0xA5, 0x8C, 0x8D, 0x97, 0x9A, 0xBE, 0x8F, 0xCF),
     *(0xB7, 0xBA, 0xBF, 0xAC, 0xAA))
)  # fmt: skip
IN_6_12 = IN_6_1 | {0xC5, 0xC6, 0xB5, 0xBD}


def errno_of(call: Callable[..., object], *arguments: object, **named: object) -> int:
    try:
        call(*arguments, **named)
    except OSError as error:
        return error.errno or 0
    return 0


def device_of(machine: Machine, name: str = "power") -> PmuDevice:
    return PmuDevice(PowerPmu(machine, name), machine.kernel, 1000)


# Which events there are.


@pytest.mark.parametrize(
    ("kernel", "models"), [("3.13", NOTHING), ("6.1", IN_6_1), ("6.12", IN_6_12), ("7.2", IN_6_12)]
)
def test_a_kernel_lists_the_models_of_its_module(kernel: str, models: frozenset[int]) -> None:
    row = find_kernel(kernel)
    listed = {n for n in range(256) if find_model(CpuId("GenuineIntel", 6, n), NOTHING, row) is not None}
    assert listed == models
    # Of AMD and Hygon those with the flag, whatever their number.
    assert find_model(CpuId("AuthenticAMD", 0x1A, 2), NOTHING, row) is None
    amd = find_model(CpuId("AuthenticAMD", 0x1A, 2), frozenset({"rapl"}), row)
    assert (amd is not None) == (kernel != "3.13")
    assert find_model(CpuId("GenuineIntel", 15, 0x2A), NOTHING, row) is None


@pytest.mark.parametrize(
    ("profile", "events"),
    [
        ("sandybridge", "cores pkg gpu"),
        ("kabylake", "cores pkg ram gpu psys"),
        # PP0 reads 0 on a server, and perf finds no domain, as powercap finds none.
        ("skylake-sp-2s", "pkg ram"),
        ("haswell-ep-2s", "pkg ram"),
        ("sapphirerapids-2s", "pkg ram psys"),
        ("apollolake", "cores pkg ram gpu"),
        ("zen2-epyc-2s", "pkg"),
        ("zen4", "pkg"),
    ],
)
def test_a_machine_has_the_events_of_its_domains(profile: str, events: str) -> None:
    pmu = PowerPmu(Machine.from_profile(profile))
    assert [event.name for event in pmu.events] == [f"energy-{name}" for name in events.split()]


@pytest.mark.pitfall("perf-amd-package-only")
def test_amd_has_no_event_for_cores_but_a_pmu_of_their_own_on_new_kernels() -> None:
    """Witnessed in so far as 7.2's module has a power_core, and 6.12's has none."""
    old, new = (Machine.from_profile("zen2-epyc-2s", kernel=kernel) for kernel in ("6.12", "7.2"))
    assert [pmu.name for pmu in power_pmus(old)] == ["power"]
    assert errno_of(PowerPmu, old, "power_core") == ENODEV
    power, cores = power_pmus(new)
    assert [event.name for event in power.events] == ["energy-pkg"]
    assert [(event.name, event.config) for event in cores.events] == [("energy-core", 1)]
    # One processor of each core.
    assert cores.cpumask == list(range(32))
    assert [pmu.name for pmu in power_pmus(Machine.from_profile("kabylake", kernel="7.2"))] == ["power"]


@pytest.mark.parametrize(("profile", "kernel"), [("kabylake", "3.13"), ("baytrail", "6.12"), ("zen4", "5.5")])
def test_some_machines_have_zones_and_no_events(profile: str, kernel: str) -> None:
    machine = Machine.from_profile(profile, kernel=kernel)
    assert power_pmus(machine) == []
    assert errno_of(PowerPmu, machine) == ENODEV


def test_only_the_names_of_the_two_pmus_are_known() -> None:
    with pytest.raises(ValueError, match="no PMU 'cstate_core': they are power and power_core"):
        PowerPmu(Machine.from_profile("kabylake"), "cstate_core")


def test_a_domain_is_there_by_what_its_counter_read_at_boot(make_machine: Make) -> None:
    machine = make_machine("kabylake", registers={0x641: 0, 0x64D: None, 0x639: 1 << 32})
    assert [event.name for event in PowerPmu(machine).events] == ["energy-pkg", "energy-ram"]
    # Before, any bit of it counted.
    old = make_machine("kabylake", registers={0x641: 0, 0x64D: None, 0x639: 1 << 32}, kernel="5.5")
    assert [event.name for event in PowerPmu(old).events] == ["energy-cores", "energy-pkg", "energy-ram"]
    # It was looked at once.
    machine.msr.poke(0, 0x641, 77)
    assert [event.name for event in PowerPmu(machine).events] == ["energy-pkg", "energy-ram"]


def test_a_machine_without_a_unit_register_has_no_pmu(make_machine: Make) -> None:
    assert errno_of(PowerPmu, make_machine("kabylake", registers={0x606: None})) == ENODEV
    fault = '[[faults.register]]\nregister = "0x606"\non = "read"\n'
    assert errno_of(PowerPmu, make_machine("kabylake", more=fault)) == ENODEV


def test_the_platform_event_of_sapphire_rapids_is_always_there(make_machine: Make) -> None:
    """Witnessed: nobody looks at its counter."""
    machine = make_machine("sapphirerapids", registers=dict.fromkeys((0x611, 0x619, 0x64D), 0))
    assert [event.name for event in PowerPmu(machine).events] == ["energy-psys"]


# Files.


def test_the_folder_holds_what_was_witnessed_in_its_order(make_machine: Make) -> None:
    machine = make_machine("sapphirerapids", registers=dict.fromkeys((0x611, 0x619, 0x64D), 0), topology=(2, 2, 1, 2))
    sysfs = device_of(machine).sysfs
    # Less uevent and the link to the bus.
    assert sysfs.listdir(".") == ["format", "power", "perf_event_mux_interval_ms", "type", "cpumask", "events"]
    assert sysfs.listdir("events") == ["energy-psys.scale", "energy-psys.unit", "energy-psys"]
    assert sysfs.listdir("format") == ["event"]
    power = "runtime_active_time runtime_active_kids runtime_usage runtime_status autosuspend_delay_ms async "
    assert sysfs.listdir("power") == [*power.split(), "runtime_suspended_time", "runtime_enabled", "control"]
    assert {name: sysfs.read(name) for name in ("type", "cpumask", "perf_event_mux_interval_ms", "format/event")} == {
        "type": b"1000\n",
        "cpumask": b"0-3\n",  # one of each of four dies, which the witness numbers 0, 2, 4, 6
        "perf_event_mux_interval_ms": b"4\n",
        "format/event": b"config:0-7\n",
    }
    assert sysfs.read("events/energy-psys") == b"event=0x05\n"
    modes = {name: sysfs.stat(name).st_mode & 0o7777 for name in ("type", "cpumask", "events/energy-psys.scale")}
    assert set(modes.values()) == {0o444}
    assert sysfs.stat("perf_event_mux_interval_ms").st_mode & 0o7777 == 0o644


@pytest.mark.pitfall("perf-scale-and-codes")
@pytest.mark.parametrize("profile", ["kabylake", "skylake-sp-2s", "sapphirerapids-2s", "zen4"])
def test_the_scale_is_the_same_whatever_a_register_counts_in(profile: str) -> None:
    device = device_of(Machine.from_profile(profile, kernel="7.2"))
    codes = {"energy-cores": 1, "energy-pkg": 2, "energy-ram": 3, "energy-gpu": 4, "energy-psys": 5}
    assert device.pmu.events
    for event in device.pmu.events:
        assert device.sysfs.read(f"events/{event.name}") == b"event=0x%02x\n" % codes[event.name]
        scale = device.sysfs.read(f"events/{event.name}.scale").decode()
        assert Fraction(scale.strip()) == STEP_J
        assert device.sysfs.read(f"events/{event.name}.unit") == b"Joules\n"


def test_a_folder_without_events_is_empty(make_machine: Make) -> None:
    """Witnessed, as KVM's guests have it, whose counters read 0."""
    zeros = dict.fromkeys((0x606, 0x611, 0x619, 0x639), 0)
    device = device_of(make_machine("skylake-sp", registers=zeros))
    assert device.sysfs.listdir("events") == []


def test_the_interval_takes_what_the_kernel_takes_for_an_integer() -> None:
    sysfs = device_of(Machine.from_profile("kabylake")).sysfs
    path = "perf_event_mux_interval_ms"
    for data, reads in ((b"7\n", b"7\n"), (b"+9", b"9\n"), (b"0x10", b"16\n"), (b"010\n", b"8\n"), (b"5\0x", b"5\n")):
        assert sysfs.write(path, data) == len(data)
        assert sysfs.read(path) == reads
    for data in (b"0", b"-1", b"x", b" 1", b"1 ", b"\n", b"2147483648", b"09", b"1\n\n"):
        assert errno_of(sysfs.write, path, data) == EINVAL
    assert sysfs.read(path) == b"5\n"
    assert errno_of(sysfs.write, "type", b"1") == EACCES


# Who reads.


def test_the_reader_of_a_die_moves_as_it_was_witnessed(make_machine: Make) -> None:
    """Two packages of two dies with one core of two threads: down one by one, and up again from the last."""
    machine = make_machine("sapphirerapids", topology=(2, 2, 1, 2))
    sysfs = device_of(machine).sysfs
    # The witness numbers both threads of a core before the next core; here all first threads come first.
    ours = [cpu // 2 + 4 * (cpu % 2) for cpu in range(8)]
    seen = []
    for cpu in range(1, 8):
        machine.cpu(ours[cpu]).offline()
        seen.append(masked(sysfs.read("cpumask"), ours))
    assert seen == [{0, 2, 4, 6}, {0, 3, 4, 6}, {0, 4, 6}, {0, 5, 6}, {0, 6}, {0, 7}, {0}]
    seen = []
    for cpu in range(7, 0, -1):
        machine.cpu(ours[cpu]).online()
        seen.append(masked(sysfs.read("cpumask"), ours))
    assert seen == [{0, 7}, {0, 7}, {0, 5, 7}, {0, 5, 7}, {0, 3, 5, 7}, {0, 3, 5, 7}, {0, 3, 5, 7}]


def masked(listed: bytes, ours: list[int]) -> set[int]:
    """A cpumask in the witness's numbers."""
    found = set()
    for part in listed.decode().strip().split(","):
        first, _, last = part.partition("-")
        found |= {ours.index(number) for number in range(int(first), int(last or first) + 1)}
    return found


def test_amd_has_one_reader_for_a_die_and_later_for_a_package(make_machine: Make) -> None:
    old, new = (
        make_machine("zen3", kernel=kernel, topology=(2, 2, 1, 1), flags=("rapl",)) for kernel in ("6.1", "6.12")
    )
    assert PowerPmu(old).cpumask == [0, 1, 2, 3]
    assert PowerPmu(new).cpumask == [0, 2]


# Opening.


def test_an_event_opens_on_any_processor_that_is_up_and_nowhere_else() -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    pmu = PowerPmu(machine)
    machine.cpu(7).offline()
    assert errno_of(pmu.open, 2, 7) == ENODEV
    assert [errno_of(pmu.open, 2, cpu) for cpu in (-1, 80)] == [EINVAL, EINVAL]
    # Also on one that does not read for its die.
    machine.load.set(package=100)
    counter = pmu.open("energy-pkg", 65)
    machine.clock.advance(seconds=1)
    assert counter.read() * STEP_J == pytest.approx(100, abs=0.001)


@pytest.mark.parametrize("config", [0, 1, 4, 5, 6, 255, 0x102, 1 << 63, -1, "energy-cores", "energy", ""])
def test_a_config_that_is_no_event_of_the_machine_is_refused(config: int | str) -> None:
    assert errno_of(PowerPmu(Machine.from_profile("skylake-sp-2s")).open, config, 0) == EINVAL


def test_energy_cannot_be_sampled() -> None:
    assert errno_of(PowerPmu(Machine.from_profile("kabylake")).open, 2, 0, sample_period=1000) == EINVAL


# The number of the PMU.


def test_a_free_type_is_one_that_no_pmu_has_and_so_is_the_next(tmp_path: Path) -> None:
    assert free_perf_type(tmp_path) == 1000
    for name, text in {"cpu": "4\n", "a": "1000\n", "b": "1003", "c": "none", "d": "1002\n"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "type").write_text(text)
    (tmp_path / "e").mkdir()
    assert free_perf_type(tmp_path) == 1004
    assert free_perf_type(tmp_path / "missing") == 1000


def test_the_type_of_this_host_is_free() -> None:
    found = free_perf_type()
    taken = {file.read_text().strip() for file in Path("/sys/bus/event_source/devices").glob("*/type")}
    assert not {str(found), str(found + 1)} & taken


def test_nothing_is_there_by_a_name_that_no_kernel_has() -> None:
    assert errno_of(device_of(Machine.from_profile("kabylake")).sysfs.read, "events/energy-dram") == ENOENT
