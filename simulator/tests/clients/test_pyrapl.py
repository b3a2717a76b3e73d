# SPDX-License-Identifier: Apache-2.0
"""pyRAPL 0.2.3.1: right while counters do not wrap and every package has a zone named package-N, and where not."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from .observation import ORDER, Observation, truth_j

Observe = Callable[..., Observation]
Python = Callable[[str], str]
Meter = Callable[..., tuple[Observation, dict[str, Any]]]

METER = (
    ORDER
    + """
import json, sys, time
import pyRAPL

pyRAPL.setup()
window = pyRAPL.Measurement("window")
# However long this host takes, the first look is half a second before the wrap.
order(do="pause")
for domain in sys.argv[2:]:
    order(do="wrap", domain=domain, in_s="0.5")
window.begin()
order(do="run")
time.sleep(float(sys.argv[1]))
window.end()
print(json.dumps({"pkg": window.result.pkg, "dram": window.result.dram}))
"""
)


@pytest.fixture
def meter(observe: Observe, python_with: Python) -> Meter:
    """Let it meter for a while: what was seen, and its microjoules by kind and package, nothing where it failed.

    The counters of the domains that are named wrap half a second after it has begun.
    """

    def run(*wrapping: str, window_s: float = 0.1, **options: str) -> tuple[Observation, dict[str, Any]]:
        # It has regular expressions that newer Pythons warn of.
        seen = observe(python_with("pyRAPL"), "-I", "-W", "ignore", "-c", METER, str(window_s), *wrapping, **options)
        return seen, json.loads(seen.out) if seen.out else {}

    return run


@pytest.mark.parametrize(
    ("scenario", "zones"),
    [
        ("base", {"pkg": ["intel-rapl:0", "intel-rapl:1"], "dram": ["intel-rapl:0:2", "intel-rapl:1:2"]}),
        ("order-swapped", {"pkg": ["intel-rapl:1", "intel-rapl:0"], "dram": ["intel-rapl:1:0", "intel-rapl:0:0"]}),
        ("psys-between", {"pkg": ["intel-rapl:0", "intel-rapl:2"], "dram": ["intel-rapl:0:0", "intel-rapl:2:0"]}),
        ("mmio-twin", {"pkg": ["intel-rapl:0"], "dram": None}),
    ],
)
def test_packages_and_their_memory_are_metered(meter: Meter, scenario: str, zones: dict[str, list[str] | None]) -> None:
    seen, said_uj = meter(scenario=scenario, window_s=1)
    assert set(said_uj) == set(zones)
    for kind, places in zones.items():
        if places is None:
            assert said_uj[kind] is None
            continue
        assert len(said_uj[kind]) == len(places)
        for energy_uj, zone in zip(said_uj[kind], places, strict=True):
            reads = seen.reads(zone)
            assert len(reads) == 2
            assert energy_uj / 1e6 == pytest.approx(truth_j(reads), rel=0.01)


def test_a_counter_that_wraps_is_energy_below_zero(meter: Meter) -> None:
    seen, said_uj = meter("package-0", "package-1/dram", window_s=1, machine="skylake-sp-2s", load="package=100,dram=8")
    for kind, package, zone in (("pkg", 0, "intel-rapl:0"), ("dram", 1, "intel-rapl:1:0")):
        first, last = seen.reads(zone)
        assert said_uj[kind][package] == last.given - first.given < 0
        assert said_uj[kind][1 - package] > 0


def test_where_every_counter_of_a_kind_wraps_nothing_is_left_of_it(meter: Meter) -> None:
    wrapping = ("package-0", "package-1")
    _, said_uj = meter(*wrapping, window_s=1, machine="skylake-sp-2s", load="package=100,dram=8")
    assert said_uj["pkg"] is None
    assert len(said_uj["dram"]) == 2


def test_packages_that_are_named_after_dies_are_more_than_it_can_count(meter: Meter) -> None:
    seen, said_uj = meter(scenario="die-names")
    assert (seen.status, said_uj) == (1, {})
    assert seen.err.splitlines()[-1] == "pyRAPL.exception.PyRAPLCantRecordEnergyConsumption"


def test_a_processor_that_is_offline_ends_it(meter: Meter) -> None:
    seen, said_uj = meter(scenario="index-gap")
    assert (seen.status, said_uj) == (1, {})
    assert "FileNotFoundError" in seen.err.splitlines()[-1]
    assert "/sys/devices/system/cpu/cpu4/topology/physical_package_id" in seen.err.splitlines()[-1]


def test_more_than_ten_packages_are_more_than_it_can_count(meter: Meter) -> None:
    seen, said_uj = meter(scenario="two-digit-packages")
    assert (seen.status, said_uj) == (1, {})
    assert seen.err.splitlines()[-1] == "pyRAPL.exception.PyRAPLCantRecordEnergyConsumption"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"scenario": "eacces"}, "PermissionError: [Errno 13] Permission denied"),
        ({"scenario": "enodata", "at": "5"}, "OSError: [Errno 61] No data available"),
    ],
)
def test_an_error_of_a_read_ends_the_program_that_it_meters(meter: Meter, options: dict[str, str], error: str) -> None:
    seen, said_uj = meter(**options)
    assert (seen.status, said_uj) == (1, {})
    assert seen.err.splitlines()[-1].startswith(error)
