# SPDX-License-Identifier: Apache-2.0
"""Which files there are: what every zone has, what comes in pairs, and what a RAPL zone never has.

Mirrors drivers/powercap/powercap_sys.c (create_power_zone_common_attributes, create_constraint_attributes,
powercap_register_zone) and the ops tables of drivers/powercap/intel_rapl_common.c.
"""

import re

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses._reading import (
    ANY_RAPL,
    NUMBERS,
    attributes,
    constraint_path,
    control_type_paths,
    devices,
    entries,
    rapl_zones,
    zones_of,
)
from raplica_conformance.subject import Provider, constraints, exists

_ZONE_FILES = re.compile(rf"uevent|enabled|name|{NUMBERS.pattern}|constraint_[0-9]+_name")
_RAPL_NEVER = ("power_uw", "max_power_range_uw")
_CONSTRAINT_NEVER = ("min_power_uw", "max_time_window_us", "min_time_window_us")


@clause(
    "powercap.device.enabled",
    level="must",
    title="Every control type and zone has an `enabled` file.",
    group="presence",
    source="drivers/powercap/powercap_sys.c powercap_attrs",
    needs=("content",),
    threads=("https://github.com/powercap/raplcap/issues/1",),
)
def device_enabled(tree: Provider) -> None:
    """It is an attribute of the class, so also devices that cannot be switched have it."""
    for path in devices(tree):
        expect(exists(tree, f"{path}/enabled"), True, f"{path}/enabled exists")


@clause(
    "powercap.zone.meter",
    level="must",
    title="Every zone has a meter: `energy_uj` or `power_uw`.",
    group="presence",
    source="drivers/powercap/powercap_sys.c powercap_register_zone",
    needs=("content",),
    threads=("https://github.com/hubblo-org/scaphandre/issues/131",),
)
def zone_meter(tree: Provider) -> None:
    """The framework refuses a zone that has neither; one of the two is enough (dtpm has no energy)."""
    for zone in zones_of(tree):
        found = [name for name in ("energy_uj", "power_uw") if exists(tree, f"{zone.path}/{name}")]
        expect(found != [], True, f"{zone.path} has energy_uj or power_uw")


@clause(
    "powercap.zone.files",
    level="should",
    title="A zone has no attributes but those of the powercap framework.",
    group="presence",
    source="drivers/powercap/powercap_sys.c (POWERCAP_ZONE_MAX_ATTRS, POWERCAP_CONSTRAINTS_ATTRS)",
    needs=("content",),
    threads=("https://github.com/intel/thermal_daemon/issues/41",),
)
def zone_files(tree: Provider) -> None:
    """A name that is off by a letter is a file that no reader opens."""
    for zone in zones_of(tree):
        names = [path.rpartition("/")[2] for path in attributes(tree, zone.path)]
        expect([name for name in names if not _ZONE_FILES.fullmatch(name)], [], f"unknown files in {zone.path}")


@clause(
    "powercap.control-type.files",
    level="should",
    title="A control type has no files but `enabled` and `uevent`.",
    group="presence",
    source="drivers/powercap/powercap_sys.c powercap_attrs",
    needs=("content",),
    pitfalls=("control-type-has-no-name",),
)
def control_type_files(tree: Provider) -> None:
    """It meters and caps nothing itself. That it has no `name` either is a clause of its own."""
    for path in control_type_paths(tree):
        names = {file.rpartition("/")[2] for file in attributes(tree, path)}
        expect(sorted(names - {"enabled", "uevent", "name"}), [], f"unknown files in {path}")


@clause(
    "powercap.constraint.no-gap",
    level="must",
    title="Constraints are numbered from 0 without a gap.",
    group="presence",
    source="drivers/powercap/powercap_sys.c create_constraint_attributes",
    needs=("content",),
    threads=("https://github.com/powercap/raplcap/issues/14",),
)
def constraint_no_gap(tree: Provider) -> None:
    """Readers count upwards and stop at the first number that is not there."""
    for zone in zones_of(tree):
        found = constraints(tree, zone)
        if found:
            expect(found, list(range(len(found))), f"constraints of {zone.path}")


@clause(
    "powercap.constraint.at-most-ten",
    level="must",
    title="A zone has at most ten constraints, numbered in decimal by one digit.",
    group="presence",
    source="include/linux/powercap.h MAX_CONSTRAINTS_PER_ZONE",
    needs=("content",),
)
def constraint_at_most_ten(tree: Provider) -> None:
    """The framework refuses an eleventh; zones are numbered in hexadecimal, constraints are not."""
    for zone in zones_of(tree):
        numbers = {name.split("_")[1] for name in entries(tree, zone.path) if name.startswith("constraint_")}
        if numbers:
            expect(sorted(numbers - set("0123456789")), [], f"constraint numbers of {zone.path} past one digit")


@clause(
    "powercap.constraint.pair",
    level="must",
    title="Every constraint has a limit and a time window.",
    group="presence",
    source="drivers/powercap/powercap_sys.c powercap_register_zone (mandatory constraint ops)",
    needs=("content",),
    threads=("https://github.com/powercap/raplcap/issues/14",),
)
def constraint_pair(tree: Provider) -> None:
    """Both files are there even where reading or writing one of them always fails."""
    for zone in zones_of(tree):
        for n in constraints(tree, zone):
            for what in ("power_limit_uw", "time_window_us"):
                path = constraint_path(zone, n, what)
                expect(exists(tree, path), True, f"{path} exists")


@clause(
    "rapl.zone.energy",
    level="must",
    title="A RAPL zone has its energy and the range of its counter.",
    group="presence",
    source="drivers/powercap/intel_rapl_common.c zone_ops",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/mlco2/codecarbon/issues/1309",),
)
def rapl_zone_energy(tree: Provider) -> None:
    """Without max_energy_range_uj nobody can tell what a wrap is worth."""
    for zone in rapl_zones(tree, ANY_RAPL):
        for name in ("energy_uj", "max_energy_range_uj"):
            expect(exists(tree, f"{zone.path}/{name}"), True, f"{zone.path}/{name} exists")


@clause(
    "rapl.zone.no-power",
    level="must",
    title="A RAPL zone has no `power_uw` and no `max_power_range_uw`.",
    group="presence",
    source="drivers/powercap/intel_rapl_common.c zone_ops",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/mlco2/codecarbon/issues/117",),
    pitfalls=("attributes-rapl-never-has",),
)
def rapl_zone_no_power(tree: Provider) -> None:
    """RAPL counts energy; power is what a reader makes of two samples and the time between them."""
    for zone in rapl_zones(tree, ANY_RAPL):
        found = [name for name in _RAPL_NEVER if exists(tree, f"{zone.path}/{name}")]
        expect(found, [], f"{zone.path} has no power meter")


@clause(
    "rapl.constraint.files",
    level="must",
    title="Every RAPL constraint has a name and a `max_power_uw`.",
    group="presence",
    source="drivers/powercap/intel_rapl_common.c constraint_ops",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/amkozlov/eco-freq/issues/7",),
    pitfalls=("max-power-without-info-register",),
)
def rapl_constraint_files(tree: Provider) -> None:
    """One table of functions serves all constraints, so the file is there also where no register has the answer."""
    for zone in rapl_zones(tree, ANY_RAPL):
        for n in constraints(tree, zone):
            for what in ("name", "max_power_uw"):
                path = constraint_path(zone, n, what)
                expect(exists(tree, path), True, f"{path} exists")


@clause(
    "rapl.constraint.no-bounds",
    level="must",
    title="A RAPL constraint has no least power and no bounds of its window.",
    group="presence",
    source="drivers/powercap/intel_rapl_common.c constraint_ops",
    needs=("content",),
    drivers=ANY_RAPL,
    pitfalls=("attributes-rapl-never-has",),
)
def rapl_constraint_no_bounds(tree: Provider) -> None:
    """The registers know a minimum power and a longest window, but the driver shows neither."""
    for zone in rapl_zones(tree, ANY_RAPL):
        for n in constraints(tree, zone):
            found = [what for what in _CONSTRAINT_NEVER if exists(tree, constraint_path(zone, n, what))]
            expect(found, [], f"constraint {n} of {zone.path} has no bounds")
