# SPDX-License-Identifier: Apache-2.0
"""What a lock bit that firmware set does to limits, in the register and behind the driver.

Mirrors Intel SDM, MSR_PKG_POWER_LIMIT (lock), and rapl_detect_powerlimit, contraint_to_pl and set_domain_enable in
drivers/powercap/intel_rapl_common.c. The driver looks at the lock once, when it is loaded.
"""

from raplica_conformance.clause import clause, expect, not_applicable
from raplica_conformance.clauses._reading import MSR_RAPL, kind, value
from raplica_conformance.clauses._registers import LOCKS, PEAK, Limit, code_to_set, limits, register, steps_to_set
from raplica_conformance.clauses.parsing import outcome
from raplica_conformance.subject import Provider, Zone, constraints

_NEEDS = ("writable", "content", "msr")
_WILD = ("wild-writes", "content", "msr")
_THREADS = (
    "https://github.com/intel/thermal_daemon/issues/79",
    "https://github.com/geopm/geopm/issues/41",
    "https://github.com/geopm/geopm/issues/543",
)


def _raw(tree: Provider, limit: Limit) -> int:
    return register(tree, tree.cpus()[0], limit.register) or 0


def _steps(tree: Provider, limit: Limit) -> int:
    """Whole steps to write; the subject itself refuses 0 where it is not safe."""
    return steps_to_set(tree, limit) or 0


def _lock(tree: Provider, limit: Limit) -> int:
    """The lock bit of the register: bit 63 where the zone declares two limits or more, else bit 31."""
    return 1 << 63 if kind(tree, limit.zone) in ("package", "psys") else 1 << 31


def _declares_two(tree: Provider, zone: Zone) -> bool:
    """Whether the driver declares exactly two limits for a package.

    Where 0x601 faults nobody can tell: a listed model declares peak power and leaves it out.
    """
    return len(constraints(tree, zone)) == 2 and register(tree, tree.cpus()[0], PEAK) is not None


def _long_terms(tree: Provider, *, locked: bool) -> list[Limit]:
    """The first limits of the first CPU's zones: those whose register is locked, or those with no lock bit at all."""
    found = [limit for limit in limits(tree) if limit.name == "long_term"]
    if locked:
        return [limit for limit in found if _raw(tree, limit) & _lock(tree, limit)]
    return [limit for limit in found if not _raw(tree, limit) & LOCKS and not limit.units.atom]


@clause(
    "firmware.lock.reads-disabled",
    level="must",
    title="A zone that was locked at load reads `enabled` 0, whatever its enable bit says.",
    group="firmware",
    source="drivers/powercap/intel_rapl_common.c get_domain_enable",
    needs=("content", "msr", "steps"),
    drivers=MSR_RAPL,
    kernels=("6.5", None),
    threads=(*_THREADS, "https://github.com/geopm/geopm/issues/4026"),
    pitfalls=("locked-zone-reads-disabled",),
)
def lock_reads_disabled(tree: Provider) -> None:
    """The limit is in force all the same, and its figures read."""
    for limit in _long_terms(tree, locked=True):
        expect(value(tree, limit.enabled_path), 0, f"{limit.enabled_path} of a locked zone")
        expect(value(tree, limit.limit_path) is not None, True, f"{limit.limit_path} of a locked zone reads")


@clause(
    "firmware.lock.refuses",
    level="must",
    title="A zone that was locked at load refuses limits and windows with ENODATA, `enabled` with ENOSYS.",
    group="firmware",
    source="drivers/powercap/intel_rapl_common.c rapl_write_pl_data (-EACCES, which the framework replaces)",
    needs=_NEEDS,
    drivers=MSR_RAPL,
    kernels=("6.5", None),
    threads=(*_THREADS, "https://github.com/intel/thermal_daemon/issues/148"),
    pitfalls=("lock-drops-writes", "one-errno-per-attribute"),
)
def lock_refuses(tree: Provider) -> None:
    """Never EACCES. The value stays, and trying again is of no use before the next reset."""
    for limit in _long_terms(tree, locked=True):
        before = _raw(tree, limit)
        code = code_to_set(tree, limit)
        for path, data, wanted in (
            (limit.limit_path, b"%d" % (_steps(tree, limit) * limit.units.power_uw), "ENODATA"),
            (limit.window_path, b"%d" % limit.units.window_us(code or 0), "ENODATA"),
            (limit.enabled_path, b"1", "ENOSYS"),
        ):
            expect(outcome(tree, path, data), wanted, f"writing {data!r} to {path} of a locked zone")
        expect(f"{_raw(tree, limit):#018x}", f"{before:#018x}", f"register {limit.register:#x} of a locked zone")


@clause(
    "firmware.lock.peak-open",
    level="must",
    title="Since Linux 6.5 the lock of a package's limits leaves peak_power open.",
    group="firmware",
    source="drivers/powercap/intel_rapl_common.c rapl_detect_powerlimit, get_pl_lock_prim (FW_LOCK of PL1 and PL2)",
    needs=_NEEDS,
    drivers=MSR_RAPL,
    kernels=("6.5", None),
    threads=("https://github.com/OpenGamingCollective/asusctl/issues/145",),
    pitfalls=("lock-bit-31-or-63",),
)
def lock_peak_open(tree: Provider) -> None:
    """Its limit lies in a register of its own, 0x601, whose lock at bit 31 the driver never looks at."""
    locked = {limit.zone.path for limit in _long_terms(tree, locked=True)}
    for limit in limits(tree):
        steps = _steps(tree, limit)
        if limit.name == "peak_power" and limit.zone.path in locked and not _raw(tree, limit) & LOCKS and steps:
            number = steps * limit.units.power_uw
            data = b"%d" % number
            expect(outcome(tree, limit.limit_path, data), len(data), f"writing {number} to {limit.limit_path}")
            expect(value(tree, limit.limit_path), number, f"{limit.limit_path} beside a locked long_term")


@clause(
    "firmware.lock.refuses-limit-before-6-5",
    level="must",
    title="Before Linux 6.5 a locked package with two limits refuses limits and `enabled`.",
    group="firmware",
    source="drivers/powercap/intel_rapl_common.c set_power_limit, set_domain_enable (DOMAIN_STATE_BIOS_LOCKED)",
    needs=_NEEDS,
    drivers=MSR_RAPL,
    kernels=("5.3", "6.5"),
    threads=_THREADS,
    pitfalls=("lock-drops-writes",),
)
def lock_refuses_before(tree: Provider) -> None:
    """ENODATA and ENOSYS as later; the window is another clause's matter."""
    for limit in _long_terms(tree, locked=True):
        if kind(tree, limit.zone) == "package" and _declares_two(tree, limit.zone):
            found = outcome(tree, limit.limit_path, b"%d" % (_steps(tree, limit) * limit.units.power_uw))
            expect(found, "ENODATA", f"writing a limit to {limit.limit_path} of a locked zone")
            expect(outcome(tree, limit.enabled_path, b"1"), "ENOSYS", f"writing 1 to {limit.enabled_path}")


@clause(
    "firmware.lock.window-before-6-5",
    level="may",
    title="Before Linux 6.5 a window is written without a look at lock or fault, and claims success; mended in 6.5.",
    group="known-bugs",
    source="drivers/powercap/intel_rapl_common.c set_time_window",
    needs=_WILD,
    drivers=MSR_RAPL,
    kernels=("5.3", "6.5"),
    threads=("https://github.com/powercap/raplcap/issues/11",),
    pitfalls=("write-faults-before-6-5",),
)
def lock_window_before(tree: Provider) -> None:
    """Whether the register takes it is another matter: only reading it back tells."""
    for limit in limits(tree):
        if limit.window_mask:
            data = b"%d" % limit.units.time_us
            expect(outcome(tree, limit.window_path, data), len(data), f"writing {data!r} to {limit.window_path}")


@clause(
    "firmware.lock.wrong-bit-before-6-5",
    level="may",
    title="Before Linux 6.5 the lock of core, uncore and dram is looked for at bit 63; mended in 6.5.",
    group="known-bugs",
    source="drivers/powercap/intel_rapl_common.c rapl_detect_powerlimit (rp->mask changed in place)",
    needs=_NEEDS,
    drivers=MSR_RAPL,
    kernels=("5.3", "6.5"),
    threads=("https://github.com/powercap/raplcap/issues/10",),
    pitfalls=("lock-bit-31-or-63",),
)
def lock_wrong_bit(tree: Provider) -> None:
    """Once a package with two limits was seen, the driver tests bit 63 everywhere.

    A zone locked by bit 31 then takes writes, which the register drops.
    """
    found = _long_terms(tree, locked=True)
    package = [limit for limit in limits(tree) if kind(tree, limit.zone) == "package"]
    if not package or not _declares_two(tree, package[0].zone):
        not_applicable("the package does not declare exactly two limits, so the lock is looked for in its place")
    for limit in found:
        if kind(tree, limit.zone) in ("core", "uncore", "dram") and not _raw(tree, limit) >> 63:
            data = b"%d" % (_steps(tree, limit) * limit.units.power_uw)
            expect(outcome(tree, limit.limit_path, data), len(data), f"writing {data!r} to {limit.limit_path}")


@clause(
    "firmware.lock.after-load",
    level="must",
    title="A lock that is set after the driver was loaded is not noticed: writes succeed and do nothing.",
    group="firmware",
    source="Intel SDM, MSR_PKG_POWER_LIMIT bit 63; drivers/powercap/intel_rapl_common.c rapl_detect_powerlimit",
    needs=(*_WILD, "silicon"),
    drivers=MSR_RAPL,
    threads=(
        "https://github.com/OpenGamingCollective/asusctl/issues/145",
        "https://github.com/powercap/raplcap/issues/11",
    ),
    pitfalls=("lock-set-after-load", "lock-drops-writes"),
)
def lock_after_load(tree: Provider) -> None:
    """The register drops the write without a fault, so the driver has nothing to report."""
    cpu = tree.cpus()[0]
    for limit in _long_terms(tree, locked=False):
        if kind(tree, limit.zone) != "package":
            continue
        locked = _raw(tree, limit) | _lock(tree, limit)
        tree.msr_write(cpu, limit.register, locked)
        tree.msr_write(cpu, limit.register, locked ^ 1)
        if _raw(tree, limit) != locked:
            not_applicable("this machine's registers are a plain table: no lock bit stops them")
        before = value(tree, limit.limit_path)
        data = b"%d" % ((before or 0) + limit.units.power_uw)
        expect(outcome(tree, limit.limit_path, data), len(data), f"writing {data!r} to {limit.limit_path}")
        expect(value(tree, limit.limit_path), before, f"{limit.limit_path} behind a lock that the driver did not see")
        expect(f"{_raw(tree, limit):#018x}", f"{locked:#018x}", f"locked register {limit.register:#x}")
