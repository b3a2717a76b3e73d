# SPDX-License-Identifier: Apache-2.0
"""One register and what becomes of a read or a write of it, wherever it lies: MSR, MCHBAR or TPMI.

Two rule sets stand behind one interface.  ``silicon`` is what processors do: a write to a read-only register or
one that changes a reserved bit does not go through, a write to a locked register is dropped without a word.
``table`` is what a recording's register table did: value, faults, write mask, lock mask, and nothing else.
Whether a write that does not go through faults is the business of the space that the register lies in: an MSR
faults (#GP), memory never does.

Energy counters do not tick.  A counter is a stored value plus the steps of its meter, computed at the read.
"""

import os
from collections.abc import Callable
from errno import EIO
from typing import NamedTuple

from raplica_simulator.faults.trigger import Trigger
from raplica_simulator.hardware.registers import Register

__all__ = ["Access", "Cell", "check_u64"]

U64 = (1 << 64) - 1


class Access(NamedTuple):
    """One access of a driver to a register, as the kernel witness prints it.

    Attributes:
        op: "r" or "w".
        die: the logical die of the processor; for TPMI the package, for MMIO 0.
        cpu: the processor that executed it; the package where the driver asks no processor.
        register: its address, or its offset.
        mask: the bits that the driver wanted.
        value: those bits, in place: read, or to be written.
        content: the whole register afterwards.
        errno: 0 or the errno.
        space: "msr", "mmio" or "tpmi".
    """

    op: str
    die: int
    cpu: int
    register: int
    mask: int
    value: int
    content: int
    errno: int
    space: str = "msr"

    def __str__(self) -> str:
        """The line that the witness prints."""
        return (
            f"{self.op} die{self.die} cpu{self.cpu} {self.register:#x} mask={self.mask:#x} "
            f"val={self.value:#x} reg={self.content:#x} err={-self.errno}"
        )


class Cell:
    """One instance of a register; ``rules`` are its layout, None for a plain word."""

    __slots__ = (
        "base",
        "counter_mask",
        "ignore_mask",
        "present",
        "read_fault",
        "rules",
        "steps",
        "stopped",
        "value",
        "write_fault",
        "write_mask",
    )

    def __init__(self, rules: Register | None, counts: tuple[Callable[[], int], int] | None) -> None:
        """Make an absent one.  ``counts`` is the steps function and counter mask of one that counts energy."""
        self.rules = rules
        self.value = 0
        self.present = False
        self.steps: Callable[[], int] | None = None
        self.counter_mask = 0
        if counts is not None:
            self.steps, self.counter_mask = counts
        # The steps function of a counter that is stuck.
        self.stopped: Callable[[], int] | None = None
        self.base = 0
        self.read_fault: Trigger | None = None
        self.write_fault: Trigger | None = None
        self.write_mask = U64
        self.ignore_mask = 0

    def content(self) -> int:
        """What the register holds now, faults aside."""
        if self.steps is None:
            return self.value
        mask = self.counter_mask
        return (self.value & ~mask) | (self.value + self.steps() - self.base) & mask

    def hold(self, value: int) -> None:
        """Let it hold ``value`` now, whatever it counted before.  It exists from now on."""
        self.value = value
        self.present = True
        if self.steps is not None:
            self.base = self.steps()

    def read(self) -> int:
        """Its content.  OSError: the injected fault, EIO for an absent register."""
        if self.read_fault is not None:
            self.read_fault.fire()
        if not self.present:
            raise OSError(EIO, os.strerror(EIO))
        return self.content()

    def check_writable(self) -> None:
        """OSError where no write can arrive: the injected fault, EIO for an absent register."""
        if self.write_fault is not None:
            self.write_fault.fire()
        if not self.present:
            raise OSError(EIO, os.strerror(EIO))

    def refuses(self, value: int) -> bool:
        """Whether silicon refuses to store ``value``: a read-only register, or a reserved bit that would change."""
        rules = self.rules
        return rules is not None and (rules.access == "ro" or bool((self.content() ^ value) & rules.reserved))

    def is_locked(self) -> bool:
        """Whether its own lock bit is set."""
        rules = self.rules
        return rules is not None and rules.lock is not None and bool(self.content() >> rules.lock & 1)

    def store(self, value: int) -> None:
        """Write with the table's masks: dropped whole where an ignore bit is set, else the writable bits change."""
        old = self.content()
        if not old & self.ignore_mask:
            self.hold((old & ~self.write_mask) | (value & self.write_mask))

    def stop(self) -> None:
        """Let a counter stand still; nothing happens to any other register, or to one that stands already."""
        if self.steps is not None:
            self.value = self.content()
            self.stopped, self.steps = self.steps, None

    def go_on(self) -> None:
        """Let a counter that was stopped count on from what it shows: what was spent meanwhile is lost to it."""
        if self.stopped is not None:
            self.steps, self.stopped = self.stopped, None
            self.base = self.steps()

    def fail(self, on: str, errno: int | None, after: int = 0, times: int | None = None) -> None:
        """Let reads or writes (or ``on="both"``) fail from now on; None heals it.  ValueError for another ``on``.

        The first ``after`` of them still pass, then ``times`` fail (None: all).
        """
        if on not in ("read", "write", "both"):
            message = f"inject(on={on!r}): a register fault is on 'read', 'write' or 'both'"
            raise ValueError(message)
        if on != "write":
            self.read_fault = None if errno is None else Trigger("read", errno, after, times)
        if on != "read":
            self.write_fault = None if errno is None else Trigger("write", errno, after, times)


def check_u64(value: int) -> None:
    """ValueError for a number that is no content of a 64-bit register."""
    if not 0 <= value <= U64:
        message = f"{value:#x} does not fit a 64-bit register"
        raise ValueError(message)
