# SPDX-License-Identifier: Apache-2.0
"""The MSR interface of the RAPL driver: register numbers, and loading, unloading and binding the modules.

Mirrors drivers/powercap/intel_rapl_msr.c and the module life of intel_rapl_common.c.  Loading walks the online
processors; one package that fails rolls all of them back, and the module is loaded all the same.
"""

import os
from contextlib import suppress
from errno import EBUSY, ENODEV, ENOENT

from raplica_simulator.hardware.msr import RegisterFile
from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.linux.intel_rapl_common import IosfMailbox, RaplDriver
from raplica_simulator.linux.kernel import Kernel
from raplica_simulator.linux.powercap_sys import Powercap
from raplica_simulator.linux.rapl_domain import RaplInterface
from raplica_simulator.linux.rapl_models import find_defaults, has_peak_power, is_amd

__all__ = ["RaplModules"]

# Per domain: limit, status, perf, policy, info, PL4.
_INTEL_REGISTERS = {
    "package": (0x610, 0x611, 0x613, 0, 0x614, 0),
    "core": (0x638, 0x639, 0, 0x63A, 0, 0),
    "uncore": (0x640, 0x641, 0, 0x642, 0, 0),
    "dram": (0x618, 0x619, 0x61B, 0, 0x61C, 0),
    "psys": (0x65C, 0x64D, 0, 0, 0, 0),
}
_INTEL_UNIT = 0x606
_PEAK_POWER_REGISTER = 0x601

_AMD_REGISTERS = {
    "package": (0, 0xC001029B, 0, 0, 0, 0),
    "core": (0, 0xC001029A, 0, 0, 0, 0),
    "uncore": (0, 0, 0, 0, 0, 0),
    "dram": (0, 0, 0, 0, 0, 0),
    "psys": (0, 0, 0, 0, 0, 0),
}
_AMD_UNIT = 0xC0010299


class RaplModules:
    """intel_rapl_common and intel_rapl_msr on one machine; ``machine.driver``.

    Attributes:
        loaded: whether the modules are loaded, which says nothing about there being a tree.
        mailbox: the message bus that the floor-frequency hook of Atom chips writes to.
    """

    def __init__(
        self,
        powercap: Powercap,
        msr: RegisterFile,
        topology: Topology,
        kernel: Kernel,
        cpu: CpuId,
        flags: frozenset[str],
    ) -> None:
        self._powercap = powercap
        self._msr = msr
        self._topology = topology
        self._kernel = kernel
        self._cpu = cpu
        self._flags = flags
        self._defaults = find_defaults(cpu, kernel)
        self._interface = self._make_interface()
        self._driver: RaplDriver | None = None
        self.mailbox = IosfMailbox()
        self.online = {place.number for place in topology.cpus}
        self.loaded = False

    def _make_interface(self) -> RaplInterface:
        """The tables as intel_rapl_common finds them when it is loaded."""
        amd = is_amd(self._cpu)
        registers = dict(_AMD_REGISTERS if amd else _INTEL_REGISTERS)
        limits: dict[str, tuple[int, ...]] = {} if amd else {"package": (1, 2), "psys": (1, 2)}
        if has_peak_power(self._cpu, self._kernel):
            limits["package"] = (1, 2, 4)
            registers["package"] = (*registers["package"][:5], _PEAK_POWER_REGISTER)
        return RaplInterface(
            control_type="intel-rapl",
            unit_register=_AMD_UNIT if amd else _INTEL_UNIT,
            registers=registers,
            limits=limits,
            read=self._msr.driver_read,
            write=self._msr.driver_write,
        )

    # Modules.

    def load(self) -> None:
        """Load both modules: domains are detected anew.

        Nothing happens where there is a tree already, or on an unknown CPU.  Where an earlier load found nothing, the
        device is probed again.
        """
        self._msr.log.clear()
        if self._driver is not None or self._defaults is None:
            return
        if not self.loaded:
            # What the common module keeps between two binds starts afresh with it.
            self._interface.lock_bit = 31
            self._interface.floor_freq_word = 0
            self.loaded = True
        # The module stays, whether or not its device could be probed.
        with suppress(OSError):
            self.bind()

    def unload(self) -> None:
        """Unload both modules: limits are switched off, the tree goes, and so does all that the modules remember."""
        self._msr.log.clear()
        if self.loaded:
            with suppress(OSError):
                self.unbind()
            self.loaded = False

    def bind(self) -> None:
        """Bind intel_rapl_msr to its device: detect packages and domains.

        OSError(ENOENT) where the modules are not loaded, EBUSY where it is bound, ENODEV where no tree came of it.
        """
        if not self.loaded or self._defaults is None:
            raise OSError(ENOENT, os.strerror(ENOENT))
        if self._driver is not None:
            raise OSError(EBUSY, os.strerror(EBUSY))
        self._msr.log.clear()
        try:
            driver = RaplDriver(
                self._powercap,
                self._topology,
                self._kernel,
                self._defaults,
                self._interface,
                cpu=self._cpu,
                flags=self._flags,
                mailbox=self.mailbox,
            )
        except OSError as error:
            # Somebody else has registered the control type.
            raise OSError(ENODEV, os.strerror(ENODEV)) from error
        started: list[int] = []
        for cpu in sorted(self.online):
            try:
                driver.cpu_online(cpu)
            except OSError as error:
                # One package without RAPL takes the others away again (cpuhp_setup_state rolls back).
                for undone in started:
                    driver.cpu_offline(undone)
                driver.unregister()
                raise OSError(ENODEV, os.strerror(ENODEV)) from error
            started.append(cpu)
        self._driver = driver

    def unbind(self) -> None:
        """Unbind intel_rapl_msr from its device: the tree goes.

        OSError(ENOENT) where the modules are not loaded, ENODEV where it is not bound.
        """
        if not self.loaded:
            raise OSError(ENOENT, os.strerror(ENOENT))
        if self._driver is None:
            raise OSError(ENODEV, os.strerror(ENODEV))
        self._msr.log.clear()
        for cpu in sorted(self.online):
            self._driver.cpu_offline(cpu)
        self._driver.unregister()
        self._driver = None

    def forget(self) -> None:
        """The machine was reset: the modules and all processors' states are gone, and no limit was switched off."""
        self._msr.log.clear()
        if self._driver is not None:
            self._driver.abandon()
            self._driver = None
        self.loaded = False
        self.online = {place.number for place in self._topology.cpus}

    # What the machine does.

    def cpu_online(self, cpu: int) -> None:
        """A processor comes up.  OSError(ENODEV), and it stays down, where its package cannot be registered."""
        self._msr.log.clear()
        if cpu in self.online:
            return
        if self._driver is not None:
            self._driver.cpu_online(cpu)
        self.online.add(cpu)

    def cpu_offline(self, cpu: int) -> None:
        """A processor goes down.  OSError(EBUSY) for the last one."""
        self._msr.log.clear()
        if cpu not in self.online:
            return
        if len(self.online) == 1:
            raise OSError(EBUSY, os.strerror(EBUSY), f"CPU {cpu} is the last one")
        if self._driver is not None:
            self._driver.cpu_offline(cpu)
        self.online.discard(cpu)

    def suspend(self) -> None:
        """The machine is about to sleep."""
        self._msr.log.clear()
        if self._driver is not None:
            self._driver.suspend()

    def resume(self) -> None:
        """The machine woke up."""
        if self._driver is not None:
            self._driver.resume()
