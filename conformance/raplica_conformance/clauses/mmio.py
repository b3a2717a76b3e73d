# SPDX-License-Identifier: Apache-2.0
"""The second view of package 0: registers of the MSRs' layout in the host bridge's memory, with limits of their own.

Mirrors drivers/thermal/intel/int340x_thermal/processor_thermal_rapl.c (rapl_mmio_default, proc_thermal_rapl_add). What
both interfaces share is judged by the clauses about RAPL in general.
"""

import errno
import re
from collections.abc import Iterator

from raplica_conformance.clause import clause, expect, not_applicable
from raplica_conformance.clauses._reading import (
    MMIO_RAPL,
    MSR_RAPL,
    constraint_path,
    failure,
    family,
    kind,
    limits_by_name,
    name_of,
    rapl_zones,
    value,
)
from raplica_conformance.clauses._registers import unit_of
from raplica_conformance.clauses.parsing import outcome
from raplica_conformance.subject import Provider, Zone, constraints, exists

_SOURCE = "drivers/thermal/intel/int340x_thermal/processor_thermal_rapl.c"
_FIRST_PACKAGE = re.compile(r"package-0(-die-[0-9]+)?")
_SECOND = 1_000_000_000
_THREADS = ("https://github.com/mlco2/codecarbon/issues/950", "https://github.com/prometheus/procfs/issues/396")


def _pairs(tree: Provider) -> Iterator[tuple[Zone, Zone]]:
    """Each package that both interfaces show: the zone of intel-rapl and that of intel-rapl-mmio."""
    packages = {name_of(tree, top): top for top, _ in family(tree, MSR_RAPL) if kind(tree, top) == "package"}
    for top, _ in family(tree, MMIO_RAPL):
        if kind(tree, top) == "package" and name_of(tree, top) in packages:
            yield packages[name_of(tree, top)], top


@clause(
    "rapl.mmio.zones",
    level="should",
    title="intel-rapl-mmio has packages with at most a dram below them.",
    group="shape",
    source=f"{_SOURCE} rapl_mmio_default",
    needs=("content",),
    drivers=MMIO_RAPL,
    threads=_THREADS,
)
def mmio_zones(tree: Provider) -> None:
    """It is a second view of package-0, with limits of its own; adding both views counts the package twice."""
    for top, below in family(tree, MMIO_RAPL):
        expect(kind(tree, top) or name_of(tree, top), "package", f"{top.path} is a package")
        expect({kind(tree, part) for part in below} <= {"dram"}, True, f"children of {top.path} are dram or nothing")


@clause(
    "rapl.mmio.first-package",
    level="must",
    title="intel-rapl-mmio knows package 0 and no other.",
    group="names",
    source=f"{_SOURCE} proc_thermal_rapl_add (package 0, which is always online)",
    needs=("content",),
    drivers=MMIO_RAPL,
    threads=_THREADS,
)
def mmio_first_package(tree: Provider) -> None:
    """There is one host bridge, and its registers are those of the first package."""
    for top, _ in family(tree, MMIO_RAPL):
        if kind(tree, top) == "package":
            known = _FIRST_PACKAGE.fullmatch(name_of(tree, top)) is not None
            expect(known or name_of(tree, top), True, f"{top.path}/name is package-0")


@clause(
    "rapl.mmio.dram-limits",
    level="must",
    title="dram of intel-rapl-mmio has two constraints, long_term and short_term.",
    group="presence",
    source=f"{_SOURCE} rapl_mmio_default (limits of RAPL_DOMAIN_DRAM)",
    needs=("content",),
    drivers=MMIO_RAPL,
    pitfalls=("mmio-dram-has-two-constraints",),
)
def mmio_dram_limits(tree: Provider) -> None:
    """One register holds both, so that both are there or none is; dram of the MSRs has long_term alone."""
    for zone in rapl_zones(tree, MMIO_RAPL):
        if kind(tree, zone) == "dram":
            expect(constraints(tree, zone) in ([], [0, 1]), True, f"{zone.path} has two constraints or none")


@clause(
    "rapl.mmio.dram-max-power",
    level="must",
    title="`max_power_uw` of dram in intel-rapl-mmio gives ENODATA.",
    group="errno",
    source=f"{_SOURCE} rapl_mmio_default (no INFO register for RAPL_DOMAIN_DRAM)",
    needs=("content",),
    drivers=MMIO_RAPL,
    pitfalls=("max-power-without-info-register",),
)
def mmio_dram_max_power(tree: Provider) -> None:
    """The MSRs have an information register for dram, and this interface has none: absent is not 0."""
    for zone in rapl_zones(tree, MMIO_RAPL):
        for n in constraints(tree, zone) if kind(tree, zone) == "dram" else ():
            path = constraint_path(zone, n, "max_power_uw")
            error = failure(tree, path)
            if error is not None and exists(tree, path):
                seen = errno.errorcode.get(error, str(error)) if error else "reads"
                expect(seen, "ENODATA", f"reading {path}")


@clause(
    "rapl.mmio.no-peak-before",
    level="must",
    title="On Linux 6.1 and before, intel-rapl-mmio has no peak_power.",
    group="presence",
    source=f"{_SOURCE} rapl_mmio_default (no POWER_LIMIT4)",
    needs=("content",),
    drivers=MMIO_RAPL,
    kernels=(None, "6.2"),
    pitfalls=("peak-power-by-model-list",),
)
def mmio_no_peak_before(tree: Provider) -> None:
    """Nobody looked at register 0x59B0. 6.12 offers it on every model, where the driver of the MSRs goes by a list."""
    for zone in rapl_zones(tree, MMIO_RAPL):
        names = sorted(limits_by_name(tree, zone))
        if names:
            expect("peak_power" in names, False, f"{zone.path} has peak_power, beside {' '.join(names)}")


@clause(
    "rapl.mmio.same-range",
    level="should",
    title="intel-rapl-mmio shows the same energy range for a package as intel-rapl.",
    group="units",
    source="datasheet of the processor, host bridge registers: PACKAGE_POWER_SKU_UNIT",
    needs=("content",),
    drivers=MMIO_RAPL,
    threads=_THREADS,
)
def mmio_same_range(tree: Provider) -> None:
    """Both units come from the same fuses, and the counter is the same."""
    for package, mirror in _pairs(tree):
        wanted = value(tree, f"{package.path}/max_energy_range_uj")
        found = value(tree, f"{mirror.path}/max_energy_range_uj")
        # A range of 0 is that of an interface without its unit register.
        if wanted and found:
            expect(found, wanted, f"range of {mirror.path} as of {package.path}")


@clause(
    "rapl.mmio.same-energy",
    level="should",
    title="intel-rapl-mmio counts a package's energy as intel-rapl does: it is one counter.",
    group="hardware",
    source="datasheet of the processor, host bridge registers: PACKAGE_ENERGY_STATUS",
    needs=("content", "steps"),
    drivers=MMIO_RAPL,
    threads=_THREADS,
    pitfalls=("what-includes-what",),
)
def mmio_same_energy(tree: Provider) -> None:
    """Whoever adds up every zone that is called package-0 counts it twice. Judged by what 100 s add to both."""
    before = {zone.path: value(tree, f"{zone.path}/energy_uj") for pair in _pairs(tree) for zone in pair}
    tree.advance(100 * _SECOND)
    for pair in _pairs(tree):
        grown = [_grown(tree, zone, before.get(zone.path)) for zone in pair]
        steps = [unit_of(tree, zone) for zone in pair]
        if None not in grown and None not in steps:
            wanted, found = (number or 0 for number in grown)
            # Each of the four readings was cut to a whole step and to a whole uJ.
            slack = sum(step or 0 for step in steps) // 1000 + 2
            near = abs(found - wanted) <= slack
            expect(found if not near else wanted, wanted, f"uJ of {pair[1].path} in 100 s, as of {pair[0].path}")


def _grown(tree: Provider, zone: Zone, before: int | None) -> int | None:
    """The uJ that a zone grew by since it read `before`, a wrap counted as one; None where it does not read."""
    now, most = value(tree, f"{zone.path}/energy_uj"), value(tree, f"{zone.path}/max_energy_range_uj")
    return None if before is None or now is None or not most else (now - before) % (most + 1)


@clause(
    "rapl.mmio.limits-apart",
    level="must",
    title="Limits of intel-rapl and of intel-rapl-mmio are apart: writing one leaves the other as it is.",
    group="writes",
    source=f"{_SOURCE} rapl_mmio_write_raw; drivers/powercap/intel_rapl_msr.c rapl_msr_write_raw",
    needs=("writable", "content"),
    drivers=MMIO_RAPL,
    threads=(
        "https://github.com/OpenGamingCollective/asusctl/issues/145",
        "https://github.com/cyring/CoreFreq/issues/421",
        "https://github.com/horshack-dpreview/setPL/issues/9",
    ),
    pitfalls=("msr-and-mmio-limits-are-apart", "mmio-has-its-own-limits"),
)
def mmio_limits_apart(tree: Provider) -> None:
    """Two registers; which of them binds is the processor's affair, and no file tells.

    A limit is set to three quarters of what it is, so that nothing is asked of a machine that somebody needs.
    """
    pairs = list(_pairs(tree))
    if not pairs:
        not_applicable("the subject does not show one package through both interfaces")
    for pair in pairs:
        for written, other in (pair, pair[::-1]):
            for path, lower in _lowered(tree, written):
                before = _figures(tree, other)
                if outcome(tree, path, b"%d" % lower) == len(b"%d" % lower):
                    expect(_figures(tree, other), before, f"limits of {other.path} after writing {lower} to {path}")


def _lowered(tree: Provider, zone: Zone) -> Iterator[tuple[str, int]]:
    """Each limit of a zone that is not 0, with three quarters of it."""
    # Without units a limit reads 0, and writing one would crash Linux 6.12.
    for n in constraints(tree, zone):
        path = constraint_path(zone, n, "power_limit_uw")
        if limit := value(tree, path):
            yield path, 3 * limit // 4


def _figures(tree: Provider, zone: Zone) -> dict[str, int | None]:
    """Everything that a write might have changed, by file."""
    names = [f"constraint_{n}_{what}" for n in constraints(tree, zone) for what in ("power_limit_uw", "time_window_us")]
    return {name: value(tree, f"{zone.path}/{name}") for name in (*names, "enabled")}
