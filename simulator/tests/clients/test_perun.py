# SPDX-License-Identifier: Apache-2.0
"""perun 1.0.0, `perun monitor`: right while no read fails and packages have one digit; it corrects wraps."""

import json
import tempfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from .observation import Observation, Read, Said, assert_right, truth_j, unevenness

Observe = Callable[..., Observation]
Python = Callable[[str], str]
Monitor = Callable[..., tuple[Observation, dict[str, float]]]

pytestmark = pytest.mark.slow


@pytest.fixture
def monitor(observe: Observe, python_with: Python, tmp_path: Path) -> Monitor:
    """Let it monitor a program that sleeps: what was seen, and the sums of its metrics."""

    def run(sleep_s: float, period_s: float = 0.5, **options: str) -> tuple[Observation, dict[str, float]]:
        perun = Path(python_with("perun")).with_name("perun")
        results = tempfile.mkdtemp(dir=tmp_path)  # where it finds results of before, it adds to those
        arguments = ["--sampling-period", str(period_s), "--format", "json", "--data-out", results, "--binary"]
        seen = observe(perun, "monitor", *arguments, "sleep", str(sleep_s), **options)
        assert seen.status == 0, seen.err
        document: dict[str, Any] = json.loads(Path(results, "sleep.json").read_text())
        return seen, {name: metric["sum"] for name, metric in document["metrics"].items()}

    return run


# It makes watts of the counters and integrates those by trapezoids, over times that it takes before it reads.


def late(reads: list[Read]) -> float:
    """How unevenly it looked; the last look follows the one before at once."""
    *periods, end = reads
    return unevenness(periods) + (end.at_ns - periods[-1].at_ns) / (end.at_ns - reads[0].at_ns)


def test_packages_and_memory_are_metered(monitor: Monitor) -> None:
    def run() -> Said:
        seen, sums = monitor(sleep_s=3, scenario="base")
        truth = [sum(truth_j(seen.reads(f"intel-rapl:{n}{part}")) for n in (0, 1)) for part in ("", ":2")]
        return Said([sums["cpu_energy"], sums["dram_energy"]], truth, late(seen.reads("intel-rapl:0")))

    assert_right(run, rel=0.01)


def test_counters_that_wrap_again_and_again_are_corrected(monitor: Monitor) -> None:
    def run() -> Said:
        seen, sums = monitor(sleep_s=1, period_s=0.1, scenario="several-wraps", speed="20")
        reads = seen.reads("intel-rapl:0")
        assert any(last.given < first.given for first, last in pairwise(reads))
        return Said([sums["cpu_energy"]], [truth_j(reads)], late(reads))

    # One wrap is half of it.
    assert_right(run, rel=0.1)


def test_a_failed_read_counts_as_nought_and_the_next_as_the_whole_counter(monitor: Monitor) -> None:
    seen, sums = monitor(sleep_s=0.8, period_s=0.25, scenario="eio-third-read")
    (failed,) = [call for call in seen.calls if call.operation == "read" and call.errno]
    assert failed.path.endswith("intel-rapl:0/energy_uj")
    # The truth is some 200 J; the counters stand at 65 kJ and wrap at 262 kJ.
    truth = truth_j(seen.reads("intel-rapl:0")) + truth_j(seen.reads("intel-rapl:1"))
    assert sums["cpu_energy"] > 100 * truth


def test_packages_after_the_tenth_are_lost(monitor: Monitor) -> None:
    # The kernel numbers in hexadecimal, and one digit is looked for: intel-rapl:a to :f and :10 are not seen.
    found = [f"intel-rapl:{package}" for package in range(10)]

    def run() -> Said:
        seen, sums = monitor(sleep_s=1, scenario="two-digit-packages")
        assert seen.zones_read() == {*found, *(f"{zone}:0" for zone in found)}
        truth = sum(truth_j(seen.reads(zone)) for zone in found)
        return Said([sums["cpu_energy"]], [truth], late(seen.reads("intel-rapl:0")))

    assert_right(run, rel=0.1)
