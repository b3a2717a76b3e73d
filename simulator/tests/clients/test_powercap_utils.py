# SPDX-License-Identifier: Apache-2.0
"""powercap-info, rapl-info and powercap-set of powercap-utils: every zone, and limits that bind."""

import re
from collections.abc import Callable

import pytest

from .observation import Observation, truth_j

Observe = Callable[..., Observation]
Program = Callable[[str], str]


def test_powercap_info_prints_every_zone_as_the_machine_has_it(observe: Observe, program: Program) -> None:
    seen = observe(program("powercap-info"), "intel-rapl")
    assert (seen.status, seen.err) == (0, "")
    zones = re.findall(r"Zone (\S+)\n\s+name: (\S+)", seen.out)
    parts = ["core", "uncore", "dram"]
    wanted = [(f"{package}", f"package-{package}") for package in (0, 1)]
    nested = [(f"{package}:{part}", name) for package in (0, 1) for part, name in enumerate(parts)]
    assert sorted(zones) == sorted(wanted + nested)
    # Children stand below their parents, so every zone's energy is printed, as it was read.
    energies = sorted(int(value) for value in re.findall(r" energy_uj: (\d+)", seen.out))
    assert energies == sorted(read.given for zone in seen.zones_read() for read in seen.reads(zone))
    assert len(energies) == 8


def test_powercap_info_reads_without_root_too(observe_rootless: Observe, program: Program) -> None:
    seen = observe_rootless(program("powercap-info"), "intel-rapl", "-z", "1", "-j")
    (read,) = seen.reads("intel-rapl:1")
    assert (seen.status, seen.out, seen.err) == (0, f"{read.given}\n", "")


def test_rapl_info_names_the_zones_and_limits(observe: Observe, program: Program) -> None:
    seen = observe(program("rapl-info"))
    assert (seen.status, seen.err) == (0, "")
    assert re.findall(r"(Zone|Subzone) (\d+)\n\s+name: (\S+)", seen.out) == [
        (kind, number, name)
        for package in "01"
        for kind, number, name in (
            ("Zone", package, f"package-{package}"),
            ("Subzone", "0", "core"),
            ("Subzone", "1", "uncore"),
            ("Subzone", "2", "dram"),
        )
    ]
    assert seen.out.count("power_limit_uw: 125000000") == 2


def test_powercap_info_meters_by_its_energy_option(observe: Observe, program: Program) -> None:
    script = '"$0" intel-rapl -z 1 -j; sleep 1; "$0" intel-rapl -z 1 -j; "$0" intel-rapl -z 1:1 -x'
    seen = observe("sh", "-c", script, program("powercap-info"))
    before, after, name = seen.out.split()
    assert name == "uncore"
    assert (int(after) - int(before)) / 1e6 == pytest.approx(truth_j(seen.reads("intel-rapl:1")), rel=0.01)


def test_powercap_set_lowers_a_limit_and_the_package_draws_less(observe: Observe, program: Program) -> None:
    script = (
        '"$0" intel-rapl -z 0 -c 0 -l 20000000 -s 1000000; "$1" intel-rapl -z 0 -c 0 -l; "$1" intel-rapl -z 0 -c 0 -s;'
        '"$1" intel-rapl -z 0 -j; sleep 1; "$1" intel-rapl -z 0 -j'
    )
    seen = observe("sh", "-c", script, program("powercap-set"), program("powercap-info"), speed="20")
    assert (seen.status, seen.err) == (0, "")
    limit_uw, window_us, before, after = map(int, seen.out.split())
    assert (limit_uw, window_us) == (20_000_000, 999_424)
    reads = seen.reads("intel-rapl:0")
    seconds = (reads[1].at_ns - reads[0].at_ns) / 1e9
    joules = (after - before) / 1e6
    assert joules == pytest.approx(truth_j(reads), rel=0.01)
    # It wants 50 W. A limit lets the draw exceed it by what its window holds and no more.
    assert 20 * seconds * 0.99 <= joules <= 20 * (seconds + 1) * 1.001
