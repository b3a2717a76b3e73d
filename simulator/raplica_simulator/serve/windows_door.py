# SPDX-License-Identifier: Apache-2.0
"""A socket at which programs make Windows' calls: one connection is one process of the simulated Windows."""

import os
from typing import Any, ClassVar

from raplica_simulator.live.line_door import LineDoor, Talk
from raplica_simulator.serve.windows_requests import answer, failure
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import Win32Calls

__all__ = ["WindowsDoor"]


class WindowsDoor(LineDoor):
    """A socket of lines of JSON, see :mod:`.windows_requests`; a context manager, as :class:`.LineDoor`.

    A connection that ends closes everything that its process holds, as Windows does.  The client speaks first.
    """

    name: ClassVar[str] = "windows"
    does: ClassVar[tuple[str, str]] = ("answers", "ask it")
    example: ClassVar[str] = '{"call": "Cpu"}'

    def __init__(self, system: WindowsSystem, path: str | os.PathLike[str], *, administrator: bool = True) -> None:
        """``administrator``: whether the processes run elevated.  Errors as :class:`.LineDoor`."""
        self._system = system
        self._administrator = administrator
        super().__init__(path)

    def talk(self) -> Talk:
        """Begin a connection: a process starts."""
        return _Connection(self._system.process(administrator=self._administrator))

    def failure(self, why: str) -> dict[str, Any]:
        """What is no request is a parameter that is wrong."""
        return failure(why)


class _Connection:
    """One connection, and the process that it is."""

    def __init__(self, process: Win32Calls) -> None:
        self._process = process

    def hello(self) -> None:
        return None

    def answer(self, table: dict[str, Any], /) -> dict[str, Any]:
        return answer(self._process, table)

    def end(self) -> None:
        self._process.exit()
