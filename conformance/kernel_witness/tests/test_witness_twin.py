# SPDX-License-Identifier: Apache-2.0
"""The simulated twins of machine descriptions, and that the kernels' committed reports agree with them."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import pytest

from kernel_witness.failure import WitnessError
from kernel_witness.judging import ENDING, differences, load_report
from kernel_witness.machines import load_description, machine_names
from kernel_witness.twin import counting_rates, profile_text, verdicts_of_twin, write_profile
from raplica_simulator import load_profile

REPORTS = sorted((Path(__file__).parents[1] / "reports").glob(f"*{ENDING}"))
MOVING = [name for name in machine_names() if load_description(name).load]


def test_a_twin_has_the_registers_of_its_description(tmp_path: Path) -> None:
    machine = load_description("cascadelake-ap-2s")
    profile = load_profile(write_profile(machine, tmp_path))
    assert profile.rules == "table"
    assert (profile.topology.packages, profile.topology.dies_per_package) == (2, 2)
    assert {die: dict(words) for die, words in profile.registers.items()} == machine.registers


def test_a_machine_with_registers_outside_the_msrs_has_no_twin() -> None:
    with pytest.raises(WitnessError, match=r"^mmio-only: only machines whose zones are all made from MSRs"):
        profile_text(load_description("mmio-only"))


def test_rates_are_what_the_twin_counts(tmp_path: Path) -> None:
    profile = write_profile(load_description("sapphirerapids-2s"), tmp_path)
    # 150 W in 2^-14 J, 30 W of dram in 2^-14 J, psys in joules on the first socket alone.
    package, dram = 150 << 14, 30 << 14
    assert counting_rates(profile, "6.12") == {
        0: {0x611: package, 0x619: dram, 0x64D: 800},
        1: {0x611: package, 0x619: dram},
    }


def test_a_rate_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    machine = load_description("no-uncore")
    text = profile_text(machine).replace("core = 12", "core = 12.00001")
    (tmp_path / "odd.toml").write_text(text, encoding="utf-8")
    with pytest.raises(WitnessError, match=r"odd\.toml: 0x639 counts \d+ steps in 100 s, no whole rate"):
        counting_rates(tmp_path / "odd.toml", "6.1")


@pytest.mark.parametrize("name", MOVING)
def test_every_machine_that_moves_counts_in_whole_steps(name: str, tmp_path: Path) -> None:
    machine = load_description(name)
    rates = counting_rates(write_profile(machine, tmp_path), "6.12")
    assert set(rates) == set(machine.registers)


@functools.cache
def of_twin(name: str, kernel: str) -> dict[str, tuple[str, str]]:
    with tempfile.TemporaryDirectory() as folder:
        return verdicts_of_twin(write_profile(load_description(name), Path(folder)), kernel)


def test_at_least_six_machines_passed_eighty_clauses_on_both_kernels() -> None:
    judged = {
        (report["machine"], report["kernel"])
        for report in map(load_report, REPORTS)
        if report["report"]["summary"]["pass"] >= 80 and report["careful"]["summary"]["pass"] >= 70
    }
    assert len({name for name, _ in judged if {(name, "6.1"), (name, "6.12")} <= judged}) >= 6


def test_every_machine_that_moves_was_judged() -> None:
    assert {report["machine"] for report in map(load_report, REPORTS)} == set(MOVING)


@pytest.mark.untraced  # test_clauses_machines.py shows it
@pytest.mark.slow  # all of them together
@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.name.removesuffix(ENDING))
def test_a_kernel_and_its_twin_got_the_same_verdicts(path: Path) -> None:
    report = load_report(path)
    twin = of_twin(report["machine"], report["kernel"])
    assert differences(report, twin) == [], "judge this machine again: tox -e witness -- judge"


def test_a_verdict_that_differs_is_told_with_both_reasons() -> None:
    report = load_report(REPORTS[0])
    twin = dict(of_twin(report["machine"], report["kernel"]))
    clause = next(name for name, (verdict, _) in twin.items() if verdict == "pass")
    twin[clause] = ("fail", "it is wrong")
    told = [line for line in differences(report, twin) if "careful" not in line]
    assert told == [f"{clause}: the kernel pass, the twin fail (it is wrong)"]


def test_a_careful_run_that_fails_or_leaves_registers_changed_is_told() -> None:
    report = load_report(REPORTS[0])
    twin = of_twin(report["machine"], report["kernel"])
    first = report["careful"]["results"][0]
    first |= {"verdict": "fail", "reason": "no"}
    report |= {"careful_status": 1, "registers_changed": True}
    told = differences(report, twin)
    assert told[0].startswith(f"{first['id']}: the careful run fail (no), the twin ")
    assert told[1] == "the careful run ended with 1 and did not leave the registers as they were"


def test_a_file_that_is_no_report_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"x")
    with pytest.raises(WitnessError, match=r"x: is no report: "):
        load_report(tmp_path / "x")
