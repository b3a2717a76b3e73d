# SPDX-License-Identifier: Apache-2.0
"""Services under random calls, held against a model of their rules that shares nothing with the simulator."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, consumes, invariant, multiple, rule

from raplica_simulator.machine import Machine
from raplica_simulator.windows.energy_meter import EnergyMeterDriver
from raplica_simulator.windows.nt_status import Win32Error
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.system import DriverImage, WindowsSystem
from raplica_simulator.windows.win32_calls import Win32Calls

MACHINE = Machine.from_profile("kabylake")
ALL = 0xF01FF
NAMES = st.sampled_from(["alpha", "ALPHA", "beta", "gamma"])
# What lies at an image's path: a driver that comes and goes, one that stays, one that Windows refuses, or nothing.
IMAGES = st.sampled_from(["good", "good", "stays", "unsigned", "missing"])
STARTS = st.sampled_from([0, 1, 2, 3, 3, 4])
STOPPED, STOP_PENDING, RUNNING = 1, 3, 4
START_ERRORS = {"unsigned": 577, "missing": 2}
NEVER_STARTED = 1077


@dataclass
class Entry:
    """A service, as the rules tell of it."""

    name: str
    image: str
    start: int
    state: int = STOPPED
    exit_code: int = NEVER_STARTED
    marked: bool = False
    handles: int = 0
    files: int = 0

    def try_to_start(self) -> int:
        code = START_ERRORS.get(self.image, 0)
        self.exit_code = code
        self.state = STOPPED if code else RUNNING
        return code


@dataclass
class Rules:
    """Every service there is, by lower-case name."""

    entries: dict[str, Entry] = field(default_factory=dict)

    def tidy(self) -> None:
        for key, one in list(self.entries.items()):
            if one.state == STOP_PENDING and one.files == 0:
                one.state = STOPPED
            if one.marked and one.state == STOPPED and one.handles == 0:
                del self.entries[key]

    def reboot(self) -> None:
        kept = [one for one in self.entries.values() if not one.marked]
        self.entries = {one.name.lower(): Entry(one.name, one.image, one.start) for one in kept}
        for start in (0, 1, 2):
            for one in self.entries.values():
                if one.start == start:
                    one.try_to_start()


@dataclass(frozen=True)
class Handle:
    """A handle to a service or to its device, of which process and in which boot."""

    number: int
    entry: Entry
    process: Win32Calls
    boot: int


def outcome(call: Callable[[], object]) -> tuple[int, object]:
    try:
        return 0, call()
    except Win32Error as error:
        return error.winerror, None


Opened = Handle | MultipleResults[Handle]


class Services(RuleBasedStateMachine):
    """One process that creates, opens, starts, stops, deletes and closes, and a person who reboots."""

    handles: Bundle[Handle] = Bundle("handles")
    files: Bundle[Handle] = Bundle("files")

    def __init__(self) -> None:
        super().__init__()
        self.system = WindowsSystem(MACHINE)
        for name in ("alpha", "beta", "gamma"):
            self.system.images[f"C:\\good\\{name}.sys"] = self.image(name)
            self.system.images[f"C:\\stays\\{name}.sys"] = DriverImage(partial(EnergyMeterDriver, virtual_machine=True))
            self.system.images[f"C:\\unsigned\\{name}.sys"] = DriverImage(ScaphandreDriver, "none")
        self.process = self.system.process()
        self.services = self.process.services
        self.manager = self.services.open_manager()
        self.known = Rules()
        self.boot = 0

    @staticmethod
    def image(name: str) -> DriverImage:
        return DriverImage(partial(ScaphandreDriver, fixed=True, device=name))

    def check(self, call: Callable[[], object], wanted: int) -> object:
        code, value = outcome(call)
        assert code == wanted
        self.known.tidy()
        return value

    @rule(target=handles, name=NAMES, image=IMAGES, start=STARTS)
    def create(self, name: str, image: str, start: int) -> Opened:
        known = self.known.entries.get(name.lower())
        path = f"C:\\{image}\\{name}.sys"
        call = partial(self.services.create_service, self.manager, name, None, ALL, 1, start, 1, path)
        if known is not None:
            self.check(call, 1072 if known.marked else 1073)
            return multiple()
        entry = self.known.entries[name.lower()] = Entry(name, image, start)
        entry.handles = 1
        number = self.check(call, 0)
        assert isinstance(number, int)
        return Handle(number, entry, self.process, self.boot)

    @rule(target=handles, name=NAMES)
    def open(self, name: str) -> Opened:
        known = self.known.entries.get(name.lower())
        call = partial(self.services.open_service, self.manager, name)
        if known is None:
            self.check(call, 1060)
            return multiple()
        known.handles += 1
        number = self.check(call, 0)
        assert isinstance(number, int)
        return Handle(number, known, self.process, self.boot)

    @rule(handle=handles)
    def start(self, handle: Handle) -> None:
        one = handle.entry
        if handle.boot != self.boot:
            wanted = 6
        elif one.marked:
            wanted = 1072
        elif one.start == 4:
            wanted = 1058
        elif one.state != STOPPED:
            wanted = 1056
        else:
            wanted = one.try_to_start()
        self.check(partial(handle.process.services.start_service, handle.number), wanted)

    @rule(handle=handles, control=st.sampled_from([0, 1, 1, 1, 2, 4, 5, 130, 300]))
    def control(self, handle: Handle, control: int) -> None:
        one = handle.entry
        if handle.boot != self.boot:
            wanted = 6
        elif control in (0, 5, 300):
            wanted = 87
        elif one.state == STOPPED:
            wanted = 1062
        elif one.state == STOP_PENDING:
            wanted = 1061
        elif control == 4:
            wanted = 0
        elif control != 1 or one.image == "stays":
            wanted = 1052
        else:
            wanted, one.state, one.exit_code = 0, STOP_PENDING, 0
        self.check(partial(handle.process.services.control_service, handle.number, control), wanted)

    @rule(handle=handles)
    def delete(self, handle: Handle) -> None:
        if handle.boot != self.boot:
            wanted = 6
        else:
            wanted = 1072 if handle.entry.marked else 0
            handle.entry.marked = True
        self.check(partial(handle.process.services.delete_service, handle.number), wanted)

    @rule(handle=handles)
    def query(self, handle: Handle) -> None:
        wanted = 0 if handle.boot == self.boot else 6
        self.check(partial(handle.process.services.query_service_status, handle.number), wanted)

    @rule(handle=consumes(handles))
    def close(self, handle: Handle) -> None:
        handle.entry.handles -= 1
        wanted = 0 if handle.boot == self.boot else 6
        for code in (wanted, 6):
            self.check(partial(handle.process.services.close, handle.number), code)

    @rule(target=files, name=NAMES)
    def open_device(self, name: str) -> Opened:
        known = self.known.entries.get(name.lower())
        running = known is not None and known.image == "good" and known.state == RUNNING
        if not running or known is None:
            with pytest.raises(Win32Error):
                self.process.create_file(f"\\\\.\\{name}", 0)
            return multiple()
        known.files += 1
        return Handle(self.process.create_file(f"\\\\.\\{name}", 0), known, self.process, self.boot)

    @rule(handle=consumes(files))
    def close_device(self, handle: Handle) -> None:
        handle.entry.files -= 1
        wanted = 0 if handle.boot == self.boot else 6
        self.check(partial(handle.process.close_handle, handle.number), wanted)

    @rule()
    def reboot(self) -> None:
        self.system.reboot()
        self.known.reboot()
        self.boot += 1
        self.process = self.system.process()
        self.services = self.process.services
        self.manager = self.services.open_manager()

    @invariant()
    def every_service_is_as_the_rules_have_it(self) -> None:
        seen = {
            one.config.name: (one.status.state, one.status.win32_exit_code, one.marked, one.handles)
            for one in self.system.services
        }
        wanted = {
            one.name: (one.state, 0 if one.state != STOPPED else one.exit_code, one.marked, one.handles)
            for one in self.known.entries.values()
        }
        assert seen == wanted


TestServices = Services.TestCase
TestServices.settings = settings(max_examples=20, stateful_step_count=30)
