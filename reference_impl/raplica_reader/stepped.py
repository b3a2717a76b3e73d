# SPDX-License-Identifier: Apache-2.0
"""Be read by another program step by step: commands on stdin, an answer for each on stdout, one JSON object a line.

A test suite that moves a simulated machine's clock cannot use a program that sleeps by itself, and starting a program
for every sample costs more than the sample. So it starts this once and says when to look:

    {"do": "start", "at_ns": 0, "sysfs": "/tmp/m/sys", "source": "powercap"}
    {"do": "sample", "at_ns": 1000000000}
    {"do": "stop"}

`start` takes the baseline; a second one begins anew. `sysfs`, `dev`, `cpu`, `windows` and `source` are optional there
and mean what they mean on the command line, which they replace for this series. `at_ns` is optional: the caller's clock
in nanoseconds, in all commands of a series or in none; without it the reader's own monotonic clock counts. Answers
repeat `do` and have `ok`. Those of `start` and `sample` have `zones`, each with `id`, `path`, `energy_uj` since `start`
(null where unknown), `status` ("ok", "unknown", "reset", "error", "none"), `error` (an errno name or null) and
`counted`, and `total`, what the counted zones add up to. A command that cannot be done is answered by `{"ok": false,
"problem": "…"}` and changes nothing.
The session ends with `stop` or with the end of the input.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TextIO

from raplica_reader.follow import Follower
from raplica_reader.overlap import shares, total
from raplica_reader.processor import Processor
from raplica_reader.source import SOURCES, Host, choose
from raplica_reader.step import verdict

__all__ = ["FORMAT", "Session", "converse"]

FORMAT = 1
START, SAMPLE, STOP = "start", "sample", "stop"
KNOWN = {START: {"do", "at_ns", "sysfs", "dev", "cpu", "windows", "source"}, SAMPLE: {"do", "at_ns"}, STOP: {"do"}}


class Problem(Exception):
    """A command that cannot be done; its text is for the answer."""


class Session:
    """A conversation. `host`, `source` and `possible_w` are those of the command line, `clock` the reader's own."""

    def __init__(
        self,
        host: Host,
        source: str,
        clock: Callable[[], int],
        *,
        version: str = "",
        possible_w: int | None = None,
    ) -> None:
        self._host = host
        self._source = source
        self._clock = clock
        self._version = version
        self._possible_w = possible_w
        self._follower: Follower | None = None
        self._told_ns: int | None = None
        self.is_over = False

    def close(self) -> None:
        """Give back every descriptor."""
        if self._follower is not None:
            self._follower.sampler.close()
            self._follower = None

    def answer(self, line: str) -> dict[str, Any]:
        """Do what one line asks for and give the answer."""
        try:
            command = json.loads(line)
        except (ValueError, RecursionError):
            return {"do": None, "ok": False, "problem": "the line is no JSON"}
        do = command.get("do") if isinstance(command, dict) else None
        if not isinstance(do, str) or do not in KNOWN:
            return {"do": None, "ok": False, "problem": 'a command is an object with "do": start, sample or stop'}
        try:
            unknown = sorted(command.keys() - KNOWN[do])
            if unknown:
                raise Problem(f"{do} has no {', '.join(unknown)}")
            at_ns = command.get("at_ns")
            if at_ns is not None and (type(at_ns) is not int or at_ns < 0):
                raise Problem("at_ns is a whole number of nanoseconds, 0 or more")
            if do == STOP:
                self.close()
                self.is_over = True
                return {"do": do, "ok": True}
            done = self._start(command, at_ns) if do == START else self._sample(at_ns)
        except Problem as problem:
            return {"do": do, "ok": False, "problem": str(problem)}
        return {"do": do, "ok": True} | done

    def _start(self, command: dict[str, Any], at_ns: int | None) -> dict[str, Any]:
        """Choose a source and take the baseline."""
        host, source = self._asked(command)
        self.close()
        self._told_ns = at_ns
        choice = choose(host, source, clock=self._now)
        self._follower = Follower(choice.source, choice.sampler, possible_w=self._possible_w)
        self._follower.sample()
        about = {"format": FORMAT, "reader": f"raplica-reader {self._version}", "source": choice.source.name}
        return about | {"trouble": choice.trouble} | self._state()

    def _asked(self, command: dict[str, Any]) -> tuple[Host, str]:
        """The host and the source that a start asks for."""
        texts = {name: command.get(name) for name in ("sysfs", "dev", "cpu", "windows", "source")}
        if any(text is not None and not isinstance(text, str) for text in texts.values()):
            raise Problem("sysfs, dev, cpu, windows and source are text")
        for name in ("sysfs", "dev"):
            if not _is_path(texts[name]):
                raise Problem(f"{name} is no name of a directory")
        source = texts["source"] or self._source
        if source not in {"auto", *SOURCES}:
            raise Problem(f"there is no source {source!r}: auto, {', '.join(SOURCES)}")
        if not _is_path(texts["windows"]):
            raise Problem("windows is no name of a socket")
        try:
            cpu = self._host.cpu if texts["cpu"] is None else Processor.parse(texts["cpu"])
        except ValueError:
            raise Problem("cpu is FAMILY:MODEL, such as 6:85") from None
        sysfs = self._host.sysfs if texts["sysfs"] is None else texts["sysfs"]
        dev = self._host.dev if texts["dev"] is None else texts["dev"]
        windows = self._host.windows if texts["windows"] is None else texts["windows"]
        host = replace(self._host, sysfs=sysfs, dev=dev, cpu=cpu, windows=windows)
        if clash := host.clash(source):
            raise Problem(clash)
        return host, source

    def _sample(self, at_ns: int | None) -> dict[str, Any]:
        """Look once more."""
        if self._follower is None:
            raise Problem("start comes first")
        if (at_ns is None) != (self._told_ns is None):
            raise Problem("at_ns is in all commands of a series or in none")
        if at_ns is not None and self._told_ns is not None and at_ns < self._told_ns:
            raise Problem(f"at_ns goes back, from {self._told_ns}")
        self._told_ns = at_ns
        self._follower.sample()
        return self._state()

    def _state(self) -> dict[str, Any]:
        """What every zone has spent since the start."""
        if self._follower is None:
            return {}
        spent = self._follower.meter.total()
        summed = total(spent)
        status = "none" if summed.energy_nj is None and summed.error is None else verdict(summed.error)
        return {
            "at_ns": self._follower.at_ns,
            "total": {"energy_uj": summed.energy_uj, "status": status, "error": summed.error},
            "zones": [
                {
                    "id": part.zone.id,
                    "path": part.zone.path,
                    "energy_uj": part.energy_uj,
                    "status": part.status,
                    "error": part.error,
                    "counted": share.counted,
                }
                for part, share in zip(spent, shares([one.zone for one in spent]), strict=True)
            ],
        }

    def _now(self) -> int:
        """The caller's time, or the reader's own."""
        return self._clock() if self._told_ns is None else self._told_ns


def _is_path(text: str | None) -> bool:
    """Whether the kernel can be asked for this at all; None is the usual place."""
    if text is None:
        return True
    try:
        return bool(text) and b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:  # JSON can spell halves of characters
        return False


def converse(session: Session, commands: Iterable[str], answers: TextIO) -> None:
    """Answer every line until the session is over or there are no more."""
    try:
        for line in commands:
            print(json.dumps(session.answer(line)), file=answers, flush=True)
            if session.is_over:
                return
    finally:
        session.close()
