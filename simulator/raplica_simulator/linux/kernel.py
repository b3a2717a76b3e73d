# SPDX-License-Identifier: Apache-2.0
"""What differs between the kernels that a machine can be built for: one table, no scattered version tests.

A row is a kernel whose behaviour was recorded from the unmodified binary.  The rest of ``linux/`` asks the row a
question by name.  Two modules compare ``number`` instead, each with versions in tables of its own: ``rapl_models``,
since when a processor is listed, and ``rapl_units``, from when a time window saturates.
"""

from dataclasses import dataclass
from errno import ENODEV

__all__ = ["KERNELS", "NEWEST", "Kernel", "KernelCrash", "find_kernel"]


@dataclass(frozen=True, slots=True)
class Kernel:
    """One kernel version and the answers it gives where versions differ.

    Attributes:
        version: what ``--kernel`` takes, such as ``"6.12"``.
        release: the exact release that was recorded.
        per_limit_locks: the BIOS lock is kept per limit and checked on every write of a limit, a window or an
            enable (6.5).  Before, one flag per domain was checked on limits and enables only, and the bit that
            was tested is a global that moves.
        reports_write_faults: a faulting wrmsr reaches the writer as an error (6.5).  Before, the write claims
            success.
        reads_enable_back: an ``enabled`` write reads PL1's enable back and stops where hardware refused it.
        detects_limit_by_enable: a limit exists when its enable field can be read (else: its limit field).
        units_per_domain: each domain reads the unit register for itself, and one that cannot be read leaves
            units of 0 instead of taking the package away (6.5).
        global_die_ids: topology_die_id() of Intel counts through all packages (6.9), not from 0 in each.
        amd_package_scope: AMD and Hygon package objects are physical packages (6.11), not dies.
        amd_families: the AMD families in the driver's table.
        peak_power_window_reads_zero: the time window of PL4 reads 0; else ENODATA.
        max_power_by_declared_limit: max_power_uw looks the constraint number up among the declared limits, not
            among the valid ones.
        suspends_declared_limits: suspend remembers the first declared limits, as many as there are valid ones,
            not the valid ones themselves.
        dead_lseek_errno: errno of lseek on an attribute whose device is gone; 0 means that it succeeds.
    """

    version: str
    release: str
    per_limit_locks: bool
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
    dead_lseek_errno: int

    @property
    def number(self) -> tuple[int, ...]:
        """The version as integers, for tables keyed by it: ``(6, 12)``."""
        return tuple(int(part) for part in self.version.split("."))


KERNELS = {
    "6.1": Kernel(
        version="6.1",
        release="6.1.192",
        per_limit_locks=False,
        reports_write_faults=False,
        reads_enable_back=False,
        detects_limit_by_enable=True,
        units_per_domain=False,
        global_die_ids=False,
        amd_package_scope=False,
        amd_families=frozenset({0x17, 0x19}),
        peak_power_window_reads_zero=True,
        max_power_by_declared_limit=True,
        suspends_declared_limits=True,
        dead_lseek_errno=0,
    ),
    "6.12": Kernel(
        version="6.12",
        release="6.12.117",
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
    ),
}

NEWEST = "6.12"


def find_kernel(version: str | None = None) -> Kernel:
    """The row for ``version`` ("6.12", or an exact release such as "6.12.117"); the newest witnessed one for None.

    Raises ``ValueError`` in one line that names the nearest listed version.
    """
    if version is None:
        return KERNELS[NEWEST]
    for kernel in KERNELS.values():
        if version in (kernel.version, kernel.release):
            return kernel
    known = ", ".join(KERNELS)
    message = f"kernel {version!r} is not simulated; the nearest that is: {_nearest(version)} (known: {known})"
    raise ValueError(message)


def _nearest(version: str) -> str:
    """The listed version closest to ``version`` by number; the newest where it is no number at all."""
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
