# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: a way to compare two things, machines, and the table of ratios at the end.

Times say more about a computer, and about who else is using it, than about a program. So nothing is asserted on them,
and what is told at the end is ratios: the two sides of each are measured in turn, round by round, and the shortest
round of each counts. `--benchmark-json FILE` writes everything, the ratios with it.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from timeit import Timer
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from raplica_simulator import Machine, VirtualClock

YEAR_S = 365 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long `what` took as `against`, and what it is meant to be."""

    what: str
    against: str
    ratio: float
    aim: str


RATIOS = pytest.StashKey[list[Ratio]]()
Compare = Callable[..., None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RATIOS] = []


@pytest.fixture
def compare(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Compare:
    """Measure `function` as the benchmark and `reference` in turn with it; `prepare` runs before each, unmeasured."""

    def call(
        what: str,
        function: Callable[[], object],
        against: str,
        reference: Callable[[], object],
        *,
        aim: str,
        rounds: int,
        prepare: Callable[[], object] = lambda: None,
    ) -> None:
        shortest_s = float("inf")

        def measure_reference() -> None:
            nonlocal shortest_s
            prepare()
            before = perf_counter()
            reference()
            shortest_s = min(shortest_s, perf_counter() - before)
            prepare()

        benchmark.pedantic(function, setup=measure_reference, rounds=rounds)  # type: ignore[no-untyped-call]
        if benchmark.stats is not None:  # --benchmark-disable measures nothing
            times = benchmark.stats.stats.min / shortest_s
            request.config.stash[RATIOS].append(Ratio(what, against, times, aim))

    return call


def calls(statement: str, names: Mapping[str, object], number: int = 200) -> Callable[[], object]:
    """So many runs of a statement in a bare loop, since one would be lost beside the clock's own cost."""
    timer = Timer(statement, globals=dict(names))
    return lambda: timer.timeit(number)


@pytest.fixture(scope="session")
def loop() -> Callable[..., Callable[[], object]]:
    """Make a loop of a statement."""
    return calls


def profile_text(packages: int, *, dram: bool) -> str:
    """A server of many packages, each with a package zone and maybe a dram zone."""
    lines = [
        '[cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85',
        f"[topology]\npackages = {packages}\ncores_per_die = 1",
        "[registers]\n0x606 = 0xA0E03\n0x610 = 0x000185A0001184B0\n0x614 = 0x000F0BB8034804B0",
        "0x618 = 0x108444\n0x61C = 0x00280444009C01F8",
    ]
    for package in range(packages):
        lines.append(f"[registers.package.{package}]\n0x611 = {0x40000000 + package}")
        lines.append(f"0x619 = {0x20000000 + package}" if dram else "0x619 = 0")
    return "\n".join([*lines, "[load]\npackage = 80.0", "dram = 12.0" if dram else ""]) + "\n"


@pytest.fixture(scope="session")
def profiles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Profiles of machines with 1 and with 1,000 zones."""
    folder = tmp_path_factory.mktemp("profiles")
    found = {"1 zone": folder / "one.toml", "1000 zones": folder / "thousand.toml"}
    found["1 zone"].write_text(profile_text(1, dram=False))
    found["1000 zones"].write_text(profile_text(500, dram=True))
    return found


@pytest.fixture(scope="session")
def machines(profiles: dict[str, Path]) -> dict[tuple[str, str], Machine]:
    """Machines by number of zones and by simulated time gone by."""
    found = {}
    for zones, profile in profiles.items():
        for time, seconds in (("a second", 1), ("a year", YEAR_S)):
            clock = VirtualClock()
            machine = Machine.from_profile(profile, clock=clock)
            clock.advance(seconds=seconds)
            found[zones, time] = machine
    return found


def pytest_benchmark_update_json(config: pytest.Config, output_json: dict[str, Any]) -> None:
    """Put the ratios into the file that --benchmark-json names."""
    output_json["ratios"] = [asdict(ratio) for ratio in config.stash[RATIOS]]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the ratios as a table."""
    if not config.stash[RATIOS]:
        return
    version = ".".join(map(str, sys.version_info[:3]))
    terminalreporter.section(f"ratios of this run, Python {version}")
    terminalreporter.write_line("   ratio  aim        of what / to what")
    for ratio in config.stash[RATIOS]:
        terminalreporter.write_line(f"{ratio.ratio:8.2f}  {ratio.aim:<9}  {ratio.what} / {ratio.against}")
