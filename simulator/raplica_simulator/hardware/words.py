# SPDX-License-Identifier: Apache-2.0
"""Registers that lie in memory: the words of MCHBAR (MMIO) and of the TPMI pages, a table for each package.

Mirrors what readq and writeq meet at those places.  Memory does not fault: on ``silicon`` a word that no table
lists reads 0 and a write that the silicon does not take - to a read-only or locked word, or to a word that is not
there - is lost without a word; reserved bits keep what they hold.  In ``table`` machines an absent word faults, as in
the table that a recording was made with.  Injected faults fail in both.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from errno import EIO

from raplica_simulator.hardware.cell import Access, Cell, check_u64
from raplica_simulator.hardware.registers import Register

__all__ = ["WordSpace"]

_EMPTY = Cell(None, None)


class WordSpace:
    """The 64-bit words of one kind, addressed by package and offset; ``machine.mmio`` and ``machine.tpmi``.

    Attributes:
        name: "mmio" or "tpmi".
        log: the accesses of the last step, the same list as ``machine.msr.log``.
    """

    def __init__(
        self,
        name: str,
        *,
        silicon: bool,
        packages: Iterable[int],
        rules: Callable[[int, int], Register | None],
        meter: Callable[[int, int], tuple[Callable[[], int], int] | None],
        changed: Callable[[int, int], None],
        log: list[Access],
    ) -> None:
        """Make an empty space.

        ``rules`` says what (package, offset) looks like, ``meter`` gives its steps function and counter mask where
        it counts energy, and ``changed`` is told (package, offset) of every new content.
        """
        self.name = name
        self.log = log
        self._silicon = silicon
        self._rules = rules
        self._meter = meter
        self._changed = changed
        self._cells: dict[int, dict[int, Cell]] = {package: {} for package in packages}

    # What programs and the owner of the machine do.

    def read(self, register: int, package: int = 0) -> int:
        """The word at an offset.  OSError: an injected fault, EIO for an absent word under ``table`` rules."""
        return self._read(package, register)

    def write(self, register: int, value: int, package: int = 0) -> None:
        """Write the word at an offset, with the machine's rules; errors as :meth:`read`."""
        check_u64(value)
        self._write(package, register, value)
        self._changed(package, register)

    def poke(self, register: int, value: int, package: int = 0) -> None:
        """Let the word hold ``value``, as silicon could: no rules.  It exists from now on.

        A counter goes on from there; the truth about the energy spent does not move.
        """
        check_u64(value)
        self._cell(package, register).hold(value)
        self._changed(package, register)

    def inject(
        self,
        register: int,
        on: str = "read",
        errno: int | None = EIO,
        package: int = 0,
        *,
        after: int = 0,
        times: int | None = None,
    ) -> None:
        """Let reads or writes (or ``on="both"``) of the word fail from now on; ``errno=None`` heals it.

        The first ``after`` of them still pass, then ``times`` fail (None: all).
        """
        self._cell(package, register).fail(on, errno, after, times)

    def stop(self, register: int, package: int = 0) -> None:
        """Let a counter stand still from now on; the truth goes on."""
        self._cell(package, register).stop()

    def go_on(self, register: int, package: int = 0) -> None:
        """Let a counter that was stopped count on from where it stands."""
        self._cell(package, register).go_on()

    def counted(self, register: int, package: int = 0) -> int | None:
        """The steps that a counter counted since time 0, which never wrap; None for what counts no energy now."""
        cell = self._table(package).get(register, _EMPTY)
        return None if cell.steps is None else cell.steps()

    def write_mask(self, register: int, mask: int, package: int = 0) -> None:
        """Only the bits of ``mask`` can be changed by a write from now on."""
        check_u64(mask)
        self._cell(package, register).write_mask = mask

    def ignore_when_locked(self, register: int, mask: int, package: int = 0) -> None:
        """A write is dropped whole, without an error, while the word has a bit of ``mask`` set."""
        check_u64(mask)
        self._cell(package, register).ignore_mask = mask

    def clear(self) -> None:
        """Forget every word: all of them are absent."""
        gone = [(package, register) for package, cells in self._cells.items() for register in cells]
        for cells in self._cells.values():
            cells.clear()
        for package, register in sorted(gone):
            self._changed(package, register)

    def addresses(self, package: int = 0) -> Iterator[int]:
        """The offsets of the words that exist, ascending."""
        yield from sorted(register for register, cell in self._table(package).items() if cell.present)

    def packages(self) -> list[int]:
        """The packages that have a word of this kind at all, ascending."""
        return [package for package, cells in sorted(self._cells.items()) if any(c.present for c in cells.values())]

    def content(self, register: int, package: int = 0) -> int | None:
        """What the word holds, faults aside; None where it does not exist.  Not an access."""
        cell = self._table(package).get(register)
        return cell.content() if cell is not None and cell.present else None

    # What a driver does: reads and read-modify-writes of a field, each put into the log.

    def driver_read(self, package: int, cpu: int, register: int, mask: int) -> int:
        """The bits of ``mask``, in place; ``cpu`` is whom the driver names in the log.  OSError(EIO) on a fault."""
        try:
            content = self._read(package, register)
        except OSError:
            content = self.content(register, package) or 0
            self.log.append(Access("r", package, cpu, register, mask, 0, content, EIO, self.name))
            raise OSError(EIO, os.strerror(EIO)) from None
        value = content & mask
        self.log.append(Access("r", package, cpu, register, mask, value, content, 0, self.name))
        return value

    def driver_write(self, package: int, cpu: int, register: int, mask: int, bits: int) -> None:
        """Replace the bits of ``mask`` by ``bits`` (in place) in one read-modify-write; errors as driver_read."""
        try:
            self._write(package, register, (self._read(package, register) & ~mask) | bits)
        except OSError as error:
            content = self.content(register, package) or 0
            self.log.append(Access("w", package, cpu, register, mask, bits, content, error.errno or EIO, self.name))
            raise
        content = self.content(register, package) or 0
        self.log.append(Access("w", package, cpu, register, mask, bits, content, 0, self.name))
        self._changed(package, register)

    def _table(self, package: int) -> dict[int, Cell]:
        try:
            return self._cells[package]
        except KeyError:
            known = ", ".join(str(one) for one in self._cells)
            message = f"there is no {self.name.upper()} of package {package}; the packages are {known}"
            raise ValueError(message) from None

    def _cell(self, package: int, register: int) -> Cell:
        """The word, made (absent as yet) where it is not known."""
        if not 0 <= register < 1 << 32:
            message = f"offset {register:#x} does not fit 32 bits"
            raise ValueError(message)
        table = self._table(package)
        if register not in table:
            table[register] = Cell(self._rules(package, register), self._meter(package, register))
        return table[register]

    def _read(self, package: int, register: int) -> int:
        cell = self._table(package).get(register, _EMPTY)
        if self._silicon and not cell.present:
            if cell.read_fault is not None:
                cell.read_fault.fire()
            return 0
        return cell.read()

    def _write(self, package: int, register: int, value: int) -> None:
        cell = self._table(package).get(register, _EMPTY)
        if not self._silicon:
            cell.check_writable()
            cell.store(value)
            return
        if cell.write_fault is not None:
            cell.write_fault.fire()
        rules = cell.rules
        if not cell.present or cell.is_locked() or (rules is not None and rules.access == "ro"):
            return
        reserved = rules.reserved if rules is not None else 0
        cell.store((cell.content() & reserved) | (value & ~reserved))
