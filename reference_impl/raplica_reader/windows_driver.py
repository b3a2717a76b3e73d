# SPDX-License-Identifier: Apache-2.0
r"""Ask the Scaphandre driver for registers, in whichever of its protocols it speaks.

`\\.\ScaphandreDriver` (until the end of 2021 `\\.\RAPLDriver`) answers DeviceIoControl, and its versions differ in how
they are told which register is meant (hubblo-org/windows-rapl-driver, ScaphandreDrv/Driver.c):

* version 1: the control code's function stands for the register. There are three, and none of AMD's;
* version 2: the register is the input, first as 4 bytes, then as 8, and the control code is not looked at;
* version 3: the input is the register and the system-wide index of a CPU, 4 bytes each. Version 2 takes the same 8
  bytes for a register, so one request does for both.

All of them answer 8 bytes. None tells its version; what is refused is Windows error 1, whether the request or the
register is meant. So the requests are tried, and in an order in which none of them does harm:

* Version 1 looks for an output buffer of its own kind before it looks at the function, and a request without one takes
  the machine down [inferred]. So behind the old name, which version 1 had, it is asked in its own way first; later
  versions refuse that for its length.
* Up to version 0.0.3 a register that the processor lacks takes the machine down: `windows_models` says what may be
  asked. A driver that refuses a register outside its list, and has psys on it, is one that survives.

Version 3 goes to the wrong CPU: it takes the index itself for the set of CPUs to run on. The set of index 0 is empty,
and then the driver stays where the calling thread is, as versions 1 and 2 always do. So the thread is moved to the CPU
and 0 is sent, unless that shows one and the same counter for different CPUs and their indices do not: then the driver
obeys the index.
"""

import errno
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from raplica_reader.msr_models import AMD_UNIT, INTEL_UNIT
from raplica_reader.processor import Place, Processor
from raplica_reader.registers import WORD
from raplica_reader.windows_calls import (
    GENERIC_READ,
    GENERIC_WRITE,
    INVALID_FUNCTION,
    INVALID_PARAMETER,
    IO_DEVICE,
    Calls,
    Completion,
    ProcessorInfo,
    answered,
    told,
)
from raplica_reader.windows_device import Device
from raplica_reader.windows_models import PROBE, has_counters, may_probe

__all__ = ["BY_CODE", "EIGHT", "FOUR", "PATHS", "Dialect", "DriverRegisters"]

OLD = r"\\.\RAPLDriver"
PATHS = (r"\\.\ScaphandreDriver", OLD)
PSYS = 0x64D

READ = 0x0022_D844
"""CTL_CODE(FILE_DEVICE_UNKNOWN, 0x611, METHOD_BUFFERED, FILE_READ_DATA | FILE_WRITE_DATA), as Scaphandre sends it."""
VERSION_1 = {0x606: 0x0022_6FAE, 0x610: 0x0022_6FB2, 0x611: 0x0022_6FB6}
"""CTL_CODE(FILE_DEVICE_UNKNOWN, 0xBEB to 0xBED, METHOD_OUT_DIRECT, FILE_READ_DATA), by the register they stand for."""
NO_REGISTER = 0x0022_6FBA
"""The function after these, which stands for nothing."""

Request = tuple[int, bytes | None]


class Dialect(NamedTuple):
    """A protocol: its name, and what makes the control code and the input that ask a CPU for a register."""

    name: str
    request: Callable[[int, int], Request]


def _by_code(register: int, _: int) -> Request:
    """A register that version 1 does not know is asked for by a function that it does not know either."""
    return VERSION_1.get(register, NO_REGISTER), None


EIGHT = Dialect("register and CPU in 8 bytes", lambda register, index: (READ, struct.pack("<II", register, index)))
FOUR = Dialect("register in 4 bytes", lambda register, _: (READ, struct.pack("<I", register)))
BY_CODE = Dialect("a control code for each register", _by_code)
NOTHING = Dialect("a control code for no register", lambda *_: (NO_REGISTER, None))


def _harmless(dialect: Dialect) -> Dialect:
    """What version 1 refuses for its function and later ones understand, though their answer goes nowhere."""
    return Dialect(dialect.name, lambda register, index: (NO_REGISTER, dialect.request(register, index)[1]))


class DriverRegisters:
    """The registers of `processor` that the driver hands out. CPUs have the index that Windows gives them over groups.

    `dialect`: the protocol, None before `learn`. `is_guarded`: whether a register that faults is answered by an error
    and nothing worse. `obeys_index`: whether the driver goes to the CPU whose index it is sent. `is_moved`: whether
    Windows said each time that the thread was where it had to be.
    """

    def __init__(self, calls: Calls, processor: Processor) -> None:
        self.calls = calls
        self.processor = processor
        self.device = Device(calls, PATHS, GENERIC_READ | GENERIC_WRITE)
        self.dialect: Dialect | None = None
        self.is_guarded = False
        self.obeys_index = False
        self.is_moved = True
        self._undecided: tuple[int, tuple[int, ...]] | None = None
        # Group after group; processors that can be added to a running machine come last [inferred].
        self._processors: Sequence[ProcessorInfo] = sorted(
            calls.logical_processors(), key=lambda one: (one.group, one.number)
        )
        # One package, in which every CPU reads the same: no need to move anywhere.
        self._is_alone = len({one.package for one in self._processors}) == 1 and not processor.is_amd

    def places(self) -> dict[int, Place]:
        """Where each CPU sits, by its index. Cores are counted in each package."""
        numbers: dict[tuple[int, int], int] = {}
        counts: dict[int, int] = {}
        found = {}
        for index, one in enumerate(self._processors):
            core = one.package, one.core
            if core not in numbers:
                numbers[core] = counts.get(one.package, 0)
                counts[one.package] = numbers[core] + 1
            found[index] = Place(one.package, one.die, numbers[core])
        return found

    def learn(self) -> None:
        """Find the protocol, and whether the driver survives a fault.

        Errors: OSError with the errno of opening it (ENOENT: it does not run), ENOSYS where it refuses every request,
        ENXIO for a processor that has no energy registers.
        """
        if not has_counters(self.processor):
            raise OSError(errno.ENXIO, "this processor has no energy registers, and to ask for them is not safe")
        with self.device:
            self.dialect = self._dialect()

    def settle(self, register: int, cpus: Sequence[int]) -> None:
        """Find out how the driver is brought to a CPU, by a register of which each of these CPUs has its own.

        Where their counters differ with the thread on each of them and index 0, the driver stays with the thread; where
        they do so by index, it obeys that. While all of them stand alike, which they do on a machine where each began
        and runs like the other, nobody can tell, and it does not matter: `read` looks again as soon as it does.
        """
        if self.dialect is not EIGHT or len(cpus) < 2:
            return
        self._undecided = register, tuple(cpus)
        for self.obeys_index in (False, True):
            if self._differ(register, cpus):
                self._undecided = None
                return
        self.obeys_index = False

    def show_the_same(self, register: int, one: int, other: int) -> bool:
        """Whether what the other CPU shows lies between two readings of the one: then both read one counter."""
        before, between, after = (self._read(cpu, register, self.obeys_index) for cpu in (one, other, one))
        if before <= after:
            return before <= between <= after
        return between >= before or between <= after  # it wrapped meanwhile

    def read(self, cpu: int, register: int) -> int:
        """One register as CPU `cpu` reads it.

        Errors: OSError EIO where it is refused or faults, ENXIO where the CPU is not there, EBADMSG for an answer that
        is not one register long, and what Windows says otherwise (ENOENT: the driver does not run).
        """
        if self._undecided is not None:
            by_thread = self._read(cpu, register, by_index=False)
            if by_thread == self._read(cpu, register, by_index=True):
                return by_thread
            self.settle(*self._undecided)
        return self._read(cpu, register, self.obeys_index)

    def _differ(self, register: int, cpus: Sequence[int]) -> bool:
        """Whether any of these CPUs shows another counter than the first."""
        return not all(self.show_the_same(register, cpus[0], cpu) for cpu in cpus[1:])

    def _read(self, cpu: int, register: int, by_index: bool) -> int:  # noqa: FBT001 - one of two ways
        """One register, asked in one way."""
        what = f"register {register:#x} of CPU {cpu}"
        if self.dialect is None:
            raise OSError(errno.ENOSYS, f"{what}: the driver's protocol is not known")
        completion = self._ask(self.dialect, register, cpu, by_index=by_index)
        if not completion.ok and completion.error in {INVALID_FUNCTION, IO_DEVICE}:
            raise OSError(errno.EIO, f"{what}: {told(completion.error)}")
        if not completion.ok and completion.error == INVALID_PARAMETER:
            raise OSError(errno.ENXIO, f"{what}: {told(completion.error)}")
        content = answered(completion, what)
        if len(content) != WORD:
            raise OSError(errno.EBADMSG, f"{what}: {len(content)} bytes and not {WORD}")
        return int.from_bytes(content, "little")

    def _dialect(self) -> Dialect:
        """Try the protocols."""
        is_old = self.device.path == OLD
        if is_old and self._accepts(NOTHING, 0):
            raise OSError(errno.ENOSYS, "the driver answers a request that stands for no register: it reads none")
        if self.processor.is_amd:
            for dialect in (EIGHT, FOUR):
                if self._accepts(_harmless(dialect) if is_old else dialect, AMD_UNIT):
                    return dialect
            raise OSError(errno.ENOSYS, "the driver refuses AMD's unit register: up to version 0.0.4 it knows Intel's")
        if is_old and self._accepts(BY_CODE, INTEL_UNIT):
            return BY_CODE
        self.is_guarded = may_probe(self.processor) and self._survives()
        for dialect in (EIGHT, FOUR):
            if self._accepts(dialect, INTEL_UNIT):
                return dialect
        raise OSError(errno.ENOSYS, "the driver refuses the unit register in each of its protocols")

    def _survives(self) -> bool:
        """Whether a fault is caught, asked in the protocol of 8 bytes, as no older one has a guard."""
        probe = self._ask(EIGHT, PROBE, 0)
        if probe.ok or probe.error != INVALID_FUNCTION:
            return not probe.ok and probe.error == IO_DEVICE
        return self._accepts(EIGHT, PSYS)

    def _accepts(self, dialect: Dialect, register: int) -> bool:
        """Whether a request is anything else than refused; one for a register that faults is understood too."""
        completion = self._ask(dialect, register, 0)
        return completion.ok or completion.error != INVALID_FUNCTION

    def _ask(self, dialect: Dialect, register: int, cpu: int, *, by_index: bool = False) -> Completion:
        """Send one request from where it has to come."""
        code, data = dialect.request(register, cpu if by_index else 0)
        if self._is_alone or by_index:
            return self.device.control(code, data, WORD)
        with self.device, self._on(cpu):
            return self.device.control(code, data, WORD)

    @contextmanager
    def _on(self, cpu: int) -> Iterator[None]:
        """Run on one CPU meanwhile. That this is so Windows says when the thread is given back."""
        place = self._processors[cpu]
        wanted = place.group, 1 << place.number
        before = self.calls.set_thread_group_affinity(*wanted)
        try:
            yield
        finally:
            meanwhile = self.calls.set_thread_group_affinity(*before) if isinstance(before, tuple) else None
            self.is_moved = self.is_moved and meanwhile == wanted
