# SPDX-License-Identifier: Apache-2.0
"""The common part of the RAPL drivers: which packages and domains exist, their zones, and sleep.

Mirrors drivers/powercap/intel_rapl_common.c: rapl_add_package, rapl_remove_package, domain detection and the suspend
notifier.  The interfaces (intel_rapl_msr.py, intel_rapl_mmio.py, intel_rapl_tpmi.py) bring registers and say which
packages to add; one list holds the packages of all of them.
"""

from contextlib import suppress
from errno import ENODEV

from raplica_simulator.hardware.msr import RegisterFile
from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.linux.kernel import Kernel
from raplica_simulator.linux.powercap_sys import ControlType, Powercap, Zone
from raplica_simulator.linux.rapl_domain import DOMAIN_NAMES, CommonState, RaplDomain, RaplInterface, RaplPackage
from raplica_simulator.linux.rapl_hooks import IosfMailbox, RaplHooks
from raplica_simulator.linux.rapl_models import counts_dies_through, find_defaults, is_amd, mmio_defaults
from raplica_simulator.linux.rapl_primitives import RegisterKind
from raplica_simulator.linux.rapl_zone import RaplZoneOps

__all__ = ["RaplCommon"]

_ENERGY_MASK = 0xFFFFFFFF
_U64 = (1 << 64) - 1


class RaplCommon:
    """intel_rapl_common from its loading to its unloading.

    Attributes:
        powercap: the framework.
        topology: where the processors are.
        kernel: whose driver this is.
        defaults: how the processor is treated through MSR; None where the driver does not list it.
        mmio_defaults: the same through MMIO.
        state: what outlives the interfaces.
        packages: those of all interfaces, in the order in which they came.
    """

    def __init__(
        self,
        powercap: Powercap,
        topology: Topology,
        kernel: Kernel,
        *,
        cpu: CpuId,
        flags: frozenset[str],
        msr: RegisterFile,
        mailbox: IosfMailbox,
    ) -> None:
        """``cpu`` decides what a package is; ``flags`` are those of its cpuinfo."""
        self.powercap = powercap
        self.topology = topology
        self.kernel = kernel
        self.defaults = find_defaults(cpu, kernel)
        self.mmio_defaults = mmio_defaults(cpu, kernel)
        self.state = CommonState()
        self.packages: list[RaplPackage] = []
        # Packages are physical ones on AMD with newer kernels, else dies.
        self._package_scope = kernel.amd_package_scope and is_amd(cpu)
        self._global_die_ids = counts_dies_through(cpu, kernel)
        self._hooks = RaplHooks(kernel, msr, mailbox, flags)
        self._ops = RaplZoneOps(kernel, self._hooks.set_floor_frequency, self._hooks.save_notification)

    def abandon(self) -> None:
        """The kernel is gone: its zones vanish, and nothing is written to any register."""
        for package in self.packages:
            for domain in reversed(package.domains):
                if domain.zone:
                    domain.zone.unregister()
        self.packages.clear()

    def drop_control_type(self, control_type: ControlType) -> None:
        """Take an interface's control type away.  It stays where zones of somebody else's are left in it.

        No driver asks what became of it, so that the next one to come finds the name taken.
        """
        with suppress(OSError):
            self.powercap.unregister_control_type(control_type)

    # Packages (rapl_find_package_domain, rapl_add_package, rapl_remove_package).

    def find_package(self, interface: RaplInterface, number: int) -> RaplPackage | None:
        """The package of that id in the interface's control type."""
        wanted = interface.control_type
        found = (one for one in self.packages if one.id == number and one.interface.control_type is wanted)
        return next(found, None)

    def find_package_of_cpu(self, interface: RaplInterface, cpu: int) -> RaplPackage | None:
        """The package that a processor belongs to, where it is registered."""
        return self.find_package(interface, self._package_id(cpu))

    def add_package(self, interface: RaplInterface, number: int) -> RaplPackage:
        """Register a physical package by its number; no processor leads it.  OSError(ENODEV) without domains."""
        return self._add(RaplPackage(interface, number, f"package-{number}", number, None))

    def add_package_of_cpu(self, interface: RaplInterface, cpu: int) -> RaplPackage:
        """Register the package of a processor, which leads it.  OSError(ENODEV) where that fails."""
        physical = self.topology.cpus[cpu].package
        return self._add(RaplPackage(interface, self._package_id(cpu), self._package_name(cpu), physical, cpu))

    def remove_package(self, package: RaplPackage) -> None:
        """Switch its limits off, then take its zones away, the package's own last."""
        self._hooks.restore_notification(package)
        for domain in package.domains:
            self._disable(domain)
            if domain.name != "package" and domain.zone:
                domain.zone.unregister()
        if package.zone:
            package.zone.unregister()
        self.packages.remove(package)

    def add_platform(self, interface: RaplInterface) -> Zone | None:
        """Register psys for the whole machine; None without it (rapl_add_platform_domain, before 6.0).

        Processor 0 has to read a counter and a limit register that are not 0.  The zone has both limits whatever the
        register says, no lock is looked for, and it stays while packages go: what it then reads belongs to a package
        that the kernel has freed, and here is that package's still.
        """
        package = self.find_package_of_cpu(interface, 0)
        if package is None:
            return None
        psys = RaplDomain(package, "psys", self.kernel)
        try:
            for kind in (RegisterKind.STATUS, RegisterKind.LIMIT):
                if not interface.read(0, psys.registers[kind], _U64):
                    return None
        except OSError:
            return None
        psys.units = package.domains[0].units
        return self._register_zone(psys, "psys", None)

    def _package_id(self, cpu: int) -> int:
        place = self.topology.cpus[cpu]
        return place.package if self._package_scope else place.logical_die

    def _package_name(self, cpu: int) -> str:
        place = self.topology.cpus[cpu]
        if self.topology.dies_per_package == 1 or self._package_scope:
            return f"package-{place.package}"
        die = self.topology.die_number(place.package, place.die) if self._global_die_ids else place.die
        return f"package-{place.package}-die-{die}"

    def _add(self, package: RaplPackage) -> RaplPackage:
        self._detect_domains(package)
        if not self.kernel.units_per_domain:
            self._find_package_units(package)
        self._update_domain_data(package)
        self._register_zones(package)
        self.packages.append(package)
        return package

    def _detect_domains(self, package: RaplPackage) -> None:
        """A domain exists when its counter can be read and is not 0."""
        interface = package.interface
        counter = _ENERGY_MASK if self.kernel.detects_low_word else _U64
        for name in DOMAIN_NAMES if self.kernel.psys_per_package else DOMAIN_NAMES[:-1]:
            # A domain without a register is asked for at number 0 all the same.
            status = interface.registers[name].get(RegisterKind.STATUS, 0)
            with suppress(OSError):
                if interface.read(package.reader, status, counter):
                    package.domains.append(RaplDomain(package, name, self.kernel))
        if not package.domains:
            raise OSError(ENODEV, "no RAPL domain found")
        for domain in package.domains:
            if self.kernel.units_per_domain:
                domain.find_units()
            domain.find_limits()

    def _find_package_units(self, package: RaplPackage) -> None:
        """Before 6.5 one unit register serves the package, and without it there is no package."""
        interface = package.interface
        try:
            raw = interface.read(package.reader, interface.unit_register, _U64)
        except OSError as error:
            raise OSError(ENODEV, "the unit register could not be read") from error
        for domain in package.domains:
            domain.set_units(raw)

    def _update_domain_data(self, package: RaplPackage) -> None:
        """Read every primitive of every domain once; nothing is done with the values."""
        for domain in package.domains:
            for primitive in package.interface.primitives.update_order:
                with suppress(OSError):
                    domain.read(primitive, translate=False)

    def _register_zones(self, package: RaplPackage) -> None:
        """The package's zone, then its children in order; psys is a top zone of its own."""
        parent = next((domain for domain in package.domains if domain.name == "package"), None)
        if parent is None:
            raise OSError(ENODEV, "no package domain found, unknown topology!")
        package.zone = self._register_zone(parent, package.name, None)
        registered = [package.zone]
        try:
            for domain in package.domains:
                if domain.name == "psys":
                    name = f"psys-{package.physical_id}" if package.id > 0 else "psys"
                    registered.append(self._register_zone(domain, name, None))
                elif domain is not parent:
                    registered.append(self._register_zone(domain, domain.name, parent))
        except OSError:
            # Somebody has a control type of that very name: those before it go again (err_cleanup).
            for zone in reversed(registered):
                zone.unregister()
            raise

    def _register_zone(self, domain: RaplDomain, name: str, parent: RaplDomain | None) -> Zone:
        control_type = domain.package.interface.control_type
        if control_type is None:
            raise OSError(ENODEV, "the interface has no control type")
        domain.zone = self.powercap.register_zone(
            control_type,
            name,
            self._ops.zone_ops(domain),
            parent=parent.zone if parent else None,
            constraints=len(domain.limits),
            constraint_ops=self._ops.constraints,
            driver_data=domain,
        )
        return domain.zone

    def _disable(self, domain: RaplDomain) -> None:
        if self.kernel.per_limit_locks:
            for limit in (1, 2, 4):
                for what in ("enable", "clamp"):
                    with suppress(OSError):
                        domain.write_limit(limit, what, 0)
            return
        # Before 6.5 neither locks nor missing registers are asked about, and PL4's limit itself is cleared.
        primitives = ["pl1_enable", "pl1_clamp"]
        if len(domain.limits) > 1:
            primitives += ["pl2_enable", "pl2_clamp"]
            if self.kernel.limit_slots > 2:
                primitives.append("pl4_enable")
        for primitive in primitives:
            with suppress(OSError):
                domain.write(primitive, 0)

    # Suspend (the notifier of rapl_pm_callback): the package's power limits, and nothing else.

    def suspend(self) -> None:
        """Before the machine sleeps: remember the power limits of the package zones, the newest package first."""
        for domain in self._package_domains():
            domain.saved_limits_uw = {}
            limits = domain.limits
            if self.kernel.suspends_declared_limits:
                limits = domain.declared[: len(domain.limits)]
            for limit in limits:
                with suppress(OSError):
                    domain.saved_limits_uw[limit] = domain.read(domain.limit_primitive(limit, "limit"))

    def resume(self) -> None:
        """After it woke: write back those that were not 0.  A lock is respected from 6.5 on."""
        for domain in self._package_domains():
            for limit, limit_uw in domain.saved_limits_uw.items():
                if limit_uw:
                    with suppress(OSError):
                        if self.kernel.per_limit_locks:
                            domain.write_limit(limit, "limit", limit_uw)
                        else:
                            domain.write(domain.limit_primitive(limit, "limit"), limit_uw)

    def _package_domains(self) -> list[RaplDomain]:
        """The package domain of every package, in the order of the driver's list: the newest is its head."""
        packages = reversed(self.packages)
        return [domain for package in packages for domain in package.domains if domain.name == "package"]
