# SPDX-License-Identifier: Apache-2.0
"""perf's ``power`` and ``power_core`` PMUs: energy in steps of 2^-32 J, counted from when an event was opened.

Mirrors arch/x86/events/rapl.c.  A domain is there when its counter was not 0 at boot; an event may be opened on any
processor and counts on the one that reads for its die, package or core.  The kernel adds up the wraps of the 32-bit
counters with a timer; here nothing ticks, and the energy truly spent says how many there were.

The PMU that intel_rapl makes itself (TPMI, and Panther Lake since 6.19) is not simulated.  Nothing here is a system
call: perf_event_open asks the host's kernel, which knows no such PMU.
"""

import os
from collections.abc import Callable, Collection, Mapping
from errno import EINVAL, ENODEV
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from raplica_simulator.hardware.msr import RegisterFile
from raplica_simulator.hardware.topology import Cpu
from raplica_simulator.linux.cpu_topology import HasCpus
from raplica_simulator.linux.perf_models import CORE_EVENT, EVENTS, Event, PerfModel, find_model
from raplica_simulator.profile.profile import Profile

__all__ = ["PowerCounter", "PowerPmu", "free_perf_type", "power_pmus"]

_COUNTER = 1 << 32
_U64 = (1 << 64) - 1
_CONFIG_MASK = 0xFF
_HOST_DEVICES = "/sys/bus/event_source/devices"
# The host's kernel hands numbers out upwards from 6, so those of PMUs that come later stay below for long.
_FIRST_FREE_TYPE = 1000
# Since when only the low 32 bits of a counter decide whether its domain is there (RAPL_MSR_MASK).
_LOW_WORD_DECIDES = (6, 1)

_SCOPES: dict[str, Callable[[Cpu], int]] = {
    "die": lambda cpu: cpu.logical_die,
    "package": lambda cpu: cpu.package,
    "core": lambda cpu: cpu.core_index,
}


class _Machine(HasCpus, Protocol):
    """A machine whose counters can be read."""

    @property
    def msr(self) -> RegisterFile: ...

    def truth_joules(self, domain: str) -> Fraction: ...

    def counter_units(self, control_type: str = "intel-rapl") -> Mapping[str, Fraction]: ...


class PowerPmu:
    """One power PMU of a machine.

    Attributes:
        name: ``power`` or ``power_core``.
        events: those that were found at boot.
    """

    def __init__(self, machine: _Machine, name: str = "power") -> None:
        """OSError(ENODEV) where the machine's kernel makes no such PMU; ValueError for any other name."""
        profile = machine.profile
        model = find_model(profile.cpu.id, profile.cpu.flags, machine.kernel)
        if name not in ("power", "power_core"):
            raise ValueError(f"no PMU {name!r}: they are power and power_core")
        unit_raw = None if model is None else _at_boot(profile, model.unit_msr)
        if model is None or unit_raw is None or (name == "power_core" and not model.has_cores):
            raise OSError(ENODEV, os.strerror(ENODEV), name)
        self.name = name
        self._machine = machine
        self._model = model
        self._unit = unit_raw >> 8 & 0x1F
        candidates = EVENTS if name == "power" else (CORE_EVENT,)
        self._scope = _SCOPES["core" if name == "power_core" else "package" if model.per_package else "die"]
        low_word = machine.kernel.number >= _LOW_WORD_DECIDES
        self.events = tuple(event for event in candidates if _is_there(event, profile, model, low_word=low_word))
        self._by_config = {event.config: event for event in self.events}
        self._groups: dict[int, list[int]] = {}
        for cpu in profile.topology.cpus:
            self._groups.setdefault(self._scope(cpu), []).append(cpu.number)
        self._readers: dict[int, int] = {}
        self._seen: Collection[int] = ()
        self.catch_up()

    def catch_up(self) -> None:
        """Let each die, package or core that has a processor up have one that reads.

        The one that reads stays until it goes down; then it is the lowest of those left.  One that went and came back
        unseen was up throughout.
        """
        online = self._machine.driver.online
        if online == self._seen:
            return
        for group, cpus in self._groups.items():
            if self._readers.get(group) not in online:
                up = [cpu for cpu in cpus if cpu in online]
                if up:
                    self._readers[group] = up[0]
                else:
                    self._readers.pop(group, None)
        self._seen = frozenset(online)

    @property
    def cpumask(self) -> list[int]:
        """The processors that read, ascending."""
        self.catch_up()
        return sorted(self._readers.values())

    def open(self, event: str | int, cpu: int, *, sample_period: int = 0) -> "PowerCounter":
        """Open an event, by its name or as ``config``, on a processor: what perf_event_open does.

        OSError: EINVAL for a config that is no event of this machine, for sampling, for one task (``cpu`` below 0)
        and a processor that the machine does not have; ENODEV for one that is down.
        """
        config = next((found.config for found in self.events if found.name == event), -1)
        if isinstance(event, int):
            config = event
        cpus = self._machine.profile.topology.cpus
        if sample_period or not 0 <= cpu < len(cpus) or config & ~_CONFIG_MASK or config not in self._by_config:
            raise OSError(EINVAL, os.strerror(EINVAL), self.name)
        self.catch_up()
        if cpu not in self._machine.driver.online:
            raise OSError(ENODEV, os.strerror(ENODEV), self.name)
        return PowerCounter(self, self._by_config[config], self._scope(cpus[cpu]))

    # What counters ask.

    def reader(self, group: int) -> int | None:
        """The processor that reads for a die, package or core now; None where all its processors are down."""
        self.catch_up()
        return self._readers.get(group)

    def raw(self, event: Event, cpu: int) -> int:
        """The low 32 bits of a counter; 0 where reading it faults, which the kernel notes in its log and goes on."""
        try:
            return self._machine.msr.read(cpu, self._model.msrs[event.kind]) % _COUNTER
        except OSError:
            return 0

    def spent_steps(self, event: Event, cpu: int) -> int:
        """The steps that silicon owes a counter since time 0, by the energy spent."""
        here = self._machine.profile.topology.cpus[cpu]
        return int(self._machine.truth_joules(self._domain(event, here)) / self._machine.counter_units()[event.kind])

    def _domain(self, event: Event, here: Cpu) -> str:
        """The name by which the truth knows what an event counts."""
        if event.kind == "psys":
            return "psys"
        several = self._machine.profile.topology.dies_per_package > 1
        die = f"package-{here.package}-die-{here.die}" if several else f"package-{here.package}"
        if event.kind == "package":
            return die
        return f"{die}/core-{here.core}" if event is CORE_EVENT else f"{die}/{event.kind}"

    def shift(self, event: Event) -> int:
        """How far a raw step is shifted: it is worth 2^shift steps of 2^-32 J."""
        return 32 - self._model.fixed_units.get(event.kind, self._unit)


class PowerCounter:
    """An open event.

    Attributes:
        event: what it counts.
    """

    def __init__(self, pmu: PowerPmu, event: Event, group: int) -> None:
        self.event = event
        self._pmu = pmu
        self._group = group
        self._count = 0
        cpu = pmu.reader(group)
        self._cpu = cpu
        self._raw = pmu.raw(event, cpu) if cpu is not None else 0
        self._spent = pmu.spent_steps(event, cpu) if cpu is not None else 0

    def read(self) -> int:
        """The steps of 2^-32 J since it was opened, in 64 bits.

        It stands for good once all processors of its die, package or core went down.
        """
        cpu = self._pmu.reader(self._group) if self._cpu is not None else None
        self._cpu = cpu
        if cpu is not None:
            raw, spent = self._pmu.raw(self.event, cpu), self._pmu.spent_steps(self.event, cpu)
            steps = (raw - self._raw) % _COUNTER
            # A counter that has not moved is stuck: nobody spends whole wraps to the step.
            if steps:
                steps += max(0, (spent - self._spent - steps + _COUNTER // 2) // _COUNTER) * _COUNTER
            self._raw, self._spent = raw, spent
            self._count = self._count + (steps << self._pmu.shift(self.event)) & _U64
        return self._count


def power_pmus(machine: _Machine) -> list[PowerPmu]:
    """The power PMUs that the machine's kernel makes: none, ``power``, or also ``power_core``."""
    found: list[PowerPmu] = []
    for name in ("power", "power_core"):
        try:
            found.append(PowerPmu(machine, name))
        except OSError:
            break
    return found


def free_perf_type(devices: str | os.PathLike[str] = _HOST_DEVICES) -> int:
    """A type that no PMU of the host has, nor the next number, which ``power_core`` takes.

    perf_event_open goes to the host's kernel, whatever its files are covered by, and must not count something else.
    """
    taken: set[int] = set()
    for file in Path(devices).glob("*/type"):
        try:
            taken.add(int(file.read_text(encoding="ascii")))
        except (OSError, ValueError):
            # One that went meanwhile, or does not say.
            continue
    return next(
        number
        for number in range(_FIRST_FREE_TYPE, _FIRST_FREE_TYPE + 2 * len(taken) + 2)
        if not {number, number + 1} & taken
    )


def _is_there(event: Event, profile: Profile, model: PerfModel, *, low_word: bool) -> bool:
    """Whether an event's domain is found (perf_msr_probe)."""
    if event.kind not in model.kinds and event is not CORE_EVENT:
        return False
    if event.kind in model.unprobed:
        return True
    raw = _at_boot(profile, model.msrs[event.kind]) or 0
    return bool(raw % _COUNTER if low_word else raw)


def _at_boot(profile: Profile, register: int) -> int | None:
    """What a register of the first processor held at time 0; None where reading it faulted."""
    for fault in profile.faults.registers:
        if fault.register == register and fault.on == "read" and not fault.package and not fault.die:
            return None
    return profile.registers.get(0, {}).get(register, profile.core_registers.get((0, 0), {}).get(register))
