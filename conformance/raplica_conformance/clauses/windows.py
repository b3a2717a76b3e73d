# SPDX-License-Identifier: Apache-2.0
"""What time windows can show, judged from the tree alone.

Mirrors rapl_compute_time_window_core and rapl_compute_time_window_atom in drivers/powercap/intel_rapl_common.c: a field
of seven bits times a unit that was cut to whole us.
"""

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._figures import figures, is_atom, one_unit
from raplica_conformance.clauses._reading import ANY_RAPL, constraint_path, limits_by_name, rapl_zones, since, value
from raplica_conformance.subject import Provider


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
    for group in one_unit(tree, ANY_RAPL):
        found = figures(tree, group, "time_window_us")
        if found:
            lawful = _driver.fits_time_unit(found.values(), atom=is_atom(tree, group))
            shown = {path.rpartition("/")[2]: window for path, window in found.items() if window}
            expect(shown if not lawful else {}, {}, f"windows of {group[0].path} that no time unit gives")


@clause(
    "rapl.window.not-zero",
    level="must",
    title="No window reads 0: the shortest is one time unit.",
    group="ranges",
    source="drivers/powercap/intel_rapl_common.c rapl_compute_time_window_core, rapl_compute_time_window_atom",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/powercap/raplcap/issues/13",),
    pitfalls=("time-unit-is-976-us",),
)
def window_not_zero(tree: Provider) -> None:
    """A field of 0 is 2^0 steps, so an idle limit reads 976; peak_power has no window and is another clause's matter.

    Where the range is 0 as well, the kernel found no units, and everything reads 0.
    """
    for zone in rapl_zones(tree, ANY_RAPL):
        if value(tree, f"{zone.path}/max_energy_range_uj") == 0:
            continue
        for name, n in limits_by_name(tree, zone).items():
            path = constraint_path(zone, n, "time_window_us")
            window = value(tree, path)
            if window is not None and name != "peak_power":
                expect(window == 0, False, f"{path} ({name}) reads 0")


@clause(
    "rapl.window.overflow",
    level="may",
    title="The longest windows overflow and read as 146,000 years.",
    group="known-bugs",
    source="drivers/powercap/intel_rapl_common.c rapl_compute_time_window_core (1 << 31 of an int)",
    needs=("content",),
    drivers=ANY_RAPL,
    kernels=("5.3", "7.1"),
    pitfalls=("window-31-overflows",),
)
def window_overflow(tree: Provider) -> None:
    """Exponent 31 of a window field reads 4611683922483347456 and not 2095944040448; mended in Linux 7.1."""
    for zone in rapl_zones(tree, ANY_RAPL):
        for path, found in figures(tree, [zone], "time_window_us").items():
            if found >= _driver.LONG_WINDOW_US:
                expect(found in _driver.longest_windows_us(), False, f"{path} is {found} us: exponent 31 overflows")
