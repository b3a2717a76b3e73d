# SPDX-License-Identifier: Apache-2.0
"""One sample of a machine's counters, by the reader and by the energy libraries that people use, on the same files.

The libraries have fixed paths, so a written tree is put where they look, in a namespace of its own; plain files, since
what a read costs the kernel would else be most of what is measured.  All run on the Python that has the libraries,
`.tox/clients/bin/python`, where .ci/run puts them.
"""

import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from raplica_simulator import Machine
from raplica_simulator.generate import generate
from raplica_simulator.surfaces import namespace

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".tox" / "clients" / "bin" / "python"
MACHINE = "skylake-sp-2s"  # two packages, each with dram: what each of them reads

SAMPLES = {
    "raplica-reader": "from raplica_reader import Sampler, discover\nsample = Sampler(discover()).sample\n",
    "pyJoules": (
        "from pyJoules.device import DeviceFactory\n"
        "devices = DeviceFactory.create_devices()\n"
        "sample = lambda: [device.get_energy() for device in devices]\n"
    ),
    "pyRAPL": ("from pyRAPL import Device, Sensor\nsample = Sensor([Device.PKG, Device.DRAM], [0, 1]).energy\n"),
    "codecarbon": (
        "import logging; logging.disable()\n"
        "from codecarbon.core.cpu import IntelRAPL\n"
        "from codecarbon.core.units import Time\n"
        "rapl, second = IntelRAPL(), Time.from_seconds(1)\n"
        "sample = lambda: rapl.get_cpu_details(second)\n"
    ),
}
TIMED = """
import time
sample()
best_s = float("inf")
for _ in range(9):
    before = time.perf_counter()
    for _ in range(500):
        sample()
    best_s = min(best_s, (time.perf_counter() - before) / 500)
print(best_s)
"""
PLACE = (
    'mount --bind "$1/class/powercap" /sys/class/powercap && '
    'mount --bind "$1/devices/virtual/powercap" /sys/devices/virtual/powercap && exec "$2" -c "$3"'
)


def shortest_s(tree: Path, library: str) -> float:
    """The seconds of one sample, in the shortest of nine rounds."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "raplica_simulator", "exec", MACHINE, "--"),
            *("sh", "-c", PLACE, "sh", str(tree), str(PYTHON), SAMPLES[library] + TIMED),
        ],
        env={"PYTHONPATH": str(ROOT / "reference_impl"), "PATH": "/usr/bin:/bin", "HOME": str(tree)},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return float(done.stdout.split()[-1])


@pytest.mark.parametrize("library", ["pyJoules", "pyRAPL", "codecarbon"])
def test_a_sample_of_a_library_beside_ours(
    benchmark: BenchmarkFixture, note: Callable[..., None], tmp_path: Path, library: str
) -> None:
    if (missing := namespace.obstacle()) is not None:
        pytest.skip(missing)
    if not PYTHON.exists():
        pytest.skip(f"{library} is not installed in .tox/clients: .ci/run installs it")
    generate(Machine.from_profile(MACHINE), Fraction(0), str(tmp_path / "tree"))
    ours_s = shortest_s(tmp_path / "tree", "raplica-reader")
    theirs_s: list[float] = []
    # Its own time is measured inside; that of the whole program is of no interest.
    benchmark.pedantic(lambda: theirs_s.append(shortest_s(tmp_path / "tree", library)), rounds=1)  # type: ignore[no-untyped-call]
    note(f"a sample of {library}", theirs_s[0], "a sample of raplica-reader", ours_s, aim="5 or more")
