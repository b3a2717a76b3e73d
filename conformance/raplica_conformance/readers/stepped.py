# SPDX-License-Identifier: Apache-2.0
"""The plug for readers that are told when to look: one process that answers JSON lines.

A command on each line of its stdin, an answer on each line of its stdout:

    {"do": "start", "at_ns": 0, "sysfs": "/tmp/m/sys", "dev": "/tmp/m/dev", "cpu": "6:85"}
    {"do": "sample", "at_ns": 4000000000}
    {"do": "stop"}

`start` takes the baseline on the machine that it names, and begins anew each time; `sample` looks again. An answer is
`{"ok": true, "zones": [{"id", "path", "energy_uj", "status", "error"}, ...]}`, energies since `start` in microjoules
and null where unknown; `total_uj` beside `zones`, or `counted` in them, says what the machine spent. Nothing else is
printed on stdout: a line that nobody asked for would be taken for the answer to what is asked next.
"""

import json
from dataclasses import dataclass, field
from typing import Any

from raplica_conformance.ending import held
from raplica_conformance.readers.command import Command
from raplica_conformance.readers.plug import TOTAL, Answer, ReaderFault, ReaderHung, Reading, Stage
from raplica_conformance.readers.program import Program
from raplica_conformance.readers.reading import clipped, reading_from

__all__ = ["SteppedPlug"]


@dataclass(slots=True)
class SteppedPlug:
    """A reader that is one process for all cases; one that broke down is started anew for the next."""

    name: str
    command: Command
    interfaces: frozenset[str] = frozenset({"powercap"})
    limit_s: float = 10.0
    kind: str = "stepped"
    counter: bool = False
    _program: Program | None = field(default=None, repr=False)
    _started: tuple[str, ...] = field(default=(), repr=False)

    def open(self, stage: Stage) -> "_Session":
        """Begin a series on this machine, with the process that is there."""
        words = self.command.filled(stage)
        if self._program is not None and (self._program.has_ended or words != list(self._started)):
            self.close()
        if self._program is None:
            with held():
                self._program = Program(words)
            self._started = tuple(words)
        return _Session(self, self._program, stage)

    def close(self) -> None:
        """Tell it to stop, and see that it does."""
        program, self._program = self._program, None
        if program is None:
            return
        try:
            program.tell(json.dumps({"do": "stop"}))
            program.line(min(self.limit_s, 1.0))
        except (ReaderFault, ReaderHung):
            pass
        finally:
            program.close()

    def drop(self) -> None:
        """End a process that cannot be talked to any more."""
        program, self._program = self._program, None
        if program is not None:
            program.close()


class _Session:
    """A series of samples on one machine."""

    def __init__(self, plug: SteppedPlug, program: Program, stage: Stage) -> None:
        self._plug = plug
        self._program = program
        self._stage = stage
        self._answer: Answer = {}
        self._begun = False
        # Until an answer is there the process is in the middle of something, and nobody else can talk to it.
        self._settled = True

    def sample(self) -> None:
        command: dict[str, Any] = {"do": "sample", "at_ns": self._stage.now_ns()}
        if not self._begun:
            places = {"sysfs": self._stage.sysfs_dir, "dev": self._stage.dev_dir, "cpu": self._stage.cpu}
            command = {"do": "start", "at_ns": self._stage.now_ns(), **places}
        self._settled = False
        self._refuse_surplus()
        self._program.tell(json.dumps(command))
        answer = _answer(self._program.line(self._plug.limit_s))
        self._settled = True
        self._begun = True
        self._answer = answer

    def answer(self) -> Answer:
        return self._answer

    def close(self) -> None:
        """Leave the process for the next case; ReaderFault where it has said more than it was asked."""
        settled, self._settled = self._settled, True
        try:
            if settled and self._begun:
                self._begun = False
                settled = False
                self._refuse_surplus()
                settled = True
        finally:
            if not settled:
                self._plug.drop()

    def _refuse_surplus(self) -> None:
        if surplus := self._program.surplus():
            raise ReaderFault(f"it printed {clipped(surplus)!r}, which nobody had asked for: one line for each command")


def _answer(line: str) -> Answer:
    """One line of the protocol as readings; ReaderFault for what is none."""
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        raise ReaderFault(f"it answers {clipped(line)!r}, which is no JSON") from None
    if not isinstance(said, dict) or said.get("ok") is not True or not isinstance(said.get("zones"), list):
        problem = said.get("problem") if isinstance(said, dict) else None
        raise ReaderFault(f"it answers {clipped(problem or line)!r}, and not with ok and zones")
    answer: dict[str, Reading] = {}
    counted: list[Reading] = []
    for zone in said["zones"]:
        reading = _reading(zone)
        if reading is not None:
            answer[zone["id"]] = reading
            if zone.get("counted") is True:
                counted.append(reading)
    if "total_uj" in said:
        answer[TOTAL] = reading_from(TOTAL, said["total_uj"])
    elif counted:
        known = [one.energy_uj for one in counted if one.energy_uj is not None]
        whole = len(known) == len(counted)
        errors = [one.error for one in counted if one.energy_uj is None]
        answer[TOTAL] = Reading(sum(known), "ok") if whole else Reading(None, "unknown", errors[0])
    return answer


def _reading(zone: Any) -> Reading | None:
    """What is said of one zone; None where it has no counter."""
    if not isinstance(zone, dict) or not isinstance(zone.get("id"), str):
        raise ReaderFault(f"it answers a zone {clipped(zone)!r}, and not an object with an id")
    if zone.get("status") == "none":
        return None
    return reading_from(zone["id"], zone.get("energy_uj"), zone.get("status"), zone.get("error"))
