# SPDX-License-Identifier: Apache-2.0
"""The control door as a unix socket: lines of JSON, a request and its answer at a time."""

import os
from typing import Any, ClassVar

from raplica_simulator.control.door import Control
from raplica_simulator.control.requests import REQUESTS, answer, failure
from raplica_simulator.faults.verbs import VERBS
from raplica_simulator.live.line_door import MOST_CLIENTS, MOST_IN_LINE, LineDoor, Talk
from raplica_simulator.live.socket_file import LONGEST_PATH, whole_path

__all__ = ["LONGEST_PATH", "MOST_CLIENTS", "MOST_IN_LINE", "VERSION", "ControlDoor", "door_path"]

VERSION = 1


class ControlDoor(LineDoor):
    """A socket at which a machine takes orders; a context manager, as :class:`.LineDoor`."""

    name: ClassVar[str] = "control"
    does: ClassVar[tuple[str, str]] = ("takes orders", "give it orders")
    example: ClassVar[str] = '{"do": "status"}'

    def __init__(self, control: Control, path: str | os.PathLike[str]) -> None:
        """Take orders at ``path``; errors as :class:`.LineDoor`."""
        self._control = control
        super().__init__(path)

    def talk(self) -> Talk:
        """Begin a connection, which says first what can be asked."""
        return _Orders(self._control)

    def failure(self, why: str) -> dict[str, Any]:
        """An order that is none."""
        return failure(why)


class _Orders:
    """One connection: nothing is kept between two orders."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def hello(self) -> dict[str, Any]:
        machine, kernel = self._control.names()
        return {
            "raplica": "control",
            "version": VERSION,
            "machine": machine,
            "kernel": kernel,
            "verbs": [*REQUESTS, *VERBS],
        }

    def answer(self, table: dict[str, Any], /) -> dict[str, Any]:
        return answer(self._control, table)

    def end(self) -> None:
        """Nothing is kept."""


def door_path(path: str | os.PathLike[str]) -> str:
    """The path of a control door, absolute.  ValueError in one line for one that no socket can have."""
    return whole_path(path, ControlDoor.name)
