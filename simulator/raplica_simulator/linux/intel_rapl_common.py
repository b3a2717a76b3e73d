# SPDX-License-Identifier: Apache-2.0
"""The RAPL driver: which packages and domains exist, what happens when processors and packages come and go.

Mirrors drivers/powercap/intel_rapl_common.c: rapl_add_package, rapl_remove_package, domain detection, the
suspend notifier and the floor-frequency hooks.  One instance is one loaded interface with its control type.
"""

from contextlib import suppress
from errno import ENODEV

from raplica_simulator.hardware.registers import CpuId
from raplica_simulator.hardware.topology import Topology
from raplica_simulator.linux.kernel import Kernel
from raplica_simulator.linux.powercap_sys import ControlType, Powercap, Zone
from raplica_simulator.linux.rapl_domain import DOMAIN_NAMES, RaplDomain, RaplInterface, RaplPackage
from raplica_simulator.linux.rapl_models import RaplDefaults, counts_dies_through, is_amd
from raplica_simulator.linux.rapl_primitives import LIMIT_PRIMITIVES, RegisterKind, update_order
from raplica_simulator.linux.rapl_zone import RaplZoneOps

__all__ = ["IosfMailbox", "RaplDriver"]

_ENERGY_MASK = 0xFFFFFFFF
_U64 = (1 << 64) - 1
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


class RaplDriver:
    """One RAPL interface while it is loaded.

    Attributes:
        packages: the registered packages in the order in which they came.
        control_type: its control type.
    """

    def __init__(
        self,
        powercap: Powercap,
        topology: Topology,
        kernel: Kernel,
        defaults: RaplDefaults,
        interface: RaplInterface,
        *,
        cpu: CpuId,
        flags: frozenset[str],
        mailbox: IosfMailbox,
    ) -> None:
        """Register the control type.  ``cpu`` decides what a package is; ``flags`` are those of its cpuinfo."""
        self._powercap = powercap
        self._topology = topology
        self._kernel = kernel
        self._defaults = defaults
        self._interface = interface
        # Packages are physical ones on AMD with newer kernels, else dies.
        self._package_scope = kernel.amd_package_scope and is_amd(cpu)
        self._global_die_ids = counts_dies_through(cpu, kernel)
        self._notifies = {"pts", "pln"} <= flags
        self._mailbox = mailbox
        self.packages: list[RaplPackage] = []
        hook = {"clamp": self._set_clamps, "iosf": self._set_floor_frequency}.get(defaults.hook)
        self._ops = RaplZoneOps(interface, kernel, hook, self._save_pln)
        self.control_type: ControlType = powercap.register_control_type(interface.control_type)

    def unregister(self) -> None:
        """Take the control type away; all packages have gone before."""
        self._powercap.unregister_control_type(self.control_type)

    def abandon(self) -> None:
        """The kernel is gone: its tree vanishes, and nothing is written to any register."""
        for package in self.packages:
            for domain in reversed(package.domains):
                if domain.zone:
                    domain.zone.unregister()
        self.packages.clear()
        self.unregister()

    # Processors come and go (CPU hotplug callbacks of intel_rapl_msr.c).

    def cpu_online(self, cpu: int) -> None:
        """A processor came: register its package with the first one.  OSError(ENODEV) when that fails."""
        package = self._find_package(cpu)
        if package is None:
            package = self._add_package(cpu)
        package.cpus.add(cpu)

    def cpu_offline(self, cpu: int) -> None:
        """A processor is about to go: the lead moves to the lowest one left, the last one takes the package along."""
        package = self._find_package(cpu)
        if package is None:
            return
        package.cpus.discard(cpu)
        if not package.cpus:
            self._remove_package(package)
        elif package.lead_cpu == cpu:
            package.lead_cpu = min(package.cpus)

    def _package_id(self, cpu: int) -> int:
        place = self._topology.cpus[cpu]
        return place.package if self._package_scope else place.logical_die

    def _find_package(self, cpu: int) -> RaplPackage | None:
        wanted = self._package_id(cpu)
        return next((package for package in self.packages if package.id == wanted), None)

    def _package_name(self, cpu: int) -> str:
        place = self._topology.cpus[cpu]
        if self._topology.dies_per_package == 1 or self._package_scope:
            return f"package-{place.package}"
        die = place.logical_die if self._global_die_ids else place.die
        return f"package-{place.package}-die-{die}"

    # Packages (rapl_add_package, rapl_remove_package).

    def _add_package(self, cpu: int) -> RaplPackage:
        physical = self._topology.cpus[cpu].package
        package = RaplPackage(self._package_id(cpu), self._package_name(cpu), physical, set(), cpu)
        self._detect_domains(package)
        if not self._kernel.units_per_domain:
            self._find_package_units(package)
        self._update_domain_data(package)
        self._register_zones(package)
        self.packages.append(package)
        return package

    def _detect_domains(self, package: RaplPackage) -> None:
        """A domain exists when its counter can be read and is not 0."""
        for name in DOMAIN_NAMES:
            status = self._interface.registers[name][RegisterKind.STATUS]
            # A domain without a register is asked for at number 0 all the same.
            with suppress(OSError):
                if self._interface.read(package.lead_cpu, status, _ENERGY_MASK):
                    domain = RaplDomain(package, name, self._interface, self._defaults, self._kernel)
                    package.domains.append(domain)
        if not package.domains:
            raise OSError(ENODEV, "no RAPL domain found")
        for domain in package.domains:
            if self._kernel.units_per_domain:
                domain.find_units()
            domain.find_limits()

    def _find_package_units(self, package: RaplPackage) -> None:
        """Before 6.5 one unit register serves the package, and without it there is no package."""
        try:
            raw = self._interface.read(package.lead_cpu, self._interface.unit_register, _U64)
        except OSError as error:
            raise OSError(ENODEV, "the unit register could not be read") from error
        for domain in package.domains:
            domain.set_units(raw)

    def _update_domain_data(self, package: RaplPackage) -> None:
        """Read every primitive of every domain once; nothing is done with the values."""
        for domain in package.domains:
            for primitive in update_order(per_limit_locks=self._kernel.per_limit_locks):
                with suppress(OSError):
                    domain.read(primitive, translate=False)

    def _register_zones(self, package: RaplPackage) -> None:
        """The package's zone, then its children in order; psys is a top zone of its own."""
        parent = next((domain for domain in package.domains if domain.name == "package"), None)
        if parent is None:
            raise OSError(ENODEV, "no package domain found, unknown topology!")
        package.zone = self._register_zone(parent, package.name, None)
        for domain in package.domains:
            if domain.name == "psys":
                name = f"psys-{package.physical_id}" if package.id > 0 else "psys"
                self._register_zone(domain, name, None)
            elif domain is not parent:
                self._register_zone(domain, domain.name, parent)

    def _register_zone(self, domain: RaplDomain, name: str, parent: RaplDomain | None) -> Zone:
        domain.zone = self._powercap.register_zone(
            self.control_type,
            name,
            self._ops.zone_ops(domain),
            parent=parent.zone if parent else None,
            constraints=len(domain.limits),
            constraint_ops=self._ops.constraints,
            driver_data=domain,
        )
        return domain.zone

    def _remove_package(self, package: RaplPackage) -> None:
        """Switch its limits off, then take its zones away, the package's own last."""
        self._restore_pln(package)
        for domain in package.domains:
            self._disable(domain)
            if domain.name != "package" and domain.zone:
                domain.zone.unregister()
        if package.zone:
            package.zone.unregister()
        self.packages.remove(package)

    def _disable(self, domain: RaplDomain) -> None:
        if self._kernel.per_limit_locks:
            for limit in (1, 2, 4):
                for what in ("enable", "clamp"):
                    with suppress(OSError):
                        domain.write_limit(limit, what, 0)
            return
        # Before 6.5 neither locks nor missing registers are asked about, and PL4's limit itself is cleared.
        primitives = ["pl1_enable", "pl1_clamp"]
        if len(domain.limits) > 1:
            primitives += ["pl2_enable", "pl2_clamp", "pl4_enable"]
        for primitive in primitives:
            with suppress(OSError):
                domain.write(primitive, 0)

    # Suspend (the notifier of rapl_pm_callback): the package's power limits, and nothing else.

    def suspend(self) -> None:
        """Before the machine sleeps: remember the power limits of the package zones, the newest package first."""
        for domain in self._package_domains():
            domain.saved_limits_uw = {}
            limits = domain.limits
            if self._kernel.suspends_declared_limits:
                limits = domain.declared[: len(domain.limits)]
            for limit in limits:
                with suppress(OSError):
                    domain.saved_limits_uw[limit] = domain.read(LIMIT_PRIMITIVES[limit]["limit"])

    def resume(self) -> None:
        """After it woke: write back those that were not 0.  A lock is respected from 6.5 on."""
        for domain in self._package_domains():
            for limit, limit_uw in domain.saved_limits_uw.items():
                if limit_uw:
                    with suppress(OSError):
                        if self._kernel.per_limit_locks:
                            domain.write_limit(limit, "limit", limit_uw)
                        else:
                            domain.write(LIMIT_PRIMITIVES[limit]["limit"], limit_uw)

    def _package_domains(self) -> list[RaplDomain]:
        """The package domain of every package, in the order of the driver's list: the newest is its head."""
        packages = reversed(self.packages)
        return [domain for package in packages for domain in package.domains if domain.name == "package"]

    # Hooks.

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

    def _set_floor_frequency(self, _: RaplDomain, on: bool) -> None:  # noqa: FBT001 - the kernel's callback
        """set_floor_freq_atom: on asks for the lowest frequency, off puts back the word found at first."""
        register = self._defaults.floor_freq_register
        if not self._interface.floor_freq_word:
            self._interface.floor_freq_word = self._mailbox.read(register)
        word = self._interface.floor_freq_word
        if on:
            word = word & ~_FLOOR_FREQ_FIELD | _FLOOR_FREQ_ON
        self._mailbox.write(register, word)

    def _save_pln(self, domain: RaplDomain) -> None:
        """Switch the power limit notification off with the first limit that is written, and remember it."""
        package = domain.package
        if not self._notifies:
            return
        with suppress(OSError):
            enabled = self._interface.read(package.lead_cpu, _PACKAGE_THERM_INTERRUPT, _PLN_ENABLE)
            if package.saved_pln is None:
                package.saved_pln = enabled
            self._interface.write(package.lead_cpu, _PACKAGE_THERM_INTERRUPT, _PLN_ENABLE, 0)

    def _restore_pln(self, package: RaplPackage) -> None:
        if package.saved_pln is not None:
            with suppress(OSError):
                self._interface.write(package.lead_cpu, _PACKAGE_THERM_INTERRUPT, _PLN_ENABLE, package.saved_pln)
