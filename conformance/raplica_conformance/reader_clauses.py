# SPDX-License-Identifier: Apache-2.0
"""Clauses about readers: what a program that reports energy owes to the tree that it reads.

What there is to find comes from the tree itself, and what was spent from the machine, which counts exactly. A
powercap tree tells of joules in whole steps of a counter, cut to whole nanojoules a step: a reader cannot know
better, so the truth is put into these steps before the two are compared.
"""

import errno
from collections import Counter
from collections.abc import Iterable, Iterator
from fractions import Fraction

from raplica_conformance.clause import clause, expect, not_applicable
from raplica_conformance.subject import Reader, Zone, exists, number, readable, zones

__all__: list[str] = []

_SECOND_NS = 1_000_000_000

#: Largest raw value of a counter; `max_energy_range_uj` is what it reads as (get_max_energy_counter).
_RAW_MAX = 2**32 - 1

#: Seconds before a wrap: far enough to be before it for sure, near enough to wait for it.
_FEW, _MANY = 8, 1 << 60


@clause(
    "reader.list.complete",
    kind="reader",
    level="must",
    title="A reader finds every zone of the tree, at any depth, and nothing else.",
    group="reader",
    source="drivers/powercap/powercap_sys.c powercap_register_zone",
    threads=(
        "https://github.com/joular/powerjoular/issues/81",
        "https://github.com/hubblo-org/scaphandre/issues/131",
        "https://github.com/intel/thermal_daemon/issues/401",
    ),
    pitfalls=("flat-class-of-links", "hexadecimal-zone-ids"),
)
def list_complete(reader: Reader) -> None:
    """Zones are directories at any depth; `power`, `device`, `subsystem` and `uevent` are none."""
    expect(sorted(reader.listed()), sorted(zone.id for zone in zones(reader.tree)), "ids of the zones found")


@clause(
    "reader.list.names",
    kind="reader",
    level="must",
    title="A reader calls a zone what its file `name` and those above it say, whatever its number is.",
    group="reader",
    source="drivers/powercap/powercap_sys.c name_show",
    threads=(
        "https://github.com/hubblo-org/scaphandre/issues/108",
        "https://github.com/powerapi-ng/pyJoules/issues/14",
        "https://github.com/intel/powertelemetry/issues/3",
    ),
    pitfalls=("psys-shifts-package-ids", "dram-is-child-zero-on-servers", "name-newline-read-only"),
)
def list_names(reader: Reader) -> None:
    """`intel-rapl:1` may be package-1 or psys, and `intel-rapl:0:0` is core here and dram there."""
    listed = reader.listed()
    named = {zone.id: path for zone, path in _named(reader)}
    shared = {path for path, count in Counter(named.values()).items() if count > 1}
    for zone, path in named.items():
        if zone in listed and path not in shared:
            expect(listed[zone], path, f"what {zone} is called")
    # Where the kernel gives one name twice (psys-1 of two dies), the reader has to tell the two apart.
    twins = [listed[zone] for zone, path in named.items() if zone in listed and path in shared]
    if twins:
        expect(len(set(twins)), len(twins), f"different names for the zones that share one, of {sorted(twins)}")


@clause(
    "reader.energy.standstill",
    kind="reader",
    level="must",
    title="Between two samples of one moment a reader reports no energy.",
    group="reader",
    source="drivers/powercap/intel_rapl_common.c get_energy_counter",
    threads=(
        "https://github.com/FeralInteractive/gamemode/issues/179",
        "https://github.com/flightlessmango/MangoHud/issues/507",
    ),
)
def energy_standstill(reader: Reader) -> None:
    """A counter that did not move is 0 J, and never the counter itself."""
    reader.sample()
    reader.sample()
    spent_uj = reader.spent_uj()
    for zone in _metered(reader):
        if zone.id in spent_uj:
            expect(spent_uj[zone.id], 0, f"uJ of {zone.id} in no time")


@clause(
    "reader.energy.load",
    kind="reader",
    level="must",
    title="Across some seconds of load a reader reports the joules that were spent, to one step of the counter.",
    group="reader",
    source="drivers/powercap/intel_rapl_common.c rapl_unit_xlate",
    threads=(
        "https://github.com/RRZE-HPC/likwid/issues/642",
        "https://github.com/mlco2/codecarbon/issues/117",
    ),
    pitfalls=("energy-is-raw-times-truncated-unit", "dram-15-3-uj-by-model"),
)
def energy_load(reader: Reader) -> None:
    """Ten seconds: enough joules to show a wrong unit, and no counter of a real machine wraps twice in them."""
    before = _truths(reader)
    reader.sample()
    reader.tree.advance(10 * _SECOND_NS)
    reader.sample()
    _compare(reader, before, "in 10 s", must_move=True)


@clause(
    "reader.energy.wrap",
    kind="reader",
    level="must",
    title="A counter that wraps between two samples costs a reader no joule and gives it none.",
    group="reader",
    source="drivers/powercap/intel_rapl_common.c get_max_energy_counter",
    threads=(
        "https://github.com/mlco2/codecarbon/issues/322",
        "https://github.com/joular/powerjoular/issues/87",
        "https://github.com/hubblo-org/scaphandre/issues/280",
    ),
    pitfalls=("wrap-is-one-step-more-than-the-range", "counter-is-32-bits"),
)
def energy_wrap(reader: Reader) -> None:
    """The period is one step more than `max_energy_range_uj`, and each zone wraps at a time of its own."""
    for zone in _metered(reader):
        if not _come_near_wrap(reader, zone):
            continue
        before = _truths(reader)
        reader.restart()
        reader.sample()
        energy_uj = number(reader.tree, f"{zone.path}/energy_uj")
        while number(reader.tree, f"{zone.path}/energy_uj") >= energy_uj:
            reader.tree.advance(_SECOND_NS)
        reader.sample()
        _compare(reader, before, "across its wrap", (zone,))


@clause(
    "reader.energy.series",
    kind="reader",
    level="must",
    title="Many samples add up to what two samples far apart would say, however often counters wrap in between.",
    group="reader",
    source="drivers/powercap/intel_rapl_common.c get_energy_counter",
    threads=(
        "https://github.com/sustainable-computing-io/kepler/issues/575",
        "https://github.com/tdurieux/EnergiBridge/issues/17",
    ),
    pitfalls=("wrap-is-one-step-more-than-the-range",),
)
def energy_series(reader: Reader) -> None:
    """An hour in samples of half a minute, which no counter of the built-in machines wraps twice in."""
    before = _truths(reader)
    reader.sample()
    for _ in range(120):
        reader.tree.advance(30 * _SECOND_NS)
        reader.sample()
    _compare(reader, before, "in an hour", must_move=True)


@clause(
    "reader.energy.unreadable",
    kind="reader",
    level="must",
    title="A counter that cannot be read is unknown, and neither 0 nor an end to the others.",
    group="reader",
    source="drivers/powercap/powercap_sys.c energy_uj_show",
    threads=(
        "https://github.com/prometheus/node_exporter/issues/2269",
        "https://github.com/mlco2/codecarbon/issues/950",
        "https://github.com/flightlessmango/MangoHud/issues/1382",
    ),
    pitfalls=("one-errno-per-attribute",),
)
def energy_unreadable(reader: Reader) -> None:
    """A failing register read reaches user space as EINVAL, in one zone at a time."""
    broken, *others = _metered(reader) or not_applicable("there is no counter to break")
    before = _truths(reader)
    reader.sample()
    reader.break_reads(f"{broken.path}/energy_uj", errno.EINVAL)
    reader.tree.advance(_SECOND_NS)
    reader.sample()
    expect(reader.spent_uj().get(broken.id), None, f"uJ of {broken.id}, whose counter gives EINVAL")
    _compare(reader, before, f"while {broken.id} cannot be read", others)


def _metered(reader: Reader) -> list[Zone]:
    """The zones that count energy; dtpm's only know the power of the moment."""
    return [zone for zone in zones(reader.tree) if exists(reader.tree, f"{zone.path}/energy_uj")]


def _named(reader: Reader) -> Iterator[tuple[Zone, str]]:
    """Each zone with its path: the names from the top down, other control types than intel-rapl in front."""
    paths: dict[str, str] = {}
    for zone in zones(reader.tree):
        name = (readable(reader.tree, f"{zone.path}/name") or b"?").decode().rstrip("\n")
        above = paths[zone.parent] if zone.parent else "" if zone.control_type == "intel-rapl" else zone.control_type
        paths[zone.id] = f"{above}/{name}" if above else name
        yield zone, paths[zone.id]


def _truths(reader: Reader) -> dict[str, int]:
    """What each zone has spent up to now, by id; without the zones of which the machine knows nothing."""
    truths = {zone.id: reader.truth_uj(path) for zone, path in _named(reader)}
    return {zone: truth_uj for zone, truth_uj in truths.items() if truth_uj is not None}


def _compare(
    reader: Reader, before: dict[str, int], when: str, only: Iterable[Zone] | None = None, *, must_move: bool = False
) -> None:
    """Hold what the reader reports against what was spent since `before`, to one step of each counter."""
    after = _truths(reader)
    if must_move and after == before:
        not_applicable("the machine stands still")
    spent_uj = reader.spent_uj()
    for zone in zones(reader.tree) if only is None else only:
        if zone.id not in before:
            continue
        unit_nj = _unit_nj(reader, zone)
        if unit_nj == 0:
            # Without a unit register the kernel shows 0 for ever: there is nothing that a reader could know.
            continue
        truth_uj = after[zone.id] - before[zone.id]
        shown_uj = truth_uj * unit_nj / _exact_unit_nj(unit_nj)
        reported_uj = spent_uj.get(zone.id)
        # Both samples cut to whole steps and both truths to whole uJ.
        right = reported_uj is not None and abs(reported_uj - shown_uj) <= Fraction(unit_nj, 1000) + 2
        fair = f"{truth_uj} uJ were spent, which the counter shows as {round(shown_uj)}"
        expect(reported_uj if not right else round(shown_uj), round(shown_uj), f"uJ of {zone.id} {when} ({fair})")


def _unit_nj(reader: Reader, zone: Zone) -> int:
    """What one raw step is worth in powercap, in nJ: the range is that of the largest raw value, cut to uJ."""
    return -(-number(reader.tree, f"{zone.path}/max_energy_range_uj") * 1000 // _RAW_MAX)


def _exact_unit_nj(unit_nj: int) -> Fraction:
    """What silicon counts in where powercap counts in `unit_nj`: the driver cuts 1/2^n J to whole nJ."""
    for exponent in range(30):
        if _SECOND_NS >> exponent == unit_nj:
            return Fraction(_SECOND_NS, 1 << exponent)
    return Fraction(unit_nj)


def _come_near_wrap(reader: Reader, zone: Zone) -> bool:
    """Let time pass until the zone's counter is seconds before its wrap; False for one that stands still."""
    if not exists(reader.tree, f"{zone.path}/max_energy_range_uj"):
        return False
    largest_uj = number(reader.tree, f"{zone.path}/max_energy_range_uj")
    left_s = _MANY
    while left_s > _FEW:
        before_uj = number(reader.tree, f"{zone.path}/energy_uj")
        reader.tree.advance(_SECOND_NS)
        after_uj = number(reader.tree, f"{zone.path}/energy_uj")
        if after_uj == before_uj:
            return False
        left_s = (largest_uj - after_uj) // abs(after_uj - before_uj)
        # Half of it only: a limit that begins or ceases to bind on the way changes the power.
        reader.tree.advance(left_s // 2 * _SECOND_NS)
    return True
