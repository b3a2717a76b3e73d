# SPDX-License-Identifier: Apache-2.0
# os.path and not pathlib, which takes longer to load than a reading takes:
# ruff: noqa: PTH118, PTH208
"""How the reader reaches model-specific registers: two calls, so that something else can stand in for the device.

`Devices` answers from /dev/cpu/N/msr (arch/x86/kernel/msr.c): the offset is the register, eight bytes are one rdmsr on
CPU N, and a register that faults is EIO. The device is only ever opened for reading.
"""

import os
from collections.abc import Callable
from functools import partial
from typing import Protocol

__all__ = ["WORD", "Devices", "Registers"]

WORD = 8
"""Bytes of a register."""


class Registers(Protocol):
    """Read access to the registers of a machine."""

    def cpus(self) -> list[int]:
        """The CPUs that can be asked, in any order; OSError where there are none to ask."""
        ...

    def read(self, cpu: int, register: int) -> int:
        """One register as CPU `cpu` reads it; OSError EIO where that faults, ENXIO where the CPU is down."""
        ...


class Devices:
    """The msr devices below a directory that holds `cpu/N/msr`: /dev, or a mount."""

    def __init__(self, root: str | os.PathLike[str] = "/dev") -> None:
        self.root = os.fspath(root)

    def __repr__(self) -> str:
        return f"Devices({self.root!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Devices) and other.root == self.root

    def __hash__(self) -> int:
        return hash(self.root)

    def cpus(self) -> list[int]:
        """Numbers of the CPUs that have a device."""
        folder = os.path.join(self.root, "cpu")
        return [
            int(name)
            for name in os.listdir(folder)
            if name.isdigit() and os.path.lexists(os.path.join(folder, name, "msr"))
        ]

    def read(self, cpu: int, register: int) -> int:
        """Open, read eight bytes, close."""
        descriptor, read = self.keep_open(cpu, register)
        try:
            return int.from_bytes(read(), "little")
        finally:
            os.close(descriptor)

    def keep_open(self, cpu: int, register: int) -> tuple[int, Callable[[], bytes]]:
        """Open a CPU's device for good: its descriptor, which the caller closes, and a call that reads the register."""
        path = os.path.join(self.root, "cpu", str(cpu), "msr")
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return descriptor, partial(os.pread, descriptor, WORD, register)
