# SPDX-License-Identifier: Apache-2.0
"""The Scaphandre driver for the reader's tests: a process on a Windows where one of its versions runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from raplica_reader import Zone
from raplica_simulator import Machine
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import Win32Calls

KABYLAKE = {"package-0", "package-0/core", "package-0/uncore", "package-0/dram"}


def driver(version: str) -> ScaphandreDriver:
    return ScaphandreDriver("v3.2", fixed=True) if version == "fixed" else ScaphandreDriver(version)


def process_of(machine: Machine, version: str) -> Win32Calls:
    """An ordinary user's process on a Windows where this version of the driver runs."""
    return WindowsSystem.with_driver(machine, driver(version)).process(administrator=False)


def paths(zones: tuple[Zone, ...]) -> list[str]:
    return [zone.path for zone in zones]


class Wrapped:
    """Calls of another object, some of them replaced."""

    def __init__(self, calls: Any, **replaced: Callable[..., Any]) -> None:
        self.calls = calls
        self.replaced = replaced

    def __getattr__(self, name: str) -> Any:
        return self.replaced.get(name) or getattr(self.calls, name)
