# SPDX-License-Identifier: Apache-2.0
"""Servers whose zones are made from TPMI, and how many bits a limit has there and elsewhere.

Mirrors drivers/powercap/intel_rapl_tpmi.c and the two tables of fields in intel_rapl_common.c, rpi_msr and rpi_tpmi.
The control type is intel-rapl, as with MSRs: what tells them apart is the device on the auxiliary bus, and the width of
the limits.
"""

from collections.abc import Iterator

from raplica_conformance.clause import clause, expect, not_applicable
from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._reading import (
    ANY_RAPL,
    MMIO_RAPL,
    MSR_RAPL,
    constraint_path,
    has_tpmi,
    kind,
    limits_by_name,
    name_of,
    rapl_zones,
    value,
)
from raplica_conformance.clauses._registers import unit_of
from raplica_conformance.clauses.parsing import outcome
from raplica_conformance.subject import Provider, Zone

#: Bits of a limit: of TPMI, of a register of the MSRs' layout, of peak_power and of psys on Sapphire Rapids.
_TPMI, _USUAL, _PEAK, _WIDE_PSYS = 18, 15, 13, 17
_FIELD = 40
_NAMES = ("package", "dram", "psys")


@clause(
    "rapl.tpmi.zones",
    level="must",
    title="TPMI gives packages without dies, a dram below them, psys, and no core or uncore.",
    group="shape",
    source="drivers/powercap/intel_rapl_tpmi.c parse_one_domain, intel_rapl_tpmi_probe",
    needs=("content",),
    drivers=MSR_RAPL,
    kernels=("6.5", None),
    threads=("https://github.com/intel/powertelemetry/issues/5",),
    pitfalls=("tpmi-layout",),
)
def tpmi_zones(tree: Provider) -> None:
    """A TPMI domain is a package, a memory or a system, and there is one device for each physical package."""
    if not has_tpmi(tree):
        not_applicable("no TPMI device is seen here")
    for zone in rapl_zones(tree, MSR_RAPL):
        lawful = kind(tree, zone) in _NAMES and "-die-" not in name_of(tree, zone)
        expect(lawful or name_of(tree, zone), True, f"{zone.path}/name is a domain of TPMI")


@clause(
    "rapl.write.limit-width",
    level="must",
    title="A limit has 15 bits, 13 of peak_power and 17 of psys on Sapphire Rapids; or 18 through TPMI.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c rpi_msr, rpi_tpmi, rapl_write_data_raw",
    needs=("wild-writes", "content"),
    drivers=ANY_RAPL,
    kernels=("5.3", None),
    threads=("https://github.com/intel/thermal_daemon/issues/45", "https://github.com/powercap/raplcap/issues/6"),
    pitfalls=("tpmi-layout", "large-limit-wraps"),
)
def limit_width(tree: Provider) -> None:
    """What is above it is lost, not clamped: 5000 W is kept or becomes 904. One control type is of one kind."""
    for driver in ANY_RAPL:
        found = [limit for zone in rapl_zones(tree, (driver,)) for limit in _widths(tree, zone)]
        # MMIO has the fields of the MSRs. Where no device is seen, 18 bits everywhere are TPMI's as well.
        is_tpmi = (driver,) != MMIO_RAPL and (has_tpmi(tree) or all(bits == _TPMI for _, bits, _ in found))
        for path, bits, usual in found:
            wanted = _TPMI if is_tpmi else usual
            expect(bits, wanted, f"bits of {path}")


def _widths(tree: Provider, zone: Zone) -> Iterator[tuple[str, int, int]]:
    """Path, bits and the bits of an MSR for each limit of the zone that can be set; 64 where none is ever lost."""
    # Without units a limit reads 0, and writing one would crash Linux 6.12.
    if not unit_of(tree, zone):
        return
    for name, n in limits_by_name(tree, zone).items():
        path = constraint_path(zone, n, "power_limit_uw")
        step = _step(tree, path)
        if step is not None:
            usual = _PEAK if name == "peak_power" else _WIDE_PSYS if _is_wide(tree, zone) else _USUAL
            yield path, _bits(tree, path, step), usual


def _is_wide(tree: Provider, zone: Zone) -> bool:
    """Whether it is psys of Sapphire Rapids, which counts whole joules."""
    return kind(tree, zone) == "psys" and unit_of(tree, zone) == _driver.PSYS_NJ


def _step(tree: Provider, path: str) -> int | None:
    """UW a step: the smallest of the known units that is not cut to 0; None where no write is kept."""
    for step in sorted({*_driver.CORE_POWER_UW, *_driver.ATOM_POWER_UW}):
        if _reads(tree, path, step) == step and _reads(tree, path, _FIELD * step) == _FIELD * step:
            return step
    return None


def _bits(tree: Provider, path: str, step: int) -> int:
    """How many bits of steps are kept, by what is kept of one bit and 40 steps more; 64 where none of these is lost."""
    for bits in (_PEAK, _USUAL, _WIDE_PSYS, _TPMI):
        if _reads(tree, path, ((1 << bits) + _FIELD) * step) == _FIELD * step:
            return bits
    return 64


def _reads(tree: Provider, path: str, limit_uw: int) -> int:
    """What a limit reads after a write, -1 where the write is refused or it does not read."""
    data = b"%d" % limit_uw
    found = value(tree, path) if outcome(tree, path, data) == len(data) else None
    return -1 if found is None else found
