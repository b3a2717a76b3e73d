# SPDX-License-Identifier: Apache-2.0
"""Which registers make a zone or a constraint, when the driver is loaded.

Mirrors rapl_detect_domains, rapl_check_domain and rapl_detect_powerlimit in drivers/powercap/intel_rapl_common.c, and
the register tables of drivers/powercap/intel_rapl_msr.c.
"""

from raplica_conformance.clause import clause, expect, not_applicable
from raplica_conformance.clauses._reading import (
    MSR_RAPL,
    constraint_path,
    kind,
    name_of,
    rapl_zones,
    since,
)
from raplica_conformance.clauses._registers import (
    AMD_UNIT,
    ENERGY,
    PEAK,
    cpus_behind,
    energy_register,
    first_family,
    register,
    unit_register,
)
from raplica_conformance.subject import Provider, constraints, readable

_LOW_32 = 0xFFFFFFFF


@clause(
    "rapl.agree.counter-reads",
    level="must",
    title="Behind every zone is a counter that reads.",
    group="agreement",
    source="drivers/powercap/intel_rapl_common.c rapl_check_domain",
    needs=("content", "msr"),
    drivers=MSR_RAPL,
    threads=("https://github.com/hubblo-org/windows-rapl-driver/issues/7",),
    pitfalls=("zero-counter-no-zone",),
)
def agree_counter_reads(tree: Provider) -> None:
    """The driver makes a zone only where the counter could be read and was not 0."""
    for zone in rapl_zones(tree, MSR_RAPL):
        address = energy_register(tree, zone)
        if address is not None:
            reads = any(register(tree, cpu, address) is not None for cpu in cpus_behind(tree, zone))
            expect(reads, True, f"register {address:#x} behind {zone.path} reads")


@clause(
    "rapl.agree.zero-counter",
    level="must",
    title="A zone's counter was not 0 when the driver was loaded.",
    group="agreement",
    source="drivers/powercap/intel_rapl_common.c rapl_check_domain",
    needs=("content", "msr", "steps"),
    drivers=MSR_RAPL,
    kernels=("5.3", None),
    threads=("https://github.com/sustainable-computing-io/kepler/issues/120",),
    pitfalls=("zero-counter-no-zone", "package-counter-zero-no-tree"),
)
def agree_zero_counter(tree: Provider) -> None:
    """Judged where no time has passed. Its low 32 bits count; before Linux 6.1 any of its bits."""
    mask = _LOW_32 if since(tree, "6.1") else ~0
    for zone in rapl_zones(tree, MSR_RAPL):
        address = energy_register(tree, zone)
        found = [register(tree, cpu, address) for cpu in cpus_behind(tree, zone)] if address is not None else []
        counters = [raw for raw in found if raw is not None]
        if counters:
            counts = any(raw & mask for raw in counters)
            expect(counts, True, f"register {address:#x} behind {zone.path} is not 0")


@clause(
    "rapl.agree.domains",
    level="should",
    title="A counter of the first package that is not 0 has its zone.",
    group="agreement",
    source="drivers/powercap/intel_rapl_common.c rapl_detect_domains",
    needs=("content", "msr", "steps"),
    drivers=MSR_RAPL,
    kernels=("5.3", None),
    threads=("https://github.com/sustainable-computing-io/kepler/issues/120",),
    pitfalls=("zero-counter-no-zone",),
)
def agree_domains(tree: Provider) -> None:
    """Judged where no time has passed: a counter that stood at 0 when the driver was loaded is missed for good."""
    if unit_register(tree) == AMD_UNIT:
        not_applicable("which AMD counters make a zone is judged by rapl.amd.zones")
    kinds = {kind(tree, zone) for zone in first_family(tree)}
    if "" in kinds:
        not_applicable("a zone of the first package does not say what it is")
    for what, address in ENERGY.items():
        # Before Linux 6.0 psys is looked for in another way, and its limit counts too.
        if what == "psys" and not since(tree, "6.0"):
            continue
        raw = register(tree, tree.cpus()[0], address)
        if raw is not None and raw & _LOW_32:
            expect(what in kinds, True, f"register {address:#x} counts, so {what} has a zone")


@clause(
    "rapl.amd.zones",
    level="must",
    title="AMD and Hygon have packages with a core and no constraint.",
    group="presence",
    source="drivers/powercap/intel_rapl_msr.c rapl_msr_priv_amd",
    needs=("content", "msr"),
    drivers=MSR_RAPL,
    threads=("https://github.com/RRZE-HPC/likwid/issues/402",),
    pitfalls=("amd-has-no-constraints", "amd-core-is-one-core"),
)
def amd_zones(tree: Provider) -> None:
    """Their limits are not in these registers. `core` is the counter of one physical core and not of all."""
    if unit_register(tree) != AMD_UNIT:
        not_applicable("not an AMD or Hygon machine")
    for zone in rapl_zones(tree, MSR_RAPL):
        expect(
            kind(tree, zone) in ("package", "core") or name_of(tree, zone), True, f"{zone.path} is a package or core"
        )
        expect(constraints(tree, zone), [], f"constraints of {zone.path}")


@clause(
    "rapl.amd.package-names",
    level="must",
    title="From Linux 6.12 a package of AMD or Hygon is called package-N, however many dies it has.",
    group="names",
    source="drivers/powercap/intel_rapl_common.c rapl_add_package_cpuslocked (rapl_msrs_are_pkg_scope)",
    needs=("content", "msr"),
    drivers=MSR_RAPL,
    kernels=("6.12", None),
    threads=("https://github.com/RRZE-HPC/likwid/issues/402",),
    pitfalls=("die-in-package-name",),
)
def amd_package_names(tree: Provider) -> None:
    """Their registers belong to the package; older kernels took each die for one, as is right for Intel."""
    if unit_register(tree) != AMD_UNIT:
        not_applicable("not an AMD or Hygon machine")
    for zone in rapl_zones(tree, MSR_RAPL):
        if kind(tree, zone) == "package":
            expect("-die-" in name_of(tree, zone), False, f"{zone.path} is called {name_of(tree, zone)}")


@clause(
    "rapl.agree.peak-listed",
    level="must",
    title="A peak_power constraint has a register 0x601 that reads.",
    group="agreement",
    source="drivers/powercap/intel_rapl_msr.c pl4_support_ids",
    needs=("content", "msr"),
    drivers=MSR_RAPL,
    kernels=("6.5", None),
    pitfalls=("peak-power-by-model-list",),
)
def agree_peak_listed(tree: Provider) -> None:
    """The constraint is there on listed models only, and there only where the register does not fault."""
    unit_register(tree)
    for zone in first_family(tree):
        for n in constraints(tree, zone):
            if readable(tree, constraint_path(zone, n, "name")) == b"peak_power\n":
                reads = register(tree, tree.cpus()[0], PEAK) is not None
                expect(reads, True, f"register {PEAK:#x} behind {zone.path} reads")
