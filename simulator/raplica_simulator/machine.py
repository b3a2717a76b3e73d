# SPDX-License-Identifier: Apache-2.0
"""A simulated computer: one state behind every face.

A machine is put together here, from a profile, a kernel and a clock: registers with their rules, domains that
spend energy, the RAPL driver, the sysfs tree.  Nothing in it ticks, and nothing in it reads the wall clock.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from raplica_simulator.clock import Clock, VirtualClock
from raplica_simulator.hardware.domains import Domains, Meter
from raplica_simulator.hardware.limits import limits_of
from raplica_simulator.hardware.msr import RegisterFile
from raplica_simulator.hardware.registers import Register, counter_units, counter_width, lookup
from raplica_simulator.hardware.units import exact_units, unit_style, usual_unit
from raplica_simulator.linux.device import Uevent
from raplica_simulator.linux.intel_rapl_msr import RaplModules
from raplica_simulator.linux.kernel import Kernel, find_kernel
from raplica_simulator.linux.powercap_sys import Powercap
from raplica_simulator.linux.profile_zones import register_profile_zones
from raplica_simulator.linux.rapl_models import counts_dies_through, is_amd
from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.load_control import LoadControl
from raplica_simulator.profile import Profile, ProfileError, load_profile
from raplica_simulator.truth import Truth

__all__ = ["CpuControl", "Machine"]

_AMD_UNIT = 0xC0010299
_INTEL_UNIT = 0x606
_PEAK_POWER = 0x601


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
        self._unit_raw = self._find_unit_register()
        units = dict(counter_units(cpu, self._unit_raw)) | dict(profile.units)
        if "core" in profile.units:
            # On AMD the zone that is called core counts single cores.
            units["cpu-core"] = profile.units["core"]
        self._domains = Domains(clock, topology, units, profile.load)
        self.load = LoadControl(self._domains)
        self._truth = Truth(
            self._domains, topology, kernel_counts_dies=counts_dies_through(cpu, kernel), amd=is_amd(cpu)
        )
        self._limit_registers = {
            address: register
            for address in (0x601, 0x610, 0x618, 0x638, 0x640)
            if not is_amd(cpu) and (register := lookup(address, cpu)) is not None
        }
        self.msr = RegisterFile(
            silicon=profile.rules == "silicon",
            instances={place.number: (place.logical_die, place.core_index) for place in topology.cpus},
            core_scoped=self._is_core_scoped,
            rules=lambda address: lookup(address, cpu),
            meter=self._meter,
            changed=self._register_changed,
        )
        self._load_registers(profile.registers, profile.core_registers)
        self._inject_register_faults()
        self.sysfs = Sysfs(self.msr.log.clear, kernel.dead_lseek_errno)
        self.powercap = Powercap(self.sysfs, self.uevents)
        self.driver = RaplModules(self.powercap, self.msr, topology, kernel, cpu, profile.cpu.flags)
        self.driver.load()
        try:
            register_profile_zones(self.powercap, profile.control_types)
        except OSError as error:
            raise ProfileError(f"{profile.id}: control_type: {error.strerror}: give it another name") from None
        self.warnings = (*profile.warnings, *self._inject_sysfs_faults())

    @classmethod
    def from_profile(
        cls, profile: "str | os.PathLike[str] | Profile", *, kernel: str | None = None, clock: Clock | None = None
    ) -> "Machine":
        """Make a machine from a built-in id, a ``.toml`` profile or a ``.json`` recording.

        ``kernel`` such as "6.12" (default: the recording's own, else the newest witnessed); ``clock`` defaults
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

    def suspend(self) -> None:
        """The machine goes to sleep: the driver remembers the package limits.  The clock does not move.

        Sleeping and waking are one step: ``msr.log`` begins here, and :meth:`resume` goes on with it.
        """
        self.driver.suspend()

    def resume(self) -> None:
        """It wakes up: firmware loads the profile's ``[firmware]`` registers, if any, then the driver its limits.

        ``msr.log`` then holds the driver's accesses of both, those of :meth:`suspend` first.
        """
        if self.profile.firmware is not None:
            self._load_registers(self.profile.firmware.dies, self.profile.firmware.cores)
        self.driver.resume()

    def reset(self) -> None:
        """The reset button: every register is again what it was at time 0, locks included, and the kernel boots anew.

        Energy counters begin again at their first values, which a reader meets as a step backward that is no wrap;
        the truth and the clock go on.  Firmware then loads ``[firmware]``.  Register faults of the profile come
        back, those injected later are gone.  What real firmware does here was not seen by a witness.
        """
        self.driver.forget()
        self.msr.clear()
        self._load_registers(self.profile.registers, self.profile.core_registers)
        if self.profile.firmware is not None:
            self._load_registers(self.profile.firmware.dies, self.profile.firmware.cores)
        self._inject_register_faults()
        self.driver.load()

    def truth_uj(self, domain: str) -> int:
        """Everything that a domain has spent since time 0, in whole microjoules; it never wraps.

        Domains are named as zones are: ``package-0``, ``package-0/core``, ``package-1-die-2/dram``, ``psys``.
        ``package-1`` of a multi-die machine is all its dies.  On AMD ``package-0/core`` is the package's first
        core, which the zone measures until the package's first CPU goes offline; ``package-0/core-N`` is any core
        of the package.  ValueError for a name that the machine does not have.
        """
        joules = self._truth.joules(domain) * 1_000_000
        return joules.numerator // joules.denominator

    def truth_joules(self, domain: str) -> Fraction:
        """As :meth:`truth_uj`, exactly, in joules."""
        return self._truth.joules(domain)

    # How the parts are joined.

    def _find_unit_register(self) -> int:
        """What the unit register says, or usually says where this machine has none."""
        cpu = self.profile.cpu.id
        address = _AMD_UNIT if is_amd(cpu) else _INTEL_UNIT
        for registers in self.profile.registers.values():
            if address in registers:
                return registers[address]
        return usual_unit(cpu)

    def _is_core_scoped(self, address: int) -> bool:
        # The table of a recording knows only dies.
        if self.profile.recorded:
            return False
        register = lookup(address, self.profile.cpu.id)
        return register is not None and register.scope == "core"

    def _meter(self, address: int, die: int, core: int) -> tuple[Callable[[], int], int] | None:
        """The steps of the meter behind a register, and which of its bits count; None where it counts no energy."""
        cpu = self.profile.cpu.id
        register = lookup(address, cpu)
        if register is None or register.counter is None:
            return None
        if register.domain == "psys" and self._is_unwired(address, die):
            return None
        meter = self._meter_of(register, die, core)
        return meter.steps, (1 << counter_width(cpu)) - 1

    def _is_unwired(self, address: int, die: int) -> bool:
        """Whether a platform counter has no meter behind it and answers 0 for ever, as most boards do.

        It begins at 0, and either another socket has the meter or nobody gave the platform watts.
        """
        load = self.profile.load
        starts_at = {other: words.get(address, 0) for other, words in self.profile.registers.items()}
        return starts_at.get(die) == 0 and (any(starts_at.values()) or load is None or load.psys_uw is None)

    def _meter_of(self, register: Register, die: int, core: int) -> Meter:
        if register.scope == "core":
            return self._domains.meter("cpu-core", core_index=core)
        return self._domains.meter(register.domain, die)

    def _load_registers(
        self, dies: Mapping[int, Mapping[int, int]], cores: Mapping[tuple[int, int], Mapping[int, int]]
    ) -> None:
        """Let registers hold what a table says: by logical die, and by (logical die, core in it)."""
        topology = self.profile.topology
        for die, registers in dies.items():
            cpu = topology.cpus_of_die(die)[0]
            for address, value in registers.items():
                self.msr.poke(cpu, address, value)
        first_cpu = {(place.logical_die, place.core): place.number for place in reversed(topology.cpus)}
        for core, registers in cores.items():
            for address, value in registers.items():
                self.msr.poke(first_cpu[core], address, value)

    def _inject_register_faults(self) -> None:
        for fault in self.profile.faults.registers:
            # Every processor, since a register may be one per core.
            for cpu in self.profile.topology.cpus:
                if fault.package not in (None, cpu.package) or fault.die not in (None, cpu.die):
                    continue
                if fault.on is not None:
                    self.msr.inject(cpu.number, fault.register, fault.on, fault.errno)
                if fault.write_mask is not None:
                    self.msr.write_mask(cpu.number, fault.register, fault.write_mask)
                if fault.ignore_when_locked is not None:
                    self.msr.ignore_when_locked(cpu.number, fault.register, fault.ignore_when_locked)

    def _inject_sysfs_faults(self) -> Iterator[str]:
        """Inject the profile's faults; gives a line for each path that is not there on this kernel."""
        for fault in self.profile.faults.sysfs:
            try:
                self.sysfs.inject(fault.path, fault.on, fault.errno, fault.after, fault.times)
            except OSError as error:
                yield f"faults.sysfs: {fault.path}: {error.strerror}: nothing fails there"

    def _register_changed(self, die: int, address: int) -> None:
        """Let new contents of a limit register bind the domain from now on."""
        register = self._limit_registers.get(address)
        if register is None:
            return
        addresses = [0x610, _PEAK_POWER] if address in (0x610, _PEAK_POWER) else [address]
        cpu = self.profile.topology.cpus_of_die(die)[0]
        units = exact_units(self._unit_raw, unit_style(self.profile.cpu.id))
        limits = tuple(
            limit
            for one in addresses
            if one in self._limit_registers and (raw := self.msr.content(cpu, one)) is not None
            for limit in limits_of(self._limit_registers[one], raw, units)
        )
        kind = self._limit_registers[addresses[0]].domain
        self._domains.set_limits(kind, die, limits)
