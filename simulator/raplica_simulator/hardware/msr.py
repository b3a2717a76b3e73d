# SPDX-License-Identifier: Apache-2.0
"""The registers of one machine, each once for the die, core or platform that owns it, and who may do what to them.

Two rule sets stand behind one interface.  ``silicon`` is what processors do: an absent register faults, so
does a write to a read-only register or one that changes a reserved bit; a write to a locked register is
dropped without a word.  ``table`` is what a recording's register table did: value, faults, write mask, lock
mask, and nothing else.  A fault is ``OSError(EIO)``, as #GP reaches user space through /dev/cpu/N/msr.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from errno import EIO

from raplica_simulator.hardware.cell import Access, Cell, check_u64
from raplica_simulator.hardware.registers import Register

__all__ = ["Access", "RegisterFile"]


class RegisterFile:
    """Every register of a machine, addressed by processor; ``machine.msr``.

    Attributes:
        log: the accesses that the last step (one call on sysfs, one load, one processor going, one sleep with its
        waking) made a driver do, in order and whatever space they went to: MSR, MMIO and TPMI share this list.
    """

    def __init__(
        self,
        *,
        silicon: bool,
        instances: Mapping[int, tuple[int, int]],
        core_scoped: Callable[[int], bool],
        rules: Callable[[int], Register | None],
        meter: Callable[[int, int, int], tuple[Callable[[], int], int] | None],
        changed: Callable[[int, int], None],
    ) -> None:
        """Make an empty register file.

        ``instances`` gives (logical die, core index) for each CPU.  ``core_scoped`` says whether a register
        is one per core, ``rules`` what it looks like, ``meter`` its steps function and counter mask where it
        counts energy on (die, core), and ``changed`` is told (die, address) of every new content.
        """
        self._silicon = silicon
        self._core_scoped = core_scoped
        self._rules = rules
        self._meter = meter
        self._changed = changed
        dies = {die for die, _ in instances.values()}
        cores = {core for _, core in instances.values()}
        self._die_cells: dict[int, dict[int, Cell]] = {die: {} for die in dies}
        self._core_cells: dict[int, dict[int, Cell]] = {core: {} for core in cores}
        self._instances = dict(instances)
        # Per CPU: its die, then where die and core registers of this CPU lie.
        self._cpus = {
            cpu: (die, self._die_cells[die], self._core_cells[core]) for cpu, (die, core) in instances.items()
        }
        self.log: list[Access] = []

    # What programs and the owner of the machine do.

    def read(self, cpu: int, register: int) -> int:
        """Execute rdmsr on ``cpu``: 64 bits, or OSError(EIO) where the processor would fault."""
        try:
            _, die_cells, core_cells = self._cpus[cpu]
        except KeyError:
            raise self._no_such_cpu(cpu) from None
        cell = die_cells.get(register) or core_cells.get(register)
        if cell is None:
            raise OSError(EIO, os.strerror(EIO), f"rdmsr {register:#x} on CPU {cpu}")
        return cell.read()

    def write(self, cpu: int, register: int, value: int) -> None:
        """Execute wrmsr on ``cpu``, with the machine's rules: OSError(EIO) where the processor would fault."""
        check_u64(value)
        cell = self._find(cpu, register)
        if cell is None:
            raise OSError(EIO, os.strerror(EIO), f"wrmsr {register:#x} on CPU {cpu}")
        self._store(cpu, cell, value)
        self._changed(self._cpus[cpu][0], register)

    def poke(self, cpu: int, register: int, value: int) -> None:
        """Let the register hold ``value``, as silicon could: no rules.  It exists from now on.

        A counter goes on from there; the truth about the energy spent does not move.
        """
        check_u64(value)
        self._cell(cpu, register).hold(value)
        self._changed(self._cpus[cpu][0], register)

    def inject(
        self,
        cpu: int,
        register: int,
        on: str = "read",
        errno: int | None = EIO,
        after: int = 0,
        times: int | None = None,
    ) -> None:
        """Let reads or writes (or ``on="both"``) of this instance fail from now on; ``errno=None`` heals it.

        The first ``after`` of them still pass, then ``times`` fail (None: all), whoever executes them: a driver's
        read-modify-write is a read and a write.
        """
        self._cell(cpu, register).fail(on, errno, after, times)

    def stop(self, cpu: int, register: int) -> None:
        """Let a counter stand still from now on; the truth goes on."""
        self._cell(cpu, register).stop()

    def go_on(self, cpu: int, register: int) -> None:
        """Let a counter that was stopped count on from where it stands."""
        self._cell(cpu, register).go_on()

    def counted(self, cpu: int, register: int) -> int | None:
        """The steps that a counter counted since time 0, which never wrap; None for what counts no energy now."""
        cell = self._find(cpu, register)
        return None if cell is None or cell.steps is None else cell.steps()

    def write_mask(self, cpu: int, register: int, mask: int) -> None:
        """Only the bits of ``mask`` can be changed by a write from now on."""
        check_u64(mask)
        self._cell(cpu, register).write_mask = mask

    def ignore_when_locked(self, cpu: int, register: int, mask: int) -> None:
        """A write is dropped whole, without an error, while the register has a bit of ``mask`` set."""
        check_u64(mask)
        self._cell(cpu, register).ignore_mask = mask

    def clear(self) -> None:
        """Forget every register: all of them are absent."""
        gone = {(die, register) for die, *both in self._cpus.values() for cells in both for register in cells}
        for cells in (*self._die_cells.values(), *self._core_cells.values()):
            cells.clear()
        for die, register in sorted(gone):
            self._changed(die, register)

    def addresses(self, cpu: int) -> Iterator[int]:
        """The addresses of the registers that exist on ``cpu``, ascending."""
        _, die, core = self._place(cpu)
        yield from sorted(a for cells in (die, core) for a, cell in cells.items() if cell.present)

    # What a driver does: reads and read-modify-writes of a field, each put into the log.

    def driver_read(self, cpu: int, register: int, mask: int) -> int:
        """The bits of ``mask``, in place.  OSError(EIO) on a fault, ValueError for a CPU that does not exist."""
        try:
            die, die_cells, core_cells = self._cpus[cpu]
        except KeyError:
            raise self._no_such_cpu(cpu) from None
        cell = die_cells.get(register) or core_cells.get(register)
        if cell is None or not cell.present or (cell.read_fault is not None and cell.read_fault.trips()):
            content = cell.content() if cell else 0
            self.log.append(Access("r", die, cpu, register, mask, 0, content, EIO))
            raise OSError(EIO, os.strerror(EIO))
        content = cell.value if cell.steps is None else cell.content()
        value = content & mask
        # What Access(...) does, at a third of its cost: every read of energy ends here.
        self.log.append(tuple.__new__(Access, ("r", die, cpu, register, mask, value, content, 0, "msr")))
        return value

    def driver_write(self, cpu: int, register: int, mask: int, bits: int) -> None:
        """Replace the bits of ``mask`` by ``bits`` (in place) in one read-modify-write; errors as driver_read."""
        die, _, _ = self._place(cpu)
        cell = self._find(cpu, register)
        try:
            if cell is None:
                raise OSError(EIO, os.strerror(EIO))
            value = (cell.read() & ~mask) | bits
            self._store(cpu, cell, value)
        except OSError as error:
            content = cell.content() if cell else 0
            self.log.append(Access("w", die, cpu, register, mask, bits, content, error.errno or EIO))
            raise
        self.log.append(Access("w", die, cpu, register, mask, bits, cell.content(), 0))
        self._changed(die, register)

    def _store(self, cpu: int, cell: Cell, value: int) -> None:
        """Execute wrmsr on a register that is there."""
        cell.check_writable()
        if self._silicon:
            if cell.refuses(value):
                raise OSError(EIO, os.strerror(EIO))
            if cell.is_locked() or self._locked_by_another(cpu, cell):
                return
        cell.store(value)

    def _locked_by_another(self, cpu: int, cell: Cell) -> bool:
        """Whether the lock bit of another register holds for this one too (0x638 locks the policy in 0x63A)."""
        if cell.rules is None or cell.rules.locked_by is None:
            return False
        address, bit = cell.rules.locked_by
        other = self._find(cpu, address)
        return other is not None and other.present and bool(other.content() >> bit & 1)

    def content(self, cpu: int, register: int) -> int | None:
        """What the register holds, faults aside; None where it does not exist.  Not an access."""
        cell = self._find(cpu, register)
        return cell.content() if cell is not None and cell.present else None

    def _place(self, cpu: int) -> tuple[int, dict[int, Cell], dict[int, Cell]]:
        try:
            return self._cpus[cpu]
        except KeyError:
            raise self._no_such_cpu(cpu) from None

    def _no_such_cpu(self, cpu: int) -> ValueError:
        return ValueError(f"there is no CPU {cpu}; this machine has 0 to {max(self._cpus)}")

    def _find(self, cpu: int, register: int) -> Cell | None:
        _, die, core = self._place(cpu)
        return die.get(register) or core.get(register)

    def _cell(self, cpu: int, register: int) -> Cell:
        """The instance, made (absent as yet) where it is not known."""
        if not 0 <= register < 1 << 32:
            message = f"register {register:#x}: an address is 32 bits wide"
            raise ValueError(message)
        found = self._find(cpu, register)
        if found is not None:
            return found
        _, die_cells, core_cells = self._place(cpu)
        die, core = self._instances[cpu]
        cell = Cell(self._rules(register), self._meter(register, die, core))
        (core_cells if self._core_scoped(register) else die_cells)[register] = cell
        return cell
