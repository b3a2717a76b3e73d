# SPDX-License-Identifier: Apache-2.0
r"""The kernel's names: devices, the links by which programs find them, and the way from a name to a device.

Mirrors the object manager's IoCreateSymbolicLink and what CreateFile does with a name.  Names do not care about case;
``\DosDevices\``, ``\??\`` and ``\GLOBAL??\`` are one folder.
"""

from __future__ import annotations

from raplica_simulator.windows.io_control import Device
from raplica_simulator.windows.nt_status import NtError, NtStatus

__all__ = ["ObjectNames"]

_LINKS = "\\??\\"
_LINK_FOLDERS = ("\\dosdevices\\", _LINKS, "\\global??\\")


class ObjectNames:
    """Every name that there is."""

    def __init__(self, stale_link: NtStatus) -> None:
        """``stale_link`` is what a link without a device gives."""
        self._stale_link = stale_link
        self._devices: dict[str, Device] = {}
        self._links: dict[str, str] = {}

    @property
    def devices(self) -> tuple[Device, ...]:
        """The devices, the oldest first."""
        return tuple(self._devices.values())

    def clear(self) -> None:
        """Forget everything."""
        self._devices.clear()
        self._links.clear()

    def add(self, device: Device) -> None:
        """Put a device there, with its interface's link; NtError(OBJECT_NAME_COLLISION) for a name that is taken."""
        if _key(device.name) in self._devices:
            raise NtError(NtStatus.OBJECT_NAME_COLLISION, device.name)
        self._devices[_key(device.name)] = device
        if device.interface is not None:
            self._links[_interface_key(device.interface)] = device.name

    def remove(self, device: Device) -> None:
        """Take a device away, and the link of its interface; nothing happens where it is gone already."""
        self._devices.pop(_key(device.name), None)
        if device.interface is not None:
            self._links.pop(_interface_key(device.interface), None)

    def link(self, name: str, target: str) -> int:
        """Make a link; OBJECT_NAME_COLLISION, as a status, for a name that is taken, also by a stale link."""
        if _key(name) in self._links:
            return NtStatus.OBJECT_NAME_COLLISION
        self._links[_key(name)] = target
        return NtStatus.SUCCESS

    def unlink(self, name: str) -> int:
        """Delete a link; OBJECT_NAME_NOT_FOUND, as a status, where there is none."""
        return NtStatus.SUCCESS if self._links.pop(_key(name), None) else NtStatus.OBJECT_NAME_NOT_FOUND

    def find(self, name: str) -> tuple[Device, str]:
        """The device that a name leads to, through a link or at once, and what follows the device's own name.

        NtError(OBJECT_NAME_NOT_FOUND), or the status of a stale link.
        """
        key = _key(name)
        if key.startswith(_LINKS):
            first, slash, rest = name[len(name) - len(key) + len(_LINKS) :].partition("\\")
            target = self._links.get(_LINKS + first.casefold())
            if target is None:
                raise NtError(NtStatus.OBJECT_NAME_NOT_FOUND, name)
            device = self._devices.get(_key(target))
            if device is None:
                raise NtError(self._stale_link, name)
            return device, slash + rest
        for device in self._devices.values():
            own = _key(device.name)
            if key == own or key.startswith(own + "\\"):
                return device, name[len(own) :]
        raise NtError(NtStatus.OBJECT_NAME_NOT_FOUND, name)


def _key(name: str) -> str:
    """A name as the kernel compares it."""
    folded = name.casefold()
    for folder in _LINK_FOLDERS:
        if folded.startswith(folder):
            return _LINKS + folded.removeprefix(folder)
    return folded


def _interface_key(interface: str) -> str:
    return _key(_LINKS + interface.removeprefix("\\\\?\\"))
