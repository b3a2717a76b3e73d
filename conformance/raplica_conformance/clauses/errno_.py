# SPDX-License-Identifier: Apache-2.0
"""Which error a read that fails gives.

Mirrors drivers/powercap/powercap_sys.c: every show function has one errno of its own and drops whatever the driver
said, so a failing register is EINVAL here, ENODATA there, and a plain 0 in `enabled`.
"""

import errno
import os
import re

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses._reading import (
    ANY_RAPL,
    MSR_RAPL,
    attributes,
    constraint_path,
    devices,
    failure,
    kind,
    rapl_zones,
    since,
    value,
    zones_of,
)
from raplica_conformance.subject import CLASS, Provider, constraints, exists, readable

_METERS = ("energy_uj", "max_energy_range_uj", "power_uw", "max_power_range_uw")
_CONSTRAINT = re.compile(r"constraint_[0-9]+_.+")

_NO_DATA = (
    "https://github.com/amkozlov/eco-freq/issues/7",
    "https://github.com/amanusk/s-tui/issues/29",
    "https://github.com/powercap/raplcap/issues/14",
)


def _word(number: int) -> str:
    return errno.errorcode.get(number, os.strerror(number)) if number else "reads"


@clause(
    "powercap.errno.constraint",
    level="must",
    title="A constraint that cannot be read gives ENODATA.",
    group="errno",
    source="drivers/powercap/powercap_sys.c show_constraint_* (define_power_constraint_show)",
    needs=("content", "errno"),
    threads=_NO_DATA,
    pitfalls=("one-errno-per-attribute",),
)
def errno_constraint(tree: Provider) -> None:
    """Whatever the driver's reason: a missing register, a fault, a limit without a window. It is nothing unusual."""
    for zone in zones_of(tree):
        for path in attributes(tree, zone.path):
            found = failure(tree, path) if _CONSTRAINT.fullmatch(path.rpartition("/")[2]) else None
            if found:
                expect(_word(found), "ENODATA", f"errno of reading {path}")


@clause(
    "powercap.errno.meter",
    level="must",
    title="An energy, power or range that cannot be read gives EINVAL.",
    group="errno",
    source="drivers/powercap/powercap_sys.c define_power_zone_show",
    needs=("content", "errno"),
    threads=("https://github.com/prometheus/node_exporter/issues/2269",),
    pitfalls=("one-errno-per-attribute",),
)
def errno_meter(tree: Provider) -> None:
    """A register that faults is EIO in the driver and EINVAL for the reader."""
    for zone in zones_of(tree):
        for name in _METERS:
            path = f"{zone.path}/{name}"
            found = failure(tree, path) if exists(tree, path) else None
            if found:
                expect(_word(found), "EINVAL", f"errno of reading {path}")


@clause(
    "powercap.errno.enabled",
    level="must",
    title="`enabled` never fails to read.",
    group="errno",
    source="drivers/powercap/powercap_sys.c enabled_show",
    needs=("content", "errno"),
    threads=("https://github.com/intel/thermal_daemon/issues/79",),
    pitfalls=("one-errno-per-attribute",),
)
def errno_enabled(tree: Provider) -> None:
    """Where the driver cannot tell, it shows 0."""
    for path in devices(tree):
        found = failure(tree, f"{path}/enabled")
        if found is not None and exists(tree, f"{path}/enabled"):
            expect(_word(found), "reads", f"reading {path}/enabled")


@clause(
    "powercap.errno.name",
    level="must",
    title="`name` and `uevent` never fail to read.",
    group="errno",
    source="drivers/powercap/powercap_sys.c name_show; drivers/base/core.c uevent_show",
    needs=("content", "errno"),
)
def errno_name(tree: Provider) -> None:
    """Both are the kernel's own text; no register is asked."""
    for path in devices(tree):
        for name in ("name", "uevent"):
            found = failure(tree, f"{path}/{name}")
            if found is not None and exists(tree, f"{path}/{name}"):
                expect(_word(found), "reads", f"reading {path}/{name}")


@clause(
    "powercap.errno.autosuspend",
    level="should",
    title="Reading `power/autosuspend_delay_ms` gives EIO.",
    group="errno",
    source="drivers/base/power/sysfs.c autosuspend_delay_ms_show",
    needs=("content", "errno"),
    threads=("https://github.com/intel/thermal_daemon/issues/45",),
    pitfalls=("uevent-reads-empty",),
)
def errno_autosuspend(tree: Provider) -> None:
    """No powercap device uses autosuspend. A program that copies the tree meets this error in each directory."""
    for path in devices(tree):
        file = f"{path}/power/autosuspend_delay_ms"
        found = failure(tree, file) if exists(tree, file) else None
        if found is not None:
            expect(_word(found), "EIO", f"errno of reading {file}")


@clause(
    "powercap.errno.absent",
    level="must",
    title="What is not there gives ENOENT.",
    group="errno",
    source="fs/namei.c; an attribute that a driver lacks has no file",
    needs=("content", "errno"),
    threads=("https://github.com/sustainable-computing-io/kepler/issues/120",),
)
def errno_absent(tree: Provider) -> None:
    """An absent zone is not one that reads 0: servers have no core zone at all."""
    if exists(tree, CLASS):
        for path in (f"{CLASS}/raplica-none", f"{CLASS}/raplica-none:0/energy_uj"):
            found = failure(tree, path)
            if found is not None:
                expect(_word(found), "ENOENT", f"errno of reading {path}")


@clause(
    "rapl.errno.max-power",
    level="must",
    title="`max_power_uw` of core, uncore and psys gives ENODATA.",
    group="errno",
    source="drivers/powercap/intel_rapl_msr.c rapl_msr_priv_intel (no INFO register for these domains)",
    needs=("content",),
    drivers=MSR_RAPL,
    threads=_NO_DATA,
    pitfalls=("max-power-without-info-register",),
)
def errno_max_power(tree: Provider) -> None:
    """There is no information register for them: absent is not 0.

    The psys of a machine with TPMI has one, so psys is judged only where a core or uncore zone shows that the
    registers are MSRs.
    """
    found = rapl_zones(tree, MSR_RAPL)
    msr = any(kind(tree, zone) in ("core", "uncore") for zone in found)
    for zone in found:
        if kind(tree, zone) in (("core", "uncore", "psys") if msr else ()):
            for n in constraints(tree, zone):
                path = constraint_path(zone, n, "max_power_uw")
                error = failure(tree, path)
                if error is not None and exists(tree, path):
                    expect(_word(error), "ENODATA", f"reading {path}")


@clause(
    "rapl.errno.peak-window",
    level="must",
    title="The window of peak_power cannot be read; before Linux 6.5 it may read 0.",
    group="errno",
    source="drivers/powercap/intel_rapl_common.c get_time_window",
    needs=("content",),
    drivers=ANY_RAPL,
    threads=("https://github.com/powercap/raplcap/issues/14",),
    pitfalls=("peak-power-has-no-window",),
)
def errno_peak_window(tree: Provider) -> None:
    """A limit that acts at once has no window. Linux 6.5 made it an error (ENODATA); drivers before show 0."""
    for zone in rapl_zones(tree, ANY_RAPL):
        for n in constraints(tree, zone):
            path = constraint_path(zone, n, "time_window_us")
            if readable(tree, constraint_path(zone, n, "name")) != b"peak_power\n":
                continue
            error, window = failure(tree, path), value(tree, path)
            lawful = {"ENODATA"} if since(tree, "6.5") and tree.kernel is not None else {"ENODATA", "0"}
            if error is not None:
                seen = _word(error) if error else f"{window}"
                expect(seen if seen not in lawful else "ENODATA", "ENODATA", f"reading {path}")
