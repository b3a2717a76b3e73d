# SPDX-License-Identifier: Apache-2.0
"""What packages are called that have more than one die, and how their dies are counted.

Mirrors rapl_add_package_cpuslocked in drivers/powercap/intel_rapl_common.c; the numbers are those of topology_die_id(),
arch/x86/kernel/cpu/topology_common.c.
"""

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses._reading import MSR_RAPL, family, kind, name_of, since
from raplica_conformance.subject import Provider

_THREADS = ("https://github.com/powercap/raplcap/issues/9",)


def _dies(tree: Provider) -> dict[str, list[int]]:
    """The die numbers of each package whose name has one."""
    found: dict[str, list[int]] = {}
    for top, _ in family(tree, MSR_RAPL):
        package, _, die = name_of(tree, top).partition("-die-")
        if die and kind(tree, top) == "package":
            found.setdefault(package, []).append(int(die))
    return found


def _beyond(dies: dict[str, list[int]]) -> list[int]:
    """Die numbers that cannot count from 0 in a package: some die may be offline, so a number may be missing."""
    most = max(map(len, dies.values()))
    return sorted(die for found in dies.values() for die in found if die >= most)


@clause(
    "rapl.package.dies",
    level="must",
    title="Either every package name has a die or none has.",
    group="names",
    source="drivers/powercap/intel_rapl_common.c rapl_add_package_cpuslocked",
    needs=("content",),
    drivers=MSR_RAPL,
    kernels=("5.3", None),
    threads=("https://github.com/powercap/raplcap/issues/9", "https://github.com/prometheus/procfs/issues/459"),
    pitfalls=("die-in-package-name",),
)
def package_dies(tree: Provider) -> None:
    """The driver asks how many dies a package of this machine can have at most, so the answer is the same for all."""
    names = [name_of(tree, top) for top, _ in family(tree, MSR_RAPL) if kind(tree, top) == "package"]
    if names:
        with_die = [name for name in names if "-die-" in name]
        expect(with_die in ([], names) or with_die, True, f"packages with and without a die: {' '.join(names)}")


@clause(
    "rapl.package.die-numbers",
    level="may",
    title="Dies are numbered through the whole machine from Linux 6.12, from 0 in each package on 6.1.",
    group="known-bugs",
    source="drivers/powercap/intel_rapl_common.c rapl_add_package_cpuslocked (topology_die_id)",
    needs=("content",),
    drivers=MSR_RAPL,
    kernels=("6.1", None),
    threads=("https://github.com/powercap/raplcap/issues/9",),
    pitfalls=("die-in-package-name",),
)
def package_die_numbers(tree: Provider) -> None:
    """The second socket of a two-die machine is package-1-die-0 on 6.1 and package-1-die-2 on 6.12.

    6.12 mends it; the topology code was rewritten in between. Nothing between these two was seen, so nothing is
    said about it.
    """
    dies = _dies(tree)
    if len(dies) < 2:
        return
    if since(tree, "6.12"):
        numbers = sorted(die for found in dies.values() for die in found)
        expect(numbers, sorted(set(numbers)), "numbers of all dies, each there once")
    elif not since(tree, "6.2"):
        expect(_beyond(dies), [], "numbers of dies that are no less than the dies of a package")


@clause(
    "rapl.package.dies-through-machine",
    level="alternative",
    alternatives="die-counting",
    title="Dies are numbered through the whole machine, so that no number is there twice.",
    group="names",
    source="arch/x86/kernel/cpu/topology_common.c parse_topology (die_id of the whole machine)",
    needs=("content",),
    drivers=MSR_RAPL,
    threads=(*_THREADS, "https://github.com/prometheus/procfs/issues/459"),
    pitfalls=("die-in-package-name",),
)
def package_dies_through_machine(tree: Provider) -> None:
    """package-0-die-0, package-0-die-1, package-1-die-2. Numbers may be missing, where processors are offline."""
    numbers = sorted(die for dies in _dies(tree).values() for die in dies)
    if numbers:
        expect(numbers, sorted(set(numbers)), "numbers of all dies, each there once")


@clause(
    "rapl.package.dies-by-package",
    level="alternative",
    alternatives="die-counting",
    title="Dies are numbered from 0 in each package, so that every number is less than the dies of a package.",
    group="names",
    source="arch/x86/kernel/cpu/topology.c detect_extended_topology (die_id within the package)",
    needs=("content",),
    drivers=MSR_RAPL,
    threads=(*_THREADS, "https://github.com/prometheus/procfs/issues/459"),
    pitfalls=("die-in-package-name",),
)
def package_dies_by_package(tree: Provider) -> None:
    """package-0-die-0, package-0-die-1, package-1-die-0: a number that is there twice stands behind two packages."""
    dies = _dies(tree)
    if dies:
        expect(_beyond(dies), [], "numbers of dies that are no less than the dies of a package")
