# SPDX-License-Identifier: Apache-2.0
"""How counters move and registers behave, whatever the operating system above them.

Mirrors Intel SDM vol. 3B, the chapter on RAPL, and the AMD PPR. A subject whose time can be moved is asked what some
seconds of it change; one that draws no power has nothing to show.
"""

from raplica_conformance.clause import clause, expect, not_applicable
from raplica_conformance.clauses import _driver
from raplica_conformance.clauses._reading import ANY_RAPL, MSR_RAPL, family, kind, rapl_zones, value
from raplica_conformance.subject import Provider, Zone

_SECOND = 1_000_000_000
_COUNTS = 2**32
_MOST_STRETCHES = 256

_SUM_THREADS = (
    "https://github.com/mlco2/codecarbon/issues/950",
    "https://github.com/powercap/powercap/issues/3",
    "https://github.com/saintslab/carbontracker/issues/93",
)


def _unit(tree: Provider, zone: Zone) -> int:
    found = value(tree, f"{zone.path}/max_energy_range_uj")
    return (found is not None and found > 0 and _driver.unit_nj(found)) or 0


def _counts(tree: Provider, zone: Zone) -> int | None:
    """The raw counter behind energy_uj, by the zone's own range."""
    energy, unit = value(tree, f"{zone.path}/energy_uj"), _unit(tree, zone)
    return None if energy is None or energy < 0 or not unit else _driver.raw_energy(energy, unit)


def _grown(tree: Provider, nanoseconds: int) -> dict[str, tuple[Zone, int]]:
    """By path: each RAPL zone with the steps by which it grew in this time, a wrap counted as one."""
    found = rapl_zones(tree, ANY_RAPL)
    before = {zone.path: _counts(tree, zone) for zone in found}
    tree.advance(nanoseconds)
    grown = {}
    for zone in found:
        old, new = before[zone.path], _counts(tree, zone)
        if old is not None and new is not None:
            grown[zone.path] = (zone, (new - old) % _COUNTS)
    if not any(steps for _, steps in grown.values()):
        not_applicable("nothing here draws power")
    return grown


def _picojoules(tree: Provider, zone: Zone, steps: int) -> int:
    """Steps as nJ times 1000, so that zones of different units compare in integers."""
    return steps * _unit(tree, zone) * 1000


@clause(
    "hardware.counter.forward",
    level="must",
    title="Counters never run backwards, but for a wrap.",
    group="hardware",
    source="Intel SDM, MSR_PKG_ENERGY_STATUS",
    needs=("content", "steps"),
    drivers=ANY_RAPL,
    threads=("https://github.com/mlco2/codecarbon/issues/322", "https://github.com/tdurieux/EnergiBridge/issues/17"),
    pitfalls=("update-grid-of-a-millisecond",),
)
def counter_forward(tree: Provider) -> None:
    """Half a range in a second would be 33 kW at the least: what looks like more is a step back."""
    for _ in range(5):
        for path, (_zone, steps) in _grown(tree, _SECOND).items():
            expect(steps < _COUNTS // 2, True, f"{path} moved by {steps} of {_COUNTS} steps in a second")


@clause(
    "hardware.counter.moves",
    level="should",
    title="Where one package draws power, every package does.",
    group="hardware",
    source="Intel SDM, MSR_PKG_ENERGY_STATUS",
    needs=("content", "steps"),
    drivers=ANY_RAPL,
    threads=(
        "https://github.com/flightlessmango/MangoHud/issues/1382",
        "https://github.com/joular/powerjoular/issues/25",
    ),
)
def counter_moves(tree: Provider) -> None:
    """A package that is switched on draws watts, also when idle: a counter that stands still is broken."""
    for path, (zone, steps) in _grown(tree, 100 * _SECOND).items():
        if kind(tree, zone) == "package":
            expect(steps > 0, True, f"{path} counts in 100 s while the machine draws power")


@clause(
    "hardware.counter.still",
    level="must",
    title="Reading a counter does not move it.",
    group="hardware",
    source="Intel SDM, MSR_PKG_ENERGY_STATUS (updated about every 1 ms)",
    needs=("content", "steps"),
    drivers=ANY_RAPL,
    threads=("https://github.com/FeralInteractive/gamemode/issues/179",),
    pitfalls=("update-grid-of-a-millisecond",),
)
def counter_still(tree: Provider) -> None:
    """While no time passes, every read gives the same: energy comes with time and not with reads."""
    for zone in rapl_zones(tree, ANY_RAPL):
        path = f"{zone.path}/energy_uj"
        first = value(tree, path)
        if first is not None:
            expect([value(tree, path) for _ in range(3)], [first] * 3, f"{path} read again at once")


@clause(
    "hardware.counter.grid",
    level="should",
    title="Counters are updated about once a millisecond, not continuously.",
    group="hardware",
    source="Intel SDM, MSR_PKG_ENERGY_STATUS (updated about every 1 ms)",
    needs=("content", "steps"),
    drivers=ANY_RAPL,
    threads=("https://github.com/HongyuHe/energat/issues/4", "https://github.com/FeralInteractive/gamemode/issues/179"),
    pitfalls=("update-grid-of-a-millisecond",),
)
def counter_grid(tree: Provider) -> None:
    """In 100 steps of 0.1 ms a counter changes about ten times: two reads that follow each other are often equal."""
    _grown(tree, _SECOND)
    paths = [f"{zone.path}/energy_uj" for zone in rapl_zones(tree, ANY_RAPL)]
    changes = dict.fromkeys(paths, 0)
    last = {path: value(tree, path) for path in paths}
    for _ in range(100):
        tree.advance(_SECOND // 10_000)
        for path in paths:
            now = value(tree, path)
            changes[path] += now != last[path]
            last[path] = now
    for path, count in changes.items():
        expect(count <= 20, True, f"{path} changed {count} times in 10 ms")


@clause(
    "hardware.package.holds-parts",
    level="must",
    title="A package's energy is not less than that of its core and uncore together.",
    group="hardware",
    source="Intel SDM, RAPL domains (the package includes PP0 and PP1, not DRAM)",
    needs=("content", "steps"),
    drivers=MSR_RAPL,
    threads=_SUM_THREADS,
    pitfalls=("what-includes-what",),
)
def package_holds_parts(tree: Provider) -> None:
    """Dram is no part of it: adding dram to the package is right, adding core is counting twice."""
    grown = _grown(tree, 100 * _SECOND)
    for top, below in family(tree, MSR_RAPL):
        parts = [part for part in below if kind(tree, part) in ("core", "uncore") and part.path in grown]
        if kind(tree, top) == "package" and top.path in grown and parts:
            whole = _picojoules(tree, *grown[top.path])
            # One step of rounding for each counter.
            slack = sum(_picojoules(tree, zone, 1) for zone in [top, *parts])
            together = sum(_picojoules(tree, *grown[part.path]) for part in parts)
            expect(together <= whole + slack, True, f"{top.path}: {together} pJ in its parts, {whole} pJ in all")


@clause(
    "hardware.psys.holds-packages",
    level="should",
    title="psys counts not less than all packages together.",
    group="hardware",
    source="Intel SDM, MSR_PLATFORM_ENERGY_STATUS",
    needs=("content", "steps"),
    drivers=MSR_RAPL,
    threads=("https://github.com/mlco2/codecarbon/issues/950", "https://github.com/ColinIanKing/powerstat/issues/4"),
    pitfalls=("what-includes-what",),
)
def psys_holds_packages(tree: Provider) -> None:
    """It is the whole platform. A reader takes psys or the sum of packages and dram, never both."""
    grown = _grown(tree, 100 * _SECOND)
    zones = [zone for zone, _ in grown.values()]
    platform = [zone for zone in zones if kind(tree, zone) == "psys"]
    # intel-rapl-mmio shows a package that is counted already.
    packages = [zone for zone in zones if kind(tree, zone) == "package" and zone.control_type in MSR_RAPL]
    if len(platform) == 1 and grown[platform[0].path][1]:
        whole = _picojoules(tree, *grown[platform[0].path])
        slack = sum(_picojoules(tree, zone, 1) for zone in [*platform, *packages])
        together = sum(_picojoules(tree, *grown[zone.path]) for zone in packages)
        expect(together <= whole + slack, True, f"{together} pJ in the packages, {whole} pJ in {platform[0].path}")


@clause(
    "hardware.counter.wraps",
    level="must",
    title="A counter starts again at 0 after 2^32 steps.",
    group="hardware",
    source="Intel SDM, MSR_PKG_ENERGY_STATUS bits 31:0",
    needs=("content", "steps"),
    drivers=ANY_RAPL,
    threads=(
        "https://github.com/hubblo-org/scaphandre/issues/280",
        "https://github.com/ml-energy/zeus/issues/91",
        "https://github.com/sustainable-computing-io/kepler/issues/575",
        "https://github.com/RRZE-HPC/likwid/issues/646",
    ),
    pitfalls=("wrap-is-one-step-more-than-the-range", "amd-64-bit-counters-wrap-at-32"),
)
def counter_wraps(tree: Provider) -> None:
    """The machine runs, a stretch at a time, until a package has counted more than the counter holds.

    In no stretch may it move by far more than it should: a counter that wraps too early or not at all does. How long a
    stretch lasts follows from what was counted in the one before, since loads come and go and limits begin to bind.
    64-bit counters of AMD wrap here too, because the driver cuts them.
    """
    grown = _grown(tree, _SECOND)
    # What runs backwards is another clause's matter.
    packages = [(zone, steps) for zone, steps in grown.values() if kind(tree, zone) == "package"]
    packages = [(zone, steps) for zone, steps in packages if 0 < steps < _COUNTS // 2]
    wrapped = [_runs_through_a_wrap(tree, zone, steps) for zone, steps in packages]
    if True not in wrapped:
        not_applicable("no package here draws enough power to fill a counter")


def _runs_through_a_wrap(tree: Provider, zone: Zone, steps: int) -> bool:
    """Look at a zone until it has counted 2^32 steps, of which it counts so many in a second; False if it stops before.

    Stretches get shorter before the wrap, so that one which comes a little early shows. Of what a stretch should bring
    64 times as much would still be taken for a load that has grown.
    """
    counted, nanoseconds = 0, _SECOND
    before = _counts(tree, zone)
    for _ in range(_MOST_STRETCHES):
        if before is None:
            return False
        wanted = min(_COUNTS // 16, max((_COUNTS - before) // 2, _COUNTS // 4096))
        nanoseconds = min(8 * nanoseconds, nanoseconds * wanted // steps + 1)
        tree.advance(nanoseconds)
        after = _counts(tree, zone)
        if after is None:
            return False
        expect(after < _COUNTS, True, f"{zone.path} shows {after} steps, which a 32-bit counter holds")
        steps = (after - before) % _COUNTS
        likely = steps < min(_COUNTS // 2, 64 * wanted)
        expect(likely, True, f"{zone.path} moved by {steps} of {_COUNTS} steps, where {wanted} were to be expected")
        counted += steps
        if counted > _COUNTS:
            return True
        if not steps:
            expect(after < _COUNTS - 1, True, f"{zone.path} goes on from the end of its range")
            return False
        before = after
    return False
