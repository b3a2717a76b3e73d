# SPDX-License-Identifier: Apache-2.0
"""What the driver core gives every powercap directory: uevent, power/, and how sysfs counts and sorts.

Mirrors drivers/base/core.c (uevent), drivers/base/power/sysfs.c (power/), fs/sysfs/file.c (sizes) and
fs/kernfs/dir.c (link counts, the order of a directory).
"""

from raplica_conformance.clause import clause, expect
from raplica_conformance.clauses._reading import attributes, devices, directories, entries
from raplica_conformance.subject import CLASS, DEVICES, Provider, exists, readable

#: The files that power/ has in every kernel with power management; CONFIG_PM_ADVANCED_DEBUG adds more.
_POWER = ("autosuspend_delay_ms", "control", "runtime_active_time", "runtime_status", "runtime_suspended_time")

_PAGES = (4096, 16384, 65536)


@clause(
    "powercap.device.uevent",
    level="must",
    title="Every control type and zone has a `uevent` file.",
    group="presence",
    source="drivers/base/core.c device_add",
    needs=("content",),
    threads=("https://github.com/intel/thermal_daemon/issues/41",),
)
def device_uevent(tree: Provider) -> None:
    """Every device of the kernel has one; udev writes to it to ask for the event again."""
    for path in devices(tree):
        expect(exists(tree, f"{path}/uevent"), True, f"{path}/uevent exists")


@clause(
    "powercap.device.uevent-empty",
    level="must",
    title="`uevent` reads as nothing at all.",
    group="formats",
    source="drivers/base/core.c uevent_show",
    needs=("content",),
    pitfalls=("uevent-reads-empty",),
)
def device_uevent_empty(tree: Provider) -> None:
    """A powercap device has no number, driver or bus that could stand there: zero bytes, not even a newline."""
    for path in devices(tree):
        text = readable(tree, f"{path}/uevent")
        if text is not None:
            expect(text, b"", f"{path}/uevent reads as zero bytes")


@clause(
    "powercap.device.power",
    level="should",
    title="Every control type and zone has the directory `power`.",
    group="presence",
    source="drivers/base/power/sysfs.c dpm_sysfs_add",
    needs=("content",),
    threads=("https://github.com/intel/thermal_daemon/issues/401",),
)
def device_power(tree: Provider) -> None:
    """It stands beside the zones and is none: a reader that takes every directory for a zone stumbles here."""
    for path in devices(tree):
        expect("power" in directories(tree, path), True, f"{path}/power is a directory")


@clause(
    "powercap.power.files",
    level="should",
    title="`power` has the files of runtime power management.",
    group="presence",
    source="drivers/base/power/sysfs.c runtime_attrs",
    needs=("content",),
)
def power_files(tree: Provider) -> None:
    """Five files in every kernel; Debian's and Ubuntu's have nine, which is as good."""
    for path in devices(tree):
        if "power" in directories(tree, path):
            missing = sorted(set(_POWER) - set(entries(tree, f"{path}/power")))
            expect(missing, [], f"{path}/power is complete")


@clause(
    "powercap.power.unsupported",
    level="should",
    title="`power/runtime_status` says that runtime power management is not in use.",
    group="formats",
    source="drivers/base/power/sysfs.c runtime_status_show",
    needs=("content",),
)
def power_unsupported(tree: Provider) -> None:
    """Nothing enables runtime power management of a powercap device: its status reads `unsupported`."""
    for path in devices(tree):
        text = readable(tree, f"{path}/power/runtime_status")
        if text is not None:
            expect(text, b"unsupported\n", f"{path}/power/runtime_status")


@clause(
    "powercap.size.page",
    level="must",
    title="Attributes have the size of a page (4096 bytes on x86), directories and links of 0.",
    group="shape",
    source="fs/sysfs/file.c sysfs_add_file_mode_ns",
    needs=("size",),
)
def size_page(tree: Provider) -> None:
    """The size is that of the page that a read may fill, not that of the text: nobody may read st_size bytes.

    Arm kernels may have pages of 16 or 64 KiB; all attributes show the same.
    """
    sizes = {tree.stat(file).size for path in devices(tree) for file in attributes(tree, path)}
    page = next((size for size in _PAGES if sizes == {size}), _PAGES[0])
    for path in devices(tree):
        expect(tree.stat(path).size, 0, f"size of the directory {path}")
        for name in entries(tree, path):
            entry = tree.stat(f"{path}/{name}")
            expect(entry.size, page if entry.kind == "file" else 0, f"size of the {entry.kind} {path}/{name}")


@clause(
    "powercap.size.links",
    level="must",
    title="A directory counts two links and one for each directory in it.",
    group="shape",
    source="fs/kernfs/inode.c kernfs_refresh_inode",
    needs=("size",),
)
def size_links(tree: Provider) -> None:
    """Find and other walkers may stop early where the count says that no directory is left."""
    paths = devices(tree)
    powers = [f"{path}/power" for path in paths if "power" in directories(tree, path)]
    tops = [path for path in (CLASS, DEVICES) if exists(tree, path)]
    for path in [*tops, *paths, *powers]:
        expect(tree.stat(path).nlink, 2 + len(directories(tree, path)), f"links of the directory {path}")
        for file in attributes(tree, path):
            expect(tree.stat(file).nlink, 1, f"links of the file {file}")


@clause(
    "powercap.order.hash",
    level="should",
    title="A directory is listed in the order of the kernel's name hash.",
    group="shape",
    source="fs/kernfs/dir.c kernfs_name_hash, kernfs_sd_compare",
    needs=("order",),
    kernels=("4.19", None),
    threads=("https://github.com/hubblo-org/scaphandre/issues/108",),
)
def order_hash(tree: Provider) -> None:
    """The order is the same on every boot, and neither that of the alphabet nor that of age.

    A reader that takes domains by their place in the listing gets the wrong ones. The hash differs between
    64-bit and 32-bit kernels; one of both orders holds for the whole tree.
    """
    paths = [path for path in (CLASS, DEVICES) if exists(tree, path)] + devices(tree)
    listings = {path: tree.listdir(path) for path in paths}
    bits = next((bits for bits in (64, 32) if all(names == _sorted(names, bits) for names in listings.values())), 64)
    for path, names in listings.items():
        expect(names, _sorted(names, bits), f"order of {path}")


def _sorted(names: list[str], bits: int) -> list[str]:
    """The names as kernfs sorts them: by hash, then by name."""
    return sorted(names, key=lambda name: (_name_hash(name.encode(), bits), name))


def _name_hash(name: bytes, bits: int) -> int:
    """include/linux/stringhash.h partial_name_hash and end_name_hash, cut to 31 bits without its ends."""
    word = 1 << bits
    golden = 0x61C8864680B583EB if bits == 64 else 0x61C88647
    found = 0
    for byte in name:
        found = (found + (byte << 4) + (byte >> 4)) * 11 % word
    found = (found * golden % word >> (bits - 32)) & 0x7FFFFFFF
    if found < 2:
        return found + 2
    return min(found, 0x7FFFFFFE)
