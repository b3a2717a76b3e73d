# SPDX-License-Identifier: Apache-2.0
"""Where the TPMI registers of a recording lie that has no headers: told by what the driver read while it came.

A witness may register a TPMI package itself (rapl_add_package) with registers wherever it likes, and then no header
says what they are.  The driver does: it reads each counter, then each domain's unit, locks and limits, then all its
primitives once, always in the same order (rapl_detect_domains, rapl_update_domain_data).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from raplica_fixtures.recording import Access, ModuleLoad
from raplica_simulator.profile.tpmi_layout import TPMI_DOMAIN_SIZE, tpmi_words

__all__ = ["ForeignLayout", "foreign_layout"]

_COUNTER = 0xFFFFFFFF
_WHOLE = (1 << 64) - 1
_LOCK = 1 << 63
# Only TPMI has a limit of 18 bits.
_LIMIT = 0x3FFFF
_WINDOW = 0x7F << 18
_INFO = (0x3FFFF, 0x3FFFF << 36, 0x3FFFF << 18, 0x7F << 54)
_UNIT_AT, _STATUS_AT, _PERF_AT, _INFO_AT, _ROOT_AT = 0x08, 0x38, 0x40, 0x48, 0x50
_LIMITS_AT = {1: 0x10, 2: 0x18, 4: 0x28}


@dataclass(frozen=True, slots=True)
class ForeignLayout:
    """One package's registers.

    Attributes:
        offsets: address in the recording to offset in the machine's TPMI.
        headers: what the machine has to hold besides, by offset.
    """

    offsets: dict[int, int]
    headers: dict[int, int]


@dataclass(slots=True)
class _Domain:
    status: int
    unit: int = 0
    limits: list[int] = field(default_factory=list)
    windows: list[int] = field(default_factory=list)
    others: dict[int, int] = field(default_factory=dict)

    def owns(self, register: int) -> bool:
        return register == self.status or register in self.limits

    def offsets(self) -> dict[int, int]:
        """Address to offset in the domain.  PL4 is the one without a time window."""
        found = {self.unit: _UNIT_AT, self.status: _STATUS_AT, **self.others}
        numbers = iter((1, 2))
        for register in self.limits:
            # A limit that faults is not asked for its window: it is then taken to be the next one.
            with_window = register in self.windows or len(self.windows) < len(self.limits) - 1
            number = next(numbers, 4) if with_window else 4
            found[register] = _LIMITS_AT[number]
        return found


def foreign_layout(load: ModuleLoad, die: int) -> ForeignLayout | None:
    """What a module's loading read of one package, as a layout; None where that was no TPMI."""
    reads = [access for access in load.accesses if access.op == "r" and access.die == die]
    if not any(access.mask == _LIMIT for access in reads):
        return None
    domains = _domains(reads)
    # psys stands beside its package, dram below it.
    has_child = any(event[0].count(":") > 1 for event in load.uevents if event)
    names = ["package", *(["memory"] if has_child else []), "system"][: len(domains)]
    offsets: dict[int, int] = {}
    tables: dict[str, dict[int, int]] = {}
    for number, (name, domain) in enumerate(zip(names, domains, strict=False)):
        own = domain.offsets()
        offsets |= {register: number * TPMI_DOMAIN_SIZE + offset for register, offset in own.items()}
        tables[name] = dict.fromkeys(own.values(), 0) | ({_ROOT_AT: 1} if name == "system" else {})
    words = tpmi_words({die: tables})[die]
    return ForeignLayout(offsets, {offset: raw for offset, raw in words.items() if raw})


def _domains(reads: Iterable[Access]) -> list[_Domain]:
    """The domains in the order in which the driver came to them."""
    domains: list[_Domain] = []
    looking = True
    here = -1
    for access in reads:
        if looking and access.mask == _COUNTER:
            # A counter of 0 is no domain.
            if access.value and not access.errno:
                domains.append(_Domain(access.register))
            continue
        looking = False
        if access.mask == _WHOLE:
            here += 1
            domains[here].unit = access.register
        elif access.mask == _LOCK and access.register not in domains[here].limits and not _owner(domains, access):
            domains[here].limits.append(access.register)
        elif owner := _owner(domains, access):
            here = domains.index(owner)
            if access.mask == _WINDOW:
                owner.windows.append(access.register)
        elif access.mask in (_COUNTER, *_INFO):
            domains[here].others[access.register] = _PERF_AT if access.mask == _COUNTER else _INFO_AT
    return domains


def _owner(domains: list[_Domain], access: Access) -> _Domain | None:
    return next((domain for domain in domains if domain.owns(access.register)), None)
