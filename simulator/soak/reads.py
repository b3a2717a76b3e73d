# SPDX-License-Identifier: Apache-2.0
"""Many processes read moving counters of one mount, for long: what they saw, and what it cost the server.

The mount is the command ``raplica mount``, as anybody starts it.  Each process reads one counter in one way; the load
is constant, so every value can be judged.  Before the long run there is a short one, after which the server's memory
and descriptors are noted: what comes on top of that during the long run is growth.
"""

import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import cycle, islice
from pathlib import Path

from raplica_simulator import Machine
from soak.counting import Course

__all__ = ["ReadsReport", "soak_reads"]

MACHINE = "skylake-sp-2s"
WATTS = {"package": 100, "dram": 20}
SPEED = 2000  # a counter wraps every 1.3 s (package) and 1.6 s (dram)
WRAP_SOON_S = 1000  # of the machine's time: the first wrap is half a second away
MAY_GROW_KIB = 2048
_WARM_UP_READS = 2000
_REGISTERS = {"package": 0x611, "dram": 0x619}
# Way and zone of the first process, the second and so on.  Some share a file, some have it to themselves.
_PARTS = (
    ("pread", "intel-rapl:0"),
    ("open", "intel-rapl:0"),
    ("bytes", "intel-rapl:0"),
    ("msr", "intel-rapl:0"),
    ("pread", "intel-rapl:1:0"),
    ("open", "intel-rapl:1"),
    ("bytes", "intel-rapl:1:0"),
    ("msr", "intel-rapl:1:0"),
    ("pread", "intel-rapl:0"),
    ("open", "intel-rapl:0:0"),
)


@dataclass
class ReadsReport:
    """What came of it.

    Attributes:
        reads: read calls that the processes made.
        values: whole values among them; a value takes several calls where it is read byte by byte.
        faults: wrong values by what was wrong, empty where all is well.
        unsure: values that came too late to be judged.
        growth_kib: what the server's resident memory grew by after the warm-up.
        descriptors: how many the server had open, before any process had read and after all had ended.
    """

    processes: int
    reads: int = 0
    values: int = 0
    by_way: dict[str, int] = field(default_factory=dict)
    wraps: int = 0
    unsure: int = 0
    longest_read_ms: float = 0
    seconds: float = 0
    faults: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)
    rss_kib: int = 0
    growth_kib: int = 0
    descriptors: tuple[int, int] = (0, 0)

    @property
    def wrong(self) -> list[str]:
        """What is not as it should be, a line each."""
        found = [f"{count} values {kind}" for kind, count in sorted(self.faults.items())]
        found += self.examples
        if self.growth_kib > MAY_GROW_KIB:
            found.append(f"the server's memory grew by {self.growth_kib} KiB")
        if self.descriptors[0] != self.descriptors[1]:
            found.append("the server had {} descriptors, then {}".format(*self.descriptors))
        if not self.wraps:
            found.append("no counter wrapped: the run was too short to show anything")
        return found

    def as_json(self) -> dict[str, object]:
        """All of it."""
        return asdict(self) | {"wrong": self.wrong}


def soak_reads(folder: Path, processes: int, reads: int) -> ReadsReport:
    """Let so many processes make so many read calls each, on a mount in ``folder``."""
    report = ReadsReport(processes)
    with _mounted(folder / "m") as (server, root):
        tasks = [dict(task) for task in islice(cycle(_tasks(root)), processes)]
        before = _descriptors(server)
        # The kernel asks for some things once only.
        _run(tasks, _WARM_UP_READS, ReadsReport(processes))
        report.rss_kib = _resident_kib(server)
        began = time.monotonic()
        _run(tasks, reads, report)
        report.seconds = round(time.monotonic() - began, 1)
        report.growth_kib = _resident_kib(server) - report.rss_kib
        report.descriptors = (before, _descriptors(server))
    return report


def _tasks(root: Path) -> Iterator[dict[str, object]]:
    """What the processes are told: where, how, and all that is known about the counter."""
    machine = Machine.from_profile(MACHINE)
    units_j = machine.counter_units()
    for way, zone in _PARTS:
        domain = "dram" if zone.count(":") == 2 else "package"
        attribute = f"class/powercap/{zone}/energy_uj"
        range_uj = int(machine.sysfs.read(f"class/powercap/{zone}/max_energy_range_uj"))
        course = Course.of(WATTS[domain], units_j[domain], SPEED)
        package = int(zone.split(":")[1])
        cpu = next(place.number for place in machine.profile.topology.cpus if place.package == package)
        yield {
            "way": way,
            "path": str(root / (f"dev/cpu/{cpu}/msr" if way == "msr" else f"sys/{attribute}")),
            "register": _REGISTERS[domain] if way == "msr" else 0,
            # The step that the driver counts by (ENERGY_UNIT_SCALE; the range is rounded down).
            "unit_nj": -(-range_uj * 1000 // ((1 << 32) - 1)),
            "range_uj": range_uj,
            "steps_per_ns": str(course.steps_per_ns),
            "grid_steps": course.grid_steps,
        }


def _run(tasks: list[dict[str, object]], reads: int, report: ReadsReport) -> None:
    """Start them all, wait for them all, add up what they say."""
    program = [sys.executable, "-I", "-S", str(Path(__file__).with_name("reader.py"))]
    started = [
        subprocess.Popen(  # noqa: S603 - our own program
            [*program, json.dumps(task | {"reads": reads})], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for task in tasks
    ]
    faults, by_way = Counter[str](), Counter[str]()
    for process, task in zip(started, tasks, strict=True):
        out, err = process.communicate()
        if process.returncode:
            faults["readers that failed"] += 1
            report.examples += err.splitlines()[-1:]
            continue
        said = json.loads(out)
        faults.update(said["faults"])
        report.examples += said["examples"]
        by_way[str(task["way"])] += said.get("reads", 0)
        report.reads += said.get("reads", 0)
        report.values += said.get("values", 0)
        report.wraps += said.get("wraps", 0)
        report.unsure += said.get("unsure", 0)
        report.longest_read_ms = max(report.longest_read_ms, said.get("longest_ns", 0) // 10**4 / 100)
    report.faults = dict(faults)
    report.by_way = dict(by_way)


@contextmanager
def _mounted(place: Path) -> Iterator[tuple[int, Path]]:
    """``raplica mount`` while it runs: its process number and the root of what it shows."""
    load = ",".join(f"{name}={watts}" for name, watts in WATTS.items())
    options = ["--load", load, "--speed", str(SPEED), "--start-near-wrap", str(WRAP_SOON_S)]
    command = [sys.executable, "-m", "raplica_simulator", "mount", MACHINE, str(place), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:  # noqa: S603 - our own program
        try:
            if server.stdout is None or server.stdout.readline() != "ready\n":
                raise RuntimeError(f"{' '.join(command)} is not ready: try it by hand")
            yield server.pid, place
        finally:
            server.terminate()
            server.wait()


def _resident_kib(process: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) if found else 0


def _descriptors(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))  # noqa: PTH208 - names are all that is asked for
