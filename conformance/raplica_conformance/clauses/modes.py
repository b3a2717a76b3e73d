# SPDX-License-Identifier: Apache-2.0
"""Who may read and write what, as the permission bits say it.

Mirrors the attribute tables of drivers/powercap/powercap_sys.c, drivers/base/core.c and
drivers/base/power/sysfs.c. What opening a file really gives is judged in `permissions`.
"""

import re

from raplica_conformance.clause import clause, expect, skip
from raplica_conformance.clauses._reading import (
    ANY_RAPL,
    attributes,
    control_type_paths,
    devices,
    directories,
    entries,
    rapl_zones,
    since,
    zones_of,
)
from raplica_conformance.subject import CLASS, Provider, exists

_READ_ONLY = re.compile(
    r"name|max_energy_range_uj|power_uw|max_power_range_uw"
    r"|constraint_[0-9]+_(name|(max|min)_(power_uw|time_window_us))"
)
_WRITABLE = re.compile(r"enabled|uevent|constraint_[0-9]+_(power_limit_uw|time_window_us)")
_POWER_WRITABLE = frozenset({"async", "autosuspend_delay_ms", "control"})

#: Write permission for the group and for everybody: the clause about writing by strangers judges these bits.
_STRANGERS_WRITE = 0o022

#: The user that a user namespace shows in place of one that it does not know.
_OVERFLOW = 65534

_PLATYPUS = (
    "https://github.com/prometheus/node_exporter/issues/1892",
    "https://github.com/powerapi-ng/pyJoules/issues/13",
    "https://github.com/powercap/powercap/issues/7",
)


@clause(
    "powercap.modes.directories",
    level="must",
    title="Directories have mode 0755.",
    group="modes",
    source="fs/sysfs/dir.c sysfs_create_dir_ns",
    needs=("modes",),
)
def modes_directories(tree: Provider) -> None:
    """Everybody may list them and pass through, `power` included."""
    for path in devices(tree):
        expect(f"{tree.stat(path).mode:04o}", "0755", f"mode of {path}")
        for name in directories(tree, path):
            expect(f"{tree.stat(f'{path}/{name}').mode:04o}", "0755", f"mode of {path}/{name}")


@clause(
    "powercap.modes.links",
    level="must",
    title="Symbolic links have mode 0777.",
    group="modes",
    source="fs/kernfs/symlink.c kernfs_create_link",
    needs=("modes", "links"),
)
def modes_links(tree: Provider) -> None:
    """The mode of a link is never asked; it is 0777 as on every Linux file system."""
    paths = [f"{CLASS}/{name}" for name in entries(tree, CLASS)]
    paths += [f"{path}/{name}" for path in devices(tree) for name in ("device", "subsystem")]
    for path in paths:
        if exists(tree, path) and tree.stat(path).kind == "link":
            expect(f"{tree.stat(path).mode:04o}", "0777", f"mode of {path}")


@clause(
    "powercap.modes.read-only",
    level="must",
    title="Names, ranges and maxima have mode 0444.",
    group="modes",
    source="drivers/powercap/powercap_sys.c (DEVICE_ATTR_RO and the constraint attributes)",
    needs=("modes",),
    threads=("https://github.com/prometheus/node_exporter/issues/2090",),
    pitfalls=("name-newline-read-only",),
)
def modes_read_only(tree: Provider) -> None:
    """Everybody may read them, and there is nothing that a write could do."""
    for zone in zones_of(tree):
        for path in attributes(tree, zone.path):
            if _READ_ONLY.fullmatch(path.rpartition("/")[2]):
                mode = tree.stat(path).mode & ~_STRANGERS_WRITE
                expect(f"{mode:04o}", "0444", f"mode of {path}")


@clause(
    "powercap.modes.writable",
    level="must",
    title="`enabled`, limits, windows and `uevent` have mode 0644.",
    group="modes",
    source="drivers/powercap/powercap_sys.c (DEVICE_ATTR_RW and the constraint attributes)",
    needs=("modes",),
)
def modes_writable(tree: Provider) -> None:
    """Root may set them and everybody may read them: only the energy is a secret."""
    for path in devices(tree):
        for file in attributes(tree, path):
            if _WRITABLE.fullmatch(file.rpartition("/")[2]):
                mode = tree.stat(file).mode & ~_STRANGERS_WRITE
                expect(f"{mode:04o}", "0644", f"mode of {file}")


@clause(
    "powercap.modes.strangers-write",
    level="must",
    title="Nobody but root may write anything.",
    group="modes",
    source="drivers/powercap/powercap_sys.c; fs/sysfs/group.c refuses attributes that everybody may write",
    needs=("modes",),
)
def modes_strangers_write(tree: Provider) -> None:
    """A limit that every user may set lets every user slow the machine down, or take its protection away."""
    for path in devices(tree):
        for folder in [path, *(f"{path}/{name}" for name in directories(tree, path) if name == "power")]:
            for file in attributes(tree, folder):
                mode = tree.stat(file).mode & _STRANGERS_WRITE
                expect(f"{mode:04o}", "0000", f"write permission of group and others on {file}")


@clause(
    "powercap.modes.energy",
    level="must",
    title="`energy_uj` is closed to everybody but root.",
    group="modes",
    source="drivers/powercap/powercap_sys.c create_power_zone_common_attributes (CVE-2020-8694)",
    needs=("modes",),
    threads=_PLATYPUS,
    pitfalls=("energy-root-only", "energy-readable-before-5-10"),
)
def modes_energy(tree: Provider) -> None:
    """0400, or 0600 where the driver can reset the counter: a fine energy counter tells secrets of other programs.

    Kernels before 5.10 that did not get the fix have 0444 or 0644.
    """
    lawful = ["0400", "0600"] if since(tree, "5.10") else ["0400", "0600", "0444", "0644"]
    for zone in zones_of(tree):
        path = f"{zone.path}/energy_uj"
        if exists(tree, path):
            mode = f"{tree.stat(path).mode & ~_STRANGERS_WRITE:04o}"
            expect(
                mode if mode not in lawful else lawful[0], lawful[0], f"mode of {path} is one of {', '.join(lawful)}"
            )


@clause(
    "rapl.modes.energy-read-only",
    level="must",
    title="Not even root may write a RAPL zone's `energy_uj`.",
    group="modes",
    source="drivers/powercap/intel_rapl_common.c zone_ops (no reset_energy_uj)",
    needs=("modes",),
    drivers=ANY_RAPL,
    pitfalls=("energy-root-only",),
)
def energy_read_only(tree: Provider) -> None:
    """The counters cannot be reset, so the driver offers no reset and the file has no write bit."""
    for zone in rapl_zones(tree, ANY_RAPL):
        path = f"{zone.path}/energy_uj"
        if exists(tree, path):
            expect(f"{tree.stat(path).mode & 0o200:04o}", "0000", f"root's write permission on {path}")


@clause(
    "powercap.modes.power",
    level="should",
    title="In `power`, what can be set has mode 0644 and the rest 0444.",
    group="modes",
    source="drivers/base/power/sysfs.c (DEVICE_ATTR_RW, DEVICE_ATTR_RO)",
    needs=("modes",),
)
def modes_power(tree: Provider) -> None:
    """async, autosuspend_delay_ms and control can be set; what runtime power management reports cannot."""
    for path in devices(tree):
        for file in attributes(tree, f"{path}/power"):
            wanted = "0644" if file.rpartition("/")[2] in _POWER_WRITABLE else "0444"
            expect(f"{tree.stat(file).mode & ~_STRANGERS_WRITE:04o}", wanted, f"mode of {file}")


@clause(
    "powercap.modes.owner",
    level="should",
    title="Everything belongs to root.",
    group="modes",
    source="fs/sysfs/dir.c sysfs_create_dir_ns",
    needs=("modes", "live"),
    threads=("https://github.com/sosy-lab/benchexec/pull/1283",),
)
def modes_owner(tree: Provider) -> None:
    """User 0 and group 0, unless an administrator gave a file to somebody else."""
    for path in control_type_paths(tree):
        if tree.stat(path).uid == _OVERFLOW:
            skip(f"{path} belongs to user {_OVERFLOW}: another user namespace is looking, and cannot see the owner")
    for path in devices(tree):
        for entry in [path, *attributes(tree, path)]:
            found = tree.stat(entry)
            expect((found.uid, found.gid), (0, 0), f"owner and group of {entry}")
