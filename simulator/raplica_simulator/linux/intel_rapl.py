# SPDX-License-Identifier: Apache-2.0
"""The first RAPL driver, one module for everything, as Linux 3.13 has it: from source, not witnessed.

Mirrors drivers/powercap/intel_rapl.c of that time: rapl_detect_topology, rapl_check_domain, rapl_register_powercap,
rapl_cpu_callback and rapl_unregister_powercap.  A counter is believed only when it is seen to move, so loading sleeps
and the machine's time goes on.  Packages are physical ones, first collected and then registered, the newest first.
"""

import os
from collections.abc import Iterable
from contextlib import suppress
from errno import ENODEV, ENOENT

from raplica_simulator.clock import Clock
from raplica_simulator.hardware.msr import RegisterFile
from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.hardware.words import WordSpace
from raplica_simulator.linux.intel_rapl_zone import Domain, Fields, Package, SingleZoneOps
from raplica_simulator.linux.kernel import Kernel, KernelCrash
from raplica_simulator.linux.powercap_sys import ControlType, Powercap
from raplica_simulator.linux.rapl_models import find_defaults
from raplica_simulator.linux.rapl_modules import RaplModules
from raplica_simulator.linux.rapl_units import divisor_units

__all__ = ["IntelRapl"]

_ENERGY_MASK = 0xFFFFFFFF
_U64 = (1 << 64) - 1
_UNIT_REGISTER = 0x606
# The counters, in the order in which domains are looked for; psys is not known.
_COUNTERS = {"package": 0x611, "core": 0x639, "uncore": 0x641, "dram": 0x619}
_REREADS = 9
# The driver asks to sleep for 10 to 15 ms between two readings; when it wakes in between is the timer's choice.
_SLEEP_NS = 10_000_000
_SWITCHES = ("pl1_enable", "pl2_enable", "pl1_clamp", "pl2_clamp")


class _Driver:
    """The module from its loading to its unloading."""

    def __init__(
        self, powercap: Powercap, topology: Topology, fields: Fields, clock: Clock, *, counts_up: bool
    ) -> None:
        """``counts_up`` is for Silvermont, whose energy unit is the other way round."""
        self._powercap = powercap
        self._topology = topology
        self._fields = fields
        self._clock = clock
        self._counts_up = counts_up
        # The newest package is the head of the list.
        self._packages: list[Package] = []
        self._ops = SingleZoneOps(fields, self._packages)
        self._control_type: ControlType | None = None

    def start(self, cpus: Iterable[int]) -> None:
        """Detect every package, then register them.  OSError(ENODEV), and nothing is left, where one has no domain."""
        for cpu in cpus:
            package = self._find(cpu)
            if package is None:
                self._packages.insert(0, self._detect(cpu))
            else:
                package.cpus += 1
        try:
            self._control_type = self._powercap.register_control_type("intel-rapl")
        except OSError as error:
            raise OSError(ENODEV, os.strerror(ENODEV)) from error
        for package in self._packages:
            self._fields.update(package)
        for place, package in enumerate(self._packages):
            try:
                self._register(package)
            except OSError:
                # The others are taken away again, and yet the module reports success (err_cleanup_package).
                for earlier in reversed(self._packages[:place]):
                    for domain in earlier.domains:
                        self._unregister(domain)
                return

    def stop(self) -> None:
        """Switch every limit off, locked or not, and take everything away.

        KernelCrash where a package has no zones: the driver unregisters them all the same.
        """
        for package in self._packages:
            self._fields.restore_notification(package)
            for domain in package.domains:
                for switch in _SWITCHES:
                    with suppress(OSError):
                        self._fields.write(domain, switch, 0)
            self._unregister_package(package)
        self.abandon()

    def abandon(self) -> None:
        """Take what is left of the tree away, and touch no register."""
        for package in self._packages:
            for domain in reversed(package.domains):
                if domain.zone is not None:
                    self._unregister(domain)
        self._packages.clear()
        if self._control_type is not None:
            self._powercap.unregister_control_type(self._control_type)

    # Processors come and go (rapl_cpu_callback).

    def cpu_online(self, cpu: int) -> None:
        """A processor has come: a package that is not known is looked at, and it stays up whatever is found."""
        package = self._find(cpu)
        if package is not None:
            package.cpus += 1
            return
        with suppress(OSError):
            package = self._detect(cpu)
            self._register(package)
            self._packages.insert(0, package)

    def cpu_offline(self, cpu: int) -> None:
        """A processor is about to go: the last one takes its package's zones along, and no limit is switched off."""
        package = self._find(cpu)
        if package is None:
            return
        package.cpus -= 1
        if not package.cpus:
            self._unregister_package(package)
            self._packages.remove(package)

    # Packages.

    def _find(self, cpu: int) -> Package | None:
        wanted = self._topology.cpus[cpu].package
        return next((package for package in self._packages if package.id == wanted), None)

    def _detect(self, cpu: int) -> Package:
        """A package's domains, locks and units (rapl_detect_domains, rapl_check_unit).  OSError without any of them."""
        package = Package(self._topology.cpus[cpu].package)
        package.domains = [Domain(name, package) for name, register in _COUNTERS.items() if self._moves(cpu, register)]
        if not package.domains:
            raise OSError(ENODEV, "no valid rapl domains found")
        for domain in package.domains:
            # The test is the wrong way round: what cannot be read is locked, and what is locked is not.
            try:
                self._fields.read_lock(domain)
            except OSError:
                domain.locked = True
        raw = self._fields.read_register(cpu, _UNIT_REGISTER, _U64)
        package.units = divisor_units(raw, counts_up=self._counts_up)
        return package

    def _moves(self, cpu: int, register: int) -> bool:
        """Whether a counter's low 32 bits change while it is watched (rapl_check_domain)."""
        with suppress(OSError):
            first = self._fields.read_register(cpu, register, _U64)
            for _ in range(_REREADS):
                self._clock.advance(nanoseconds=_SLEEP_NS)
                if (first ^ self._fields.read_register(cpu, register, _U64)) & _ENERGY_MASK:
                    return True
        return False

    def _register(self, package: Package) -> None:
        """The package's zone, then its children.  OSError(ENODEV) without a package domain."""
        parent = next((domain for domain in package.domains if domain.name == "package"), None)
        if parent is None or self._control_type is None:
            raise OSError(ENODEV, "no package domain found, unknown topology!")
        for domain in (parent, *(one for one in package.domains if one is not parent)):
            domain.zone = self._powercap.register_zone(
                self._control_type,
                f"package-{package.id}" if domain is parent else domain.name,
                self._ops.zone,
                parent=None if domain is parent else parent.zone,
                constraints=len(domain.limits),
                constraint_ops=self._ops.constraints,
                driver_data=domain,
            )

    def _unregister_package(self, package: Package) -> None:
        for domain in sorted(package.domains, key=lambda one: one.name == "package"):
            self._unregister(domain)

    def _unregister(self, domain: Domain) -> None:
        if domain.zone is None:
            message = "NULL pointer dereference in device_unregister: the package's zones were never registered"
            raise KernelCrash(message)
        domain.zone.unregister()
        domain.zone = None


class IntelRapl(RaplModules):
    """The module ``intel_rapl`` of one machine; ``machine.driver``.

    It has no device that it could be bound to, knows no interface but MSR, and remembers nothing over a sleep.  Loading
    it moves the clock, and fails where a package shows no counter that moves.
    """

    def __init__(  # noqa: PLR0913 - what the later modules take, and the time
        self,
        powercap: Powercap,
        msr: RegisterFile,
        mmio: WordSpace,
        tpmi: WordSpace,
        topology: Topology,
        kernel: Kernel,
        cpu: CpuId,
        flags: frozenset[str],
        *,
        clock: Clock,
    ) -> None:
        super().__init__(powercap, msr, mmio, tpmi, topology, kernel, cpu, flags)
        self._clock = clock
        self._single: _Driver | None = None

    @property
    def loaded(self) -> bool:
        """Whether the module is loaded."""
        return self._single is not None

    @property
    def interfaces(self) -> tuple[str, ...]:
        """The ways to registers that have a tree now: "msr", or none."""
        return ("msr",) if self.loaded else ()

    def load(self) -> None:
        """Load the module; nothing comes of it where a counter stands still, or on a processor that is not listed."""
        self._msr.log.clear()
        defaults = find_defaults(self._cpu, self._kernel)
        if self._single is not None or defaults is None:
            return
        fields = Fields(self._msr, self._topology, self._kernel, lambda: self.online, {"pts", "pln"} <= self._flags)
        counts_up = defaults.style == "atom"
        driver = _Driver(self._powercap, self._topology, fields, self._clock, counts_up=counts_up)
        with suppress(OSError):
            driver.start(sorted(self.online))
            self._single = driver

    def unload(self) -> None:
        """Unload the module: limits are switched off and the tree goes."""
        self._msr.log.clear()
        if self._single is not None:
            self._single.stop()
            self._single = None

    def load_common(self) -> None:
        """There is no common module yet: OSError(ENOENT)."""
        raise OSError(ENOENT, os.strerror(ENOENT))

    def forget(self) -> None:
        """The machine was reset: the module and all processors' states are gone, and no limit was switched off."""
        if self._single is not None:
            self._single.abandon()
            self._single = None
        super().forget()

    def cpu_online(self, cpu: int) -> None:
        """A processor comes up, which it does whatever the driver finds; a new package is watched for a while."""
        came = cpu not in self.online
        super().cpu_online(cpu)
        if came and self._single is not None:
            self._single.cpu_online(cpu)

    def cpu_offline(self, cpu: int) -> None:
        """A processor goes down.  OSError(EBUSY) for the last one."""
        if self._single is not None and cpu in self.online and len(self.online) > 1:
            self._single.cpu_offline(cpu)
        super().cpu_offline(cpu)
