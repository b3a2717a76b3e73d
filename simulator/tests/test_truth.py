# SPDX-License-Identifier: Apache-2.0
"""What was really spent, by the name of a domain, whatever the counters and the driver make of it."""

from collections.abc import Callable
from fractions import Fraction

import pytest

from raplica_simulator import Machine

MakeMachine = Callable[..., Machine]
LOAD = "[load]\npackage = 40\ncore = 24\nuncore = 4\ndram = 6\npsys = 50\n"


@pytest.mark.pitfall("what-includes-what")
def test_every_domain_has_its_own_joules(make_machine: MakeMachine) -> None:
    machine = make_machine(more=LOAD)
    machine.clock.advance(seconds=Fraction(1, 2))
    spent = {name: machine.truth_joules(f"package-0{name}") for name in ("", "/core", "/uncore", "/dram")}
    assert spent == {"": 20, "/core": 12, "/uncore": 2, "/dram": 3}
    assert machine.truth_joules("psys") == 25
    assert machine.truth_uj("psys") == 25_000_000
    assert spent[""] >= spent["/core"] + spent["/uncore"]
    assert machine.truth_joules("psys") >= spent[""] + spent["/dram"]


def test_the_truth_is_whole_microjoules_cut_and_never_wraps(make_machine: MakeMachine) -> None:
    machine = make_machine(more="[load]\npackage = 0.000003\n")
    machine.clock.advance(seconds=Fraction(3, 4))
    assert (machine.truth_uj("package-0"), machine.truth_joules("package-0")) == (2, Fraction(9, 4_000_000))
    year = make_machine(more="[load]\npackage = 100\n")
    year.clock.advance(seconds=365 * 86_400)
    assert year.truth_uj("package-0") == 100 * 365 * 86_400 * 1_000_000


def test_the_truth_is_exact_between_the_ticks_that_counters_wait_for(make_machine: MakeMachine) -> None:
    machine = make_machine(more="[load]\npackage = 1000\n", registers={0x610: 0})
    start = machine.msr.read(0, 0x611)
    machine.clock.advance(nanoseconds=999_999)
    assert (machine.truth_uj("package-0"), machine.msr.read(0, 0x611)) == (999_999, start)


@pytest.mark.parametrize(("kernel", "second"), [("6.1", "package-1-die-0"), ("6.12", "package-1-die-2")])
def test_dies_are_known_by_the_names_that_the_kernel_gives_them(
    make_machine: MakeMachine, kernel: str, second: str
) -> None:
    limited = {'die."1.0"': {0x610: 0x8000}}  # a limit of 0 W, enabled: this die stands still once its credit is gone
    machine = make_machine(
        "skylake-sp", kernel, topology=(2, 2, 1, 1), registers={0x610: 0}, where=limited, more="[load]\npackage = 20\n"
    )
    machine.clock.advance(seconds=10)
    assert machine.truth_joules("package-0") == 200
    assert [machine.truth_joules(f"package-0-die-{die}") for die in (0, 1)] == [100, 100]
    assert machine.truth_joules(second) == 0
    # Counted from 0 in the package it is understood on both kernels.
    assert machine.truth_joules("package-1-die-0") == 0
    assert machine.truth_joules("package-1-die-1") == machine.truth_joules("package-1") == 100


@pytest.mark.pitfall("amd-core-is-one-core")
def test_the_core_of_an_amd_package_is_its_first_and_any_other_has_a_name(make_machine: MakeMachine) -> None:
    load = '[load]\npackage = 30\n[load.core]\n"0.0.0" = 1\n"0.0.1" = 2\n"0.0.2" = 4\n"1.0.0" = 8\n'
    machine = make_machine("zen3", topology=(2, 1, 3, 1), rules="silicon", more=load)
    machine.clock.advance(seconds=1)
    names = ("package-0/core", "package-0/core-0", "package-0/core-1", "package-0/core-2", "package-1/core")
    assert [machine.truth_joules(name) for name in names] == [1, 1, 2, 4, 8]


def test_the_core_of_an_intel_package_is_all_its_cores(make_machine: MakeMachine) -> None:
    machine = make_machine(more='[load]\npackage = 30\n[load.core]\n"0.0.0" = 1\n"0.0.1" = 2\n')
    machine.clock.advance(seconds=1)
    assert machine.truth_joules("package-0/core") == 3
    assert [machine.truth_joules(f"package-0/core-{core}") for core in (0, 1)] == [1, 2]


def test_psys_is_one_platform_by_every_name_it_has(make_machine: MakeMachine) -> None:
    machine = make_machine("sapphirerapids", topology=(2, 1, 1, 1), more="[load]\npackage = 10\npsys = 15\n")
    machine.clock.advance(seconds=2)
    assert [machine.truth_joules(name) for name in ("psys", "psys-0", "psys-1")] == [60, 60, 60]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "package",
        "package-2",
        "package-0-die-2",
        "package-0/psys",
        "package-0/core-2",
        "package-0/gpu",
        "package-0/core/",
        "package-\u0660",
        "psys-2",
        "psys-",
        "core",
        "package-0\n",
    ],
)
def test_a_name_that_the_machine_does_not_have_is_refused_with_those_it_has(
    make_machine: MakeMachine, name: str
) -> None:
    machine = make_machine("skylake-sp", topology=(2, 1, 2, 1))
    with pytest.raises(ValueError, match=r"no domain .* here: say psys or package-N \(0 to 1\), with /core") as refused:
        machine.truth_uj(name)
    assert repr(name) in str(refused.value)


def test_a_die_beyond_its_package_is_refused_on_6_1_where_6_12_means_another_one(make_machine: MakeMachine) -> None:
    for kernel, known in (("6.1", False), ("6.12", True)):
        machine = make_machine("skylake-sp", kernel, topology=(2, 2, 1, 1))
        if known:
            assert machine.truth_uj("package-1-die-2") == 0
        else:
            with pytest.raises(ValueError, match="package-1-die-2"):
                machine.truth_uj("package-1-die-2")


def test_the_truth_of_an_amd_core_stays_with_the_first_when_the_zone_goes_on_to_another(
    make_machine: MakeMachine,
) -> None:
    # CPUs 0 and 2 are the first core, 1 and 3 the second.
    machine = make_machine(
        "zen3",
        topology=(1, 1, 2, 2),
        rules="silicon",
        more='[load]\npackage = 40\n[load.core]\n"0.0.0" = 5\n"0.0.1" = 20\n',
    )

    def grown_uj() -> tuple[int, int]:
        zone = "class/powercap/intel-rapl:0:0/energy_uj"
        shown, truth = int(machine.sysfs.read(zone)), machine.truth_uj("package-0/core")
        machine.clock.advance(seconds=1)
        return round(int(machine.sysfs.read(zone)) - shown, -5), machine.truth_uj("package-0/core") - truth

    assert grown_uj() == (5_000_000, 5_000_000)
    # CPU 2 of the first core still runs, but CPU 1 has the lower number.
    machine.cpu(0).offline()
    assert grown_uj() == (20_000_000, 5_000_000)
