# SPDX-License-Identifier: Apache-2.0
"""Choose where to read, and say why.

One machine shows its counters in up to three places. powercap is taken first, because the driver knows the units and
every domain; perf next, because it needs the least rights and does not wrap; the registers last, because they need root
and the module msr. The first that has a counter which can be read is taken, or else the first that has zones, so that
their errors are told. Sources other than powercap belong to the machine this runs on, so they are left alone where the
caller gave the tree of another one, unless he also said where that one's registers are. macOS has none of the three and
one of its own. Windows has two: its own energy meters come first, because they need neither a driver of others nor an
administrator and do not wrap, and the registers behind a driver for them next.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from raplica_reader.advice import POWERMETRICS
from raplica_reader.files import OsFiles, errno_name
from raplica_reader.powercap import CLASS, Powercap
from raplica_reader.processor import Processor
from raplica_reader.sample import Sampler
from raplica_reader.zone import Zone

__all__ = ["DEV", "SOURCES", "SYSFS", "WINDOWS", "Choice", "Host", "Source", "choose"]

SYSFS, DEV = "/sys", "/dev"
CPUINFO = "/proc/cpuinfo"
LINUX = ("powercap", "perf", "msr")
WINDOWS = ("emi", "scaphandre")
SOURCES = (*LINUX, "powermetrics", "windows", *WINDOWS)
"""What can be asked for; "windows" stands for the best of WINDOWS."""
USUAL = {"darwin": ("powermetrics",)}
"""The sources of a system that has others than Linux, by the name that Python has for it."""
PMU = "bus/event_source/devices/power"


class Source(Protocol):
    """A place where counters are found."""

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        ...

    def signature(self) -> object:
        """Something cheap that is no longer equal when zones have come or gone."""
        ...

    def discover(self) -> tuple[Zone, ...]:
        """The zones as they are now; OSError where there is no such source."""
        ...


@dataclass(frozen=True, slots=True)
class Host:
    """Which machine to read: the root of its sysfs tree, what holds its `cpu/N/msr`, and its processor.

    None stands for this machine's directory, and for the processor that the machine itself names. `windows` is the
    socket of a program that answers the calls of Windows; with it, that is the machine.
    """

    sysfs: str | None = None
    dev: str | None = None
    cpu: Processor | None = None
    windows: str | None = None

    @property
    def root(self) -> str:
        """The root of the sysfs tree."""
        return SYSFS if self.sysfs is None else self.sysfs

    @property
    def devices(self) -> str:
        """What holds the msr devices."""
        return DEV if self.dev is None else self.dev

    def usual(self) -> tuple[str, ...]:
        """The sources that `auto` looks at, in this order."""
        if self.has_windows():
            return WINDOWS
        if self.sysfs in {None, SYSFS}:
            return USUAL.get(sys.platform, LINUX)
        return ("powercap",) if self.dev is None else ("powercap", "msr")

    def has_windows(self) -> bool:
        """Whether Windows can be asked."""
        return self.windows is not None or sys.platform == "win32"

    def clash(self, source: str) -> str | None:
        """In words what does not go together here and with the source that is asked for; None where all does."""
        is_of_windows = source in {"windows", *WINDOWS}
        if is_of_windows and not self.has_windows():
            return f"{source} is read on Windows; elsewhere a socket is named that answers its calls"
        if self.has_windows() and not is_of_windows and source != "auto":
            return f"there is no {source} on Windows: use auto, windows, {', '.join(WINDOWS)}"
        if self.has_windows() and (self.sysfs is not None or self.dev is not None):
            return "Windows has neither /sys nor /dev: leave these directories out"
        return None

    def tree(self, source: str) -> str | None:
        """The root of the sysfs tree that a source belongs to; None for those of other systems than Linux."""
        return self.root if source in LINUX else None

    def source(self, name: str) -> Source:
        """One of SOURCES on this machine. What the others need is not even loaded.

        Errors: OSError ENOSYS for one of WINDOWS where there is no Windows to ask.
        """
        if name in WINDOWS:
            return self._windows(name)
        files = OsFiles(self.root)
        if name == "powercap":
            return Powercap(files)
        if name == "perf":
            from raplica_reader.perf import Perf
            from raplica_reader.perf_event import Kernel

            return Perf(Kernel(), files, self._cpuinfo(), self.cpu)
        if name == "powermetrics":
            from raplica_reader.powermetrics import Powermetrics

            return Powermetrics()
        from raplica_reader.msr import Msr
        from raplica_reader.registers import Devices

        return Msr(Devices(self.devices), files, self._cpuinfo(), self.cpu)

    def _windows(self, name: str) -> Source:
        """One of WINDOWS."""
        from raplica_reader.windows_calls import Calls

        calls: Calls
        if self.windows is not None:
            from raplica_reader.windows_socket import SocketCalls

            calls = SocketCalls(self.windows)
        else:
            from raplica_reader.windows_api import this_machine

            calls = this_machine()
        if name == "emi":
            from raplica_reader.windows_emi import Emi

            return Emi(calls)
        from raplica_reader.windows import Scaphandre

        return Scaphandre(calls, self.cpu)

    def _cpuinfo(self) -> bytes | None:
        """The text of /proc/cpuinfo, if that is about this machine."""
        if self.sysfs not in {None, SYSFS} or self.dev not in {None, DEV}:
            return None
        try:
            with open(CPUINFO, "rb") as file:  # noqa: PTH123 - pathlib takes longer to load than this to read
                return file.read()
        except OSError:
            return None


@dataclass(frozen=True, slots=True)
class Choice:
    """A source that was chosen, its zones in a sampler, and the reasons.

    `why` is about the source that was taken, and `others` about those that were not. `trouble` says what is wrong with
    the source as a whole, if anything is.
    """

    source: Source
    sampler: Sampler
    why: str
    others: tuple[tuple[str, str], ...]
    trouble: str | None

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines about what the source leaves out."""
        notes: tuple[str, ...] = getattr(self.source, "notes", ())
        return notes


@dataclass(frozen=True, slots=True)
class _Look:
    """What a first look at a source gave."""

    source: Source
    sampler: Sampler
    readable: int
    why: str
    trouble: str | None


def choose(host: Host, wanted: str = "auto", *, clock: Callable[[], int] = time.perf_counter_ns) -> Choice:
    """Take the wanted source, or the best one. The caller closes the sampler of the answer."""
    names = {"auto": host.usual(), "windows": WINDOWS}.get(wanted, (wanted,))
    looks: list[_Look] = []
    best = None
    for name in names:
        look = _look(host, name, clock)
        looks.append(look)
        if look.readable:
            best = look
            break
    if best is None:
        best = next((look for look in looks if look.sampler.zones), looks[0])
    for look in looks:
        if look is not best:
            look.sampler.close()
    others = [(look.source.name, look.why) for look in looks if look is not best]
    others.extend((name, "not looked at: it comes later") for name in names[len(looks) :])
    why = f"{best.why}; asked for" if wanted != "auto" else best.why
    trouble = best.trouble
    if names == WINDOWS and not best.sampler.zones:  # neither is where every Windows has it, so both are told
        trouble = "; ".join(dict.fromkeys(look.trouble for look in looks if look.trouble is not None))
    return Choice(best.source, best.sampler, why, tuple(others), trouble)


def _look(host: Host, name: str, clock: Callable[[], int]) -> _Look:
    """Find the zones of a source and read each once."""
    source = host.source(name)
    try:
        zones = source.discover()
    except OSError as error:
        trouble = _absent(host, name, error)
        return _Look(source, Sampler((), clock=clock), 0, f"none ({errno_name(error)})", trouble)
    sampler = Sampler(zones, clock=clock)
    if not zones:
        return _Look(source, sampler, 0, "it has no zones", _empty(host, name))
    sample = sampler.sample()
    readable = sum(count is not None for count in sample.counts)
    why = f"{readable} of {sum(zone.has_energy for zone in zones)} counters can be read"
    errors = sorted({error for error in sample.errors if error is not None})
    why = f"{why} ({', '.join(errors)})" if errors else why
    about: str = getattr(source, "about", "")
    why = f"{why}; {about}" if about else why
    return _Look(source, sampler, readable, why, None if any(zone.has_energy for zone in zones) else _uncounted(host))


def _absent(host: Host, name: str, failure: OSError) -> str:
    """Say in one line what is missing and what to do."""
    if name in WINDOWS:
        from raplica_reader.windows_words import absent

        return absent(name, failure)
    error = errno_name(failure)
    if name == "powercap":
        return (
            f"{host.root}/{CLASS} cannot be listed ({error}): this kernel has no powercap, a container hides it, or "
            "--sysfs is not the root of a /sys tree"
        )
    if name == "perf":
        return f"{host.root}/{PMU} cannot be read ({error}): this kernel has no energy events for this processor"
    if name == "powermetrics":
        if error == "ENOENT":
            return "powermetrics is not in PATH: it is a tool of macOS"
        return f"powermetrics cannot be read ({error}): {POWERMETRICS.get(error, 'try `powermetrics -n 1` by itself')}"
    return f"{host.devices}/cpu/*/msr cannot be read ({error}): run as root, and load the module with `modprobe msr`"


def _empty(host: Host, name: str) -> str:
    """Say in one line that there is nothing."""
    if name in WINDOWS:
        from raplica_reader.windows_words import empty

        return empty(name)
    if name == "powercap":
        return f"{host.root}/{CLASS} has no zones: no driver found counters here (usual in a virtual machine)"
    if name == "perf":
        return f"{host.root}/{PMU} has no energy events"
    return f"the registers below {host.devices} count no energy (usual in a virtual machine)"


def _uncounted(host: Host) -> str:
    """Say in one line that zones are there and count nothing; only powercap has such."""
    return f"{host.root}/{CLASS} has zones without energy counters only, as dtpm makes them: there is nothing to read"
