# SPDX-License-Identifier: Apache-2.0
"""What limits and maxima can show, judged from the tree alone.

Mirrors rapl_unit_xlate and get_max_power in drivers/powercap/intel_rapl_common.c: a register field times a unit that
was cut to whole uW.
"""

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._figures import PSYS_RANGE_UJ, figures, is_atom, made_from_msrs, one_unit
from raplica_conformance.clauses._reading import (
    ANY_RAPL,
    constraint_path,
    kind,
    limits_by_name,
    rapl_zones,
    since,
    value,
)
from raplica_conformance.subject import Provider, Zone


@clause(
    "rapl.limit.whole-steps",
    level="must",
    title="Power limits and maxima are whole steps of one power unit.",
    group="units",
    source="drivers/powercap/intel_rapl_common.c rapl_unit_xlate",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=(
        "https://github.com/amd/amd_energy/issues/9",
        "https://github.com/powercap/raplcap/issues/13",
    ),
    pitfalls=("power-unit-cut-to-uw", "silvermont-units"),
)
def limit_whole_steps(tree: Provider) -> None:
    """A step is 1/2^n W cut to whole uW (125000, 3906, 1000000 ...) or 2^n mW: in steps of 3906, 4 W is 3999744.

    The first driver (3.13) did not cut the step, so nothing is judged before Linux 4.1.
    """
    if not since(tree, "4.1"):
        return
    for group in one_unit(tree, ANY_RAPL):
        found = figures(tree, group, "power_limit_uw") | figures(tree, group, "max_power_uw")
        if found:
            lawful = _driver.fits_power_unit(found.values(), atom=is_atom(tree, group))
            shown = {path.rpartition("/")[2]: limit for path, limit in found.items() if limit}
            expect(shown if not lawful else {}, {}, f"limits of {group[0].path} that no power unit divides")


@clause(
    "rapl.limit.fits-field",
    level="must",
    title="A limit is not larger than its field: 15 bits, 13 of peak_power, 17 of Sapphire Rapids' psys, 18 of TPMI.",
    group="ranges",
    source="drivers/powercap/intel_rapl_common.c rpi_msr, rpi_tpmi",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/powercap/raplcap/issues/6",),
    pitfalls=("large-limit-wraps", "tpmi-layout"),
)
def limit_fits_field(tree: Provider) -> None:
    """In steps of 125 mW that is 4095.875 W, 1023.875 W of peak_power; a maximum has 15 bits, the doubled one 16.

    18 bits are allowed where nothing says that the zones of intel-rapl are made from MSRs. As with whole steps, nothing
    is judged before Linux 4.1.
    """
    if not since(tree, "4.1"):
        return
    for group in one_unit(tree, ANY_RAPL):
        found = _bits_of(tree, group, wide=group[0].control_type == "intel-rapl" and not made_from_msrs(tree))
        atom = is_atom(tree, group)
        # What no unit divides is judged by the clause about whole steps.
        if found and _driver.fits_power_unit((limit for limit, _ in found.values()), atom=atom):
            shown = {path.rpartition("/")[2]: limit for path, (limit, _) in found.items() if limit}
            lawful = _driver.fits_fields(found.values(), atom=atom)
            expect(shown if not lawful else {}, {}, f"limits of {group[0].path} that are too large for their fields")


def _bits_of(tree: Provider, group: list[Zone], *, wide: bool) -> dict[str, tuple[int, int]]:
    """By path each limit and maximum of the group, with the bits that its field has; `wide` for TPMI's."""
    found: dict[str, tuple[int, int]] = {}
    for zone in group:
        psys = kind(tree, zone) == "psys" and value(tree, f"{zone.path}/max_energy_range_uj") == PSYS_RANGE_UJ
        for name, n in limits_by_name(tree, zone).items():
            bits = 18 if wide else 17 if psys else 13 if name == "peak_power" else 15
            most = (18 if wide else 15) + (name == "peak_power")
            for what, width in (("power_limit_uw", bits), ("max_power_uw", most)):
                path = constraint_path(zone, n, what)
                limit = value(tree, path)
                if limit is not None and limit >= 0:
                    found[path] = (limit, width)
    return found


@clause(
    "rapl.max-power.peak-doubles",
    level="must",
    title="`max_power_uw` of peak_power is twice that of short_term.",
    group="agreement",
    source="drivers/powercap/intel_rapl_common.c get_max_power",
    needs=("content",),
    drivers=ANY_RAPL,
    kernels=("5.9", None),
    threads=("https://github.com/powercap/raplcap/issues/14",),
    pitfalls=("info-maximum-often-zero",),
)
def max_power_peak_doubles(tree: Provider) -> None:
    """Both come from the maximum power of the information register, which is 0 on most clients: then both are 0."""
    for zone in rapl_zones(tree, ANY_RAPL):
        numbers = limits_by_name(tree, zone)
        if set(numbers) == {"long_term", "short_term", "peak_power"}:
            short = value(tree, constraint_path(zone, numbers["short_term"], "max_power_uw"))
            peak = value(tree, constraint_path(zone, numbers["peak_power"], "max_power_uw"))
            if short is not None and peak is not None:
                expect(peak, 2 * short, f"max_power_uw of peak_power in {zone.path}")


@clause(
    "firmware.power-info.ordered",
    level="should",
    title="The maximum power of a package is not below its thermal design power.",
    group="firmware",
    source="Intel SDM, MSR_PKG_POWER_INFO",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/intel/powertelemetry/issues/3",),
    pitfalls=("info-maximum-often-zero",),
)
def power_info_ordered(tree: Provider) -> None:
    """Firmware fills the information register. A maximum of 0 means that nobody did, and says nothing."""
    for zone in rapl_zones(tree, ANY_RAPL):
        numbers = limits_by_name(tree, zone)
        if kind(tree, zone) == "package" and {"long_term", "short_term"} <= set(numbers):
            design = value(tree, constraint_path(zone, numbers["long_term"], "max_power_uw"))
            most = value(tree, constraint_path(zone, numbers["short_term"], "max_power_uw"))
            if design and most:
                expect(max(design, most), most, f"maximum power of {zone.path} against its design power")


@clause(
    "rapl.units.missing",
    level="may",
    title="Where the unit register cannot be read, the whole zone reads 0.",
    group="known-bugs",
    source="drivers/powercap/intel_rapl_common.c rapl_package_register_powercap (the error is logged, no more)",
    needs=("content",),
    drivers=ANY_RAPL,
    kernels=("6.5", None),
    threads=("https://github.com/hubblo-org/scaphandre/issues/351",),
)
def units_missing(tree: Provider) -> None:
    """Since Linux 6.5 such a package is shown with units of 0, and writing a limit divides by zero.

    Before, it was not shown at all. No version that mends it was seen. A unit of 0 nJ alone can also come from
    the register: then the limits tell the difference.
    """
    for zone in rapl_zones(tree, ANY_RAPL):
        if value(tree, f"{zone.path}/max_energy_range_uj") != 0:
            continue
        found = figures(tree, [zone], "power_limit_uw") | figures(tree, [zone], "time_window_us")
        if found and not any(found.values()):
            maxima = figures(tree, [zone], "max_power_uw")
            expect({path: most for path, most in maxima.items() if most}, {}, f"maxima of {zone.path} without units")
