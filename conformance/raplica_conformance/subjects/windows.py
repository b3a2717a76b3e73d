# SPDX-License-Identifier: Apache-2.0
r"""A simulated Windows as a subject: a machine, and a driver that hands out its registers or its meters.

`MACHINE:DRIVER`, such as `kabylake:v3.2`; the drivers are the versions of Scaphandre's, each also with `-mended` behind
it, `emi`, `emi-1` (one channel for each device), `emi-amd` (the names seen on AMD), `emi-mirrored` (two meters for one
package), and `loader`, which is the program that installs the driver.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any

from raplica_conformance.clauses._windows import KIND, LOADER_KIND, METER_KIND, Processor
from raplica_conformance.subject import Crashed
from raplica_simulator import Machine, Profile, VirtualClock, load_profile
from raplica_simulator.windows.driver_loader import DriverLoader
from raplica_simulator.windows.energy_meter import EnergyMeterDriver
from raplica_simulator.windows.io_control import Driver
from raplica_simulator.windows.nt_status import BugCheck
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.scaphandre_versions import VERSIONS
from raplica_simulator.windows.system import DriverImage, WindowsSystem
from raplica_simulator.windows.win32_calls import Win32Calls

__all__ = ["DEFAULT", "SimulatedWindows", "WindowsRun", "begin_windows", "driver_names", "make_driver"]

_MENDED = "-mended"
_LOADER = "loader"
_METERS: dict[str, Callable[[], Driver]] = {
    "emi": EnergyMeterDriver,
    "emi-1": lambda: EnergyMeterDriver(version=1),
    "emi-amd": lambda: EnergyMeterDriver(names="amd"),
    "emi-mirrored": lambda: EnergyMeterDriver(mirrors=2),
}
_FOLDER = "C:\\raplica"
_MARK = 0x1000_0000  # of the 32 bits that count: well before their wrap, and with room between two

#: What is judged where nothing is named: each protocol once, and where packages and vendors make a difference.
DEFAULT = (
    *(f"kabylake:{tag}" for tag in ("v1", "v2-8-open", "v2-8-allow", "v3.2", "emi", _LOADER)),
    "skylake-sp-2s:v3.2",
    "zen2-epyc-2s:v2-4",
    *("zen2-epyc-2s:v3.2", "zen2-epyc-2s:v3.2-mended", "zen2-epyc-2s:emi"),
)


def driver_names() -> tuple[str, ...]:
    """Every driver that there is."""
    return (*(tag + end for tag in VERSIONS for end in ("", _MENDED)), *_METERS, _LOADER)


def make_driver(name: str) -> Driver:
    """The driver of that name; with the loader comes today's version of Scaphandre's."""
    if name in _METERS:
        return _METERS[name]()
    return (
        ScaphandreDriver()
        if name == _LOADER
        else ScaphandreDriver(name.removesuffix(_MENDED), fixed=name.endswith(_MENDED))
    )


def begin_windows(machine: Machine, driver: str) -> Win32Calls:
    """A process on a Windows of its own, which runs on that machine with a driver of that name."""
    return WindowsSystem.with_driver(machine, make_driver(driver)).process()


class SimulatedWindows:
    """A machine and a driver to be judged. ValueError in one line for one of them that there is not."""

    def __init__(self, wanted: str) -> None:
        machine, colon, driver = wanted.rpartition(":")
        if not colon or driver not in driver_names():
            raise ValueError(f"--windows {wanted}: say MACHINE:DRIVER, with a driver of {', '.join(driver_names())}")
        self._profile = load_profile(machine)
        self._driver = driver
        self.kind = METER_KIND if driver in _METERS else LOADER_KIND if driver == _LOADER else KIND
        self.name = f"windows:{wanted}"
        self.arguments = ("--windows", wanted)
        self.kernel = None
        self.can: frozenset[str] = frozenset()

        self._latest: WindowsRun | None = None

    def fresh(self) -> "WindowsRun":
        """A Windows that nobody has touched, on a machine that is as new: Windows itself only reads it."""
        latest = self._latest
        again = None if latest is None or latest.touched else latest.machine
        self._latest = WindowsRun(self._profile, self._driver, again)
        return self._latest


class WindowsRun:
    """One Windows, what the clauses ask of it is told in `clauses._windows`; `touched` once its machine is changed."""

    def __init__(self, profile: Profile, driver: str, machine: Machine | None = None) -> None:
        self.machine = Machine.from_profile(profile, clock=VirtualClock()) if machine is None else machine
        self.touched = False
        self.system = WindowsSystem(self.machine)
        self._driver = driver
        self.vendor = profile.cpu.id.vendor
        self.version, self.mended = driver.removesuffix(_MENDED), driver.endswith(_MENDED)
        self.device = VERSIONS[self.version].device if self.version in VERSIONS else "ScaphandreDriver"
        self.image = f"{_FOLDER}\\driver.sys"
        self.folder = _FOLDER
        self.place(self.image)

    def _make(self) -> Driver:
        return make_driver(self._driver)

    def run(self) -> None:
        """Load the driver."""
        self.system.kernel.load(self._make())

    def process(self, *, administrator: bool = True, cpu: int = 0) -> Any:
        """A process."""
        return _Told(self.system.process(administrator=administrator, cpu=cpu))

    def processors(self) -> Sequence[Processor]:
        """All of them."""
        active = self.system.kernel.processors.active
        return [Processor(one.group, one.number, one.cpu.package) for one in active]

    def register(self, cpu: int, register: int) -> int | None:
        """A register as it is now."""
        with suppress(OSError):
            return self.system.kernel.read_msr(cpu, register)
        return None

    def mark(self, register: int) -> None:
        """Give each instance of a counter its own content."""
        self.touched = True
        for number, one in enumerate(self.system.kernel.processors.active, start=1):
            self.machine.msr.poke(one.cpu.number, register, number * _MARK % (1 << 32) + number)

    def advance(self, nanoseconds: int) -> None:
        """Move the machine's clock."""
        self.touched = True
        self.machine.clock.advance(nanoseconds=nanoseconds)

    def place(self, path: str, *, signature: str = "valid", corrupt: bool = False) -> None:
        """Put an image on the disk."""
        self.system.images[path] = DriverImage(self._make, signature, corrupt)  # type: ignore[arg-type]

    def set_test_signing(self, *, on: bool) -> None:
        """From the next boot on."""
        self.system.boot_test_signing = on

    def reboot(self) -> None:
        """Switch off and on."""
        self.touched = True
        self.system.reboot()

    def truth_j(self, domain: str) -> Fraction:
        """The joules that a domain has spent since the machine was switched on."""
        return self.machine.truth_joules(domain)

    def loader(self, *words: str, administrator: bool = True) -> tuple[int, str, bool]:
        """Run the driver's loader in the folder: its exit status, what it printed, whether it opened a box."""
        process = self.system.process(administrator=administrator)
        done = DriverLoader(process, self.folder).run(words)
        process.exit()
        return int(done.exit_code), done.stdout, done.box is not None


class _Told:
    """An object whose calls tell of a bug check in the suite's own words."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if name == "services":
            return _Told(found)

        def call(*arguments: Any, **named: Any) -> Any:
            try:
                return found(*arguments, **named)
            except BugCheck as stopped:
                raise Crashed(str(stopped)) from stopped

        return call
