# SPDX-License-Identifier: Apache-2.0
"""What the reader's benchmarks share: trees in memory, and a table of ratios at the end.

As in the simulator's: nothing is asserted on times. The two sides of each comparison are measured in turn, round by
round, and the shortest round of each counts.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

RATIOS = pytest.StashKey[list[str]]()
MEMORY = Path("/dev/shm")  # noqa: S108 - that files lie in memory is the point: a disk would be measured otherwise


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RATIOS] = []


@pytest.fixture
def compare(benchmark: BenchmarkFixture, note: Callable[..., None]) -> Callable[..., None]:
    """Measure `function` as the benchmark and `reference` in turn with it."""

    def call(
        what: str,
        function: Callable[[], object],
        against: str,
        reference: Callable[[], object],
        *,
        aim: str,
        rounds: int,
    ) -> None:
        shortest_s = float("inf")

        def measure_reference() -> None:
            nonlocal shortest_s
            before = perf_counter()
            reference()
            shortest_s = min(shortest_s, perf_counter() - before)

        benchmark.pedantic(function, setup=measure_reference, rounds=rounds)  # type: ignore[no-untyped-call]
        if benchmark.stats is not None:  # --benchmark-disable measures nothing
            note(what, benchmark.stats.stats.min, against, shortest_s, aim=aim)

    return call


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Write down a comparison of two times, in seconds, that were taken elsewhere."""

    def call(what: str, taken_s: float, against: str, reference_s: float, *, aim: str) -> None:
        figures = f"{taken_s / reference_s:8.2f} {(taken_s - reference_s) * 1000:8.2f}  {aim:<17}"
        request.config.stash[RATIOS].append(f"{figures}  {what} / {against}")

    return call


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """Make a /sys root with so many package zones, in memory where the host has some."""
    base = MEMORY if MEMORY.is_dir() else tmp_path
    made: list[Path] = []

    def make(zones: int) -> Path:
        root = Path(tempfile.mkdtemp(prefix="raplica-benchmark-", dir=base))
        made.append(root)
        for number in range(zones):
            folder = root / f"class/powercap/intel-rapl:{number:x}"
            folder.mkdir(parents=True)
            (folder / "name").write_bytes(b"package-%d\n" % number)
            (folder / "max_energy_range_uj").write_bytes(b"262143328850\n")
            (folder / "energy_uj").write_bytes(b"%d\n" % (65_536_098_889 + number))
        return root

    yield make
    for root in made:
        shutil.rmtree(root)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the ratios as a table."""
    if not config.stash[RATIOS]:
        return
    version = ".".join(map(str, sys.version_info[:3]))
    terminalreporter.section(f"ratios of the reader in this run, Python {version}")
    terminalreporter.write_line("   ratio  ms more  aim                of what / to what")
    for line in config.stash[RATIOS]:
        terminalreporter.write_line(line)
