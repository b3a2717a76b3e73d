# SPDX-License-Identifier: Apache-2.0
"""Reading a mounted machine, beside the least that any file system in user space takes, and starting a program on one.

What a read costs is mostly the way through the kernel to another process and back, so it is held against a server of
one file in C, of one thread and on the same terms (``one_file_server.c``).  The way depends on where the two processes
are.  With both on one processor it costs what they do on it, and the shortest round counts.  On two it is mostly waking
a processor that has nothing to do, which takes now this long and now that, and the median counts: so long a program
waits.  Left alone, the scheduler makes the choice, and it may choose differently for the two servers.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

from raplica_simulator.surfaces.fuse_mounting import obstacle

ONE_FILE = "energy_uj"
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


class Way(NamedTuple):
    """A way to read: its name, the statement, the one for the server in C, and the file."""

    name: str
    statement: str
    beside: str
    file: str


PREAD_ENERGY = Way("pread of energy_uj", PREAD, PREAD, ENERGY)
OPEN_ENERGY = Way("open, read and close of energy_uj", OPEN, OPEN, ENERGY)
PREAD_REGISTER = Way("pread of an msr device", PREAD_MSR, PREAD, MSR)
WAYS = (PREAD_ENERGY, OPEN_ENERGY, PREAD_REGISTER)

Compare = Callable[..., None]
Loop = Callable[..., Callable[[], object]]


class Server(NamedTuple):
    """A process that shows files, and where."""

    pid: int
    place: Path


class Placement(NamedTuple):
    """Which of the processors that we may use servers and readers get, None for all; and which round counts."""

    name: str
    server: int | None
    reader: int | None
    counts: Callable[[Sequence[float]], float]


PLACEMENTS = (
    Placement("on one processor", 0, 0, min),
    Placement("on two processors", 1, 0, median),
    Placement("left to the scheduler", None, None, median),
)
Place = Callable[..., None]
Reading = Callable[[str, Path], Callable[[], object]]


@pytest.fixture(autouse=True, scope="module")
def mounts() -> None:
    """Skip where nothing can be mounted, saying why."""
    reason = obstacle()
    if reason is not None:
        pytest.skip(f"nothing can be mounted here: {reason}")


@contextmanager
def running(command: list[str], place: Path, file: str) -> Iterator[Server]:
    """A server that shows a file below a place, once it does and until the block ends."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            while not (place / file).exists():
                assert server.poll() is None, f"{' '.join(command)} has ended with {server.returncode}"
                time.sleep(0.02)
            yield Server(server.pid, place)
        finally:
            server.terminate()
            server.wait()


@pytest.fixture(scope="module")
def mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """Show a machine with the command, until all here is done."""
    with ExitStack() as stack:

        def show(machine: str) -> Server:
            place = tmp_path_factory.mktemp("mounted") / "m"
            command = [sys.executable, "-m", "raplica_simulator", "mount", machine, str(place)]
            return stack.enter_context(running(command, place, ENERGY))

        yield show


@pytest.fixture(scope="module")
def server(mount: Callable[[str], Server]) -> Server:
    """A mounted two-socket server."""
    return mount("skylake-sp-2s")


@pytest.fixture(scope="module")
def small(mount: Callable[[str], Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A mounted machine of three zones and two processors."""
    profile = tmp_path_factory.mktemp("small") / "small.toml"
    profile.write_text(SMALL)
    return mount(str(profile))


@pytest.fixture(scope="module")
def large(
    mount: Callable[[str], Server], profile_of: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Server:
    """A mounted machine of 1,024 zones and 512 processors."""
    profile = tmp_path_factory.mktemp("large") / "large.toml"
    profile.write_text(profile_of(LARGE_PACKAGES, dram=True))
    return mount(str(profile))


@pytest.fixture(scope="module")
def one_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The server of one file in C, which is built for this."""
    if shutil.which("cc") is None or subprocess.run(["pkg-config", "fuse3"], check=False).returncode:
        pytest.skip("there is no C compiler or no libfuse: apt-get install gcc pkg-config libfuse3-dev")
    folder = tmp_path_factory.mktemp("one_file")
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], check=True, capture_output=True, text=True)
    source = Path(__file__).with_name("one_file_server.c")
    built = folder / "one_file_server"
    subprocess.run(["cc", "-O2", "-o", built, source, *flags.stdout.split()], check=True)
    place = folder / "m"
    place.mkdir()
    with running([str(built), str(place)], place, ONE_FILE) as shown:
        yield shown


@pytest.fixture
def put() -> Iterator[Place]:
    """Put servers, with all their threads, and this process where a placement says, until the test ends."""
    ours = os.sched_getaffinity(0)
    moved = {0}

    def call(placement: Placement, *servers: Server) -> None:
        threads = {int(one.name) for server in servers for one in Path(f"/proc/{server.pid}/task").iterdir()}
        moved.update(threads)
        for who, wanted in (*((thread, placement.server) for thread in threads), (0, placement.reader)):
            if wanted is not None:
                if wanted >= len(ours):
                    pytest.skip("there is one processor only")
                os.sched_setaffinity(who, {sorted(ours)[wanted]})

    yield call
    for who in moved:
        os.sched_setaffinity(who, ours)


@pytest.fixture
def reading(loop: Loop) -> Iterator[Reading]:
    """Make a loop of reads of a file, by descriptor or by path."""
    with ExitStack() as stack:

        def make(way: str, path: Path) -> Callable[[], object]:
            file = os.open(path, os.O_RDONLY)
            stack.callback(os.close, file)
            names = {name: getattr(os, name) for name in ("pread", "open", "read", "close")}
            return loop(way, {**names, "file": file, "path": str(path)})

        yield make


@pytest.mark.parametrize("placement", PLACEMENTS, ids=lambda placement: placement.name)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_reading_a_mounted_file_beside_a_server_in_c(
    compare: Compare,
    reading: Reading,
    put: Place,
    server: Server,
    one_file: Server,
    placement: Placement,
    way: Way,
) -> None:
    put(placement, server, one_file)
    compare(
        *(f"{way.name}, {placement.name}", reading(way.statement, server.place / way.file)),
        *("the same of a C server of one file", reading(way.beside, one_file.place / ONE_FILE)),
        aim="at most 1.2",
        rounds=ROUNDS,
        counts=placement.counts,
    )


@pytest.mark.parametrize("placement", PLACEMENTS[:2], ids=lambda placement: placement.name)
@pytest.mark.parametrize("way", [PREAD_ENERGY, OPEN_ENERGY], ids=lambda way: way.name)
def test_reading_a_mounted_file_beside_the_hosts_own_sysfs(
    compare: Compare,
    reading: Reading,
    put: Place,
    server: Server,
    placement: Placement,
    way: Way,
) -> None:
    put(placement, server)
    compare(
        *(f"{way.name}, {placement.name}", reading(way.statement, server.place / way.file)),
        *("the same of a file in the host's sysfs", reading(way.beside, REAL)),
        aim="-",
        rounds=ROUNDS,
        counts=placement.counts,
    )


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name)
def test_a_large_machine_costs_what_a_small_one_costs(
    compare: Compare,
    reading: Reading,
    put: Place,
    small: Server,
    large: Server,
    way: Way,
) -> None:
    put(PLACEMENTS[0], small, large)
    compare(
        *(f"{way.name}, 1,024 zones and 512 CPUs", reading(way.statement, large.place / way.file)),
        *("3 zones and 2 CPUs", reading(way.statement, small.place / way.file)),
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
