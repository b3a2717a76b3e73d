# SPDX-License-Identifier: Apache-2.0
"""What writing `enabled` does to the register.

Mirrors set_domain_enable and set_floor_freq_default in drivers/powercap/intel_rapl_common.c.
"""

from raplica_conformance.clause import clause, expect, not_applicable, skip
from raplica_conformance.clauses._driver import PSYS_NJ
from raplica_conformance.clauses._reading import (
    ANY_RAPL,
    MSR_RAPL,
    constraint_path,
    kind,
    limits_by_name,
    name_of,
    rapl_zones,
    value,
)
from raplica_conformance.clauses._registers import AMD_UNIT, Limit, register, settable, unit_of, unit_register
from raplica_conformance.clauses.parsing import outcome
from raplica_conformance.subject import Provider, constraints

_NEEDS = ("writable", "content", "msr")
_WILD = ("wild-writes", "content", "msr")


def _raw(tree: Provider, limit: Limit) -> int:
    return register(tree, tree.cpus()[0], limit.register) or 0


def _first_limits(tree: Provider) -> list[Limit]:
    """The first limit of each zone that can be switched; on a machine that somebody needs, of each that is on.

    Ends the clause as skipped where there are such limits and all are off.
    """
    found = list(settable(tree))
    firsts = [limit for limit in found if limit.name == "long_term"]
    if "wild-writes" in tree.can:
        return firsts
    off = {limit.zone.id for limit in found if not _in_force(tree, limit)}
    usable = [limit for limit in firsts if limit.zone.id not in off and not _wide(limit)]
    if firsts and not usable:
        skip("no zone here is on with all its limits, and one that is off stays so")
    return usable


def _in_force(tree: Provider, limit: Limit) -> bool:
    """Whether it is on and not 0; peak_power has no switch."""
    return not limit.enable or bool(_raw(tree, limit) & limit.enable and value(tree, limit.limit_path))


def _wide(limit: Limit) -> bool:
    """Whether it is psys of Sapphire Rapids: 17-bit limits, and no clamp bits."""
    return limit.width == 17


@clause(
    "rapl.write.enabled-sets-bit",
    level="must",
    title="Writing `enabled` sets and clears the enable bit of the first limit.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c set_domain_enable",
    needs=_NEEDS,
    drivers=MSR_RAPL,
    threads=("https://github.com/powercap/raplcap/issues/1",),
    pitfalls=("enabled-sets-clamps-too",),
)
def enabled_sets_bit(tree: Provider) -> None:
    """What is read back is the bit in the register, not what was written."""
    for limit in _first_limits(tree):
        for wanted in (1, 0, 1):
            expect(outcome(tree, limit.enabled_path, b"%d" % wanted), 1, f"writing {wanted} to {limit.enabled_path}")
            expect(int(bool(_raw(tree, limit) & limit.enable)), wanted, f"enable bit of {limit.register:#x}")
            expect(value(tree, limit.enabled_path), wanted, f"{limit.enabled_path} after writing {wanted}")


@clause(
    "rapl.write.enabled-reads-back",
    level="should",
    title="A zone that was switched reads as it was switched.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c set_domain_enable, get_domain_enable",
    needs=("writable", "content"),
    drivers=ANY_RAPL,
    kernels=("6.5", None),
    threads=("https://github.com/powercap/raplcap/issues/1",),
    pitfalls=("enabled-sets-clamps-too", "tpmi-layout"),
)
def enabled_reads_back(tree: Provider) -> None:
    """Judged by the files alone, so also where no MSR is behind them; what was locked at load is refused.

    Not a must: a register that drops the write, as one does that was locked later, gives success and no change.
    """
    for zone in rapl_zones(tree, ANY_RAPL):
        path = f"{zone.path}/enabled"
        if "long_term" not in limits_by_name(tree, zone) or ("wild-writes" not in tree.can and value(tree, path) != 1):
            continue
        for wanted in (1, 0, 1):
            if outcome(tree, path, b"%d" % wanted) == 1 and (found := value(tree, path)) is not None:
                expect(found, wanted, f"{path} after writing {wanted}")


@clause(
    "rapl.write.enabled-sets-clamps",
    level="must",
    title="Switching a package sets or clears enable and clamp of both limits, and nothing else.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c set_floor_freq_default",
    needs=_NEEDS,
    drivers=MSR_RAPL,
    threads=(
        "https://github.com/intel/thermal_daemon/issues/479",
        "https://github.com/powercap/raplcap/issues/1",
        "https://github.com/erpalma/throttled/issues/142",
    ),
    pitfalls=("enabled-sets-clamps-too", "limit-and-enable-are-apart"),
)
def enabled_sets_clamps(tree: Provider) -> None:
    """Bits 15, 16, 47 and 48 of 0x610: 0 and then 1 is not what was there before, where a clamp was off.

    Silvermont and Airmont have another hook, or none.
    """
    for limit in _first_limits(tree):
        if kind(tree, limit.zone) != "package" or limit.units.atom:
            continue
        terms = [other for other in settable(tree) if other.register == limit.register]
        mask = 0
        for term in terms:
            mask |= term.enable | term.clamp
        before = _raw(tree, limit)
        for switch, wanted in ((b"1", before | mask), (b"0", before & ~mask), (b"1", before | mask)):
            expect(outcome(tree, limit.enabled_path, switch), 1, f"writing {switch!r} to {limit.enabled_path}")
            expect(f"{_raw(tree, limit):#018x}", f"{wanted:#018x}", f"register {limit.register:#x} after {switch!r}")


@clause(
    "rapl.write.enabled-keeps-limits",
    level="must",
    title="Switching a zone changes no limit and no window, but for psys of Sapphire Rapids.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c set_floor_freq_default",
    needs=("writable", "content"),
    drivers=ANY_RAPL,
    threads=("https://github.com/intel/thermal_daemon/pull/573",),
    pitfalls=("limit-and-enable-are-apart",),
)
def enabled_keeps_limits(tree: Provider) -> None:
    """The figures of a zone that is switched off are kept for the day when it is switched on.

    On a machine that somebody needs, a zone that is off stays so.
    """
    for zone in rapl_zones(tree, ANY_RAPL):
        path = f"{zone.path}/enabled"
        wide = kind(tree, zone) == "psys" and unit_of(tree, zone) == PSYS_NJ
        if wide or ("wild-writes" not in tree.can and value(tree, path) != 1):
            continue
        paths = [
            constraint_path(zone, n, what)
            for n in constraints(tree, zone)
            for what in ("power_limit_uw", "time_window_us")
        ]
        before = [value(tree, path) for path in paths]
        for switch in (b"1", b"0") if paths else ():
            if outcome(tree, path, switch) == len(switch):
                expect([value(tree, path) for path in paths], before, f"figures of {zone.path} after {switch!r}")


@clause(
    "rapl.write.enabled-wide-psys",
    level="may",
    title="Switching psys of Sapphire Rapids also changes the top bits of its limits.",
    group="known-bugs",
    source="drivers/powercap/intel_rapl_common.c set_floor_freq_default (clamps are not remapped for SPR)",
    needs=_WILD,
    drivers=MSR_RAPL,
    kernels=("6.1", None),
    pitfalls=("spr-psys-clamp-is-a-limit-bit",),
)
def enabled_wide_psys(tree: Provider) -> None:
    """Bit 16 is a clamp elsewhere and the 17th bit of the limit here.

    Switching on adds 8192 W, switching off takes them away. No version that mends it was seen.
    """
    for limit in _first_limits(tree):
        if _wide(limit):
            high = (1 << 16) * limit.units.power_uw
            low = (value(tree, limit.limit_path) or 0) % high
            for switch, wanted in ((b"1", low + high), (b"0", low)):
                outcome(tree, limit.enabled_path, switch)
                expect(value(tree, limit.limit_path), wanted, f"{limit.limit_path} after writing {switch!r} to enabled")


@clause(
    "rapl.write.enabled-without-limit",
    level="must",
    title="A zone without limits cannot be switched: ENOSYS, and it goes on reading 0.",
    group="writes",
    source="drivers/powercap/intel_rapl_common.c set_domain_enable, rapl_write_pl_data",
    needs=("writable", "content"),
    drivers=ANY_RAPL,
    kernels=("6.5", None),
    threads=("https://github.com/RRZE-HPC/likwid/issues/402",),
    pitfalls=("amd-has-no-constraints",),
)
def enabled_without_limit(tree: Provider) -> None:
    """AMD and Hygon, and parts of some Atoms: what has no limit has nothing to enable."""
    for zone in rapl_zones(tree, ANY_RAPL):
        if not constraints(tree, zone):
            path = f"{zone.path}/enabled"
            for switch in (b"0", b"1"):
                expect(outcome(tree, path, switch), "ENOSYS", f"writing {switch!r} to {path}")
            expect(value(tree, path), 0, f"{path} afterwards")


@clause(
    "rapl.write.enabled-amd-accepted",
    level="may",
    title="Before Linux 6.5, switching an AMD zone claims success; mended in 6.5.",
    group="known-bugs",
    source="drivers/powercap/intel_rapl_common.c set_domain_enable, rapl_write_data_raw",
    needs=_WILD,
    drivers=MSR_RAPL,
    kernels=("5.11", "6.5"),
    pitfalls=("amd-has-no-constraints", "write-faults-before-6-5"),
)
def enabled_amd_accepted(tree: Provider) -> None:
    """The driver writes register 0 in place of the one that AMD lacks, and does not look at what becomes of it."""
    if unit_register(tree) != AMD_UNIT:
        not_applicable("not an AMD or Hygon machine")
    for zone in rapl_zones(tree, MSR_RAPL):
        path = f"{zone.path}/enabled"
        expect(outcome(tree, path, b"1"), 1, f"writing 1 to {path} ({name_of(tree, zone)})")
        expect(value(tree, path), 0, f"{path} afterwards")
