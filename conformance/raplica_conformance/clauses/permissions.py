# SPDX-License-Identifier: Apache-2.0
"""What opening a file gives: to root, and to somebody who is not root.

Mirrors fs/kernfs/file.c kernfs_fop_open, which refuses an access that the file was not made for even to root, and the
ordinary checks of permission bits for everybody else.
"""

import errno

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses._reading import ANY_RAPL, attributes, devices, rapl_zones, since, zones_of
from raplica_conformance.subject import CannotTell, Mode, Provider, User, exists


def _opens(tree: Provider, path: str, mode: Mode, user: User) -> str | None:
    """`opens` or the errno's name; None where the subject cannot tell."""
    try:
        found = tree.open_errno(path, mode, user)
    except CannotTell:
        return None
    return errno.errorcode.get(found, str(found)) if found else "opens"


def _judge(tree: Provider, path: str, mode: Mode, user: User, wanted: str) -> None:
    found = _opens(tree, path, mode, user)
    if found is not None:
        expect(found, wanted, f"{user} opening {path} for {'reading' if mode == 'r' else 'writing'}")


@clause(
    "powercap.open.root-read-only",
    level="must",
    title="Not even root may open a read-only attribute for writing.",
    group="errno",
    source="fs/kernfs/file.c kernfs_fop_open (KERNFS_ROOT_EXTRA_OPEN_PERM_CHECK)",
    needs=("root", "modes"),
    pitfalls=("name-newline-read-only",),
)
def open_root_read_only(tree: Provider) -> None:
    """EACCES, although root passes the permission bits everywhere else: the attribute has no store function."""
    for path in devices(tree):
        for file in attributes(tree, path):
            if not tree.stat(file).mode & 0o200:
                _judge(tree, file, "w", "root", "EACCES")


@clause(
    "powercap.open.root-writable",
    level="must",
    title="Root may open what has a write bit.",
    group="errno",
    source="fs/kernfs/file.c kernfs_fop_open",
    needs=("root", "modes"),
    threads=("https://github.com/geopm/geopm/issues/41",),
)
def open_root_writable(tree: Provider) -> None:
    """Also where the driver will refuse every value: a locked limit opens, and its write fails."""
    for path in devices(tree):
        for file in attributes(tree, path):
            if tree.stat(file).mode & 0o200:
                _judge(tree, file, "w", "root", "opens")


@clause(
    "rapl.open.energy-write",
    level="must",
    title="Root may read `energy_uj` of a RAPL zone and not open it for writing.",
    group="errno",
    source="drivers/powercap/intel_rapl_common.c zone_ops (no reset_energy_uj)",
    needs=("root",),
    drivers=ANY_RAPL,
    threads=("https://github.com/prometheus/node_exporter/issues/1892",),
    pitfalls=("energy-root-only",),
)
def open_energy_write(tree: Provider) -> None:
    """A program that opens it for reading and writing gets EACCES as root."""
    for zone in rapl_zones(tree, ANY_RAPL):
        _judge(tree, f"{zone.path}/energy_uj", "r", "root", "opens")
        _judge(tree, f"{zone.path}/energy_uj", "w", "root", "EACCES")


@clause(
    "powercap.open.nobody-energy",
    level="must",
    title="An unprivileged user gets EACCES for `energy_uj`.",
    group="errno",
    source="drivers/powercap/powercap_sys.c (CVE-2020-8694)",
    needs=("nobody",),
    threads=(
        "https://github.com/prometheus/node_exporter/issues/1892",
        "https://github.com/Helmholtz-AI-Energy/perun/issues/49",
        "https://github.com/rwlove/home-ops/issues/11454",
    ),
    pitfalls=("energy-root-only", "energy-readable-before-5-10"),
)
def open_nobody_energy(tree: Provider) -> None:
    """EACCES at open, not at read. Kernels before 5.10 that did not get the fix let everybody read."""
    if not since(tree, "5.10"):
        return
    for zone in zones_of(tree):
        if exists(tree, f"{zone.path}/energy_uj"):
            _judge(tree, f"{zone.path}/energy_uj", "r", "nobody", "EACCES")


@clause(
    "powercap.open.nobody-reads",
    level="must",
    title="An unprivileged user may read everything but the energy.",
    group="errno",
    source="drivers/powercap/powercap_sys.c (attribute modes)",
    needs=("nobody",),
    threads=("https://github.com/prometheus/node_exporter/issues/2090",),
)
def open_nobody_reads(tree: Provider) -> None:
    """Names, limits and ranges are for everybody: a reader without rights still finds the zones."""
    for path in devices(tree):
        for file in attributes(tree, path):
            if not file.endswith("/energy_uj"):
                _judge(tree, file, "r", "nobody", "opens")


@clause(
    "powercap.open.nobody-writes",
    level="must",
    title="An unprivileged user may open nothing for writing.",
    group="errno",
    source="drivers/powercap/powercap_sys.c (attribute modes)",
    needs=("nobody",),
)
def open_nobody_writes(tree: Provider) -> None:
    """EACCES for every file, whether root could write it or not."""
    for path in devices(tree):
        for file in attributes(tree, path):
            _judge(tree, file, "w", "nobody", "EACCES")
