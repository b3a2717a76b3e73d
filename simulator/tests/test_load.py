# SPDX-License-Identifier: Apache-2.0
"""Watts as people write them, and which of them fit together."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_simulator.hardware.topology import Topology
from raplica_simulator.load.demand import Load, Watts, microwatts


def test_the_command_lines_watts_are_exact() -> None:
    assert Load.parse("package=100, dram=7.5,core=0.1") == Load(
        package_uw=100_000_000, core_uw=100_000, dram_uw=7_500_000
    )


def test_what_is_not_named_stays_as_it_was() -> None:
    base = Load.of(package=80.0, core=30, dram=12)
    assert Load.parse("package=40", base) == Load.of(package=40, core=30, dram=12)
    assert base.with_(dram=0) == Load.of(package=80, core=30)


@pytest.mark.parametrize(
    ("watts", "uw"),
    [(1, 1_000_000), (0.1, 100_000), ("2.5", 2_500_000), (Decimal("0.000001"), 1), (Fraction(1, 8), 125_000), (0, 0)],
)
def test_watts_may_be_any_number_and_a_float_counts_as_what_it_prints_as(watts: Watts, uw: int) -> None:
    assert microwatts(watts, "package") == uw


@given(st.integers(0, 10**12))
def test_any_whole_number_of_microwatts_survives_as_decimal_text(uw: int) -> None:
    assert Load.parse(f"package={Decimal(uw) / 10**6:f}").package_uw == uw


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not NAME=WATTS"),
        ("package", "is not NAME=WATTS"),
        ("package=", "is not NAME=WATTS"),
        ("package=1,", "is not NAME=WATTS"),
        ("pkg=1", "unknown name 'pkg': the names are package, core"),
        ("package=1,package=2", "package is given twice"),
        ("package=much", "package is 'much', it must be a number of watts"),
        ("package=1_0", "package is '1_0', it must be a number of watts"),
        ("package=\u0663", "it must be a number of watts"),
        (f"package=0.{'1' * 1000}", f"package is 0.{'1' * 58}... W, finer than a microwatt"),
        ("package=-1", "package is -1 W, it must be 0 or more"),
        ("package=nan", "it must be finite"),
        ("package=inf", "it must be finite"),
        ("package=1e30", "more than any machine draws"),
        ("package=0.0000001", "finer than a microwatt"),
        ("core=5", "core 5 W and uncore 0 W exceed package 0 W"),
        ("package=10,core=6,uncore=4.5", "core 6 W and uncore 4.5 W exceed package 10 W"),
        ("package=10,dram=2,psys=11.9", "psys 11.9 W is below package 10 W and dram 2 W"),
    ],
)
def test_bad_text_is_refused_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^load: ") as refusal:
        Load.parse(text)
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("watts", [None, True, [1], b"1"])
def test_watts_of_another_type_are_refused(watts: object) -> None:
    with pytest.raises(ValueError, match="package is"):
        Load.of(package=watts)  # type: ignore[arg-type]


def test_parts_that_just_fit_are_taken() -> None:
    load = Load.of(package=10, core=6, uncore=4, dram=2, psys=12)
    assert (load.core_uw + load.uncore_uw, load.psys_uw) == (10_000_000, 12_000_000)


def test_platform_watts_can_be_given_and_taken_back() -> None:
    load = Load.of(package=10, psys=15)
    assert load.psys_uw == 15_000_000
    assert load.with_(psys=None).psys_uw is None


def test_core_and_single_cores_replace_each_other() -> None:
    single = Load.of(package=10, core=6).with_({(0, 0, 1): 2.5})
    assert (single.core_uw, dict(single.cores_uw)) == (0, {(0, 0, 1): 2_500_000})
    together = single.with_(core=3)
    assert (together.core_uw, dict(together.cores_uw)) == (3_000_000, {})
    with pytest.raises(ValueError, match="core and single cores are both given"):
        Load.of(package=10, core=1, cores={(0, 0, 0): 1})


def test_single_cores_are_summed_package_by_package() -> None:
    fits = {(0, 0, 0): 4, (0, 0, 1): 5, (1, 0, 0): 9}
    assert Load.of(package=10, uncore=1, cores=fits).package_uw == 10_000_000
    with pytest.raises(ValueError, match="core 10 W and uncore 1 W exceed package 10 W"):
        Load.of(package=10, uncore=1, cores={(1, 0, 0): 4, (1, 0, 1): 6})


def test_a_load_cannot_be_changed_and_can_be_a_key() -> None:
    cores = {(0, 0, 0): 1}
    load = Load(package_uw=5, cores_uw=cores)
    cores[0, 0, 0] = 9
    assert dict(load.cores_uw) == {(0, 0, 0): 1}
    with pytest.raises(TypeError):
        load.cores_uw[0, 0, 0] = 9  # type: ignore[index]
    assert hash(load) == hash(Load(package_uw=5, cores_uw={(0, 0, 0): 1}))


@pytest.mark.parametrize("uw", [-1, 1.0, True])
def test_microwatts_are_whole_and_not_negative(uw: object) -> None:
    with pytest.raises(ValueError, match="load: dram is"):
        Load(dram_uw=uw)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"load: core 0\.0\.3 is"):
        Load(package_uw=9, cores_uw={(0, 0, 3): uw})  # type: ignore[dict-item]


def test_names_that_python_code_gets_wrong_are_a_type_error() -> None:
    with pytest.raises(TypeError, match="unknown name 'pkg'"):
        Load().with_(pkg=1)
    with pytest.raises(ValueError, match="package is None"):
        Load().with_(package=None)


def test_a_core_that_the_machine_lacks_is_refused() -> None:
    topology = Topology(2, 1, 4, 1)
    Load.of(package=5, cores={(1, 0, 3): 5}).check(topology)
    for core in ((2, 0, 0), (0, 1, 0), (0, 0, 4), (-1, 0, 0)):
        with pytest.raises(ValueError, match=r"does not exist: the machine has packages 0 to 1, dies 0 to 0"):
            Load.of(package=5, cores={core: 1}).check(topology)


def test_cores_may_not_exceed_their_dies_share_of_the_package() -> None:
    topology = Topology(1, 2, 2, 1)
    Load.of(package=20, cores={(0, 0, 0): 10}).check(topology)
    with pytest.raises(ValueError, match=r"cores of die 0\.1 want 11 W .* \(1/2 of package 20 W\)"):
        Load.of(package=20, cores={(0, 1, 0): 5, (0, 1, 1): 6}).check(topology)
