# SPDX-License-Identifier: Apache-2.0
"""What a program did on a live machine: what it printed, what it read, and the truth at the moments of its reads."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from raplica_simulator.live.read_log import Call

__all__ = ["ORDER", "Observation", "Read", "Said", "assert_right", "observe_command", "truth_j", "unevenness"]

_OBSERVER = Path(__file__).with_name("observer.py")
_LONGEST_S = 300
_RUNS = 3

# For a program that a client is a library of: give the machine that it runs on an order.
ORDER = """
import json, socket

def order(**request):
    with socket.socket(socket.AF_UNIX) as door:
        door.connect("door")
        with door.makefile("rw") as lines:
            lines.readline()
            print(json.dumps(request), file=lines, flush=True)
            assert json.loads(lines.readline())["ok"]
"""


class Read(NamedTuple):
    """One look at a counter: the call, the machine's time, what the program was given, what had really been spent."""

    number: int
    at_ns: int
    given: int
    truth_uj: int


@dataclass(frozen=True)
class Observation:
    """One command that has ended.

    Attributes:
        status: its exit status.
        out: what it printed.
        err: what it, and raplica, said on stderr.
        calls: every call on the machine's files, oldest first.
    """

    status: int
    out: str
    err: str
    calls: list[Call]

    def reads(self, zone: str) -> list[Read]:
        """The looks at a zone's ``energy_uj`` that succeeded; a zone is ``intel-rapl:0:1``."""
        return [
            Read(call.number, call.at_ns, int(call.data), call.truth_uj)
            for call in self.calls
            if call.path.endswith(f"/{zone}/energy_uj") and _is_look(call) and call.truth_uj is not None
        ]

    def msr_reads(self, register: int, cpu: int = 0) -> list[Read]:
        """The looks at an energy register that succeeded."""
        return [
            Read(call.number, call.at_ns, int.from_bytes(call.data[:8], "little"), call.truth_uj)
            for call in self.calls
            if call.path == f"dev/cpu/{cpu}/msr" and call.offset == register
            if call.operation == "read" and not call.errno and call.truth_uj is not None
        ]

    def zones_read(self) -> set[str]:
        """The zones whose energy was looked at, whether or not that succeeded."""
        files = [Path(call.path) for call in self.calls if call.operation in ("open", "read")]
        return {file.parent.name for file in files if file.name == "energy_uj"}


def _is_look(call: Call) -> bool:
    # What a program reads further on, to find the end, is no second look.
    return call.operation == "read" and call.offset == 0 and not call.errno and bool(call.data)


def truth_j(reads: list[Read]) -> float:
    """Joules that were really spent between the first of some looks and the last."""
    return (reads[-1].truth_uj - reads[0].truth_uj) / 1e6


class Said(NamedTuple):
    """What a client said, what it should have said, and how unevenly it looked, as :func:`unevenness` has it."""

    said: Sequence[float]
    truth: Sequence[float]
    uneven: float


def unevenness(reads: Sequence[Read]) -> float:
    """How much longer the longest interval between looks was than the shortest, as a part of all the time."""
    spans_ns = [last.at_ns - first.at_ns for first, last in pairwise(reads)]
    return (max(spans_ns) - min(spans_ns)) / sum(spans_ns) if len(spans_ns) > 1 else 1


def assert_right(run: Callable[[], Said], rel: float) -> None:
    """Hold against the truth what a client says that goes by a clock of its own; each ``run`` is the whole of it anew.

    It takes its time a little before it looks, or after.  What a busy host lets pass in between is in its watts and not
    in our log, but it puts off the look, or the next one.  Where the looks came unevenly, by more than half of what the
    client may be off, a wrong answer proves nothing and there is another run; else it is wrong, at the first time.
    """
    uneven = []
    for _ in range(_RUNS):
        found = run()
        if found.said == pytest.approx(found.truth, rel=rel):
            return
        assert found.uneven > rel / 2, f"it said {found.said} of {found.truth}"
        uneven.append(found.uneven)
    pytest.skip(f"this host is too busy to judge it: in {_RUNS} runs its looks were uneven by {uneven} of the time")


def observe_command(
    command: list[str],
    file: Path,
    *,
    environment: Mapping[str, str],
    folder: Path,
    before: Sequence[str] = (),
    **options: object,
) -> Observation:
    """Run ``command`` in ``folder`` on a machine, its calls by way of ``file``; options as observer.py takes them.

    ``before`` is a command that runs another, which is then that of observer.py.  RuntimeError where raplica failed.
    """
    done = subprocess.run(
        [*before, sys.executable, str(_OBSERVER), json.dumps(options), str(file), *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=_LONGEST_S,
        cwd=folder,
        env=environment,
    )
    # Whatever becomes of the command: once it has ended its calls are there.
    if not file.exists():
        raise RuntimeError(f"{command[0]} could not be observed, status {done.returncode}: {done.stderr}")
    calls = [_call(json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    return Observation(done.returncode, done.stdout, done.stderr, calls)


def _call(document: dict[str, Any]) -> Call:
    return Call(**{**document, "data": document["data"].encode("latin-1")})
