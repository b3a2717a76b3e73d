# SPDX-License-Identifier: Apache-2.0
"""prometheus-node-exporter 1.5: every zone is there, and what its labels and metrics make of odd machines."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import pytest

from .observation import Observation, truth_j

Observe = Callable[..., Observation]
Program = Callable[[str], str]

SCRAPE = Path(__file__).with_name("scrape.py")
METRIC = re.compile(r'node_rapl_(\w+)_joules_total\{index="(\d+)",path="/sys/class/powercap/([^"]+)"\} (\S+)')
SUCCESS = 'node_scrape_collector_success{collector="rapl"} 1'


class Sample(NamedTuple):
    """One line of a page: the name in the metric, the label `index`, and joules."""

    name: str
    label: str
    joules: float


class Scrapes(NamedTuple):
    """What was seen, what the exporter logged after it had started, and for each page whether it said success."""

    seen: Observation
    told: str
    succeeded: list[bool]
    pages: list[dict[str, Sample]]


@pytest.fixture
def scrape(observe: Observe, program: Program) -> Callable[..., Scrapes]:
    """Scrape it on a machine, so often and so many seconds apart."""

    def run(count: int = 1, seconds: float = 0, **options: str) -> Scrapes:
        exporter = program("prometheus-node-exporter")
        seen = observe(sys.executable, "-I", SCRAPE, exporter, str(count), str(seconds), **options)
        assert seen.status == 0, seen.err
        said = json.loads(seen.out)
        pages = [
            {zone: Sample(name, index, float(joules)) for name, index, zone, joules in METRIC.findall(page)}
            for page in said["pages"]
        ]
        return Scrapes(seen, said["told"], [SUCCESS in page for page in said["pages"]], pages)

    return run


@pytest.fixture
def is_1_5(program: Program) -> None:
    """Go on where the exporter is of the version whose oddities are written down here."""
    done = subprocess.run(
        [program("prometheus-node-exporter"), "--version"], capture_output=True, text=True, check=True
    )
    version = (done.stdout + done.stderr).split("version ", 1)[1].split()[0]
    if not version.startswith("1.5."):
        pytest.skip(f"prometheus-node-exporter is {version} here, and this was seen on 1.5")


Scrape = Callable[..., Scrapes]


def test_every_zone_is_there_with_the_energy_that_it_has(scrape: Scrape) -> None:
    seen, _, succeeded, (first, last) = scrape(2, 1, scenario="base")
    assert succeeded == [True, True]
    assert {zone: (sample.name, sample.label) for zone, sample in last.items()} == {
        f"intel-rapl:{package}{part}": (name, f"{package}")
        for package in (0, 1)
        for name, part in (("package", ""), ("core", ":0"), ("uncore", ":1"), ("dram", ":2"))
    }
    for zone, sample in last.items():
        reads = seen.reads(zone)
        assert [first[zone].joules, sample.joules] == pytest.approx([read.given / 1e6 for read in reads], abs=1e-6)
        assert sample.joules - first[zone].joules == pytest.approx(truth_j(reads), rel=0.01)


def test_a_wrap_is_left_to_who_evaluates_and_no_range_is_told(scrape: Scrape) -> None:
    seen, _, _, pages = scrape(8, 0.1, scenario="several-wraps", speed="20")
    joules = [page["intel-rapl:0"].joules for page in pages]
    assert joules == pytest.approx([read.given / 1e6 for read in seen.reads("intel-rapl:0")], abs=1e-6)
    # A counter that starts again counts as a reset there: what was spent up to the wrap is lost.
    assert any(last < first for first, last in pairwise(joules))
    assert set(pages[0]) == {"intel-rapl:0", "intel-rapl:0:0"}


@pytest.mark.usefixtures("is_1_5")
def test_the_twin_of_mmio_is_the_package_a_second_time(scrape: Scrape) -> None:
    *_, (page,) = scrape(scenario="mmio-twin")
    twins = {zone for zone, sample in page.items() if (sample.name, sample.label) == ("package", "0")}
    assert twins == {"intel-rapl:0", "intel-rapl-mmio:0"}


@pytest.mark.usefixtures("is_1_5")
@pytest.mark.parametrize(
    ("scenario", "zone", "of_memory", "of_package"),
    [
        ("order-swapped", "intel-rapl:0", "0", "1"),
        ("index-gap", "intel-rapl:2", "1", "2"),
        ("two-digit-packages", "intel-rapl:10", "1", "16"),
    ],
)
def test_memory_gets_the_index_of_another_package(
    scrape: Scrape, scenario: str, zone: str, of_memory: str, of_package: str
) -> None:
    *_, (page,) = scrape(scenario=scenario)
    assert (page[zone].label, page[f"{zone}:0"].label) == (of_package, of_memory)
    assert page[zone].name == "package"


@pytest.mark.usefixtures("is_1_5")
def test_packages_that_are_named_after_dies_get_metrics_of_their_own(scrape: Scrape) -> None:
    *_, (page,) = scrape(scenario="die-names")
    names = {sample.name for sample in page.values()}
    assert names == {"dram", "package_0_die_0", "package_0_die_1", "package_1_die_2", "package_1_die_3"}


@pytest.mark.usefixtures("is_1_5")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"scenario": "enodata", "at": "5"}, "read /sys/class/powercap/intel-rapl:0/energy_uj: no data available"),
        ({"scenario": "eacces"}, None),
    ],
)
def test_one_zone_that_cannot_be_read_takes_all_of_them_away(
    scrape: Scrape, options: dict[str, str], told: str | None
) -> None:
    scrapes = scrape(**options)
    assert (scrapes.succeeded, scrapes.pages) == ([False], [{}])
    # Where opening is refused it does not even say so.
    assert (told in scrapes.told) if told else ("level=error" not in scrapes.told)
