# SPDX-License-Identifier: Apache-2.0
"""Which processor has a tree on which kernel, and which treatment it gets there."""

from collections.abc import Callable
from errno import ENOENT

import pytest

from raplica_simulator import KernelCrash, Machine
from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.linux.kernel import KERNELS as ROWS
from raplica_simulator.linux.rapl_models import find_defaults, mmio_defaults
from raplica_simulator.linux.rapl_models import has_peak_power as is_listed_for_peak_power

MakeMachine = Callable[..., Machine]
PACKAGE = "class/powercap/intel-rapl:0"
KERNELS = ("6.1", "6.12")


def models(text: str) -> list[int]:
    return [int(word, 16) for word in text.split()]


# As the reference lists them, by Intel family 6 model in hexadecimal.
CORE = models(
    "2A 2D 3A 3E 3C 45 46 3D 47 56 5E 4E 8E 9E 66 7E 7D 9D A6 A5 8C 8D A7 97 9A BE B7 BA BF 8A 5C 7A 5F 96 86 9C"
)
CORE_SINCE_6_12 = models("AC AA BD C5 C6 B5")
HASWELL_SERVER = models("3F 4F 55 6A 6C 57 85")
ATOM = models("37 4A 4C 5A")
ABSENT = models("4D AD AE AF B6 DD CC D5 D7 0F 1A 00 FF")
PEAK_POWER = models("8C 97 9A BE B7 BA")
PEAK_POWER_SINCE_6_12 = models("7E AC AA B5 C5")
PEAK_POWER_NEVER = models("8D BF C6 BD 9E 55")


def has_tree(machine: Machine) -> bool:
    return machine.sysfs.listdir("class/powercap") != []


def intel(make_machine: MakeMachine, model: int, kernel: str, kind: str = "alderlake") -> Machine:
    return make_machine(kind, kernel, cpu=f"GenuineIntel:6:{model}")


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("model", [*CORE, *HASWELL_SERVER, *ATOM, 0x8F])
def test_models_that_both_kernels_know_have_a_tree(make_machine: MakeMachine, model: int, kernel: str) -> None:
    assert has_tree(intel(make_machine, model, kernel))


@pytest.mark.parametrize("model", [*CORE_SINCE_6_12, 0xCF])
def test_meteor_lunar_arrow_lake_and_emerald_rapids_came_after_6_1(make_machine: MakeMachine, model: int) -> None:
    assert [has_tree(intel(make_machine, model, kernel)) for kernel in KERNELS] == [False, True]


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("model", ABSENT)
def test_avoton_and_parts_with_another_interface_have_no_tree(
    make_machine: MakeMachine, model: int, kernel: str
) -> None:
    assert not has_tree(intel(make_machine, model, kernel))


@pytest.mark.parametrize(
    ("cpu", "trees"),
    [
        ("AuthenticAMD:0x17:0x31", (True, True)),
        ("AuthenticAMD:0x19:0x21", (True, True)),
        ("AuthenticAMD:0x1A:0x44", (False, True)),
        ("HygonGenuine:0x18:1", (True, True)),
        ("AuthenticAMD:0x15:2", (False, False)),
        ("AuthenticAMD:0x18:1", (False, False)),
        ("HygonGenuine:0x17:1", (False, False)),
        ("HygonGenuine:0x19:1", (False, False)),
    ],
)
def test_amd_and_hygon_are_known_by_family(make_machine: MakeMachine, cpu: str, trees: tuple[bool, bool]) -> None:
    assert tuple(has_tree(make_machine("zen3", kernel, cpu=cpu)) for kernel in KERNELS) == trees


@pytest.mark.parametrize("cpu", ["GenuineIntel:15:4", "GenuineIntel:18:1", "AuthenticAMD:6:0x9E"])
def test_intels_table_is_for_its_family_6(make_machine: MakeMachine, cpu: str) -> None:
    for kernel in KERNELS:
        assert not has_tree(make_machine("kabylake", kernel, cpu=cpu))


@pytest.mark.parametrize("kernel", KERNELS)
def test_on_an_unknown_processor_there_is_an_empty_class_and_the_registers_work(
    make_machine: MakeMachine, kernel: str
) -> None:
    machine = intel(make_machine, 0x4D, kernel)
    assert machine.sysfs.listdir("class/powercap") == []
    with pytest.raises(OSError, match="devices/virtual/powercap") as missing:
        machine.sysfs.stat("devices/virtual/powercap")
    assert missing.value.errno == ENOENT
    assert machine.uevents == []
    assert machine.msr.read(0, 0x611) == 0x12345678
    machine.driver.load()
    # 6.1 does not load its modules at all, 6.12 has no device to bind them to.
    with pytest.raises(OSError, match={"6.1": "No such file", "6.12": "No such device"}[kernel]):
        machine.driver.bind()
    machine.driver.unload()
    assert (machine.sysfs.listdir("class/powercap"), machine.driver.loaded) == ([], False)
    machine.cpu(1).offline()
    machine.cpu(1).online()
    machine.suspend()
    machine.resume()
    assert machine.msr.log == []


def has_peak_power(machine: Machine) -> bool:
    return "constraint_2_name" in machine.sysfs.listdir(PACKAGE)


@pytest.mark.pitfall("peak-power-by-model-list")
@pytest.mark.parametrize("model", [*PEAK_POWER, *PEAK_POWER_SINCE_6_12, *PEAK_POWER_NEVER])
def test_peak_power_is_for_listed_models_and_the_list_grew(make_machine: MakeMachine, model: int) -> None:
    found = []
    for kernel in KERNELS:
        machine = intel(make_machine, model, kernel)
        found.append(has_tree(machine) and has_peak_power(machine))
    assert found == [model in PEAK_POWER, model not in PEAK_POWER_NEVER]


@pytest.mark.parametrize("kernel", KERNELS)
def test_peak_power_needs_its_register_and_belongs_to_the_package_alone(make_machine: MakeMachine, kernel: str) -> None:
    machine = make_machine("alderlake", kernel)
    assert machine.sysfs.read(f"{PACKAGE}/constraint_2_name") == b"peak_power\n"
    for zone in ("intel-rapl:0:0", "intel-rapl:1"):
        names = machine.sysfs.listdir(f"class/powercap/{zone}")
        assert not any(name.startswith("constraint_2") for name in names)
    assert not has_peak_power(make_machine("alderlake", kernel, registers={0x601: None}))


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.pitfall("dram-15-3-uj-by-model")
@pytest.mark.pitfall("broadwell-d-three-answers")
@pytest.mark.parametrize("model", [*HASWELL_SERVER, 0x56, 0x8F, 0x9E, 0x2D])
def test_dram_counts_15_3_microjoules_on_listed_servers_only(
    make_machine: MakeMachine, model: int, kernel: str
) -> None:
    machine = intel(make_machine, model, kernel, "skylake-sp")
    fixed = model in HASWELL_SERVER
    assert machine.sysfs.read(f"{PACKAGE}:0/name") == b"dram\n"
    assert machine.sysfs.read(f"{PACKAGE}:0/max_energy_range_uj") == (b"65712999613\n" if fixed else b"262143328850\n")
    assert machine.sysfs.read(f"{PACKAGE}/max_energy_range_uj") == b"262143328850\n"


@pytest.mark.pitfall("silvermont-units")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("model", ATOM)
def test_silvermont_and_airmont_count_upwards(make_machine: MakeMachine, model: int, kernel: str) -> None:
    machine = intel(make_machine, model, kernel, "baytrail")
    assert machine.sysfs.read(f"{PACKAGE}/max_energy_range_uj") == b"137438953440\n"
    assert machine.sysfs.read(f"{PACKAGE}/energy_uj") == b"%d\n" % (0x112233 * 32)
    # 234 units of 32 mW; one unit of time is a second, and the field holds 1 of them.
    assert machine.sysfs.read(f"{PACKAGE}/constraint_0_power_limit_uw") == b"%d\n" % (234 * 32_000)
    assert machine.sysfs.read(f"{PACKAGE}/constraint_0_time_window_us") == b"1000000\n"


@pytest.mark.parametrize(("cpu", "kernel"), [("GenuineIntel:6:0x8F", "6.1"), ("GenuineIntel:6:0xCF", "6.12")])
def test_the_platform_of_sapphire_and_emerald_rapids_counts_joules_in_wide_limits(
    make_machine: MakeMachine, cpu: str, kernel: str
) -> None:
    machine = make_machine("sapphirerapids", kernel, cpu=cpu, registers={0x65C: 0x1FFFF})
    psys = "class/powercap/intel-rapl:1"
    assert machine.sysfs.read(f"{psys}/name") == b"psys\n"
    assert machine.sysfs.read(f"{psys}/max_energy_range_uj") == b"4294967295000000\n"
    assert machine.sysfs.read(f"{psys}/energy_uj") == b"801000000\n"
    assert machine.sysfs.read(f"{psys}/constraint_0_power_limit_uw") == b"%d\n" % (0x1FFFF * 125_000)


# Kernels that were read in the source: every family and model, held against the lists written down here.

KNOWN_IN_3_13 = {(6, model) for model in models("2A 2D 3A 45 37")}
KNOWN_IN_5_5 = KNOWN_IN_3_13 | {
    (6, model)
    for model in models(
        "3E 3C 3F 46 3D 47 4F 56 5E 4E 55 8E 9E 66 7E 7D 9D 6A 6C 4A 4C 5A 5C 7A 5F 86 57 85",
    )
}
NEW_IN_7_1 = {(6, model) for model in models("CC D5 D7")} | {(18, 1), (18, 3)}
KNOWN_IN_6_12 = {(6, model) for model in (*CORE, *CORE_SINCE_6_12, *HASWELL_SERVER, *ATOM, 0x8F, 0xCF)}
PEAK_POWER_IN_6_12 = {(6, model) for model in (*PEAK_POWER, *PEAK_POWER_SINCE_6_12)}
EVERY_INTEL = [CpuId("GenuineIntel", family, model) for family in (5, 6, 15, 18, 19) for model in range(256)]


@pytest.mark.parametrize(
    ("kernel", "known"),
    [
        ("3.13", KNOWN_IN_3_13),
        ("5.5", KNOWN_IN_5_5),
        ("6.12", KNOWN_IN_6_12),
        ("7.2", KNOWN_IN_6_12 | NEW_IN_7_1),
    ],
)
def test_each_kernel_knows_its_models_and_no_other(kernel: str, known: set[tuple[int, int]]) -> None:
    row = ROWS[kernel]
    assert {(cpu.family, cpu.model) for cpu in EVERY_INTEL if find_defaults(cpu, row)} == known


def test_mmio_took_the_processors_treatment_until_it_brought_its_own() -> None:
    for cpu in EVERY_INTEL:
        assert mmio_defaults(cpu, ROWS["6.12"]) == find_defaults(cpu, ROWS["6.12"])
        assert mmio_defaults(cpu, ROWS["7.2"]) == find_defaults(CpuId("GenuineIntel", 6, 0x9E), ROWS["7.2"])


@pytest.mark.parametrize(
    ("kernel", "listed"),
    [
        ("3.13", set()),
        ("5.5", set()),
        ("6.12", PEAK_POWER_IN_6_12),
        ("7.2", PEAK_POWER_IN_6_12 | {(6, 0xCC), (6, 0xD5), (18, 1), (18, 3)}),
    ],
)
def test_each_kernel_has_its_list_for_peak_power(kernel: str, listed: set[tuple[int, int]]) -> None:
    assert {(cpu.family, cpu.model) for cpu in EVERY_INTEL if is_listed_for_peak_power(cpu, ROWS[kernel])} == listed


@pytest.mark.parametrize("kernel", ["3.13", "5.5"])
@pytest.mark.parametrize("vendor", ["AuthenticAMD", "HygonGenuine"])
def test_amd_and_hygon_came_after_5_5(kernel: str, vendor: str) -> None:
    assert not any(find_defaults(CpuId(vendor, family, 1), ROWS[kernel]) for family in range(0x30))


def test_nova_lake_is_a_family_of_its_own_with_the_common_treatment(make_machine: MakeMachine) -> None:
    machine = make_machine("alderlake", "7.2", cpu="GenuineIntel:18:1")
    assert machine.sysfs.read(f"{PACKAGE}/constraint_2_name") == b"peak_power\n"
    assert machine.sysfs.read(f"{PACKAGE}/max_energy_range_uj") == b"262143328850\n"


@pytest.mark.parametrize(
    ("model", "kernel", "crashes"),
    [(0xCC, "7.2", True), (0xD5, "7.2", True), (0xD7, "7.2", False), (0x9A, "7.2", False), (0x9A, "6.12", False)],
)
def test_a_driver_with_a_pmu_of_its_own_is_bound_when_it_is_loaded_and_never_again(
    make_machine: MakeMachine, model: int, kernel: str, *, crashes: bool
) -> None:
    """Witnessed for CC: the switch of the PMU is read-only once the module is loaded."""
    machine = intel(make_machine, model, kernel)
    with pytest.raises(OSError, match="busy"):
        machine.driver.bind()
    machine.driver.unbind()
    if crashes:
        with pytest.raises(KernelCrash, match="read-only memory in rapl_msr_probe"):
            machine.driver.bind()
        assert not has_tree(machine)
        machine.driver.unload()
        machine.driver.load()
    else:
        machine.driver.bind()
    assert has_tree(machine)
