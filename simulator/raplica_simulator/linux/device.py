# SPDX-License-Identifier: Apache-2.0
"""The driver core as sysfs shows it: a device's directory, its class link, ``uevent`` and ``power/``.

Mirrors drivers/base/core.c (device_add), drivers/base/power/sysfs.c and lib/kobject_uevent.c.  Every directory
below ``devices/virtual/powercap`` is one such device.
"""

import os
import re
from collections.abc import Callable
from errno import EEXIST, EINVAL, EIO, ENOENT

from raplica_simulator.linux.sysfs import Sysfs
from raplica_simulator.linux.sysfs_nodes import Directory

__all__ = ["Device", "DeviceClass", "Uevent"]

# One uevent: the words of its environment in order, as a netlink listener gets them, less SEQNUM.
Uevent = tuple[str, ...]

_EARLY_ACTIONS = ("add", "remove", "change", "move", "online", "offline")
_ACTIONS = (*_EARLY_ACTIONS, "bind", "unbind")
_UEVENTS_KEPT = 10_000
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_PAIR = re.compile(r"([0-9A-Za-z]+)=([0-9A-Za-z]+)\Z")


class DeviceClass:
    """A class directory of links, and the directory of its virtual devices, which exists only while there are any.

    Attributes:
        name: such as ``powercap``.
        uevents: what was sent to user space so far; above 20,000 only the newest 10,000 stay.
    """

    def __init__(self, sysfs: Sysfs, name: str, uevents: list[Uevent]) -> None:
        self.sysfs = sysfs
        self.name = name
        self.uevents = uevents
        self.directory = sysfs.make_directory(_directory(sysfs, "class"), name)
        self._virtual = _directory(sysfs, "devices", "virtual")
        self._glue: Directory | None = None

    def parent_directory(self) -> Directory:
        """``devices/virtual/NAME``, created when the first device without a parent needs it."""
        if self._glue is None:
            self._glue = self.sysfs.make_directory(self._virtual, self.name)
        return self._glue

    def drop_empty_parent(self) -> None:
        """Remove ``devices/virtual/NAME`` when its last device has gone."""
        if self._glue is not None and not self._glue.children:
            self.sysfs.remove(self._glue)
            self._glue = None


class Device:
    """One device: its directory and everything that the driver core puts there.

    Attributes:
        directory: where the owner of the device adds its own attributes; there once it was added.
        added: whether it is registered.
    """

    def __init__(
        self,
        device_class: DeviceClass,
        name: str,
        parent: "Device | None" = None,
        released: Callable[[], None] | None = None,
    ) -> None:
        """A device that is not in the tree yet; ``released`` is called when nobody refers to it any more."""
        self.name = name
        self.added = False
        self._class = device_class
        self._parent = parent
        self._released = released
        # Its own until it is unregistered, and one for each device below it (device_initialize, device_add).
        self._references = 1

    @property
    def is_released(self) -> bool:
        """Whether the last reference has gone, so that its memory is somebody else's."""
        return self._references == 0

    def add(self) -> None:
        """Put it into the tree.  Where that fails the last reference goes too (device_register, put_device).

        OSError: EINVAL without a name, ENOENT below a device that has gone, EEXIST where its name is taken in its
        parent or in the class.
        """
        try:
            self._add()
        except OSError:
            self._put()
            raise
        if self._parent:
            self._parent._references += 1  # noqa: SLF001 - the same class

    def _add(self) -> None:
        if not self.name:
            raise OSError(EINVAL, os.strerror(EINVAL))
        sysfs = self._class.sysfs
        # "/" cannot stand in a name (drivers/base/core.c, kobject_set_name).
        visible = self.name.replace("/", "!")
        # A parent of the same class gets no directory named after the class in between (get_device_parent).
        above = self._parent.directory if self._parent else self._class.parent_directory()
        if above.dead:
            raise OSError(ENOENT, os.strerror(ENOENT), f"{above.path}/{visible}")
        self.directory: Directory = sysfs.make_directory(above, visible)
        self.added = True
        if visible in self._class.directory.children:
            # By then a removal has to be announced (device_add, after SymlinkError).
            self.announce("remove")
            sysfs.remove(self.directory)
            self.added = False
            raise OSError(EEXIST, os.strerror(EEXIST), f"{self._class.directory.path}/{visible}")
        self._link = sysfs.make_link(self._class.directory, visible, self.directory)
        sysfs.make_link(self.directory, "subsystem", self._class.directory)
        if self._parent:
            sysfs.make_link(self.directory, "device", self._parent.directory)
        sysfs.make_attribute(self.directory, "uevent", 0o644, lambda: b"", self._store_uevent)
        RuntimePower(sysfs, self.directory)

    def announce(self, action: str, *extra: str) -> None:
        """Send a uevent of this device."""
        words = (f"ACTION={action}", f"DEVPATH={self._device_path()}", f"SUBSYSTEM={self._class.name}", *extra)
        uevents = self._class.uevents
        uevents.append(words)
        if len(uevents) > 2 * _UEVENTS_KEPT:
            del uevents[:-_UEVENTS_KEPT]

    def remove(self) -> None:
        """Announce the removal, take the directory and its class link away, let go (device_unregister)."""
        self.announce("remove")
        sysfs = self._class.sysfs
        sysfs.remove(self._link)
        if not self.directory.dead:
            sysfs.remove(self.directory)
        self.added = False
        self._class.drop_empty_parent()
        # What is above it is let go before itself.
        if self._parent:
            self._parent._put()  # noqa: SLF001 - the same class
        self._put()

    def _put(self) -> None:
        self._references -= 1
        if not self._references and self._released:
            self._released()

    def _device_path(self) -> str:
        """The path that a uevent names: a removed device is below nothing any more (lib/kobject.c, kobject_del)."""
        if not self.added:
            return f"/{self.directory.name}"
        if self._parent is None:
            return f"/{self.directory.path}"
        return f"{self._parent._device_path()}/{self.directory.name}"  # noqa: SLF001 - the same class

    def _store_uevent(self, data: bytes) -> None:
        """Send an event by hand: a verb, or a verb, a UUID and KEY=VALUE words (kobject_synth_uevent).

        Before 5.0 a verb and nothing else, and what is none is taken all the same, and does nothing.
        """
        text = data.decode("latin-1")
        if text.endswith(("\n", "\0")):
            text = text[:-1]
        if not self._class.sysfs.kernel.checks_uevent_verbs:
            if text in _EARLY_ACTIONS:
                self.announce(text)
            return
        verb, *arguments = text.split(" ")
        if verb not in _ACTIONS:
            raise OSError(EINVAL, "not a uevent action")
        if not arguments:
            self.announce(verb, "SYNTH_UUID=0")
            return
        uuid, *words = arguments
        pairs = [_PAIR.match(word) for word in words]
        if not _UUID.match(uuid) or None in pairs:
            raise OSError(EINVAL, "not a UUID and KEY=VALUE words")
        self.announce(verb, f"SYNTH_UUID={uuid}", *(f"SYNTH_ARG_{pair[1]}={pair[2]}" for pair in pairs if pair))


class RuntimePower:
    """The ``power/`` directory of a device without runtime power management (drivers/base/power/sysfs.c).

    All nine files of a kernel with CONFIG_PM_ADVANCED_DEBUG, as Debian and Ubuntu build it.
    """

    def __init__(self, sysfs: Sysfs, device: Directory) -> None:
        self._async = False
        self._forbidden = False
        directory = sysfs.make_directory(device, "power")
        files: tuple[tuple[str, Callable[[], bytes], Callable[[bytes], None] | None], ...] = (
            ("async", lambda: b"enabled\n" if self._async else b"disabled\n", self._store_async),
            ("autosuspend_delay_ms", self._no_autosuspend, self._store_autosuspend),
            ("control", lambda: b"on\n" if self._forbidden else b"auto\n", self._store_control),
            ("runtime_active_kids", lambda: b"0\n", None),
            ("runtime_active_time", lambda: b"0\n", None),
            ("runtime_enabled", self._runtime_enabled, None),
            ("runtime_status", lambda: b"unsupported\n", None),
            ("runtime_suspended_time", lambda: b"0\n", None),
            ("runtime_usage", lambda: b"1\n" if self._forbidden else b"0\n", None),
        )
        for name, show, store in files:
            sysfs.make_attribute(directory, name, 0o644 if store else 0o444, show, store)

    def _runtime_enabled(self) -> bytes:
        return b"disabled & forbidden\n" if self._forbidden else b"disabled\n"

    def _no_autosuspend(self) -> bytes:
        """Reading and writing fail alike while autosuspend is not in use (use_autosuspend)."""
        raise OSError(EIO, "autosuspend is not in use")

    def _store_autosuspend(self, _: bytes) -> None:
        self._no_autosuspend()

    def _store_async(self, data: bytes) -> None:
        self._async = _one_of(data, off=b"disabled", on=b"enabled")

    def _store_control(self, data: bytes) -> None:
        # "on" keeps the device awake by a usage count (pm_runtime_forbid).
        self._forbidden = _one_of(data, off=b"auto", on=b"on")


def _one_of(data: bytes, *, off: bytes, on: bytes) -> bool:
    """Compare as sysfs_streq does: up to a NUL, with at most one newline at the end.  EINVAL for neither."""
    word = data.split(b"\0", 1)[0].removesuffix(b"\n")
    if word not in (off, on):
        raise OSError(EINVAL, "not one of the two words")
    return word == on


def _directory(sysfs: Sysfs, *names: str) -> Directory:
    """The directory at a path below the root, created where it is missing."""
    here = sysfs.root
    for name in names:
        child = here.children.get(name)
        here = child if isinstance(child, Directory) else sysfs.make_directory(here, name)
    return here
