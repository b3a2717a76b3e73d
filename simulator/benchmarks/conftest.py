# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks share: a way to compare two things, machines, and the table of ratios at the end.

Times say more about a computer, and about who else is using it, than about a program. So nothing is asserted on them,
and what is told at the end is ratios: the two sides of each are measured in turn, round by round, and the shortest
round of each counts, or the median where it is said. `--benchmark-json FILE` writes everything, the ratios with it.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from timeit import Timer
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from raplica_simulator import Machine, VirtualClock

YEAR_S = 365 * 24 * 3600
# What an installer makes of an entry point.
START = "import sys\nfrom {module} import main\nsys.exit(main())\n"


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as long `what` took as `against`, how much longer in ms, and what it is meant to be."""

    what: str
    against: str
    ratio: float
    more_ms: float
    aim: str


RATIOS = pytest.StashKey[list[Ratio]]()
Compare = Callable[..., None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RATIOS] = []


@pytest.fixture
def compare(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> Compare:
    """Measure `function` as the benchmark and `reference` in turn with it; `prepare` runs before each, unmeasured.

    `counts` makes of the rounds of a side, in s, the one that counts.
    """

    def call(
        what: str,
        function: Callable[[], object],
        against: str,
        reference: Callable[[], object],
        *,
        aim: str,
        rounds: int,
        prepare: Callable[[], object] = lambda: None,
        counts: Callable[[Sequence[float]], float] = min,
    ) -> None:
        rounds_s: list[float] = []

        def measure_reference() -> None:
            prepare()
            before = perf_counter()
            reference()
            rounds_s.append(perf_counter() - before)
            prepare()

        benchmark.pedantic(function, setup=measure_reference, rounds=rounds)  # type: ignore[no-untyped-call]
        if benchmark.stats is not None:  # --benchmark-disable measures nothing
            taken_s, reference_s = counts(benchmark.stats.stats.data), counts(rounds_s)
            more_ms = (taken_s - reference_s) * 1000
            request.config.stash[RATIOS].append(Ratio(what, against, taken_s / reference_s, more_ms, aim))

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


@pytest.fixture
def started(tmp_path: Path) -> Callable[..., Callable[[], object]]:
    """Make functions that run a console script, with compiled modules kept as where a program is installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path / "compiled")

    def make(module: str, *arguments: object) -> Callable[[], object]:
        script = tmp_path / f"start_{module.partition('.')[0]}"
        script.write_text(START.format(module=module))
        line = [sys.executable, str(script), *map(str, arguments)]
        return lambda: subprocess.run(line, check=True, env=environment, capture_output=True)

    return make


@pytest.fixture(scope="session")
def profile_of() -> Callable[..., str]:
    """Write a profile: `profile_of(packages, dram=True)`."""
    return profile_text


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
    terminalreporter.write_line("   ratio  ms more  aim                of what / to what")
    for ratio in config.stash[RATIOS]:
        figures = f"{ratio.ratio:8.2f} {ratio.more_ms:8.1f}  {ratio.aim:<17}"
        terminalreporter.write_line(f"{figures}  {ratio.what} / {ratio.against}")
