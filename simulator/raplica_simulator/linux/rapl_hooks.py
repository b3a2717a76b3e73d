# SPDX-License-Identifier: Apache-2.0
"""What the RAPL driver does beside the field that it was asked to write.

Mirrors set_floor_freq_default, set_floor_freq_atom and package_power_limit_irq_save of
drivers/powercap/intel_rapl_common.c: switching a zone on or off sets clamps or asks an Atom's power unit for a
frequency, and a written limit switches the power limit notification off.
"""

from contextlib import suppress

from raplica_simulator.hardware.msr import RegisterFile
from raplica_simulator.linux.kernel import Kernel
from raplica_simulator.linux.rapl_domain import RaplDomain, RaplPackage

__all__ = ["IosfMailbox", "RaplHooks"]

_PACKAGE_THERM_INTERRUPT = 0x1B2
_PLN_ENABLE = 1 << 24
_FLOOR_FREQ_FIELD = 0x7F << 8
_FLOOR_FREQ_ON = 1 << 8


class IosfMailbox:
    """The power unit's registers on the message bus of Atom chips (arch/x86/platform/intel/iosf_mbi.c).

    Attributes:
        registers: content by register number; what is not there reads 0.
    """

    def __init__(self) -> None:
        self.registers: dict[int, int] = {}

    def read(self, register: int) -> int:
        """The 32-bit content."""
        return self.registers.get(register, 0)

    def write(self, register: int, value: int) -> None:
        """Replace the 32-bit content."""
        self.registers[register] = value & 0xFFFFFFFF


class RaplHooks:
    """The side effects, for every interface of a machine."""

    def __init__(self, kernel: Kernel, msr: RegisterFile, mailbox: IosfMailbox, flags: frozenset[str]) -> None:
        """``flags`` are those of the processor's cpuinfo; the notification is touched with pts and pln alone."""
        self._kernel = kernel
        self._msr = msr
        self._mailbox = mailbox
        self._notifies = {"pts", "pln"} <= flags

    def set_floor_frequency(self, domain: RaplDomain, on: bool) -> None:  # noqa: FBT001 - the kernel's callback
        """What an ``enabled`` write does once PL1's enable is written; which way depends on the processor."""
        hook = domain.package.interface.defaults.hook
        if hook == "clamp":
            self._set_clamps(domain, on)
        elif hook == "iosf":
            self._set_power_unit(domain, on)

    def _set_clamps(self, domain: RaplDomain, on: bool) -> None:  # noqa: FBT001 - the kernel's callback
        """set_floor_freq_default: the clamp of PL1, and the enables and clamps of the other limits."""
        if self._kernel.per_limit_locks:
            wanted = [(1, "clamp"), (2, "enable"), (2, "clamp"), (4, "enable"), (4, "clamp")]
            for limit, what in wanted:
                with suppress(OSError):
                    domain.write_limit(limit, what, on)
            return
        primitives = ["pl1_clamp"]
        if len(domain.limits) > 1:
            primitives += ["pl2_enable", "pl2_clamp"]
        for primitive in primitives:
            with suppress(OSError):
                domain.write(primitive, on)

    def _set_power_unit(self, domain: RaplDomain, on: bool) -> None:  # noqa: FBT001 - the kernel's callback
        """set_floor_freq_atom: on asks for the lowest frequency, off puts back the word found at first."""
        interface = domain.package.interface
        register = interface.defaults.floor_freq_register
        if not interface.state.floor_freq_word:
            interface.state.floor_freq_word = self._mailbox.read(register)
        word = interface.state.floor_freq_word
        if on:
            word = word & ~_FLOOR_FREQ_FIELD | _FLOOR_FREQ_ON
        self._mailbox.write(register, word)

    def save_notification(self, domain: RaplDomain) -> None:
        """Switch the power limit notification off with the first limit that is written, and remember it.

        It is an MSR whatever interface the limit went through, and a package without a lead processor has none
        (package_power_limit_irq_save).
        """
        package = domain.package
        if not self._notifies or package.lead_cpu is None:
            return
        with suppress(OSError):
            enabled = self._msr.driver_read(package.lead_cpu, _PACKAGE_THERM_INTERRUPT, _PLN_ENABLE)
            if package.saved_pln is None:
                package.saved_pln = enabled
            self._msr.driver_write(package.lead_cpu, _PACKAGE_THERM_INTERRUPT, _PLN_ENABLE, 0)

    def restore_notification(self, package: RaplPackage) -> None:
        """Put the notification back as it was found; for a package that goes."""
        if package.saved_pln is not None and package.lead_cpu is not None:
            with suppress(OSError):
                self._msr.driver_write(package.lead_cpu, _PACKAGE_THERM_INTERRUPT, _PLN_ENABLE, package.saved_pln)
