# SPDX-License-Identifier: Apache-2.0
r"""A simulated Windows: a kernel on a machine, the driver images on its disk, and the processes that ask.

>>> from raplica_simulator import Machine
>>> from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
>>> system = WindowsSystem.with_driver(Machine.from_profile("kabylake"), ScaphandreDriver())
>>> process = system.process(administrator=False)
>>> handle = process.create_file(r"\\.\ScaphandreDriver", 0xC0000000)
>>> process.device_io_control(handle, 0x22D844, (0x606).to_bytes(8, "little"), 8).output.hex()
'030e0a0000000000'
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Literal

from raplica_simulator.machine import Machine
from raplica_simulator.windows.io_control import Driver
from raplica_simulator.windows.kernel import BOOT_TIME_100NS, Kernel
from raplica_simulator.windows.nt_status import BugCheck, NtStatus, Win32, Win32Error
from raplica_simulator.windows.processors import GROUP_SIZE, Processors
from raplica_simulator.windows.service_database import ServiceDatabase
from raplica_simulator.windows.win32_calls import Win32Calls

__all__ = ["DriverImage", "WindowsSystem"]

_SYSTEM_ROOT = "C:\\Windows"


@dataclass(frozen=True, slots=True)
class DriverImage:
    """A driver's file on the simulated disk.

    Attributes:
        make: makes the driver when the image is loaded.
        signature: whose it is: a production one, a test one, none, or one that is on Microsoft's list of bad drivers.
        corrupt: it is no image at all.

    Test signing lets an image without any signature pass as well, which is what the Scaphandre driver's README relies
    on; Microsoft's documentation speaks of images with a test signature only (*unknown*).
    """

    make: Callable[[], Driver]
    signature: Literal["valid", "test", "none", "blocked"] = "valid"
    corrupt: bool = False


class WindowsSystem:
    r"""One simulated Windows.

    Attributes:
        kernel: what drivers and processes meet.
        images: driver images by path; the path's case does not matter.
        services: the service control manager's database.
        test_signing: whether images without a production signature are loaded; ``boot_test_signing`` replaces it at
            the next boot, as ``bcdedit /set testsigning`` does.
        boot_steps: called with the system at the end of each reboot, in order.
    """

    def __init__(
        self,
        machine: Machine,
        *,
        test_signing: bool = False,
        blocklist: Collection[str] = (),
        lock: AbstractContextManager[object] | None = None,
        group_size: int = GROUP_SIZE,
        empty_slots: int = 0,
        boot_time_100ns: int = BOOT_TIME_100NS,
        stale_link: NtStatus = NtStatus.OBJECT_NAME_NOT_FOUND,
    ) -> None:
        """Boot it.

        ``blocklist`` names files (``WinRing0x64.sys``) that are refused whatever their signature.  ``lock`` keeps
        others away from a machine that has more faces than this one (default: a lock of its own).  The rest is as in
        :class:`.Processors` and :class:`.Kernel`.
        """
        processors = Processors(machine.profile.topology, group_size=group_size, empty_slots=empty_slots)
        self.kernel = Kernel(machine, processors, lock=lock, boot_time_100ns=boot_time_100ns, stale_link=stale_link)
        self.images: dict[str, DriverImage] = {}
        self.test_signing = test_signing
        self.boot_test_signing = test_signing
        self.boot_steps: list[Callable[[WindowsSystem], None]] = []
        self._blocklist = {name.casefold() for name in blocklist}
        self._processes: weakref.WeakSet[Win32Calls] = weakref.WeakSet()
        self.services = ServiceDatabase(self, self.kernel.lock)
        self.boot_steps.append(lambda system: system.services.boot())

    @classmethod
    def with_driver(cls, machine: Machine, *drivers: Driver) -> WindowsSystem:
        """A system on which these drivers run already, without any service; Win32Error where one does not load."""
        system = cls(machine)
        for driver in drivers:
            system.kernel.load(driver)
        return system

    @property
    def machine(self) -> Machine:
        """What it runs on."""
        return self.kernel.machine

    @property
    def crashed(self) -> BugCheck | None:
        """The bug check that stopped it; None while it runs."""
        return self.kernel.crashed

    def check(self) -> None:
        """Raise the bug check that stopped it, if one did."""
        self.kernel.check()

    def process(self, *, administrator: bool = True, cpu: int = 0) -> Win32Calls:
        """Start a process whose threads begin on the processor of index ``cpu``; ValueError where there is none."""
        process = Win32Calls(self, administrator=administrator, cpu=cpu)
        with self.kernel.lock:  # a reboot may be going through them in another thread
            self._processes.add(process)
        return process

    def load(self, image_path: str) -> Driver:
        r"""Load an image and run its DriverEntry, as the service control manager has it done.

        Win32Error: 2 where there is no such file (3 in the documentation: *unknown*), 193 where it is no image, 1275
        where it is blocked, 577 where its signature does not do, or the status of DriverEntry, mapped.
        """
        with self.kernel.lock:
            self.kernel.check()
            image = self._image(image_path)
            if image is None:
                raise Win32Error(Win32.FILE_NOT_FOUND, image_path)
            if image.corrupt:
                raise Win32Error(Win32.BAD_EXE_FORMAT, image_path)
            if image.signature == "blocked" or PureWindowsPath(image_path).name.casefold() in self._blocklist:
                raise Win32Error(Win32.DRIVER_BLOCKED, image_path)
            if image.signature != "valid" and not self.test_signing:
                raise Win32Error(Win32.INVALID_IMAGE_HASH, image_path)
            driver = image.make()
            self.kernel.load(driver)
            return driver

    def unload(self, driver: Driver) -> bool:
        """Unload a driver; False where that waits for its last handle to be closed.

        Win32Error(1052) for a driver without an unload routine.
        """
        with self.kernel.lock:
            self.kernel.check()
            if driver.unload is None:
                raise Win32Error(Win32.INVALID_SERVICE_CONTROL, driver.name)
            return self.kernel.unload(driver)

    def is_loaded(self, driver: Driver) -> bool:
        """Whether a driver is in memory, also where it only waits for its last handle."""
        with self.kernel.lock:
            return self.kernel.is_loaded(driver)

    def has_image(self, path: str) -> bool:
        """Whether there is a driver image at this path."""
        return self._image(path) is not None

    def reboot(self) -> None:
        """Switch off and on: registers, devices, links and processes are as new; the images stay.

        A program that goes on with its object after this is one that was started again: its handles are gone.
        """
        with self.kernel.lock:
            self.kernel.restart()
            self.machine.reset()
            self.test_signing = self.boot_test_signing
            for process in self._processes:
                process.forget_handles()
            for step in self.boot_steps:
                step(self)

    def _image(self, path: str) -> DriverImage | None:
        wanted = _full(path)
        return next((image for at, image in self.images.items() if _full(at) == wanted), None)


def _full(path: str) -> str:
    r"""An image path as files are found by: without ``\??\``, from the system root where it is relative, no case."""
    plain = path.removeprefix("\\??\\")
    if plain.casefold().startswith("\\systemroot\\"):
        plain = _SYSTEM_ROOT + plain[len("\\systemroot") :]
    elif not PureWindowsPath(plain).drive:
        plain = f"{_SYSTEM_ROOT}\\{plain.lstrip(chr(92))}"
    return plain.casefold()
