# SPDX-License-Identifier: Apache-2.0
"""What differs between the kernels that a machine can be built for: one table, no scattered version tests.

A witnessed row is a kernel whose behaviour was recorded from the unmodified binary; the others were read in the
kernel's source, and nobody saw them run.  The rest of ``linux/`` asks the row a question by name.  Three modules
compare ``number`` with versions of their own instead: ``rapl_models``, since when a processor is listed;
``rapl_units``, what became of too short, too long and the longest time windows; ``profile_zones``, since when there is
a dtpm.
"""

from dataclasses import dataclass, replace
from errno import ENODEV

__all__ = ["KERNELS", "NEWEST", "NOT_WITNESSED", "Kernel", "KernelCrash", "find_kernel"]

# How everything that a person reads marks a row that no recording proves.
NOT_WITNESSED = "from source, not witnessed"


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel version and the answers it gives where versions differ.

    Attributes:
        version: what ``--kernel`` takes, such as ``"6.12"``.
        release: the exact release that was recorded; of a row from source the version again.
        witnessed: recordings of the unmodified kernel prove the row.
        split_driver: there is a common RAPL driver, and a module for each interface (5.3).  Before, one module
            ``intel_rapl`` did everything through MSRs, in its own way: ``intel_rapl.py``.
        loads_on_unknown_cpus: intel_rapl_common can be loaded on a processor that it does not list (6.5), which TPMI
            needs.
        has_tpmi: there is a TPMI interface (6.5).
        mmio_follows_cpus: the MMIO interface registers package 0 with its first processor and takes it away with the
            last one; else once and for all, and no processor leads it.
        mmio_has_peak_power: the MMIO interface offers PL4.
        mmio_has_own_tables: the MMIO interface brings its own fields and arithmetic (7.1).  Before, it borrows those of
            the MSR interface, and there is none of it on a processor that is not listed.
        tpmi_reads_units_itself: the TPMI interface takes a unit register straight from memory, which never fails: where
            nothing is, units of 2^0.  Before, it is read as every register is, and counted.
        psys_per_package: each package looks for psys among its domains (6.0); before, there was one psys for the
            machine, looked for when all packages had come, and only with a limit register that is not 0.
        detects_low_word: a counter is there when its low 32 bits are not 0 (6.1), not when any of its bits is.
        limit_slots: how many power limits a domain has room for: 3 with PL4 (5.9), else 2.
        per_limit_locks: the BIOS lock is kept per limit and checked on every write of a limit, a window or an
            enable (6.5).  Before, one flag per domain was checked on limits and enables only, and the bit that
            was tested is a global that moves.
        updates_psys_window: what is read once of a new package ends with psys's first window, not before it.
        reports_write_faults: a faulting wrmsr reaches the writer as an error (6.5).  Before, the write claims
            success.
        reads_enable_back: an ``enabled`` write reads PL1's enable back and stops where hardware refused it.
        detects_limit_by_enable: a limit exists when its enable field can be read (else: its limit field).
        units_per_domain: each domain reads the unit register for itself, and one that cannot be read leaves
            units of 0 instead of taking the package away (6.5).
        global_die_ids: topology_die_id() of Intel counts through all packages (6.9), not from 0 in each.
        amd_package_scope: AMD and Hygon package objects are physical packages (6.11), not dies.
        amd_families: the AMD families in the driver's table; Hygon's came with the first of them (5.11).
        peak_power_window_reads_zero: the time window of PL4 reads 0; else ENODATA.
        max_power_by_declared_limit: max_power_uw looks the constraint number up among the declared limits, not
            among the valid ones.
        suspends_declared_limits: suspend remembers the first declared limits, as many as there are valid ones,
            not the valid ones themselves.
        energy_mode: permission bits of an ``energy_uj`` that cannot be reset: 0400 since CVE-2020-8694 (5.10).
        name_keeps_newline: a constraint name that is too long is cut before its newline (else: with it).
        true_letters, false_letters: first letters that are a boolean by themselves (lib/kstrtox.c; ``t`` and
            ``f`` came in 5.18, ``e`` and ``d`` in 6.16).
        knows_on_and_off: ``on`` and ``off`` are booleans too (4.6).
        multiplies_name_hash: readdir sorts by the upper half of a product of the name's hash (4.19), not by its
            low bits as they are.
        checks_uevent_verbs: a uevent written by hand may carry a UUID and words, and a verb that is none is
            EINVAL (5.0).  Before, every write succeeds, and one that is no verb alone does nothing.
        dead_lseek_errno: errno of lseek on an attribute whose device is gone; 0 means that it succeeds.
        dead_keep_links: fstat of what was held open while its device went shows 1 link, of a directory 2; else 0.
    """

    version: str
    release: str
    witnessed: bool
    split_driver: bool
    loads_on_unknown_cpus: bool
    has_tpmi: bool
    mmio_follows_cpus: bool
    mmio_has_peak_power: bool
    mmio_has_own_tables: bool
    tpmi_reads_units_itself: bool
    psys_per_package: bool
    detects_low_word: bool
    limit_slots: int
    per_limit_locks: bool
    updates_psys_window: bool
    reports_write_faults: bool
    reads_enable_back: bool
    detects_limit_by_enable: bool
    units_per_domain: bool
    global_die_ids: bool
    amd_package_scope: bool
    amd_families: frozenset[int]
    peak_power_window_reads_zero: bool
    max_power_by_declared_limit: bool
    suspends_declared_limits: bool
    energy_mode: int
    name_keeps_newline: bool
    true_letters: bytes
    false_letters: bytes
    knows_on_and_off: bool
    multiplies_name_hash: bool
    checks_uevent_verbs: bool
    dead_lseek_errno: int
    dead_keep_links: bool

    @property
    def number(self) -> tuple[int, ...]:
        """The version as integers, for tables keyed by it: ``(6, 12)``."""
        return tuple(int(part) for part in self.version.split("."))

    @property
    def standing(self) -> str:
        """How the row is known, as a person reads it: ``witnessed`` or ``from source, not witnessed``."""
        return "witnessed" if self.witnessed else NOT_WITNESSED


# Each row says what is different from the row before it.
_V3_13 = Kernel(
    version="3.13",
    release="3.13",
    witnessed=False,
    split_driver=False,
    loads_on_unknown_cpus=False,
    has_tpmi=False,
    mmio_follows_cpus=True,
    mmio_has_peak_power=False,
    mmio_has_own_tables=False,
    tpmi_reads_units_itself=False,
    psys_per_package=False,
    detects_low_word=False,
    limit_slots=2,
    per_limit_locks=False,
    updates_psys_window=False,
    reports_write_faults=False,
    reads_enable_back=False,
    detects_limit_by_enable=True,
    units_per_domain=False,
    global_die_ids=False,
    amd_package_scope=False,
    amd_families=frozenset(),
    peak_power_window_reads_zero=True,
    max_power_by_declared_limit=True,
    suspends_declared_limits=True,
    energy_mode=0o444,
    name_keeps_newline=False,
    true_letters=b"yY1",
    false_letters=b"nN0",
    knows_on_and_off=False,
    multiplies_name_hash=False,
    checks_uevent_verbs=False,
    dead_lseek_errno=0,
    dead_keep_links=True,
)
_V5_5 = replace(
    _V3_13,
    version="5.5",
    release="5.5",
    split_driver=True,
    knows_on_and_off=True,
    multiplies_name_hash=True,
    checks_uevent_verbs=True,
)
_V6_1 = replace(
    _V5_5,
    version="6.1",
    release="6.1.192",
    witnessed=True,
    psys_per_package=True,
    detects_low_word=True,
    limit_slots=3,
    updates_psys_window=True,
    amd_families=frozenset({0x17, 0x19}),
    energy_mode=0o400,
    name_keeps_newline=True,
    true_letters=b"yYtT1",
    false_letters=b"nNfF0",
)
_V6_12 = replace(
    _V6_1,
    version="6.12",
    release="6.12.117",
    loads_on_unknown_cpus=True,
    has_tpmi=True,
    mmio_follows_cpus=False,
    mmio_has_peak_power=True,
    per_limit_locks=True,
    reports_write_faults=True,
    reads_enable_back=True,
    detects_limit_by_enable=False,
    units_per_domain=True,
    global_die_ids=True,
    amd_package_scope=True,
    amd_families=frozenset({0x17, 0x19, 0x1A}),
    peak_power_window_reads_zero=False,
    max_power_by_declared_limit=False,
    suspends_declared_limits=False,
    dead_lseek_errno=ENODEV,
)
_V7_2 = replace(
    _V6_12,
    version="7.2",
    release="7.2.12",
    mmio_has_own_tables=True,
    tpmi_reads_units_itself=True,
    updates_psys_window=False,
    true_letters=b"eEyYtT1",
    false_letters=b"dDnNfF0",
    dead_keep_links=False,
)

KERNELS = {kernel.version: kernel for kernel in (_V3_13, _V5_5, _V6_1, _V6_12, _V7_2)}

# What a machine runs unless it is told otherwise: the newest on which everything was recorded.  7.2 was recorded on
# some machines only, without the framework's clients.
NEWEST = "6.12"


def find_kernel(version: str | None = None) -> Kernel:
    """The row for ``version`` ("6.12", or an exact release such as "6.12.117"); the default, 6.12, for None.

    Raises ``ValueError`` in one line that names the nearest listed version and says which are witnessed.
    """
    if version is None:
        return KERNELS[NEWEST]
    for kernel in KERNELS.values():
        if version in (kernel.version, kernel.release):
            return kernel
    message = f"kernel {version!r} is not simulated; the nearest that is: {_nearest(version)} ({listing()})"
    raise ValueError(message)


def listing() -> str:
    """All versions in one line, by how they are known: ``witnessed: 6.1, ...; from source, not witnessed: ...``."""
    by_standing = {
        standing: ", ".join(kernel.version for kernel in KERNELS.values() if kernel.standing == standing)
        for standing in (KERNELS[NEWEST].standing, NOT_WITNESSED)
    }
    return "; ".join(f"{standing}: {versions}" for standing, versions in by_standing.items())


def _nearest(version: str) -> str:
    """The listed version closest to ``version`` by number; the default where it is no number at all."""
    try:
        wanted = tuple(int(part) for part in version.split(".")[:2])
    except ValueError:
        return NEWEST

    def distance(kernel: Kernel) -> int:
        # A major version is worth far more than any minor one.
        major, minor = kernel.number
        return abs((major - wanted[0]) * 1000 + minor - (wanted[1] if len(wanted) > 1 else 0))

    return min(KERNELS.values(), key=distance).version


class KernelCrash(Exception):
    """The kernel would have oopsed here.  Not an OSError: no errno ever reaches the caller of a crashed kernel."""
