# SPDX-License-Identifier: Apache-2.0
"""What the zones and constraints of the RAPL driver answer.

Mirrors the zone and constraint callbacks of drivers/powercap/intel_rapl_common.c: energy, ``enabled`` with the
floor-frequency hook, limits, windows, names and the largest power.  Errors raised here carry the driver's own
errno, which powercap_sys.py replaces by the one that user space sees.
"""

from collections.abc import Callable
from contextlib import suppress
from errno import EACCES, EINVAL
from typing import cast

from raplica_simulator.linux.kernel import Kernel
from raplica_simulator.linux.powercap_sys import ConstraintOps, Zone, ZoneOps
from raplica_simulator.linux.rapl_domain import RaplDomain
from raplica_simulator.linux.rapl_primitives import RegisterKind

__all__ = ["RaplZoneOps"]

_ENERGY_MASK = 0xFFFFFFFF
_LIMIT_NAMES = {1: "long_term", 2: "short_term", 4: "peak_power"}


class RaplZoneOps:
    """The callbacks for every zone of every interface.

    ``hook(domain, on)`` is what an ``enabled`` write does beyond PL1's enable (set_floor_freq), ``limit_written``
    is called after a successful write of any limit.
    """

    def __init__(
        self,
        kernel: Kernel,
        hook: Callable[[RaplDomain, bool], None],
        limit_written: Callable[[RaplDomain], None],
    ) -> None:
        self._kernel = kernel
        self._hook = hook
        self._limit_written = limit_written
        self.constraints = ConstraintOps(
            set_power_limit_uw=self._set_power_limit,
            get_power_limit_uw=self._get_power_limit,
            set_time_window_us=self._set_time_window,
            get_time_window_us=self._get_time_window,
            get_max_power_uw=self._get_max_power,
            get_name=self._get_name,
        )

    def zone_ops(self, domain: RaplDomain) -> ZoneOps:
        """The callbacks of one domain's zone."""
        package = domain.package
        status = domain.registers.get(RegisterKind.STATUS, 0)
        read = package.interface.read

        # The counter is what everybody polls: nothing is looked up twice here.
        def get_energy_uj(_: Zone) -> int:
            return read(package.reader, status, _ENERGY_MASK) * domain.units.energy_unit_nj // 1000

        # Detection reads MSR 0 for a domain that has no counter, so that a zone without one can come to be.
        def no_counter(_: Zone) -> int:
            raise OSError(EINVAL, "the domain has no such register")

        return ZoneOps(
            get_energy_uj=get_energy_uj if status else no_counter,
            get_max_energy_range_uj=lambda _: domain.units.energy_to_uj(_ENERGY_MASK),
            set_enable=self._set_enable,
            get_enable=self._get_enable,
        )

    # enabled.

    def _get_enable(self, zone: Zone) -> bool:
        domain = _domain(zone)
        if self._kernel.per_limit_locks:
            return 1 not in domain.locked and bool(domain.read_limit(1, "enable"))
        return not domain.bios_locked and bool(domain.read("pl1_enable"))

    def _set_enable(self, zone: Zone, on: bool) -> None:  # noqa: FBT001 - the kernel's callback
        domain = _domain(zone)
        if self._kernel.reports_write_faults:
            domain.write_limit(1, "enable", on)
        else:
            if domain.bios_locked:
                raise OSError(EACCES, "locked by BIOS")
            _try_write(domain, "pl1_enable", on)
        # Where the bit did not take, newer kernels stop, and claim success.
        if self._kernel.reads_enable_back and bool(domain.read_limit(1, "enable")) != on:
            return
        self._hook(domain, on)

    # Constraints.

    def _set_power_limit(self, zone: Zone, number: int, limit_uw: int) -> None:
        domain = _domain(zone)
        limit = _limit(domain, number)
        if self._kernel.reports_write_faults:
            domain.write_limit(limit, "limit", limit_uw)
        else:
            if domain.bios_locked:
                raise OSError(EACCES, "locked by BIOS")
            _try_write(domain, domain.limit_primitive(limit, "limit"), limit_uw)
        self._limit_written(domain)

    def _get_power_limit(self, zone: Zone, number: int) -> int:
        domain = _domain(zone)
        return domain.read_limit(_limit(domain, number), "limit")

    def _set_time_window(self, zone: Zone, number: int, window_us: int) -> None:
        domain = _domain(zone)
        limit = _limit(domain, number)
        if self._kernel.reports_write_faults:
            domain.write_limit(limit, "window", window_us)
        else:
            # Before 6.5 nobody asks whether it is locked.
            _try_write(domain, domain.limit_primitive(limit, "window"), window_us)

    def _get_time_window(self, zone: Zone, number: int) -> int:
        domain = _domain(zone)
        limit = _limit(domain, number)
        if limit == 4 and self._kernel.peak_power_window_reads_zero:
            return 0
        return domain.read_limit(limit, "window")

    def _get_max_power(self, zone: Zone, number: int) -> int:
        domain = _domain(zone)
        if self._kernel.max_power_by_declared_limit:
            if number >= len(domain.declared):
                raise OSError(EINVAL, "no such power limit")
            limit = domain.declared[number]
        else:
            limit = _limit(domain, number)
        power_uw = domain.read(domain.limit_primitive(limit, "max_power"))
        # PL4 is taken to be around two times PL2.
        return power_uw * 2 if limit == 4 else power_uw

    def _get_name(self, zone: Zone, number: int) -> str | None:
        return _LIMIT_NAMES[_limit(_domain(zone), number)]


def _domain(zone: Zone) -> RaplDomain:
    return cast("RaplDomain", zone.driver_data)


def _limit(domain: RaplDomain, number: int) -> int:
    """The power limit behind a constraint number: constraints are packed, limits may be missing (contraint_to_pl)."""
    try:
        return domain.limits[number]
    except IndexError:
        raise OSError(EINVAL, "Cannot find matching power limit for constraint") from None


def _try_write(domain: RaplDomain, primitive: str, value: int) -> None:
    """Write and not ask what became of it, as kernels before 6.5 do."""
    with suppress(OSError):
        domain.write(primitive, value)
