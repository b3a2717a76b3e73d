# SPDX-License-Identifier: Apache-2.0
"""``raplica exec``, started hundreds of times and often killed at a random moment: nothing may stay behind.

What is killed is one of the processes that take part: raplica, the command, or whatever else raplica has started.
Whoever is left then has to find out and to go, and take every mount and every temporary file along.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

from soak import remains

__all__ = ["CyclesReport", "soak_cycles"]

MACHINE = "skylake-sp-2s"
# Reads what only the machine can show, and is there for a while.
_COMMAND = "read -r name < /sys/class/powercap/intel-rapl:0/name && echo $name && exec sleep 0.2"
_SHOWN = b"package-0\n"
_WORD = "RAPLICA_SOAK"
_PLACES = ("/sys/", "/dev/", "/proc/")  # where exec mounts, and where nothing of raplica's is on a host
_HANG_S = 60
_GRACE_S = 20
_POLL_S = 0.005


@dataclass
class CyclesReport:
    """What came of it.

    Attributes:
        killed: how many were ended by SIGKILL, by which process was hit: raplica, the command, or another.
        longest_leftover_s: how long the last process or file of a cycle outlived its ``raplica exec``.
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
    # The first one is let be, since it says how long one takes.
    soak.run(kill=False)
    for kill in plan:
        # Who has ended before the moment came has to be started again.
        while not soak.run(kill=kill):
            pass
    soak.report.seconds = round(time.monotonic() - began, 1)
    return soak.report


class _Cycles:
    """One start after the other."""

    def __init__(self, folder: Path, chance: random.Random) -> None:
        self.report = CyclesReport()
        self._chance = chance
        self._temporary = folder / "temporary"
        self._temporary.mkdir()
        # Those in which a machine stands already belong to somebody else's exec.
        self._spaces = remains.namespaces() - {space for space, _ in _machines()}
        self._lasts_s: list[float] = []
        self._killed: Counter[str] = Counter()

    def run(self, *, kill: bool) -> bool:
        """Start it once and look after it; False where it was to be killed and had ended already."""
        word = f"{os.getpid()}.{self.report.cycles}"
        began = time.monotonic()
        process = self._start(word)
        hit = self._kill(process, f"{_WORD}={word}") if kill else ""
        said, errors, hangs = _ended(process)
        ended = time.monotonic()
        self.report.cycles += 1
        what = f"cycle {self.report.cycles}" + f", {hit} killed" * bool(hit)
        if hangs:
            self.report.wrong.append(f"{what}: it had not ended after {_HANG_S} s")
        if hit:
            self._killed[hit] += 1
            self.report.killed = dict(self._killed)
        else:
            self._lasts_s.append(ended - began)
            if not kill and (process.returncode, said) != (0, _SHOWN):
                self.report.wrong.append(f"{what}: status {process.returncode}, {said!r}, {errors[-500:]!r}")
        self._look_for_remains(what, f"{_WORD}={word}", ended)
        return bool(hit) or not kill

    def _start(self, word: str) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            _WORD: word,
            "TMPDIR": str(self._temporary),
            "XDG_RUNTIME_DIR": str(self._temporary),
        }
        command = [sys.executable, "-m", "raplica_simulator", "exec", MACHINE, "--", "sh", "-c", _COMMAND]
        return subprocess.Popen(  # noqa: S603 - our own program
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def _kill(self, process: subprocess.Popen[bytes], word: str) -> str:
        """Wait for a random moment, then end one of those that take part: which one, "" if none was left."""
        time.sleep(self._chance.uniform(0, median(self._lasts_s)))
        there = [number for number in remains.processes(word) if number != process.pid]
        ours = [process.pid] if process.poll() is None else []
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

    def _look_for_remains(self, what: str, word: str, ended: float) -> None:
        """Wait until nothing is left of a cycle; what stays is wrong."""

        def own() -> list[str]:
            return [
                *(f"process {number} ({_name(number)})" for number in remains.processes(word)),
                *remains.files(self._temporary),
            ]

        found = _settled(own)
        self.report.longest_leftover_s = max(self.report.longest_leftover_s, time.monotonic() - ended)
        # In a namespace that was made since somebody of ours would have to be left, or it is somebody else's.
        found += [f"mount on {where} in {space}" for space, where in _machines() if space in self._spaces]
        if found:
            self.report.wrong.append(f"{what}: left behind: {', '.join(found)}")
            for number in remains.processes(word):
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)


def _machines() -> list[tuple[str, str]]:
    """The mounts by which a machine stands somewhere: namespace and place."""
    return sorted((space, where) for space, _, where in remains.mounts() if where.startswith(_PLACES))


def _settled(left: Callable[[], list[str]]) -> list[str]:
    """What is still left when nothing changes it any more."""
    until = time.monotonic() + _GRACE_S
    while (found := left()) and time.monotonic() < until:
        time.sleep(_POLL_S)
    return found


def _ended(process: subprocess.Popen[bytes]) -> tuple[bytes, bytes, bool]:
    """What it printed, on both streams, and whether it had to be ended."""
    try:
        return *process.communicate(timeout=_HANG_S), False
    except subprocess.TimeoutExpired:
        process.kill()
        return *process.communicate(), True


def _name(process: int) -> str:
    """What kind of process it is: the command is a shell or sleep, the rest is Python or a helper of it."""
    try:
        name = Path(f"/proc/{process}/comm").read_text().strip()
    except OSError:
        return "one that has ended"
    return "the command" if name in ("sh", "dash", "sleep") else f"another ({name})"
