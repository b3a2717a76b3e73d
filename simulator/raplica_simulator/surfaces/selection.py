# SPDX-License-Identifier: Apache-2.0
"""Which part of a snapshot is wanted, and how its folders lie: a fixture is often a few zones in plain folders.

The kernel's tree is one of links: ``class/powercap`` holds nothing else.  Projects that write their fixtures by hand
have plain folders instead, because archives, version control and other systems lose links: all zones side by side
below ``class/powercap``, or nested in each other as the devices are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from raplica_simulator.surfaces.snapshot import Folder, Snapshot, Unreadable
from raplica_simulator.surfaces.target import shown

__all__ = ["LAYOUTS", "Selection", "read_names", "select"]

# sys: what the kernel shows.  flat: class/powercap/ZONE.  nested: CONTROL-TYPE/ZONE/SUBZONE.
LAYOUTS = ("sys", "flat", "nested")
_DEVICES = ("devices", "virtual", "powercap")
_CLASS = ("class", "powercap")


@dataclass(frozen=True, slots=True)
class Selection:
    """What is wanted of a snapshot.

    Attributes:
        layout: one of `LAYOUTS`.
        zones: patterns as a shell has them (``intel-rapl:0*``) of control types and zones; empty: all.
        attributes: patterns of what is kept of each, such as ``energy_uj`` and ``power/control``; empty: all.
    """

    layout: str = "sys"
    zones: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Device:
    """A control type or a zone: the folder that it has in the snapshot, and the path of that below ``/sys``."""

    path: str
    folder: Folder
    children: "list[_Device]" = field(default_factory=list)

    def walk(self) -> "Iterator[_Device]":
        yield self
        for child in self.children:
            yield from child.walk()


def read_names(option: str, text: str | None) -> tuple[str, ...]:
    """The patterns in ``NAME,NAME``; none for None.  ValueError for an empty one."""
    if text is None:
        return ()
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise ValueError(f"{option} '{shown(text)}': names are separated by single commas, like ONE,TWO")
    return names


def select(snapshot: Snapshot, wanted: Selection) -> Snapshot:
    """The part that is wanted, in the layout that is wanted; what is not there is not made up.

    Folders above a zone stay, without what is in them.  In the plain layouts links and what is not an attribute of the
    device itself (``power/``) are left out.  ValueError for a pattern that fits nothing, and for patterns that fit
    nothing together.
    """
    if wanted == Selection():
        return snapshot
    devices = [_device(child, "/".join((*_DEVICES, child.name))) for child in _at(snapshot.root, _DEVICES).folders]
    every = [one for device in devices for one in device.walk()]
    _check("--zones", wanted.zones, [one.folder.name for one in every], "control types and zones")
    attributes = [name for one in every for name in _attributes(one)]
    _check("--attributes", wanted.attributes, attributes, "attributes")
    errnos = {one.path: one.errno for one in snapshot.unreadable}
    chosen = _Choice(wanted, errnos).snapshot(snapshot, devices, every)
    if wanted.attributes and not chosen.attributes:
        raise ValueError(_why_nothing(wanted))
    return chosen


class _Choice:
    """The walk through the devices; counts what it keeps, and under which path."""

    def __init__(self, wanted: Selection, errnos: dict[str, str]) -> None:
        self._wanted = wanted
        self._errnos = errnos
        self._unreadable: list[Unreadable] = []
        self._attributes = 0

    def snapshot(self, before: Snapshot, devices: list[_Device], every: list[_Device]) -> Snapshot:
        if self._wanted.layout == "nested":
            root = Folder("", before.root.mode)
            root.folders = [kept for one in devices if (kept := self._nested(one, "", plain=True)) is not None]
        elif self._wanted.layout == "flat":
            root = _bare(before.root, _CLASS)
            shelf = _at(root, _CLASS)
            by_name = {one.folder.name: one for one in every}
            order = [name for name, _ in _at(before.root, _CLASS).links if name in by_name]
            shelf.folders = [
                self._folder(by_name[name], "class/powercap/", plain=True) for name in order if self._fits(name)
            ]
        else:
            root = _bare(before.root, _CLASS, _DEVICES)
            fitting = {one.folder.name for one in every if self._fits(one.folder.name)}
            shelf = _at(root, _CLASS)
            shelf.links = [link for link in _at(before.root, _CLASS).links if link[0] in fitting]
            above = "/".join(_DEVICES) + "/"
            found = (self._nested(one, above, plain=False) for one in devices)
            _at(root, _DEVICES).folders = [one for one in found if one is not None]
        return Snapshot(root, self._attributes, tuple(self._unreadable))

    def _fits(self, name: str) -> bool:
        return not self._wanted.zones or _matches(name, self._wanted.zones)

    def _nested(self, device: _Device, above: str, *, plain: bool) -> Folder | None:
        """A device with those in it, or None where nothing of it is wanted."""
        wanted = self._fits(device.folder.name)
        folder = self._folder(device, above, plain=plain) if wanted else _copy(device.folder)
        groups = {group.name: group for group in folder.folders}
        place = f"{above}{folder.name}/"
        below = {one.folder.name: self._nested(one, place, plain=plain) for one in device.children}
        # In the order of the snapshot again, which is the kernel's.
        found = [groups.get(one.name) or below.get(one.name) for one in device.folder.folders]
        folder.folders = [one for one in found if one is not None]
        return folder if wanted or folder.folders else None

    def _folder(self, device: _Device, above: str, *, plain: bool) -> Folder:
        """A device's folder with what is wanted of it, without the devices in it."""
        folder = _copy(device.folder)
        place = f"{above}{folder.name}/"
        self._take_files(device.folder, folder, f"{device.path}/", place, "")
        if not plain:
            folder.links = list(device.folder.links)
            for group in _groups(device.folder):
                kept = _copy(group)
                self._take_files(group, kept, f"{device.path}/{group.name}/", f"{place}{group.name}/", f"{group.name}/")
                if kept.files or not self._wanted.attributes:
                    folder.folders.append(kept)
        return folder

    def _take_files(self, source: Folder, folder: Folder, was: str, place: str, inside: str) -> None:
        for file in source.files:
            if self._wanted.attributes and not _matches(inside + file[0], self._wanted.attributes):
                continue
            folder.files.append(file)
            self._attributes += 1
            if errno := self._errnos.get(was + file[0]):
                self._unreadable.append(Unreadable(place + file[0], errno))


def _device(folder: Folder, path: str) -> _Device:
    return _Device(path, folder, [_device(one, f"{path}/{one.name}") for one in folder.folders if _is_device(one)])


def _is_device(folder: Folder) -> bool:
    """Whether a folder is a device's own: the kernel gives each a link to its class."""
    return any(name == "subsystem" for name, _ in folder.links)


def _copy(folder: Folder) -> Folder:
    """The folder without what is in it."""
    return Folder(folder.name, folder.mode)


def _groups(folder: Folder) -> Iterator[Folder]:
    """The folders of a device that are groups of its own attributes, such as power."""
    return (one for one in folder.folders if not _is_device(one))


def _attributes(device: _Device) -> Iterator[str]:
    yield from (file[0] for file in device.folder.files)
    for group in _groups(device.folder):
        yield from (f"{group.name}/{file[0]}" for file in group.files)


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _check(option: str, patterns: tuple[str, ...], names: list[str], what: str) -> None:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            known = ", ".join(dict.fromkeys(names)) or "none at all"
            raise ValueError(f"{option}: nothing here is called {shown(pattern)}; the {what} are {shown(known)}")


def _why_nothing(wanted: Selection) -> str:
    """Why patterns that fit something each leave nothing at all."""
    attributes = shown(",".join(wanted.attributes))
    where = f"{shown(','.join(wanted.zones))} has" if wanted.zones else f"--layout {wanted.layout} has"
    return f"--attributes: {where} no {attributes}, so nothing is left: name other attributes, zones or another layout"


def _at(root: Folder, names: tuple[str, ...]) -> Folder:
    """The folder at a path, or an empty one that belongs to nothing where there is none."""
    here = root
    for name in names:
        found = next((one for one in here.folders if one.name == name), None)
        if found is None:
            return Folder(name, 0o755)
        here = found
    return here


def _bare(root: Folder, *paths: tuple[str, ...]) -> Folder:
    """A root with the folders of these paths that the snapshot has, and nothing in them."""
    copy = _copy(root)
    for folder in root.folders:
        below = [path[1:] for path in paths if path and path[0] == folder.name]
        if below:
            copy.folders.append(_bare(folder, *below))
    return copy
