# SPDX-License-Identifier: Apache-2.0
"""codecarbon 3.3.2: it corrects wraps and knows the twin of MMIO, and takes two packages that spend alike for one."""

import json
from collections.abc import Callable
from itertools import pairwise

import pytest

from .observation import ORDER, Observation, Said, assert_right, truth_j, unevenness

Observe = Callable[..., Observation]
Python = Callable[[str], str]
Tracker = Callable[..., tuple[Observation, float]]

# It finds the zones in start(), where it ends with two looks at each zone: at the second last its energy begins. The
# window is no multiple of its period: what it measures by itself must not meet what it measures when it is stopped. On
# a busy host it may, and then its looks by itself came late.
TRACKER = (
    ORDER
    + """
import json, os, sys, time
from codecarbon import OfflineEmissionsTracker

tracker = OfflineEmissionsTracker(
    country_iso_code="FRA", measure_power_secs=0.4, save_to_file=False, log_level="info", tracking_mode="machine"
)
tracker.start()
open("/sys/class/powercap/intel-rapl/enabled").close()
time.sleep(0.6)
if sys.argv[2:]:
    path = f"class/powercap/{sys.argv[2]}/energy_uj"
    order(do="fault", path=path, on="read", errno="ENODATA")
    time.sleep(0.8)
    order(do="heal", path=path)
time.sleep(float(sys.argv[1]))
tracker.stop()
print(json.dumps(tracker.final_emissions_data.cpu_energy * 3.6e6))
"""
)
MARK = "/intel-rapl/enabled"

pytestmark = pytest.mark.slow


@pytest.fixture
def tracker(observe: Observe, python_with: Python) -> Tracker:
    """Let it track for 0.6 s and the rest: what was seen, and the joules of the processor.

    The zone that is named fails with ENODATA for 0.8 s more in between.
    """

    def run(*failing: str, rest_s: float = 0.8, **options: str | bool) -> tuple[Observation, float]:
        command = [python_with("codecarbon"), "-I", "-c", TRACKER, str(rest_s), *failing]
        if options.get("unprivileged"):
            # Root without any capability is still the owner of the files.
            closing = 'chmod 0 /sys/class/powercap/*:*/energy_uj 2>&-; exec "$@"'
            command = ["sh", "-c", closing, "sh", *command]
        seen = observe(*command, **options)
        assert seen.status == 0, seen.err
        return seen, json.loads(seen.out)

    return run


def window_j(seen: Observation, zone: str) -> float:
    """The joules that a zone really spent between the beginning and the end of what was tracked."""
    reads = seen.reads(zone)
    return truth_j([reads[begun(seen, zone) - 2], reads[-1]])


def begun(seen: Observation, zone: str) -> int:
    """How many looks at a zone there were when start() had ended."""
    (mark,) = (call.number for call in seen.calls if call.path.endswith(MARK) and call.operation == "open")
    return sum(read.number < mark for read in seen.reads(zone))


def late(seen: Observation, zone: str) -> float:
    """How unevenly it looked by itself: from the last look of start() to the one before that of stop()."""
    return unevenness(seen.reads(zone)[begun(seen, zone) - 1 : -1])


@pytest.mark.parametrize(
    ("options", "zones"),
    [
        ({"scenario": "base"}, ["intel-rapl:0", "intel-rapl:1"]),
        ({"scenario": "mmio-twin"}, ["intel-rapl-mmio:0"]),
        ({"scenario": "several-wraps", "speed": "10"}, ["intel-rapl:0"]),
    ],
)
def test_the_packages_are_metered(tracker: Tracker, options: dict[str, str], zones: list[str]) -> None:
    def run() -> Said:
        seen, joules = tracker(**options)
        assert "CPU Tracking Method: RAPL" in seen.err
        if options["scenario"] == "several-wraps":
            assert any(last.given < first.given for first, last in pairwise(seen.reads("intel-rapl:0")))
        return Said([joules], [sum(window_j(seen, zone) for zone in zones)], late(seen, zones[0]))

    assert_right(run, rel=0.01)


def test_two_packages_that_began_and_spend_alike_count_as_one(tracker: Tracker) -> None:
    # Their counters began 0.3 J apart, and up to 1 J is one to it: it may take its time from the one to the other.
    def run() -> Said:
        seen, joules = tracker(machine="skylake-sp-2s", load="package=1,dram=0.5")
        assert "intel-rapl:1/energy_uj mirrors the one at" in seen.err
        return Said([joules], [window_j(seen, "intel-rapl:0")], late(seen, "intel-rapl:0"))

    assert_right(run, rel=0.01)


def test_what_is_spent_while_reading_fails_is_lost(tracker: Tracker) -> None:
    def run() -> Said:
        seen, joules = tracker("intel-rapl:0", scenario="base")
        failed = [call.number for call in seen.calls if call.operation == "read" and call.errno]
        (gap,) = [
            [first, last]
            for first, last in pairwise(seen.reads("intel-rapl:0"))
            if any(first.number < number < last.number for number in failed)
        ]
        assert truth_j(gap) > 30
        wanted = window_j(seen, "intel-rapl:0") - truth_j(gap) + window_j(seen, "intel-rapl:1")
        return Said([joules], [wanted], late(seen, "intel-rapl:1"))

    assert_right(run, rel=0.01)


def test_zones_that_cannot_be_opened_are_nothing_and_are_still_called_rapl(tracker: Tracker) -> None:
    seen, joules = tracker(scenario="eacces", rest_s=0)
    assert joules == 0
    assert "CPU Tracking Method: RAPL" in seen.err


def test_without_the_right_to_read_it_estimates_from_the_processors_load(tracker: Tracker) -> None:
    seen, joules = tracker(scenario="base", unprivileged=True, rest_s=0)
    assert joules > 0
    assert not seen.reads("intel-rapl:0")
    assert "CPU Tracking Method: RAPL" not in seen.err
