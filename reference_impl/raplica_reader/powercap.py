# SPDX-License-Identifier: Apache-2.0
"""Find the zones of a powercap tree (mirrors what drivers/powercap/powercap_sys.c lays out).

The kernel lists control types and zones of every depth flat in `class/powercap`, as links to real directories below
`devices/virtual/powercap`. A zone's directory is called like its parent's plus ":" and a number in lowercase
hexadecimal that is only the next free one. So the parent of a zone can be told from its id, and nothing else can:
`intel-rapl:1` may be package-1, or psys, and `intel-rapl:0:0` is `core` here and `dram` there. What a zone *is* stands
in its file `name`.

Trees are met in other shapes too, and each of them is read: plain directories in place of links (fixtures, copies),
zones that the class does not list, no class directory but the real ones, and links whose directories a container
hides. Discovery stays inside the tree: a link that leads out of it is not followed but reported.
"""

import errno
import os
import posixpath
from dataclasses import dataclass

from raplica_reader.counter import counter_of
from raplica_reader.energy_file import EnergyFile
from raplica_reader.files import Files, OsFiles, errno_name, parse_number
from raplica_reader.mirror import marked
from raplica_reader.possible import possible_w
from raplica_reader.zone import Zone

__all__ = ["CLASS", "Powercap", "discover"]

CLASS = "class/powercap"
DEVICES = "devices/virtual/powercap"
MAIN_CONTROL_TYPE = "intel-rapl"
ZONE_ATTRIBUTES = frozenset({"energy_uj", "max_energy_range_uj", "name", "power_uw"})
"""A directory with one of these is a zone. A control type has none of them, and neither has `power`."""
LIMITS = ("_power_limit_uw", "_max_power_uw")
LINK_HOPS = 40
"""As many links as the kernel follows before it says ELOOP (MAXSYMLINKS)."""


@dataclass(slots=True)
class _Directory:
    """A directory of the class: where it is and what is in it, or the errno that hides it."""

    path: str | None
    entries: frozenset[str] = frozenset()
    error: str | None = None


def discover(sysfs: str | os.PathLike[str] | Files = "/sys") -> tuple[Zone, ...]:
    """Find every zone below the root `sysfs`, parents before their children and ids in numerical order.

    A zone that is listed but cannot be entered is there with its `error`. Errors: OSError with the kernel's errno
    where the powercap directories themselves cannot be listed (ENOENT: there are none).
    """
    files = OsFiles(sysfs) if isinstance(sysfs, str | os.PathLike) else sysfs
    found = _directories(files)
    zones: dict[str, Zone] = {}
    paths: set[str] = set()
    named = _Names(files, found)
    for zone_id in sorted(filter(named.is_zone, found), key=_numerically):
        zone = named.zone(zone_id, zones, paths)
        zones[zone_id] = zone
        paths.add(zone.path)
    return marked(tuple(zones.values()), frozenset(zone.id for zone in zones.values() if named.is_unlimited(zone)))


class Powercap:
    """The powercap tree below a root, as a source."""

    name = "powercap"

    def __init__(self, files: Files) -> None:
        self.files = files

    def signature(self) -> object:
        """What the class lists; it changes when zones come or go."""
        try:
            return frozenset(self.files.listdir(CLASS))
        except OSError as error:
            return error.errno

    def discover(self) -> tuple[Zone, ...]:
        """As the function `discover`."""
        return discover(self.files)


def _directories(files: Files) -> dict[str, _Directory]:
    """Every directory of the powercap class by its name: what the class lists, then what lies nested in that."""
    base = CLASS
    try:
        entries = files.listdir(base)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        base = DEVICES
        try:
            entries = files.listdir(base)
        except OSError:
            raise error from None
    found: dict[str, _Directory] = {}
    plain: set[str] = set()
    queue = [(base, entry) for entry in sorted(entries, reverse=True)]
    nested: list[tuple[str, str]] = []
    while queue or nested:
        parent, entry = (queue or nested).pop()
        if entry in found or (parent != base and _is_link(files, f"{parent}/{entry}")):
            continue
        directory = _enter(files, f"{parent}/{entry}", plain)
        if directory is None:
            continue
        found[entry] = directory
        if directory.path is not None:
            inside = (child for child in directory.entries if child.startswith(f"{entry}:"))
            nested.extend((directory.path, child) for child in sorted(inside, reverse=True))
    return found


def _enter(files: Files, path: str, plain: set[str]) -> _Directory | None:
    """Follow the links in `path` as far as the tree goes and list what is there; None for what is no directory.

    `plain` are paths that are known to be no links, and gets those that are found.
    """
    for _ in range(LINK_HOPS):
        followed = _followed(files, path, plain)
        if followed is None:
            break  # no link on the way: this is the place
        path = posixpath.normpath(followed)
        if path.startswith(("/", "..")):
            return _Directory(None, error=errno.errorcode[errno.EXDEV])
    else:
        return _Directory(None, error=errno.errorcode[errno.ELOOP])
    try:
        return _Directory(path, frozenset(files.listdir(path)))
    except OSError as error:
        return None if error.errno == errno.ENOTDIR else _Directory(path, error=errno_name(error))


def _followed(files: Files, path: str, plain: set[str]) -> str | None:
    """The path with the first link on the way, its end included, replaced by its text; None where there is none."""
    steps = path.split("/")
    for end in range(1, len(steps) + 1):
        place = "/".join(steps[:end])
        if place not in plain:
            try:
                target = files.readlink(place)
            except OSError:
                plain.add(place)
            else:
                return posixpath.join(posixpath.dirname(place), target, *steps[end:])
    return None


def _is_link(files: Files, path: str) -> bool:
    """Tell a link from everything else."""
    try:
        files.readlink(path)
    except OSError:
        return False
    return True


def _numerically(zone_id: str) -> tuple[str, list[tuple[int, int, str]]]:
    """Sort key: the ids are hexadecimal numbers, so :9 comes before :a and :f before :10."""
    control_type, *numbers = zone_id.split(":")
    return control_type, [_as_number(number) for number in numbers]


def _as_number(number: str) -> tuple[int, int, str]:
    try:
        return 0, int(number, 16), ""
    except ValueError:
        return 1, 0, number


def _printable(text: str) -> str:
    """Make text safe for one line on a terminal: what cannot be printed is shown as a backslash escape."""
    if text.isprintable():
        return text
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _name(text: bytes | None) -> str | None:
    """The name in a file `name`, without its newline if it has one."""
    return _printable((text or b"").removesuffix(b"\n").decode("utf-8", "backslashreplace")) or None


class _Names:
    """Turns directories into zones: reads their names and gives each a path of its own."""

    def __init__(self, files: Files, found: dict[str, _Directory]) -> None:
        self.files = files
        self.found = found
        self.texts = {zone_id: self._text(zone_id) for zone_id in found if self.is_zone(zone_id)}
        names = {zone_id: _name(text) for zone_id, text in self.texts.items()}
        self.names = names
        self.gauges: dict[str, EnergyFile] = {}
        self.count: dict[tuple[str | None, str, str], int] = {}
        for zone_id in names:
            key = self._same(zone_id)
            self.count[key] = self.count.get(key, 0) + 1

    def is_zone(self, zone_id: str) -> bool:
        """Tell a zone from a control type: by what it holds, or by its id where that cannot be seen."""
        directory = self.found[zone_id]
        return bool(directory.entries & ZONE_ATTRIBUTES) or (directory.error is not None and ":" in zone_id)

    def zone(self, zone_id: str, zones: dict[str, Zone], taken: set[str]) -> Zone:
        """Make the zone; `zones` are those before it, and `taken` are their paths."""
        directory = self.found[zone_id]
        control_type = _printable(zone_id.partition(":")[0])
        above = self._parent(zone_id)
        parent = zones[above] if above is not None else None
        name = self.names[zone_id]
        step = (name or _printable(zone_id)).replace("/", "!")  # as the kernel does with a / in a device's name
        if self.count[self._same(zone_id)] > 1:
            step = f"{step}[{_printable(zone_id)}]"
        if parent is not None:
            step = f"{parent.path}/{step}"
        elif control_type != MAIN_CONTROL_TYPE:
            step = f"{control_type}/{step}"
        while step in taken:
            step = f"{step}[{_printable(zone_id)}]"
        range_uj = self._range_uj(directory)
        gauge_above = self.gauges[above] if above is not None else None
        gauge = EnergyFile(directory.path, self.texts[zone_id], directory.error, gauge_above, self.files)
        self.gauges[zone_id] = gauge
        return Zone(
            id=_printable(zone_id),
            path=step,
            name=name,
            control_type=control_type,
            parent=parent.id if parent is not None else None,
            max_energy_range_uj=range_uj,
            has_energy="energy_uj" in directory.entries or directory.error is not None,
            error=directory.error,
            counter=counter_of(control_type, range_uj),
            possible_w=possible_w(name, self._limits_uw(directory), parent.possible_w if parent is not None else None),
            mirror_of=None,
            gauge=gauge,
        )

    def is_unlimited(self, zone: Zone) -> bool:
        """Whether a zone has no constraints at all."""
        directory = self.found.get(zone.id)
        return (
            directory is not None
            and directory.error is None
            and not any(entry.startswith("constraint_") for entry in directory.entries)
        )

    def _parent(self, zone_id: str) -> str | None:
        above = zone_id.rpartition(":")[0]
        return above if above in self.names else None

    def _same(self, zone_id: str) -> tuple[str | None, str, str]:
        """What zones that need their id to tell them apart have in common."""
        parent = self._parent(zone_id)
        return parent, zone_id.partition(":")[0], self.names[zone_id] or zone_id

    def _text(self, zone_id: str) -> bytes | None:
        """Read the file `name`."""
        directory = self.found[zone_id]
        if directory.path is None:
            return None
        try:
            return self.files.read(f"{directory.path}/name")
        except OSError:
            return None

    def _limits_uw(self, directory: _Directory) -> list[int]:
        """Every limit and every maximum that the zone's constraints name; ENODATA is usual among them."""
        limits_uw = []
        for entry in directory.entries:
            if entry.startswith("constraint_") and entry.endswith(LIMITS):
                try:
                    limits_uw.append(parse_number(self.files.read(f"{directory.path}/{entry}")))
                except OSError:
                    continue
        return limits_uw

    def _range_uj(self, directory: _Directory) -> int | None:
        """Read `max_energy_range_uj`."""
        if directory.path is None:
            return None
        try:
            return parse_number(self.files.read(f"{directory.path}/max_energy_range_uj"))
        except OSError:
            return None
