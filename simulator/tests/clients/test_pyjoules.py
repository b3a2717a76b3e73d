# SPDX-License-Identifier: Apache-2.0
"""pyJoules 0.5.1: right while counters do not wrap and zones are numbered like packages, and where it is not."""

import json
from collections.abc import Callable

import pytest

from .observation import ORDER, Observation, truth_j

Observe = Callable[..., Observation]
Python = Callable[[str], str]

METER = (
    ORDER
    + """
import json, sys, time
from pyJoules.device import DeviceFactory
from pyJoules.energy_meter import EnergyMeter

# However long this host takes, the first look is half a second before the wrap.
order(do="pause")
for domain in sys.argv[2:]:
    order(do="wrap", domain=domain, in_s="0.5")
meter = EnergyMeter(DeviceFactory.create_devices())
meter.start(tag="window")
order(do="run")
time.sleep(float(sys.argv[1]))
meter.stop()
print(json.dumps(list(meter.get_trace())[0].energy))
"""
)
# What it calls a domain, and the zone of the scenario `base` or `mmio-twin` that this is.
ZONES = {
    f"{name}_{package}": f"intel-rapl:{package}{part}"
    for package in (0, 1)
    for name, part in (("package", ""), ("core", ":0"), ("uncore", ":1"), ("dram", ":2"))
}


@pytest.fixture
def meter(observe: Observe, python_with: Python) -> Callable[..., tuple[Observation, dict[str, float]]]:
    """Let it meter for a while: what was seen, and its microjoules by domain, nothing where it failed.

    The counters of the domains that are named wrap half a second after it has begun.
    """

    def run(*wrapping: str, window_s: float = 0.1, **options: str) -> tuple[Observation, dict[str, float]]:
        seen = observe(python_with("pyJoules"), "-I", "-c", METER, str(window_s), *wrapping, **options)
        return seen, json.loads(seen.out) if seen.out else {}

    return run


Meter = Callable[..., tuple[Observation, dict[str, float]]]


@pytest.mark.parametrize(("scenario", "packages"), [("base", 2), ("mmio-twin", 1)])
def test_every_domain_is_metered(meter: Meter, scenario: str, packages: int) -> None:
    seen, said_uj = meter(scenario=scenario, window_s=1)
    absent = {"dram_0"} if scenario == "mmio-twin" else set()
    assert set(said_uj) == {name for name in ZONES if int(name[-1]) < packages} - absent
    for name, energy_uj in said_uj.items():
        reads = seen.reads(ZONES[name])
        assert len(reads) == 2
        assert energy_uj / 1e6 == pytest.approx(truth_j(reads), rel=0.01)


def test_a_wrap_is_energy_below_zero(meter: Meter) -> None:
    seen, said_uj = meter("package-0", window_s=1, machine="skylake-sp-2s", load="package=100")
    reads = seen.reads("intel-rapl:0")
    assert said_uj["package_0"] == reads[1].given - reads[0].given < 0
    range_uj = 262_143_328_850
    assert (said_uj["package_0"] + range_uj) / 1e6 == pytest.approx(truth_j(reads), rel=0.01)


def test_packages_whose_zones_are_numbered_in_another_order_are_lost(meter: Meter) -> None:
    seen, said_uj = meter(scenario="order-swapped")
    assert set(said_uj) == {"dram_0", "dram_1"}
    # And the memory of package 1 is given to package 0.
    reads = seen.reads("intel-rapl:0:0")
    assert said_uj["dram_0"] == reads[1].given - reads[0].given
    assert {call.domain for call in seen.calls if call.path.endswith("intel-rapl:0:0/energy_uj")} >= {"package-1/dram"}


def test_packages_that_are_named_after_dies_are_lost(meter: Meter) -> None:
    _, said_uj = meter(scenario="die-names")
    assert set(said_uj) == {"dram_0", "dram_1", "dram_2", "dram_3"}


def test_what_comes_after_a_gap_in_the_numbers_is_lost(meter: Meter) -> None:
    _, said_uj = meter(scenario="index-gap")
    assert set(said_uj) == {"package_0", "dram_0"}


def test_a_package_behind_psys_is_lost(meter: Meter) -> None:
    _, said_uj = meter(scenario="psys-between")
    assert set(said_uj) == {"package_0", "dram_0", "dram_2"}


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
