# SPDX-License-Identifier: Apache-2.0
"""What may be written to a machine that somebody needs, and what has to be announced before.

An attribute is touched only if its own text, written back, leaves the register as it was, or if the msr device can
restore all 64 bits. A limit or a window is set between half of what it is and what it is. Mirrors set_power_limit,
set_time_window, set_domain_enable and package_power_limit_irq_save in drivers/powercap/intel_rapl_common.c.
"""

import errno
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from raplica_conformance.clauses._reading import ANY_RAPL, constraint_path, name_of, value
from raplica_conformance.clauses._registers import unit_of
from raplica_conformance.subject import Provider, Zone, constraints, readable, zones
from raplica_conformance.subjects.behind import Behind, NotBehind, cpu_of, look_behind
from raplica_conformance.subjects.host import Host, Place
from raplica_conformance.subjects.journal import Entry, SavedRegister, SavedText
from raplica_conformance.subjects.putback import PLN, PLN_ENABLE
from raplica_conformance.subjects.writeback import code_survives, kernel_is_known, limit_survives, window_survives

__all__ = ["Permission", "Plan", "Refused", "number_in"]

_CONSTRAINT = re.compile(r"constraint_([0-9]+)_(power_limit_uw|time_window_us)")
_ACCEPTED = re.compile(rb"\+?([0-9]+)\n?")
_PAGE = 4096

#: Family 6: psys of Sapphire and Emerald Rapids takes the switch's clamp bits for limit bits.
_WIDE_PSYS = (143, 207)
#: Family 6: Silvermont and Merrifield keep what the switch changes behind a mailbox (IOSF) and not in an MSR.
_MAILBOX = (0x37, 0x4A)

_NOTIFICATION = (
    "writing a limit switches the power limit notification off (bit 24 of MSR 0x1B2); "
    "without the msr device it stays off until the driver is loaded again"
)


class Refused(Exception):
    """A write that is not safe here; the text says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A write that is allowed: to `path`, once `entries` are in the journal and each of `needed` takes its own value.

    `needed` are (CPU, register) that nothing but the msr device can restore; `warnings` are what cannot be restored.
    """

    path: str
    entries: tuple[Entry, ...] = ()
    needed: tuple[tuple[int, int], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(slots=True)
class _Seen:
    """What was found out about the zones since `forget`."""

    zones: dict[str, Zone] = field(default_factory=dict)
    places: Mapping[int, Place] | None = None
    behind: dict[str, Behind | str] = field(default_factory=dict)


def number_in(data: bytes) -> int | None:
    """The number that the kernel finds in a write, None where it answers EINVAL before any driver is called.

    lib/kstrtox.c kstrtoull, on the first page up to a NUL (fs/kernfs/file.c).
    """
    found = _ACCEPTED.fullmatch(data[:_PAGE].partition(b"\0")[0])
    number = int(found[1]) if found else 1 << 64
    return number if number < 1 << 64 else None


class Permission:
    """The rules, for one tree; `wild` lifts all but those that protect the kernel."""

    def __init__(self, tree: Provider, host: Host, *, wild: bool = False) -> None:
        self._tree = tree
        self._host = host
        self._wild = wild
        self._cpu = host.cpu_facts()
        self._seen = _Seen()

    def forget(self) -> None:
        """Look at the zones again before the next write."""
        self._seen = _Seen()

    def plan(self, path: str, data: bytes, first_text: Callable[[str], str | None]) -> Plan:
        """What a write needs. `first_text` gives what an attribute read before this clause wrote to it.

        Raises Refused for a write that is not safe, and the errno of open for one that the kernel does not let open.
        """
        where, _, attribute = path.rpartition("/")
        zone = self._zone(where.rpartition("/")[2])
        if zone is not None and (found := _CONSTRAINT.fullmatch(attribute)):
            self._refusal(path)
            return self._constraint(zone, int(found[1]), found[2], data, first_text)
        if zone is not None and attribute == "enabled":
            self._refusal(path)
            return self._switch(zone, first_text)
        if self._wild:
            return Plan(path)
        # Whether it opens can be tried on what has no write permission; no driver hears of that.
        if not self._tree.stat(path).mode & 0o222 and (number := self._refusal(path)):
            raise OSError(number, os.strerror(number), path)
        raise Refused(f"{path} is left alone: what a write to it changes cannot be put back")

    def _refusal(self, path: str) -> int:
        """The errno of opening for writing. Refused where it says something about us and nothing about the kernel."""
        number = self._host.write_refusal(path)
        if number == errno.EROFS or (number in (errno.EACCES, errno.EPERM) and os.geteuid() != 0):
            raise Refused(f"{path} is left alone: we may not write to it ({os.strerror(number)})")
        return number

    def _constraint(
        self, zone: Zone, number: int, what: str, data: bytes, first_text: Callable[[str], str | None]
    ) -> Plan:
        path = constraint_path(zone, number, what)
        wanted = number_in(data)
        if self._wild and wanted is None:
            return Plan(path)
        if not value(self._tree, f"{zone.path}/max_energy_range_uj") and (
            zone.control_type in ANY_RAPL or not self._wild
        ):
            raise Refused(f"{path} is left alone: the range of {zone.id} is 0 or does not read, so it has no units")
        if zone.control_type not in ANY_RAPL and not self._wild:
            raise Refused(f"{path} is left alone: how {zone.control_type} stores a number is not known")
        if wanted is None:
            return Plan(path)
        text = first_text(path) or _text(self._tree, path)
        behind = self._behind(zone)
        if not self._wild:
            self._check_number(path, wanted, text)
        entries = self._registers(zone, behind, notified=what == "power_limit_uw")
        entries += [SavedText(path, text, name_of(self._tree, zone))] if text else []
        plan_warnings = self._warnings(zone, what)
        if self._wild or (lost := self._lost(zone, number, what, text, behind)) is None:
            return Plan(path, tuple(entries), (), plan_warnings)
        return Plan(path, tuple(entries), self._needed(path, lost, behind), plan_warnings)

    def _check_number(self, path: str, wanted: int, text: str) -> None:
        """Between half of what is there and what is there: nothing that was never in force for good, and never 0."""
        if not text.strip().isdigit():
            raise Refused(f"{path} is left alone: it does not read as a number")
        present = int(text)
        if not 0 < present <= 2 * wanted <= 2 * present:
            raise Refused(f"{path} is left alone: {wanted} is not between half and all of {present}, its value")

    def _switch(self, zone: Zone, first_text: Callable[[str], str | None]) -> Plan:
        """A switch sets and clears clamp bits that no text shows, so only the msr device can restore it."""
        path = f"{zone.path}/enabled"
        behind = self._behind(zone)
        entries = self._registers(zone, behind, notified=False)
        if text := first_text(path) or _text(self._tree, path):
            entries.append(SavedText(path, text, name_of(self._tree, zone)))
        if self._wild:
            return Plan(path, tuple(entries))
        intel, model = self._cpu.family == 6, self._cpu.model
        if not model:
            raise Refused(f"{path} is left alone: the model of the CPU is not known")
        if intel and model in _WIDE_PSYS and name_of(self._tree, zone).startswith("psys"):
            raise Refused(f"{path} is left alone: on this CPU the switch of psys changes its limits")
        if intel and model in _MAILBOX:
            raise Refused(f"{path} is left alone: on this CPU the switch changes what no register shows")
        needed = self._needed(path, "a switch changes bits that no text shows", behind)
        for limit, raw in behind.bits if isinstance(behind, Behind) else ():
            if limit.enable and not raw & limit.enable:
                raise Refused(f"{path} is left alone: {limit.name} is off, and 1 would put a limit in force")
            if limit.enable and not raw & limit.limit_mask:
                raise Refused(f"{path} is left alone: {limit.name} is 0, and 1 would put that in force")
        return Plan(path, tuple(entries), needed)

    def _lost(self, zone: Zone, number: int, what: str, text: str, behind: Behind | str) -> str | None:
        """Why the attribute's own text, written back, would not do; None where it would."""
        if not kernel_is_known(self._tree.kernel):
            return f"how Linux {self._tree.kernel} stores a number is not known"
        if isinstance(behind, Behind):
            limit = next(limit for limit in behind.limits if limit.number == number)
            code = (behind.values[limit.register] & limit.window_mask) >> limit.window_shift
            survives = what == "power_limit_uw" or (limit.window_mask and code_survives(code, limit.units))
        elif what == "power_limit_uw":
            survives = limit_survives(int(text), unit_of(self._tree, zone))
        else:
            paths = [constraint_path(zone, n, what) for n in constraints(self._tree, zone)]
            others = [us for path in paths if (us := value(self._tree, path)) is not None]
            survives = window_survives(int(text), others, unit_of(self._tree, zone))
        return None if survives else f"{text.strip()} written back may store something else"

    def _needed(self, path: str, lost: str, behind: Behind | str) -> tuple[tuple[int, int], ...]:
        """The registers that the msr device has to restore; Refused where it cannot."""
        if isinstance(behind, str):
            raise Refused(f"{path} is left alone: {lost}, and {behind}")
        for register in behind.values:
            if number := self._host.msr_refusal(behind.cpu, register):
                why = f"/dev/cpu/{behind.cpu}/msr cannot be written ({os.strerror(number)})"
                raise Refused(f"{path} is left alone: {lost}, and {why}")
        return tuple((behind.cpu, register) for register in behind.values)

    def _registers(self, zone: Zone, behind: Behind | str, *, notified: bool) -> list[Entry]:
        """Everything that a write changes; the notification bit with a limit (package_power_limit_irq_save)."""
        entries: list[Entry] = []
        cpu, raw = self._notification(zone) if notified else (None, None)
        if cpu is not None and raw is not None and not self._host.msr_refusal(cpu, PLN):
            entries.append(SavedRegister(cpu, PLN, raw))
        if isinstance(behind, Behind):
            entries += [SavedRegister(behind.cpu, register, raw) for register, raw in behind.values.items()]
        return entries

    def _warnings(self, zone: Zone, what: str) -> tuple[str, ...]:
        """What a write to a limit clears and nothing can set again, said once a run."""
        if what != "power_limit_uw" or not {"pts", "pln"} <= self._cpu.flags:
            return ()
        cpu, raw = self._notification(zone)
        if cpu is not None and raw is not None:
            off = not raw & PLN_ENABLE
            return () if off or not self._host.msr_refusal(cpu, PLN) else (_NOTIFICATION,)
        return (_NOTIFICATION,)

    def _notification(self, zone: Zone) -> tuple[int | None, int | None]:
        """The CPU of the zone's package and its IA32_PACKAGE_THERM_INTERRUPT, None where that does not read."""
        cpu = self._cpu_of(zone)
        try:
            return cpu, None if cpu is None else self._host.msr_read(cpu, PLN)
        except OSError:
            return cpu, None

    def _zone(self, name: str) -> Zone | None:
        if not self._seen.zones:
            self._seen.zones = {zone.id: zone for zone in zones(self._tree)}
        return self._seen.zones.get(name)

    def _cpu_of(self, zone: Zone) -> int | None:
        """The lowest CPU of the package or die to which a zone belongs."""
        if self._seen.places is None:
            self._seen.places = self._host.places()
        while zone.parent is not None:
            zone = self._seen.zones[zone.parent]
        return cpu_of(self._tree, zone, self._seen.places)

    def _behind(self, zone: Zone) -> Behind | str:
        """The registers behind a zone as they were before this clause wrote there, or why they are not known."""
        if zone.id not in self._seen.behind:
            try:
                self._seen.behind[zone.id] = look_behind(self._tree, self._host, zone, self._cpu_of(zone))
            except NotBehind as reason:
                self._seen.behind[zone.id] = str(reason)
        return self._seen.behind[zone.id]


def _text(tree: Provider, path: str) -> str:
    """What the attribute reads, "" where it does not."""
    return (readable(tree, path) or b"").decode("ascii", "replace")
