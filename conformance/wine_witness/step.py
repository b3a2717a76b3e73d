# SPDX-License-Identifier: Apache-2.0
"""What is asked, step by step, and what was answered: the words that the client, the recordings and the model share.

A step is a Win32 call with its arguments, or one of four of ours:

* `Publish machine=NAME seconds=S` puts the simulated machine's registers, S seconds later, where the driver reads them;
* `Reboot` ends every process and starts the system anew;
* `Crowd` opens, asks and closes from many threads at once;
* `Sweep handle code input inputs outputs` is a DeviceIoControl for each input length up to `inputs` and each output
  length up to `outputs`; its answer lists the different answers, and has a letter for each pair of lengths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Answer", "Script", "Step", "Windows", "answer", "call", "fold", "unfold"]

Answer = dict[str, object]
_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Step:
    """One call. `departure` names where Wine is known to be unlike Windows here (`departures.py`)."""

    call: str
    arguments: Mapping[str, str | int] = field(default_factory=dict)
    departure: str | None = None


@dataclass(frozen=True)
class Script:
    """Steps that start on a system without a service of ours."""

    name: str
    what: str
    steps: tuple[Step, ...]


class Windows(Protocol):
    """Whoever answers: Wine through the client, or the simulator's model."""

    def do(self, step: Step) -> Answer:
        """Make one Win32 call, or a `Crowd` of them."""

    def publish(self, machine: str, seconds: int) -> Answer:
        """Show the registers of a machine as they are `seconds` later than they were shown last."""

    def reboot(self) -> Answer:
        """End every process, and start the system."""


def call(name: str, departure: str | None = None, /, **arguments: str | int) -> Step:
    """Return a step; the arguments keep their order."""
    return Step(name, arguments, departure)


def answer(step: Step, windows: Windows) -> Answer:
    """Let one step be answered."""
    if step.call == "Publish":
        return windows.publish(str(step.arguments["machine"]), int(step.arguments["seconds"]))
    if step.call == "Reboot":
        return windows.reboot()
    if step.call == "Sweep":
        return fold(step, [windows.do(part) for part in unfold(step)])
    return windows.do(step)


def unfold(step: Step) -> Iterator[Step]:
    """Yield the calls of a `Sweep`, one input length after the other."""
    arguments = step.arguments
    data = str(arguments["input"])
    for given in range(int(arguments["inputs"]) + 1):
        for room in range(int(arguments["outputs"]) + 1):
            shared = {"handle": arguments["handle"], "code": arguments["code"]}
            yield Step("DeviceIoControl", shared | {"input": data[: 2 * given], "output_length": room})


def fold(step: Step, answers: Sequence[Answer]) -> Answer:
    """Return the answer of a `Sweep`: the different answers by letter, and a row of letters for each input length."""
    different: list[Answer] = []
    letters = []
    for one in answers:
        if one not in different:
            different.append(one)
        letters.append(_LETTERS[different.index(one)])
    wide = int(step.arguments["outputs"]) + 1
    rows = ["".join(letters[at : at + wide]) for at in range(0, len(letters), wide)]
    return {"answers": dict(zip(_LETTERS, different, strict=False)), "rows": rows}
