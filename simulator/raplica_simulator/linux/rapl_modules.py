# SPDX-License-Identifier: Apache-2.0
"""Which of the RAPL modules are loaded, and what the machine makes them do.

Mirrors the life of intel_rapl_common, intel_rapl_msr, processor_thermal_rapl and intel_rapl_tpmi.  A module stays
loaded whether or not its device could be probed.
"""

import os
from contextlib import suppress
from errno import EBUSY, ENODEV, ENOENT

from raplica_simulator.hardware.msr import RegisterFile
from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.hardware.words import WordSpace
from raplica_simulator.linux.intel_rapl_common import RaplCommon
from raplica_simulator.linux.intel_rapl_mmio import MmioDriver
from raplica_simulator.linux.intel_rapl_msr import MsrDriver
from raplica_simulator.linux.intel_rapl_tpmi import TpmiDriver
from raplica_simulator.linux.kernel import Kernel, KernelCrash
from raplica_simulator.linux.powercap_sys import Powercap
from raplica_simulator.linux.rapl_hooks import IosfMailbox
from raplica_simulator.linux.rapl_hotplug import HotplugSlots
from raplica_simulator.linux.rapl_models import find_defaults, has_own_pmu

__all__ = ["RaplModules"]


class RaplModules:
    """The RAPL modules of one machine; ``machine.driver``.

    Attributes:
        mailbox: the message bus that the floor-frequency hook of Atom chips writes to.
    """

    def __init__(
        self,
        powercap: Powercap,
        msr: RegisterFile,
        mmio: WordSpace,
        tpmi: WordSpace,
        topology: Topology,
        kernel: Kernel,
        cpu: CpuId,
        flags: frozenset[str],
    ) -> None:
        self._powercap = powercap
        self._msr = msr
        self._mmio = mmio
        self._tpmi = tpmi
        self._topology = topology
        self._kernel = kernel
        self._cpu = cpu
        self._flags = flags
        self._slots = HotplugSlots(range(len(topology.cpus)))
        self._common: RaplCommon | None = None
        self._msr_loaded = False
        self._msr_driver: MsrDriver | None = None
        self._mmio_driver: MmioDriver | None = None
        self._tpmi_driver: TpmiDriver | None = None
        self.mailbox = IosfMailbox()

    @property
    def loaded(self) -> bool:
        """Whether the modules are loaded, which says nothing about there being a tree."""
        return self._common is not None

    @property
    def has_msr(self) -> bool:
        """Whether intel_rapl_msr is loaded, with a device to bind it to or without."""
        return self._msr_loaded

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The ways to registers that have a tree now: of "msr", "mmio" and "tpmi" those."""
        bound = {
            "msr": self._msr_driver is not None,
            "mmio": self._mmio_driver is not None,
            "tpmi": self._tpmi_driver is not None and bool(self._tpmi_driver.bound),
        }
        return tuple(name for name, there in bound.items() if there)

    @property
    def online(self) -> frozenset[int]:
        """The processors that run."""
        return self._slots.online

    # Modules.

    def load(self) -> None:
        """Load the modules that the machine has a device for: domains are detected anew.

        Nothing happens for an interface that is there already, and on a CPU that the driver does not list nothing but
        TPMI.  Where an earlier load found nothing, the device is probed again.
        """
        self._msr.log.clear()
        with suppress(OSError):
            self._load_common()
            self._load_interfaces()

    def _load_interfaces(self) -> None:
        # A module stays, whether or not its device could be probed.
        self._msr_loaded = True
        if self._msr_driver is None:
            with suppress(OSError):
                self._bind()
        if self._mmio_driver is None and self._mmio.packages():
            with suppress(OSError):
                self._attach_mmio()
        for package in self._tpmi.packages():
            if self._tpmi_driver is None or package not in self._tpmi_driver.bound:
                with suppress(OSError):
                    self._attach_tpmi(package)

    def unload(self) -> None:
        """Unload them all: limits are switched off, the trees go, and so does all that the modules remember."""
        self._msr.log.clear()
        if self._common is None:
            return
        if self._tpmi_driver is not None:
            # A driver that goes leaves its newest device first (driver_detach).
            for package in reversed(self._tpmi_driver.bound):
                self._tpmi_driver.remove(package)
        if self._mmio_driver is not None:
            self._mmio_driver.remove()
        if self._msr_driver is not None:
            self._msr_driver.remove()
        self._msr_driver = self._mmio_driver = self._tpmi_driver = None
        self._msr_loaded = False
        self._common = None

    def load_common(self) -> None:
        """Load intel_rapl_common alone.  OSError(ENODEV) for a CPU that an older one does not list."""
        self._msr.log.clear()
        self._load_common()

    def _load_common(self) -> None:
        if self._common is not None:
            return
        if not self._kernel.loads_on_unknown_cpus and find_defaults(self._cpu, self._kernel) is None:
            raise OSError(ENODEV, os.strerror(ENODEV))
        self._common = RaplCommon(
            self._powercap,
            self._topology,
            self._kernel,
            cpu=self._cpu,
            flags=self._flags,
            msr=self._msr,
            mailbox=self.mailbox,
        )

    def load_msr(self) -> None:
        """Load intel_rapl_msr, which is bound to its device if that can be probed.  OSError(ENOENT) without common."""
        self._msr.log.clear()
        self._loaded()
        self._msr_loaded = True
        if self._msr_driver is None:
            with suppress(OSError):
                self._bind()

    def unload_msr(self) -> None:
        """Unload intel_rapl_msr; nothing happens where it is not loaded."""
        with suppress(OSError):
            self.unbind()
        self._msr_loaded = False

    def bind(self) -> None:
        """Bind intel_rapl_msr to its device: detect packages and domains.

        OSError: ENOENT where it is not loaded, EBUSY where it is bound, ENODEV where no tree came of it and where an
        unknown CPU has no such device, EEXIST where TPMI or somebody else has its control type.  KernelCrash where the
        kernel does not survive it.
        """
        self._msr.log.clear()
        if not self._msr_loaded:
            raise OSError(ENOENT, os.strerror(ENOENT))
        if self._msr_driver is not None:
            raise OSError(EBUSY, os.strerror(EBUSY))
        if has_own_pmu(self._cpu, self._kernel):
            raise KernelCrash("write to read-only memory in rapl_msr_probe: rapl_msr_pmu is __ro_after_init")
        self._bind()

    def _bind(self) -> None:
        self._msr_driver = MsrDriver(self._loaded(), self._slots, self._msr, self._cpu)

    def unbind(self) -> None:
        """Unbind intel_rapl_msr from its device: its tree goes.

        OSError(ENOENT) where it is not loaded, ENODEV where it is not bound.
        """
        self._msr.log.clear()
        if not self._msr_loaded:
            raise OSError(ENOENT, os.strerror(ENOENT))
        if self._msr_driver is None:
            raise OSError(ENODEV, os.strerror(ENODEV))
        self._msr_driver.remove()
        self._msr_driver = None

    def attach_mmio(self) -> None:
        """The thermal device comes and brings the MMIO interface.

        OSError: ENOENT where the modules are not loaded, EBUSY where it is there, EEXIST where its control type is
        taken, ENODEV where no tree came of it.
        """
        self._msr.log.clear()
        if self._mmio_driver is not None:
            raise OSError(EBUSY, os.strerror(EBUSY))
        self._attach_mmio()

    def _attach_mmio(self) -> None:
        self._mmio_driver = MmioDriver(self._loaded(), self._slots, self._mmio)

    def detach_mmio(self) -> None:
        """The thermal device goes, and its tree with it; nothing happens where there is none."""
        self._msr.log.clear()
        if self._mmio_driver is not None:
            self._mmio_driver.remove()
            self._mmio_driver = None

    def attach_tpmi(self, package: int) -> None:
        """The TPMI device of a package comes.

        OSError: ENOENT where the modules are not loaded or this kernel has no such driver, else what probing gave
        (EEXIST, EINVAL, ENODEV).
        """
        self._msr.log.clear()
        self._attach_tpmi(package)

    def _attach_tpmi(self, package: int) -> None:
        common = self._loaded()
        if not self._kernel.has_tpmi:
            raise OSError(ENOENT, os.strerror(ENOENT))
        if self._tpmi_driver is None:
            self._tpmi_driver = TpmiDriver(common, self._tpmi)
        self._tpmi_driver.probe(package)

    def detach_tpmi(self, package: int) -> None:
        """The TPMI device of a package goes; nothing happens where it is not driven."""
        self._msr.log.clear()
        if self._tpmi_driver is not None:
            self._tpmi_driver.remove(package)

    def _loaded(self) -> RaplCommon:
        if self._common is None:
            raise OSError(ENOENT, os.strerror(ENOENT))
        return self._common

    def forget(self) -> None:
        """The machine was reset: the modules and all processors' states are gone, and no limit was switched off."""
        self._msr.log.clear()
        if self._common is not None:
            self._common.abandon()
        for driver in (self._tpmi_driver, self._mmio_driver, self._msr_driver):
            if driver is not None:
                driver.abandon()
        self._msr_driver = self._mmio_driver = self._tpmi_driver = None
        self._msr_loaded = False
        self._common = None
        self._slots.clear(range(len(self._topology.cpus)))
        self.mailbox.registers.clear()

    # What the machine does.

    def cpu_online(self, cpu: int) -> None:
        """A processor comes up.  OSError(ENODEV), and it stays down, where its package cannot be registered."""
        self._msr.log.clear()
        if cpu not in self._slots.online:
            self._slots.bring_up(cpu)

    def cpu_offline(self, cpu: int) -> None:
        """A processor goes down.  OSError(EBUSY) for the last one."""
        self._msr.log.clear()
        if cpu not in self._slots.online:
            return
        if len(self._slots.online) == 1:
            raise OSError(EBUSY, os.strerror(EBUSY), f"CPU {cpu} is the last one")
        self._slots.tear_down(cpu)

    def suspend(self) -> None:
        """The machine is about to sleep."""
        self._msr.log.clear()
        if self._common is not None:
            self._common.suspend()

    def resume(self) -> None:
        """The machine woke up."""
        if self._common is not None:
            self._common.resume()
