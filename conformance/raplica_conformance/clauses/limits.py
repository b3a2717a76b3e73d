# SPDX-License-Identifier: Apache-2.0
"""What limits, windows and maxima can show, judged from the tree alone.

Mirrors rapl_unit_xlate, rapl_compute_time_window_core and get_max_power in
drivers/powercap/intel_rapl_common.c: a register field times a unit that was cut to whole uW or us.
"""

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._reading import (
    ANY_RAPL,
    MSR_RAPL,
    constraint_path,
    family,
    kind,
    rapl_zones,
    since,
    value,
)
from raplica_conformance.subject import Provider, Zone, constraints, readable


def _one_unit(tree: Provider, drivers: tuple[str, ...]) -> list[list[Zone]]:
    """Zones that share a unit register: a package with its core and uncore; dram and psys by themselves."""
    groups: list[list[Zone]] = []
    for top, below in family(tree, drivers):
        parts = [part for part in below if kind(tree, part) in ("core", "uncore")]
        groups.append([top, *parts])
        groups.extend([part] for part in below if part not in parts)
    return groups


def _atom(tree: Provider, group: list[Zone]) -> bool | None:
    """Whether the unit register of these zones is read the Silvermont way; None where nobody knows."""
    found = value(tree, f"{group[0].path}/max_energy_range_uj")
    return None if found is None or found < 0 else _driver.is_atom(_driver.unit_nj(found))


def _values(tree: Provider, group: list[Zone], what: str) -> dict[str, int]:
    """Path and value of constraint_N_WHAT of all these zones, where it reads and is not negative."""
    paths = [constraint_path(zone, n, what) for zone in group for n in constraints(tree, zone)]
    return {path: found for path in paths if (found := value(tree, path)) is not None and found >= 0}


def _named(tree: Provider, zone: Zone) -> dict[str, int]:
    """The number of each constraint by its name."""
    return {
        text.decode("ascii", "replace").strip(): n
        for n in constraints(tree, zone)
        if (text := readable(tree, constraint_path(zone, n, "name")))
    }


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
    """A step is 1/2^n W cut to whole uW (125000, 3906, 1000000 ...) or 2^n mW: in steps of 3906, 4 W is 3999744."""
    for group in _one_unit(tree, ANY_RAPL):
        found = _values(tree, group, "power_limit_uw") | _values(tree, group, "max_power_uw")
        if found:
            lawful = _driver.fits_power_unit(found.values(), atom=_atom(tree, group))
            shown = {path.rpartition("/")[2]: limit for path, limit in found.items() if limit}
            expect(shown if not lawful else {}, {}, f"limits of {group[0].path} that no power unit divides")


@clause(
    "rapl.window.whole-steps",
    level="must",
    title="Time windows are 2^Y (1 + F/4) steps of one time unit.",
    group="units",
    source="drivers/powercap/intel_rapl_common.c rapl_compute_time_window_core, rapl_compute_time_window_atom",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/powercap/raplcap/issues/13",),
    pitfalls=("time-unit-is-976-us",),
)
def window_whole_steps(tree: Provider) -> None:
    """The usual step of 1/1024 s is cut to 976 us, so 1 s reads 999424 and 28 s reads 27983872.

    Silvermont has whole seconds. The first driver (3.13) did not cut the step, so nothing is judged before Linux 4.1.
    """
    if not since(tree, "4.1"):
        return
    for group in _one_unit(tree, ANY_RAPL):
        found = _values(tree, group, "time_window_us")
        if found:
            lawful = _driver.fits_time_unit(found.values(), atom=_atom(tree, group))
            shown = {path.rpartition("/")[2]: window for path, window in found.items() if window}
            expect(shown if not lawful else {}, {}, f"windows of {group[0].path} that no time unit gives")


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
        numbers = _named(tree, zone)
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
    drivers=MSR_RAPL,
    threads=("https://github.com/intel/powertelemetry/issues/3",),
    pitfalls=("info-maximum-often-zero",),
)
def power_info_ordered(tree: Provider) -> None:
    """Firmware fills the information register. A maximum of 0 means that nobody did, and says nothing."""
    for zone in rapl_zones(tree, MSR_RAPL):
        numbers = _named(tree, zone)
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
    drivers=MSR_RAPL,
    kernels=("6.5", None),
    threads=("https://github.com/hubblo-org/scaphandre/issues/351",),
)
def units_missing(tree: Provider) -> None:
    """Since Linux 6.5 such a package is shown with units of 0, and writing a limit divides by zero.

    Before, it was not shown at all. No version that mends it was seen. A unit of 0 nJ alone can also come from
    the register: then the limits tell the difference.
    """
    for zone in rapl_zones(tree, MSR_RAPL):
        if value(tree, f"{zone.path}/max_energy_range_uj") != 0:
            continue
        found = _values(tree, [zone], "power_limit_uw") | _values(tree, [zone], "time_window_us")
        if found and not any(found.values()):
            maxima = _values(tree, [zone], "max_power_uw")
            expect({path: most for path, most in maxima.items() if most}, {}, f"maxima of {zone.path} without units")


@clause(
    "rapl.window.overflow",
    level="may",
    title="The longest windows overflow and read as 146,000 years.",
    group="known-bugs",
    source="drivers/powercap/intel_rapl_common.c rapl_compute_time_window_core (1 << 31 of an int)",
    needs=("content",),
    drivers=ANY_RAPL,
    kernels=("5.3", "7.0"),
    pitfalls=("window-31-overflows",),
)
def window_overflow(tree: Provider) -> None:
    """Exponent 31 of a window field reads 4611683922483347456 and not 2095944040448; mended in Linux 7.0."""
    for zone in rapl_zones(tree, ANY_RAPL):
        for path, found in _values(tree, [zone], "time_window_us").items():
            if found >= _driver.LONG_WINDOW_US:
                expect(found in _driver.longest_windows_us(), False, f"{path} is {found} us: exponent 31 overflows")
