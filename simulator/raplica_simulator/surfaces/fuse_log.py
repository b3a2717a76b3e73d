# SPDX-License-Identifier: Apache-2.0
"""Writing down what programs do with the files of a mount, while somebody has switched the log on.

Machine time stands for as long as one call takes, so that the truth beside a value is that of the very nanosecond at
which it was read.  The two ioctls of an msr device are a read and a write of the register that they name.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from errno import EIO
from struct import Struct
from typing import NamedTuple

from raplica_simulator.linux.kernel import KernelCrash
from raplica_simulator.linux.msr_file import RDMSR_REGS, WRMSR_REGS
from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.machine import LiveMachine
from raplica_simulator.live.measured import domain_of_msr, find_zone, truth_uj
from raplica_simulator.live.read_log import MOST_DATA, Call
from raplica_simulator.surfaces import fuse_wire as wire
from raplica_simulator.surfaces.fuse_wire import Header, Op
from raplica_simulator.surfaces.live_entry import LiveFile
from raplica_simulator.surfaces.live_tree import LiveTree

__all__ = ["FuseLog"]

_REGISTERS = Struct("=3I")  # eax ecx edx, of the eight words
_ENERGY = "/energy_uj"
_PLACES_KEPT = 4096
Answer = bytes | None


class _Asked(NamedTuple):
    """What a request asks for: "open", "read" or "write", at an offset, so many bytes; with what to write."""

    operation: str
    offset: int = 0
    size: int = 0
    data: bytes = b""


class _Place(NamedTuple):
    """A file: its path, the zone of an energy file, the processor of an msr device."""

    path: str
    zone: str | None
    cpu: int | None


class FuseLog:
    """Stands between a server and its answers."""

    def __init__(self, live: LiveMachine, tree: LiveTree) -> None:
        self._live = live
        self._tree = tree
        # By the number of the file, which is never used twice: files come and go with the driver, and those that went
        # are still here.
        self._places: dict[int, _Place] = {}

    def answer(self, handler: Callable[[Header, bytearray], Answer], header: Header, body: bytearray) -> Answer:
        """Let the handler answer, and write down what became of it; what it raises goes on.  The machine is held."""
        asked = _asked(header, body)
        entry = None if asked is None else self._tree.entry(header.node)
        if asked is None or not isinstance(entry, LiveFile):
            return handler(header, body)
        with self._standing():
            try:
                result = handler(header, body)
            except (OSError, KernelCrash) as error:
                # Who makes the kernel crash is ended; where that cannot be it gets EIO.
                errno = error.errno if isinstance(error, OSError) else None
                self._add(header, asked, entry, errno or EIO, asked.data)
                raise
            self._add(header, asked, entry, 0, asked.data or _given(header.op, result or b"")[:MOST_DATA])
        return result

    def _standing(self) -> AbstractContextManager[None]:
        clock = self._live.machine.clock
        return clock.held_at(clock.now_ns) if isinstance(clock, LiveClock) else nullcontext()

    def _add(self, header: Header, asked: _Asked, entry: LiveFile, errno: int, data: bytes) -> None:
        log = self._live.log
        place = self._place(header.node, entry)
        domain = self._domain(place, asked)
        call = Call(
            log.last + 1,
            self._live.machine.clock.now_ns,
            header.pid,
            log.command_of(header.pid, anew=asked.operation == "open"),
            asked.operation,
            place.path,
            asked.offset,
            asked.size,
            errno,
            data,
            domain,
            None if domain is None or not log.with_truth else self._live.machine.truth_uj(domain),
        )
        log.add(call)

    def _place(self, ino: int, entry: LiveFile) -> _Place:
        found = self._places.get(ino)
        if found is None:
            path = entry.path
            zone = cpu = None
            if path.startswith("dev/cpu/"):
                cpu = int(path.split("/")[2])
            elif path.startswith("sys/") and path.endswith(_ENERGY):
                zone = self._zone(path.removeprefix("sys/"))
            if len(self._places) >= _PLACES_KEPT:
                self._places.clear()
            found = self._places[ino] = _Place(path, zone, cpu)
        return found

    def _zone(self, path: str) -> str | None:
        """The zone to which an energy file belongs, where there is a truth about it."""
        machine = self._live.machine
        names = find_zone(machine, path)
        return None if names is None or truth_uj(machine, names) is None else names

    def _domain(self, place: _Place, asked: _Asked) -> str | None:
        if asked.operation != "read":
            return None
        if place.cpu is None:
            # What follows comes from the text that the read at 0 made.
            return None if asked.offset else place.zone
        # The device looks at 32 bits of the offset.
        return domain_of_msr(self._live.machine, place.cpu, asked.offset & 0xFFFFFFFF)


def _asked(header: Header, body: bytearray) -> _Asked | None:
    """What a request asks for; None for what is not written down."""
    if header.op == Op.OPEN:
        return _Asked("open")
    if header.op in (Op.READ, Op.WRITE):
        _, offset, size = wire.READ_IN.unpack_from(body, wire.HEADER_SIZE)
        if header.op == Op.READ:
            return _Asked("read", offset, size)
        start = wire.HEADER_SIZE + wire.READ_IN.size
        return _Asked("write", offset, size, bytes(body[start : start + min(size, MOST_DATA)]))
    if header.op == Op.IOCTL:
        _, _, command, _, size, _ = wire.IOCTL_IN.unpack_from(body, wire.HEADER_SIZE)
        if command in (RDMSR_REGS, WRMSR_REGS) and size >= _REGISTERS.size:
            low, register, high = _REGISTERS.unpack_from(body, wire.HEADER_SIZE + wire.IOCTL_IN.size)
            if command == RDMSR_REGS:
                return _Asked("read", register, 8)
            return _Asked("write", register, 8, (high << 32 | low).to_bytes(8, "little"))
    return None


def _given(op: int, result: bytes) -> bytes:
    """What a read gave, out of the answer."""
    if op == Op.READ:
        return result
    if op == Op.IOCTL:
        low, _, high = _REGISTERS.unpack_from(result, wire.IOCTL_OUT.size)
        word: int = high << 32 | low
        return word.to_bytes(8, "little")
    return b""
