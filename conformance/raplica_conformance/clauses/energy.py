# SPDX-License-Identifier: Apache-2.0
"""What an energy counter can show, judged from the tree alone.

Mirrors rapl_unit_xlate and get_max_energy_counter in drivers/powercap/intel_rapl_common.c: a raw 32-bit counter times
a whole number of nJ, truncated to uJ.
"""

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._reading import ANY_RAPL, MSR_RAPL, family, kind, rapl_zones, since, value
from raplica_conformance.subject import Provider, Zone

_WRAP_THREADS = (
    "https://github.com/hubblo-org/scaphandre/issues/280",
    "https://github.com/mlco2/codecarbon/issues/322",
    "https://github.com/joular/powerjoular/issues/45",
)


def _unit(tree: Provider, zone: Zone) -> int | None:
    """NJ a step by the zone's range, or None where the range is no counter's."""
    found = value(tree, f"{zone.path}/max_energy_range_uj")
    return None if found is None or found < 0 else _driver.unit_nj(found)


@clause(
    "rapl.energy.within-range",
    level="must",
    title="`energy_uj` is never above `max_energy_range_uj`.",
    group="ranges",
    source="drivers/powercap/intel_rapl_common.c get_max_energy_counter",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=_WRAP_THREADS,
    pitfalls=("wrap-is-one-step-more-than-the-range",),
)
def energy_within_range(tree: Provider) -> None:
    """The range is the counter's largest value; after it comes 0. Readers add it to make up for a wrap."""
    for zone in rapl_zones(tree, ANY_RAPL):
        energy = value(tree, f"{zone.path}/energy_uj")
        most = value(tree, f"{zone.path}/max_energy_range_uj")
        if energy is not None and most is not None:
            expect(min(energy, most), energy, f"{zone.path}/energy_uj within its range {most}")


@clause(
    "rapl.range.whole-counter",
    level="must",
    title="The range is 2^32 - 1 steps of a whole number of nJ.",
    group="ranges",
    source="drivers/powercap/intel_rapl_common.c get_max_energy_counter",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/RRZE-HPC/likwid/issues/646", "https://github.com/hubblo-org/scaphandre/issues/280"),
    pitfalls=("range-is-2-32-minus-1-truncated-steps", "counter-is-32-bits"),
)
def range_whole_counter(tree: Provider) -> None:
    """262143328850 with steps of 61035 nJ, not 262144000000.

    The step is cut to whole nJ, and the range is the largest value and not the count of values. Before Linux 5.3
    also the uncut product.
    """
    early = tree.kernel is None or not since(tree, "5.3")
    for zone in rapl_zones(tree, ANY_RAPL):
        found = value(tree, f"{zone.path}/max_energy_range_uj")
        if found is not None and found >= 0:
            lawful = _driver.unit_nj(found) is not None or (early and found in _driver.early_ranges_uj())
            near = _driver.range_uj(round(found * 1000 / _driver.COUNTER_MAX))
            expect(found, found if lawful else near, f"{zone.path}/max_energy_range_uj is 2^32 - 1 steps of whole nJ")


@clause(
    "rapl.energy.whole-steps",
    level="must",
    title="`energy_uj` is a whole number of counter steps.",
    group="ranges",
    source="drivers/powercap/intel_rapl_common.c rapl_unit_xlate",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/intel/powertelemetry/issues/3",),
    pitfalls=("energy-is-raw-times-truncated-unit",),
)
def energy_whole_steps(tree: Provider) -> None:
    """With steps of 61035 nJ it is 0, 61, 122, 183: most numbers never appear, and the last digits are no precision."""
    for zone in rapl_zones(tree, ANY_RAPL):
        energy, unit = value(tree, f"{zone.path}/energy_uj"), _unit(tree, zone)
        if energy is not None and energy >= 0 and unit:
            raw = energy * 1000 // unit
            lawful = _driver.raw_energy(energy, unit) is not None
            nearest = energy if lawful else _driver.energy_uj(raw, unit)
            expect(energy, nearest, f"{zone.path}/energy_uj is a whole number of steps of {unit} nJ")


@clause(
    "rapl.range.zero-unit",
    level="must",
    title="A zone whose range is 0 counts nothing.",
    group="ranges",
    source="drivers/powercap/intel_rapl_common.c rapl_unit_xlate",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/mlco2/codecarbon/pull/1321",),
)
def range_zero_unit(tree: Provider) -> None:
    """Range and energy are multiples of the same unit: where that is 0 nJ, both read 0."""
    for zone in rapl_zones(tree, ANY_RAPL):
        energy = value(tree, f"{zone.path}/energy_uj")
        if value(tree, f"{zone.path}/max_energy_range_uj") == 0 and energy is not None:
            expect(energy, 0, f"{zone.path}/energy_uj where the unit is 0 nJ")


@clause(
    "rapl.range.core-as-package",
    level="must",
    title="core and uncore count in the unit of their package.",
    group="units",
    source="drivers/powercap/intel_rapl_common.c rapl_domain_get_unit",
    needs=("content",),
    drivers=MSR_RAPL,
    threads=("https://github.com/joular/powerjoular/issues/87",),
)
def range_core_as_package(tree: Provider) -> None:
    """One unit register serves a package; only dram and psys have units of their own on some models."""
    for top, below in family(tree, MSR_RAPL):
        wanted = value(tree, f"{top.path}/max_energy_range_uj")
        for part in below:
            found = value(tree, f"{part.path}/max_energy_range_uj")
            # Where one of them is no range of a counter, the clause about ranges has the word.
            lawful = _unit(tree, part) is not None and _unit(tree, top) is not None
            if kind(tree, part) in ("core", "uncore") and lawful:
                expect(found, wanted, f"range of {part.path} as of {top.path}")


@clause(
    "rapl.range.known-unit",
    level="should",
    title="A counter's step is one that RAPL hardware has.",
    group="units",
    source="Intel SDM, MSR_RAPL_POWER_UNIT; drivers/powercap/intel_rapl_common.c rapl_defaults",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=(
        "https://github.com/RRZE-HPC/likwid/issues/39",
        "https://github.com/TACC/HPCPerfStats/issues/9",
        "https://github.com/RRZE-HPC/likwid/issues/642",
    ),
    pitfalls=("dram-15-3-uj-by-model", "silvermont-units"),
)
def range_known_unit(tree: Provider) -> None:
    """1/2^n J cut to nJ, or 2^n uJ on Silvermont.

    15.3 uJ for dram of Haswell-EP and its successors, 1 J for psys of Sapphire Rapids.
    """
    core = {1_000_000_000 >> n for n in range(32)}
    atom = {1_000 << n for n in range(32)}
    for zone in rapl_zones(tree, ANY_RAPL):
        unit = _unit(tree, zone)
        if unit is not None:
            known = core | atom | ({_driver.DRAM_NJ} if kind(tree, zone) in ("dram", "") else set())
            expect(unit in known or unit, True, f"nJ a step of {zone.path}")
