# SPDX-License-Identifier: Apache-2.0
"""One sample beside the least that reading the same files takes, and starting the command beside starting Python."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from timeit import Timer

import pytest

import raplica_reader
from raplica_reader import Follower, OsFiles, Powercap, Sampler, discover

PACKAGE = Path(raplica_reader.__file__).parent
TIMES = 300

Tree = Callable[[int], Path]


def often(function: Callable[[], object]) -> Callable[[], object]:
    """Run it so often that the clock's own cost is lost."""
    timer = Timer(function)
    return lambda: timer.timeit(TIMES)


def bare_loop(root: Path) -> Callable[[], list[int]]:
    """A loop of `os.pread` and `int` over descriptors that are open; they are never closed."""
    paths = sorted(root.glob("class/powercap/*/energy_uj"))
    descriptors = [os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in paths]
    pread = os.pread

    def sample() -> list[int]:
        return [int(pread(descriptor, 32, 0)) for descriptor in descriptors]

    return sample


@pytest.mark.parametrize("zones", [1, 4, 20, 200])
def test_a_sample_beside_a_bare_loop(compare: Callable[..., None], tree: Tree, zones: int) -> None:
    root = tree(zones)
    with Sampler(discover(root)) as sampler:
        compare(
            *(f"a sample of {zones} zones", often(sampler.sample)),
            *("os.pread and int in a loop", often(bare_loop(root))),
            aim="1.5 or less",
            rounds=60,
        )


@pytest.mark.parametrize("zones", [4, 200])
def test_following_and_adding_up_beside_a_sample(compare: Callable[..., None], tree: Tree, zones: int) -> None:
    root = tree(zones)
    source = Powercap(OsFiles(root))
    with Sampler(source.discover()) as sampler, Sampler(source.discover()) as followed:
        compare(
            *(f"an interval of {zones} zones, added up", often(Follower(source, followed).sample)),
            *("a sample", often(sampler.sample)),
            aim="for information",
            rounds=20,
        )


def test_listing_beside_starting_python(compare: Callable[..., None], tree: Tree, tmp_path: Path) -> None:
    """With compiled modules kept, as where a program is installed."""
    root = tree(4)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(tmp_path / "compiled")
    start = "import sys; sys.path.insert(0, {!r}); from raplica_reader.cli import main; sys.exit(main())"

    def run(*arguments: str) -> Callable[[], object]:
        return lambda: subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)

    compare(
        *("raplica-reader list", run("-c", start.format(str(PACKAGE.parent)), "list", "--sysfs", str(root))),
        *("python3 -c pass", run("-c", "pass")),
        aim="100 ms more",
        rounds=25,
    )
