# SPDX-License-Identifier: Apache-2.0
"""A simulated computer: one state behind every face.

A machine is put together here, from a profile, a kernel and a clock: registers with their rules, domains that
spend energy, the RAPL driver, the sysfs tree.  Nothing in it ticks, and nothing in it reads the wall clock.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from typing import Any

from raplica_simulator.clock import Clock, VirtualClock
from raplica_simulator.hardware.domains import Domains
from raplica_simulator.linux.device import Uevent
from raplica_simulator.linux.intel_rapl import IntelRapl
from raplica_simulator.linux.kernel import Kernel, find_kernel
from raplica_simulator.linux.powercap_sys import Powercap
from raplica_simulator.linux.profile_zones import ProfileZones
from raplica_simulator.linux.rapl_models import counts_dies_through, is_amd
from raplica_simulator.linux.rapl_modules import RaplModules
from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.load.control import LoadControl
from raplica_simulator.machine_registers import MachineRegisters, msr_units
from raplica_simulator.profile.profile import Profile, ProfileError, load_profile
from raplica_simulator.truth import DomainPlace, Truth

__all__ = ["CpuControl", "Machine"]


class CpuControl:
    """One processor that can be taken down and brought up; ``machine.cpu(3)``."""

    def __init__(self, number: int, modules: RaplModules) -> None:
        self.number = number
        self._modules = modules

    @property
    def is_online(self) -> bool:
        """Whether it runs."""
        return self.number in self._modules.online

    def offline(self) -> None:
        """Take it down.  The last processor of a package takes the package's zones along.

        OSError(EBUSY) for the last processor of the machine.
        """
        self._modules.cpu_offline(self.number)

    def online(self) -> None:
        """Bring it up.  OSError(ENODEV), and it stays down, where its package's domains cannot be registered."""
        self._modules.cpu_online(self.number)


class Machine:
    """A simulated machine.  Make one with :meth:`from_profile`.

    Attributes:
        profile: what it was made from.
        kernel: the kernel it runs.
        clock: its time.
        msr: its registers, by processor.
        mmio: the registers of its host bridge (MCHBAR), which a client has beside the MSRs.
        tpmi: those of its TPMI devices, by package.
        sysfs: its tree, as a program sees it below ``/sys``.
        powercap: the framework, for control types of one's own.
        driver: the RAPL modules: ``load()``, ``unload()``, ``bind()``, ``unbind()``.
        load: the watts that its domains want.
        uevents: what the kernel has announced since the machine was made; of very many the newest 10,000 at least.
        warnings: what is odd about the profile, a line each.
    """

    def __init__(self, profile: Profile, kernel: Kernel, clock: Clock) -> None:
        self.profile = profile
        self.kernel = kernel
        # Whatever a caller gave, and nearly always the virtual one: without Any its advance() would be no method.
        self.clock: VirtualClock | Any = clock
        self.uevents: list[Uevent] = []
        cpu = profile.cpu.id
        topology = profile.topology
        self._domains = Domains(clock, topology, msr_units(profile), profile.load, floors_uw=profile.floors_uw)
        self.load = LoadControl(self._domains)
        self._truth = Truth(
            self._domains,
            topology,
            kernel_counts_dies=counts_dies_through(cpu, kernel),
            amd=is_amd(cpu),
            mmio=bool(profile.mmio),
        )
        self._registers = MachineRegisters(profile, self._domains)
        self.msr = self._registers.msr
        self.mmio = self._registers.mmio
        self.tpmi = self._registers.tpmi
        self.sysfs = Sysfs(self.msr.log.clear, kernel)
        self.powercap = Powercap(self.sysfs, self.uevents, kernel)
        parts = (self.powercap, self.msr, self.mmio, self.tpmi, topology, kernel, cpu, profile.cpu.flags)
        self.driver = RaplModules(*parts) if kernel.split_driver else IntelRapl(*parts, clock=clock)
        self.driver.load()
        try:
            self._zones = ProfileZones(self.powercap, profile.control_types, self.clock)
        except OSError as error:
            raise ProfileError(f"{profile.id}: control_type: {error.strerror}: give it another name") from None
        self.warnings = (*profile.warnings, *self._zones.lacking, *self._inject_sysfs_faults())
        self._give_permissions()

    @classmethod
    def from_profile(
        cls, profile: "str | os.PathLike[str] | Profile", *, kernel: str | None = None, clock: Clock | None = None
    ) -> "Machine":
        """Make a machine from a built-in id, a ``.toml`` profile or a ``.json`` recording.

        ``kernel`` such as "6.12" (default: the recording's own, else 6.12); ``clock`` defaults
        to a :class:`VirtualClock` that stands still.  Raises ProfileError (a ValueError) for a profile that is
        wrong and ValueError for a kernel that is not simulated; never because the machine has no RAPL: the
        tree is then empty.
        """
        found = profile if isinstance(profile, Profile) else load_profile(profile)
        return cls(found, find_kernel(kernel or found.kernel), clock if clock is not None else VirtualClock())

    def __repr__(self) -> str:
        return f"<Machine {self.profile.id} on Linux {self.kernel.version}>"

    def cpu(self, number: int) -> CpuControl:
        """One processor by its Linux number."""
        if not 0 <= number < len(self.profile.topology.cpus):
            message = f"there is no CPU {number}; this machine has 0 to {len(self.profile.topology.cpus) - 1}"
            raise ValueError(message)
        return CpuControl(number, self.driver)

    def counter_units(self, control_type: str = "intel-rapl") -> dict[str, Fraction]:
        """The joules per raw step, in silicon, of the counters behind a control type, by kind of domain.

        Kinds are package, core, uncore, dram, psys, and cpu-core on AMD.  Empty for a control type that no register
        stands behind.
        """
        tpmi = "tpmi" in self.driver.interfaces
        space = {"intel-rapl": "tpmi" if tpmi else "msr", "intel-rapl-mmio": "mmio"}.get(control_type)
        return self._registers.counter_units(space) if space else {}

    def suspend(self) -> None:
        """The machine goes to sleep: the driver remembers the package limits.  The clock does not move.

        Sleeping and waking are one step: ``msr.log`` begins here, and :meth:`resume` goes on with it.
        """
        self.driver.suspend()

    def resume(self) -> None:
        """It wakes up: firmware loads the profile's ``[firmware]`` registers, if any, then the driver its limits.

        ``msr.log`` then holds the driver's accesses of both, those of :meth:`suspend` first.  What firmware loads
        is unverified: the witness goes no deeper into sleep than where the driver is told of it.
        """
        self._registers.load_firmware()
        self.driver.resume()

    def reset(self) -> None:
        """The reset button: every register is again what it was at time 0, locks included, and the kernel boots anew.

        Energy counters begin again at their first values, which a reader meets as a step backward that is no wrap;
        the truth and the clock go on.  Firmware then loads ``[firmware]``.  Register faults of the profile come
        back, those injected later are gone.  What real firmware does here was not seen by a witness.
        """
        self.driver.forget()
        self._registers.reset()
        self.driver.load()

    def truth_uj(self, domain: str) -> int:
        """Everything that a domain has spent since time 0, in whole microjoules; it never wraps.

        Domains are named as zones are: ``package-0``, ``package-0/core``, ``package-1-die-2/dram``, ``psys``.
        ``package-1`` of a multi-die machine is all its dies.  On AMD ``package-0/core`` is the package's first
        core, which the zone measures until the package's first CPU goes offline; ``package-0/core-N`` is any core
        of the package.  Zones of the profile's own control types are ``idle-injection/package-0``, by the name of
        the type.  ValueError for a name that the machine does not have.
        """
        joules = self.truth_joules(domain) * 1_000_000
        return joules.numerator // joules.denominator

    def truth_joules(self, domain: str) -> Fraction:
        """As :meth:`truth_uj`, exactly, in joules."""
        of_the_profile = self._zones.spent_joules(domain)
        return self._truth.joules(domain) if of_the_profile is None else of_the_profile

    def draw_w(self, domain: str) -> Fraction:
        """Exactly the watts that a domain draws now, limits included; names and errors as :meth:`truth_uj`.

        Zones of the profile's own control types have no draw: ValueError.
        """
        return self._truth.watts(domain)

    def place_of(self, domain: str) -> DomainPlace:
        """What in the silicon the name of a domain means; errors as :meth:`draw_w`."""
        return self._truth.place(domain)

    def _inject_sysfs_faults(self) -> Iterator[str]:
        """Inject the profile's faults; gives a line for each path that is not there on this kernel."""
        for fault in self.profile.faults.sysfs:
            try:
                self.sysfs.inject(fault.path, fault.on, fault.errno, fault.after, fault.times)
            except OSError as error:
                yield f"faults.sysfs: {fault.path}: {error.strerror}: nothing fails there"

    def _give_permissions(self) -> None:
        """Do what was done to modes and owners; a path that this kernel does not have stays away."""
        for path, (mode, uid, gid) in self.profile.permissions.items():
            with suppress(OSError):
                self.sysfs.chmod(path, mode)
                self.sysfs.chown(path, uid, gid)
