# SPDX-License-Identifier: Apache-2.0
"""perun 1.0.0, `perun monitor`: right while no read fails and packages have one digit; it corrects wraps."""

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from .observation import Observation, truth_j

Observe = Callable[..., Observation]
Python = Callable[[str], str]
Monitor = Callable[..., tuple[Observation, dict[str, float]]]

pytestmark = pytest.mark.slow


@pytest.fixture
def monitor(observe: Observe, python_with: Python, tmp_path: Path) -> Monitor:
    """Let it monitor a program that sleeps: what was seen, and the sums of its metrics."""

    def run(sleep_s: float, period_s: float = 0.5, **options: str) -> tuple[Observation, dict[str, float]]:
        perun = Path(python_with("perun")).with_name("perun")
        arguments = ["--sampling-period", str(period_s), "--format", "json", "--data-out", "results", "--binary"]
        seen = observe(perun, "monitor", *arguments, "sleep", str(sleep_s), **options)
        assert seen.status == 0, seen.err
        document: dict[str, Any] = json.loads((tmp_path / "results" / "sleep.json").read_text())
        return seen, {name: metric["sum"] for name, metric in document["metrics"].items()}

    return run


# It makes watts of the counters and integrates those by trapezoids, over times that it takes before it reads. A read
# that came late so counts half: the window is long enough for that not to matter, or a lost part would be much more.


def test_packages_and_memory_are_metered(monitor: Monitor) -> None:
    seen, sums = monitor(sleep_s=3, scenario="base")
    for metric, part in (("cpu_energy", ""), ("dram_energy", ":2")):
        wanted = sum(truth_j(seen.reads(f"intel-rapl:{package}{part}")) for package in (0, 1))
        assert sums[metric] == pytest.approx(wanted, rel=0.01)


def test_counters_that_wrap_again_and_again_are_corrected(monitor: Monitor) -> None:
    seen, sums = monitor(sleep_s=1, period_s=0.1, scenario="several-wraps", speed="20")
    reads = seen.reads("intel-rapl:0")
    assert any(last.given < first.given for first, last in pairwise(reads))
    # One wrap is half of it.
    assert sums["cpu_energy"] == pytest.approx(truth_j(reads), rel=0.1)


def test_a_failed_read_counts_as_nought_and_the_next_as_the_whole_counter(monitor: Monitor) -> None:
    seen, sums = monitor(sleep_s=0.8, period_s=0.25, scenario="eio-third-read")
    (failed,) = [call for call in seen.calls if call.operation == "read" and call.errno]
    assert failed.path.endswith("intel-rapl:0/energy_uj")
    # The truth is some 200 J; the counters stand at 65 kJ and wrap at 262 kJ.
    truth = truth_j(seen.reads("intel-rapl:0")) + truth_j(seen.reads("intel-rapl:1"))
    assert sums["cpu_energy"] > 100 * truth


def test_packages_after_the_tenth_are_lost(monitor: Monitor) -> None:
    # The kernel numbers in hexadecimal, and one digit is looked for: intel-rapl:a to :f and :10 are not seen.
    seen, sums = monitor(sleep_s=1, scenario="two-digit-packages")
    found = [f"intel-rapl:{package}" for package in range(10)]
    assert seen.zones_read() == {*found, *(f"{zone}:0" for zone in found)}
    assert sums["cpu_energy"] == pytest.approx(sum(truth_j(seen.reads(zone)) for zone in found), rel=0.1)
