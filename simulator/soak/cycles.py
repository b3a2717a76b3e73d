# SPDX-License-Identifier: Apache-2.0
"""``raplica exec``, started hundreds of times and often killed at a random moment: nothing may stay behind.

What is killed is one of the processes that take part: raplica, the command, or whatever else raplica has started.
Whoever is left then has to find out and to go, and take every mount and every temporary file along.  Half of the
commands that are killed, or whose raplica is, would go on for an hour: that it is over soon is raplica's doing.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import IO

from soak import remains

__all__ = ["CyclesReport", "soak_cycles"]

MACHINE = "skylake-sp-2s"
# Reads what only the machine can show, and is there for a while.
_COMMAND = "read -r name < /sys/class/powercap/intel-rapl:0/name && echo $name && exec sleep"
_SHOWN = b"package-0\n"
_WHILE_S, _FOR_LONG_S = "0.2", "3600"
_PLACES = ("/sys/", "/dev/", "/proc/")  # where exec mounts, and where nothing of raplica's is on a host
_HANG_S = 60
_GRACE_S = 20
_POLL_S = 0.005


@dataclass
class CyclesReport:
    """What came of it.

    Attributes:
        killed: how many were ended by SIGKILL, by which process was hit: raplica, the command, or another.
        longest_leftover_s: how long the last process or file of a cycle outlived its ``raplica exec``, killed or not.
        wrong: what is not as it should be, a line each.
    """

    cycles: int = 0
    killed: dict[str, int] = field(default_factory=dict)
    seconds: float = 0
    longest_leftover_s: float = 0
    wrong: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """All of it."""
        return asdict(self)


def soak_cycles(folder: Path, cycles: int, kills: int, *, seed: int) -> CyclesReport:
    """Start ``raplica exec`` so many times, kill some of them, and see what is left in ``folder`` and beyond."""
    chance = random.Random(seed)  # noqa: S311 - the same moments at each run
    kills = min(kills, cycles)
    plan = chance.sample([True] * kills + [False] * (cycles - kills), cycles)
    soak = _Cycles(folder, chance)
    began = time.monotonic()
    remains.adopt_orphans()
    try:
        # The first one is let be, since it says how long one takes.
        soak.run(kill=False)
        for kill in plan:
            # Who has ended before the moment came has to be started again.
            while not soak.run(kill=kill):
                pass
    finally:
        remains.adopt_orphans(adopt=False)
    soak.report.seconds = round(time.monotonic() - began, 1)
    return soak.report


class _Cycles:
    """One start after the other."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.report = CyclesReport()
        self._chance = chance
        self._temporary = folder / "temporary"
        self._temporary.mkdir()
        self._others = _machines()
        self._lasts_s: list[float] = []
        self._killed: Counter[str] = Counter()

    def run(self, *, kill: bool) -> bool:
        """Start it once and look after it; False where it was to be killed and had ended already."""
        began = time.monotonic()
        for_long = kill and self._chance.random() < 0.5
        # Files, since who is left behind would keep a pipe open.
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
            process = self._start(_FOR_LONG_S if for_long else _WHILE_S, said, errors)
            hit = self._kill(process, longer=for_long) if kill else ""
            if for_long and hit not in ("raplica", "the command"):
                # It may well go on without the one that was killed.
                process.terminate()
            hangs = _hangs(process)
            ended = time.monotonic()
            shown, told = (_whole(file) for file in (said, errors))
        self.report.cycles += 1
        what = f"cycle {self.report.cycles}" + f", {hit} killed" * bool(hit)
        if hangs:
            self.report.wrong.append(f"{what}: it had not ended after {_HANG_S} s")
        if hit:
            self._killed[hit] += 1
            self.report.killed = dict(self._killed)
        elif not for_long:
            self._lasts_s.append(ended - began)
            if not kill and (process.returncode, shown) != (0, _SHOWN):
                self.report.wrong.append(f"{what}: status {process.returncode}, {shown!r}, {told[-500:]!r}")
        self._look_for_remains(what, ended)
        return bool(hit) or not kill

    def _start(self, seconds: str, said: IO[bytes], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        temporary = str(self._temporary)
        command = [sys.executable, "-m", "raplica_simulator", "exec", MACHINE, "--"]
        return subprocess.Popen(  # noqa: S603 - our own program
            [*command, "sh", "-c", f"{_COMMAND} {seconds}"],
            env={**os.environ, "TMPDIR": temporary, "XDG_RUNTIME_DIR": temporary},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=errors,
            start_new_session=True,
        )

    def _kill(self, process: subprocess.Popen[bytes], *, longer: bool) -> str:
        """Wait for a random moment, then end one of those that take part: which one, "" if none was left.

        The moment lies within the time that one takes, or for ``longer`` within twice that.
        """
        time.sleep(self._chance.uniform(0, median(self._lasts_s) * (2 if longer else 1)))
        ours = [process.pid] if process.poll() is None else []
        there = [number for number in remains.descendants() if number != process.pid]
        # Mostly one of the others, as soon as raplica has started any: there is none at first.
        victims = ours if ours and (not there or self._chance.random() < 0.3) else there
        if not victims:
            return ""
        victim = self._chance.choice(victims)
        name = "raplica" if victim == process.pid else _name(victim)
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            return ""
        return name

    def _look_for_remains(self, what: str, ended: float) -> None:
        """Wait until nothing is left of a cycle; what stays is wrong."""

        def own() -> list[str]:
            remains.reap()
            return [
                *(f"process {number} ({_name(number)})" for number in remains.descendants()),
                *remains.files(self._temporary),
            ]

        found = _settled(own)
        self.report.longest_leftover_s = max(self.report.longest_leftover_s, time.monotonic() - ended)
        found += [f"mount on {one.place}" for one in sorted(_machines() - self._others)]
        if found:
            self.report.wrong.append(f"{what}: left behind: {', '.join(found)}")
            for number in remains.descendants():
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)


def _machines() -> set[remains.Mount]:
    """The mounts here by which a machine stands where the host's files are.

    Every other namespace is somebody else's, or went with the last process in it.
    """
    here = os.readlink("/proc/self/ns/mnt")  # noqa: PTH115 - no path
    return {one for one in remains.mounts() if one.namespace == here and one.place.startswith(_PLACES)}


def _settled(left: Callable[[], list[str]]) -> list[str]:
    """What is still left when nothing changes it any more."""
    until = time.monotonic() + _GRACE_S
    while (found := left()) and time.monotonic() < until:
        time.sleep(_POLL_S)
    return found


def _whole(file: IO[bytes]) -> bytes:
    """All that somebody else has written into it."""
    file.seek(0)
    return file.read()


def _hangs(process: subprocess.Popen[bytes]) -> bool:
    """Wait until it has ended; whether it had to be ended."""
    try:
        process.wait(timeout=_HANG_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def _name(process: int) -> str:
    """What kind of process it is: the command is a shell or sleep, the rest is Python or a helper of it."""
    try:
        name = Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return "one that has ended"
    return "the command" if name in ("sh", "dash", "sleep") else f"another ({name})"
