# SPDX-License-Identifier: Apache-2.0
"""The shape of the tree: a flat class directory of links, and nested device directories behind it.

Mirrors drivers/powercap/powercap_sys.c (powercap_register_control_type, powercap_register_zone) and what
drivers/base/core.c makes of it: a device of a class that has no parent lies in devices/virtual/CLASS, and a child
of a device of the same class lies in its parent's directory.
"""

import re

from raplica_conformance.clause import clause, expect, not_applicable
from raplica_conformance.clauses._reading import devices, directories, entries, zones_of
from raplica_conformance.subject import CLASS, DEVICES, Provider, control_types, exists

_TARGET = re.compile(r"\.\./\.\./devices/virtual/powercap/.+")


def _kind(tree: Provider, path: str) -> str:
    return tree.stat(path).kind


def _class_links(tree: Provider) -> list[tuple[str, str]]:
    """Name and target of each link in class/powercap."""
    links = [name for name in entries(tree, CLASS) if _kind(tree, f"{CLASS}/{name}") == "link"]
    return [(name, tree.readlink(f"{CLASS}/{name}")) for name in links]


@clause(
    "powercap.class.directory",
    level="must",
    title="The class directory exists, also on a machine that has nothing to cap.",
    group="shape",
    source="drivers/powercap/powercap_sys.c powercap_init",
    needs=("content",),
    threads=(
        "https://github.com/sustainable-computing-io/kepler/issues/2262",
        "https://github.com/microsoft/WSL/issues/10160",
    ),
)
def class_directory(tree: Provider) -> None:
    """The framework makes class/powercap when the kernel starts; without a driver it is there and empty.

    A kernel built without powercap has no such directory, and there is then nothing that could be judged.
    """
    if not exists(tree, CLASS) and not exists(tree, DEVICES):
        not_applicable(f"no {CLASS} here: the kernel has no powercap, or this is no sysfs")
    expect(exists(tree, CLASS) and _kind(tree, CLASS), "dir", f"{CLASS} is a directory")


@clause(
    "powercap.devices.when-empty",
    level="must",
    title="Without a control type there is no devices/virtual/powercap.",
    group="shape",
    source="drivers/base/core.c class_dir_create_and_add, cleanup_glue_dir",
    needs=("content",),
    threads=("https://github.com/sustainable-computing-io/kepler/issues/2262",),
    pitfalls=("package-counter-zero-no-tree",),
)
def devices_when_empty(tree: Provider) -> None:
    """It comes with the first control type: a machine whose counters read 0 has an empty class and no more."""
    if exists(tree, CLASS) and not entries(tree, CLASS):
        expect(entries(tree, DEVICES), [], f"{DEVICES} holds nothing while {CLASS} is empty")
        expect(exists(tree, DEVICES), False, f"{DEVICES} is gone while {CLASS} is empty")


@clause(
    "powercap.class.link",
    level="must",
    title="Every entry of the class directory is a symbolic link.",
    group="shape",
    source="drivers/base/core.c device_add_class_symlinks",
    needs=("links",),
    threads=("https://github.com/intel/powertelemetry/issues/3",),
    pitfalls=("flat-class-of-links",),
)
def class_link(tree: Provider) -> None:
    """A reader that refuses links, or copies a tree without them, sees nothing on a real machine.

    Trees that hold directories in their place also hide the files from tools that follow the links.
    """
    for name in entries(tree, CLASS):
        expect(_kind(tree, f"{CLASS}/{name}"), "link", f"{CLASS}/{name} is a link into {DEVICES}")


@clause(
    "powercap.class.relative",
    level="must",
    title="A class link is relative and leads into devices/virtual/powercap.",
    group="shape",
    source="fs/sysfs/symlink.c sysfs_create_link",
    needs=("links",),
    threads=("https://github.com/home-assistant/operating-system/issues/4931",),
    pitfalls=("flat-class-of-links",),
)
def class_relative(tree: Provider) -> None:
    """An absolute target escapes from every place where the tree is mounted anew: a container, a chroot, a test."""
    for name, target in _class_links(tree):
        expect(
            _TARGET.fullmatch(target) is not None or target,
            True,
            f"{CLASS}/{name} leads to ../../{DEVICES}/...",
        )


@clause(
    "powercap.class.leads",
    level="must",
    title="A class link leads to a directory of the same name that is there.",
    group="shape",
    source="drivers/base/core.c device_add_class_symlinks",
    needs=("links",),
    threads=(
        "https://github.com/kubernetes/kubernetes/issues/125970",
        "https://github.com/podman-container-tools/podman/issues/20501",
        "https://github.com/hubblo-org/scaphandre/issues/373",
    ),
)
def class_leads(tree: Provider) -> None:
    """Container runtimes that mask devices/virtual/powercap leave the class links dangling: listed, not there.

    A link whose last component is another name gives a zone under a wrong id. The framework lets a driver take a zone
    away before its child, whose link then dangles until the child goes too; no driver of the kernel does so.
    """
    for name, target in _class_links(tree):
        if _TARGET.fullmatch(target) is None:
            continue
        expect(target.rpartition("/")[2], name, f"{CLASS}/{name} leads to the device of its own name")
        path = target.removeprefix("../../")
        expect(exists(tree, path) and _kind(tree, path), "dir", f"{CLASS}/{name} leads to {path}, a directory")


@clause(
    "powercap.class.complete",
    level="must",
    title="Every control type and every zone of any depth has its link in the class directory.",
    group="shape",
    source="drivers/powercap/powercap_sys.c powercap_register_zone",
    needs=("content",),
    threads=("https://github.com/intel/thermal_daemon/issues/401",),
    pitfalls=("flat-class-of-links",),
)
def class_complete(tree: Provider) -> None:
    """The class directory is flat: readers that list it must meet children beside their parents."""
    listed = entries(tree, CLASS)
    for path in devices(tree):
        name = path.rpartition("/")[2]
        expect(name in listed, True, f"{CLASS} lists {name}, which lies at {path}")


@clause(
    "powercap.device.no-glue",
    level="must",
    title="Nothing but zones and `power` are directories in a control type or zone.",
    group="shape",
    source="drivers/base/core.c get_device_parent",
    needs=("content",),
    threads=("https://github.com/intel/thermal_daemon/issues/304",),
)
def device_no_glue(tree: Provider) -> None:
    """A child of the same class gets no directory named after the class between itself and its parent."""
    for path in devices(tree):
        for name in directories(tree, path):
            if ":" not in name:
                expect(name, "power", f"{path} holds zones and power/, and no other directory")


@clause(
    "powercap.zone.nesting",
    level="must",
    title="A zone lies in its parent's directory and is named after it: parent, colon, id.",
    group="shape",
    source="drivers/powercap/powercap_sys.c powercap_register_zone",
    needs=("content",),
    threads=("https://github.com/hubblo-org/scaphandre/issues/131",),
)
def zone_nesting(tree: Provider) -> None:
    """intel-rapl:1:0 in the directory of intel-rapl:0 would give one socket's memory to the other."""
    for path in devices(tree):
        if not path.startswith(DEVICES):
            continue
        parent = path.rpartition("/")[2]
        for name in directories(tree, path):
            if ":" in name:
                expect(name.rpartition(":")[0], parent, f"{path}/{name} is named after the directory it lies in")


@clause(
    "powercap.device.subsystem",
    level="must",
    title="`subsystem` of each control type and zone leads to class/powercap.",
    group="shape",
    source="drivers/base/core.c device_add_class_symlinks",
    needs=("links",),
)
def device_subsystem(tree: Provider) -> None:
    """One ../ for each directory up to the root of sysfs, then class/powercap: this is how udev knows the device."""
    for path in devices(tree):
        found = exists(tree, f"{path}/subsystem") and tree.readlink(f"{path}/subsystem")
        expect(found, "../" * len(path.split("/")) + CLASS, f"{path}/subsystem leads to the class")


@clause(
    "powercap.zone.device",
    level="must",
    title="`device` of a zone leads to its parent zone or control type.",
    group="shape",
    source="drivers/base/core.c device_add_class_symlinks",
    needs=("links",),
)
def zone_device(tree: Provider) -> None:
    """The target is ../../PARENT, relative to the zone: the parent's name stands in it although .. would do."""
    for zone in zones_of(tree):
        found = exists(tree, f"{zone.path}/device") and tree.readlink(f"{zone.path}/device")
        expect(found, f"../../{zone.parent or zone.control_type}", f"{zone.path}/device leads to the parent")


@clause(
    "powercap.control-type.no-device",
    level="must",
    title="A control type has no `device` link.",
    group="shape",
    source="drivers/base/core.c device_add_class_symlinks",
    needs=("content",),
    pitfalls=("control-type-has-no-name",),
)
def control_type_no_device(tree: Provider) -> None:
    """It has no parent device, so there is nothing that it could lead to."""
    for name in control_types(tree):
        for path in devices(tree):
            if path.rpartition("/")[2] == name:
                expect(exists(tree, f"{path}/device"), False, f"{path} has no parent and no device link")
