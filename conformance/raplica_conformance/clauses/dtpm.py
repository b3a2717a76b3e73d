# SPDX-License-Identifier: Apache-2.0
"""Control type dtpm: the framework's other client, which meters power and caps it at once.

Mirrors drivers/powercap/dtpm.c (zone_ops, constraint_ops). A reader that knows RAPL alone stumbles over each of these.
"""

import errno

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses._reading import constraint_path, control_type_paths, failure, rapl_zones, value
from raplica_conformance.clauses.parsing import outcome
from raplica_conformance.subject import Provider, constraints, exists, readable

_DTPM = ("dtpm",)


@clause(
    "dtpm.zone.no-energy",
    level="must",
    title="A dtpm zone meters power and has no energy.",
    group="presence",
    source="drivers/powercap/dtpm.c zone_ops",
    needs=("content",),
    drivers=_DTPM,
    threads=("https://github.com/hubblo-org/scaphandre/issues/131",),
)
def dtpm_zone_no_energy(tree: Provider) -> None:
    """The same class, another meter: a reader that expects energy_uj in every zone stops here."""
    for zone in rapl_zones(tree, _DTPM):
        expect(exists(tree, f"{zone.path}/power_uw"), True, f"{zone.path}/power_uw exists")
        found = [name for name in ("energy_uj", "max_energy_range_uj") if exists(tree, f"{zone.path}/{name}")]
        expect(found, [], f"{zone.path} has no energy")


@clause(
    "dtpm.zone.constraint",
    level="must",
    title="A dtpm zone has one constraint, Instantaneous.",
    group="names",
    source="drivers/powercap/dtpm.c constraint_name",
    needs=("content",),
    drivers=_DTPM,
)
def dtpm_zone_constraint(tree: Provider) -> None:
    """Every node can be capped, those that are only sums of others too."""
    for zone in rapl_zones(tree, _DTPM):
        expect(constraints(tree, zone), [0], f"constraints of {zone.path}")
        name = readable(tree, constraint_path(zone, 0, "name"))
        if name:
            expect(name.strip(), b"Instantaneous", f"name of the constraint of {zone.path}")


@clause(
    "dtpm.zone.no-window",
    level="must",
    title="The time window of a dtpm zone gives ENODATA.",
    group="errno",
    source="drivers/powercap/dtpm.c get_time_window_us (-ENOSYS, which the framework replaces)",
    needs=("content",),
    drivers=_DTPM,
    pitfalls=("one-errno-per-attribute",),
)
def dtpm_zone_no_window(tree: Provider) -> None:
    """The limit acts at once. The framework wants a window of every constraint, so the file is there and fails."""
    for zone in rapl_zones(tree, _DTPM):
        path = constraint_path(zone, 0, "time_window_us")
        error = failure(tree, path)
        if error is not None and exists(tree, path):
            expect(errno.errorcode.get(error, str(error)) if error else "reads", "ENODATA", f"reading {path}")


@clause(
    "dtpm.enabled.always",
    level="must",
    title="`enabled` of dtpm and its zones reads 1.",
    group="formats",
    source="drivers/powercap/dtpm.c zone_ops (no get_enable); powercap_sys.c enabled_show",
    needs=("content",),
    drivers=_DTPM,
    pitfalls=("control-type-enabled-always-one",),
)
def dtpm_enabled_always(tree: Provider) -> None:
    """It cannot be switched, and the framework then says 1."""
    tops = [path for path in control_type_paths(tree) if path.rpartition("/")[2] in _DTPM]
    for path in [*tops, *(zone.path for zone in rapl_zones(tree, _DTPM))]:
        found = value(tree, f"{path}/enabled")
        if found in (0, 1):
            expect(found, 1, f"{path}/enabled")


@clause(
    "dtpm.write.limit-clamped",
    level="must",
    title="A dtpm limit above the maximum sets the maximum, and one below the least sets the least.",
    group="writes",
    source="drivers/powercap/dtpm.c set_power_limit_uw (clamp_val)",
    needs=("wild-writes", "content"),
    drivers=_DTPM,
    pitfalls=("large-limit-wraps",),
)
def dtpm_limit_clamped(tree: Provider) -> None:
    """The other way round than RAPL, which cuts bits off. The range of powers reaches from the least to the maximum."""
    for zone in rapl_zones(tree, _DTPM):
        path = constraint_path(zone, 0, "power_limit_uw")
        most = value(tree, constraint_path(zone, 0, "max_power_uw"))
        span = value(tree, f"{zone.path}/max_power_range_uw")
        if most is None or span is None:
            continue
        for number, wanted in ((2**63, most), (0, most - span)):
            data = b"%d" % number
            if outcome(tree, path, data) == len(data):
                expect(value(tree, path), wanted, f"{path} after writing {number}")
