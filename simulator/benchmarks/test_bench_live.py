# SPDX-License-Identifier: Apache-2.0
"""Reading a mounted machine, beside the least that any file system in user space takes, and starting a program on one.

What a read costs is mostly the way through the kernel to another process and back, so it is held against a server of
one file in C, of one thread and on the same terms (``one_file_server.c``).
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from raplica_simulator.surfaces.fuse_mounting import obstacle

ENERGY = "sys/class/powercap/intel-rapl:0/energy_uj"
MSR = "dev/cpu/0/msr"
REAL = Path("/sys/kernel/uevent_seqnum")
# As statements on a descriptor, or on a path.
PREAD = "pread(file, 64, 0)"
PREAD_MSR = "pread(file, 8, 0x611)"
OPEN = "file = open(path, 0); read(file, 4096); close(file)"
ROUNDS = 300

SMALL = """
[cpu]
vendor = "GenuineIntel"
family = 6
model = 158
[topology]
packages = 1
cores_per_die = 2
[registers]
0x606 = 0xA0E03
0x611 = 0x40000000
0x619 = 0x20000000
0x639 = 0x10000000
[load]
package = 80.0
dram = 12.0
core = 60.0
"""
LARGE_PACKAGES = 512

Compare = Callable[..., None]
Loop = Callable[..., Callable[[], object]]


@pytest.fixture(autouse=True, scope="module")
def mounts() -> None:
    """Skip where nothing can be mounted, saying why."""
    reason = obstacle()
    if reason is not None:
        pytest.skip(f"nothing can be mounted here: {reason}")


@contextmanager
def running(command: list[str], ready: Callable[[], bool]) -> Iterator[None]:
    """A server, once it answers and until the block ends."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not ready():
                assert server.poll() is None, f"{' '.join(command)} has ended with {server.returncode}"
                time.sleep(0.02)
            yield
        finally:
            server.terminate()
            server.wait()


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Path]]:
    """Show a machine with the command, until all here is done: the folder in which it is."""
    with ExitStack() as stack:

        def show(machine: str) -> Path:
            place = tmp_path_factory.mktemp("mounted") / "m"
            command = [sys.executable, "-m", "raplica_simulator", "mount", machine, str(place)]
            stack.enter_context(running(command, (place / ENERGY).exists))
            return place

        yield show


@pytest.fixture(scope="module")
def server(mount: Callable[[str], Path]) -> Path:
    """A mounted two-socket server."""
    return mount("skylake-sp-2s")


@pytest.fixture(scope="module")
def small(mount: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mounted machine of three zones and two processors."""
    profile = tmp_path_factory.mktemp("small") / "small.toml"
    profile.write_text(SMALL)
    return mount(str(profile))


@pytest.fixture(scope="module")
def large(
    mount: Callable[[str], Path], profile_of: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A mounted machine of 1,024 zones and 512 processors."""
    profile = tmp_path_factory.mktemp("large") / "large.toml"
    profile.write_text(profile_of(LARGE_PACKAGES, dram=True))
    return mount(str(profile))


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The file of the server in C, which is built for this."""
    if shutil.which("cc") is None or subprocess.run(["pkg-config", "fuse3"], check=False).returncode:
        pytest.skip("there is no C compiler or no libfuse: apt-get install gcc pkg-config libfuse3-dev")
    folder = tmp_path_factory.mktemp("one_file")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], check=True, capture_output=True, text=True)
    source = Path(__file__).with_name("one_file_server.c")
    built = folder / "one_file_server"
    subprocess.run(["cc", "-O2", "-o", built, source, *flags.stdout.split()], check=True)
    place = folder / "m"
    place.mkdir()
    with running([str(built), str(place)], (place / "energy_uj").exists):
        yield place / "energy_uj"


@pytest.fixture
def reading(loop: Loop) -> Iterator[Callable[[str, Path], Callable[[], object]]]:
    """Make a loop of reads of a file, by descriptor or by path."""
    with ExitStack() as stack:

        def make(way: str, path: Path) -> Callable[[], object]:
            file = os.open(path, os.O_RDONLY)
            stack.callback(os.close, file)
            names = {name: getattr(os, name) for name in ("pread", "open", "read", "close")}
            return loop(way, {**names, "file": file, "path": str(path)})

        yield make


@pytest.mark.parametrize(("way", "name"), [(PREAD, "pread of energy_uj"), (OPEN, "open, read and close of energy_uj")])
@pytest.mark.parametrize("against", ["the same of a C server of one file", "the same of a file in the host's sysfs"])
def test_reading_a_mounted_counter(
    compare: Compare,
    reading: Callable[[str, Path], Callable[[], object]],
    server: Path,
    request: pytest.FixtureRequest,
    way: str,
    name: str,
    against: str,
) -> None:
    beside = request.getfixturevalue("one_file") if "C server" in against else REAL
    aim = "below 1.2" if "C server" in against else "-"
    compare(name, reading(way, server / ENERGY), against, reading(way, beside), aim=aim, rounds=ROUNDS)


def test_reading_a_mounted_register(
    compare: Compare, reading: Callable[[str, Path], Callable[[], object]], server: Path, one_file: Path
) -> None:
    compare(
        *("pread of an msr device", reading(PREAD_MSR, server / MSR)),
        *("pread of a C server of one file", reading(PREAD, one_file)),
        aim="below 1.2",
        rounds=ROUNDS,
    )


@pytest.mark.parametrize(
    ("way", "file", "name"),
    [
        (PREAD, ENERGY, "pread of energy_uj"),
        (OPEN, ENERGY, "open, read and close of energy_uj"),
        (PREAD_MSR, MSR, "pread of an msr device"),
    ],
)
def test_a_large_machine_costs_what_a_small_one_costs(
    compare: Compare,
    reading: Callable[[str, Path], Callable[[], object]],
    small: Path,
    large: Path,
    way: str,
    file: str,
    name: str,
) -> None:
    compare(
        *(f"{name}, 1,024 zones and 512 CPUs", reading(way, large / file)),
        *("3 zones and 2 CPUs", reading(way, small / file)),
        aim="1",
        rounds=ROUNDS,
    )


@pytest.mark.parametrize("machine", ["kabylake", "skylake-sp-2s"])
def test_starting_a_program_on_a_machine_beside_starting_it_in_a_namespace(
    compare: Compare, started: Callable[..., Callable[[], object]], machine: str
) -> None:
    unshare = ["unshare", *(["-r"] if os.geteuid() else []), "-m", "true"]
    compare(
        *(f"raplica exec {machine} -- true", started("raplica_simulator.cli", "exec", machine, "--", "true")),
        *(" ".join(unshare), lambda: subprocess.run(unshare, check=True)),
        aim="below 250 ms more",
        rounds=15,
    )
