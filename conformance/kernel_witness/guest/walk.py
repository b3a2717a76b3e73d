# SPDX-License-Identifier: Apache-2.0
"""A random walk: everything that the other probes do in order, done in an order that nobody thought of.

The other probes change one thing at a time and put it back. Here faults, locks, half-written limits, processors that
are down and a driver that went stay as they are while the next thing happens. The walk is a machine's own: its name is
the seed, and a walk that is made again makes the same choices as long as it finds the same tree.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from kernel_witness.guest.calls import Held, calls_on_directory, calls_on_file
from kernel_witness.guest.departures import suspend
from kernel_witness.guest.files import touch
from kernel_witness.guest.machine import CLASS, Machine, Zone, attributes, control_types, find_zones, kind_of
from kernel_witness.guest.recorder import Recorder
from kernel_witness.guest.scenarios import reload
from kernel_witness.guest.values import CONTROL_TYPE, FULL, ODD_UEVENTS, POWER_FILES

__all__ = ["walk"]

_STEPS = 500
_ALL = 0xFFFFFFFFFFFFFFFF
_DRIVER = "/sys/bus/platform/drivers/intel_rapl_msr"
_CONSTRAINED = ("power_limit_uw", "time_window_us")
_COUNTS = (0, 1, 0xFFFFFFFF, 0x100000000, 0xFFFFFFFF00000000, _ALL)
_MASKS = (_ALL, 0, 0x7FFF, 0x8000, 0x18000, 0x00FE0000, 0x7FFFFFFF, 0x00007FFF00007FFF, _ALL ^ 0x8000)


def walk(recorder: Recorder, machine: Machine) -> None:
    """Take the steps, with a tree and a dump now and then."""
    walker = _Walker(recorder, machine)
    for number in range(_STEPS):
        walker.step()
        if number % 25 == 24:
            recorder.tree(f"the walk, step {number + 1}")
            recorder.dump()
    walker.rest()


class _Walker:
    """Who walks: what it does next is chosen by weight, and what cannot be done now is not done."""

    def __init__(self, recorder: Recorder, machine: Machine) -> None:
        self._recorder = recorder
        self._machine = machine
        self._random = random.Random(machine.name)  # noqa: S311  # which way it goes is no secret
        self._has_units = True
        self._bound = True
        self._held: Held | None = None
        self._places = [(die, address) for die, words in machine.registers.items() for address in sorted(words)]
        self._doings: dict[Callable[[], None], int] = {
            self._write: 30,
            self._read: 12,
            self._set: 14,
            self._fault: 6,
            self._drop_bits: 4,
            self._touch: 4,
            self._switch_cpu: 8,
            self._switch_type: 2,
            self._suspend: 4,
            self._bind: 3,
            self._hold: 4,
            self._call: 2,
            self._reload: 2,
            self._write_core_file: 2,
        }

    def step(self) -> None:
        """Do one thing; where there is no zone left, rather load the driver anew than walk through a desert."""
        if not find_zones() and self._random.random() < 0.2:
            self._reload()
            return
        (doing,) = self._random.choices(list(self._doings), list(self._doings.values()))
        doing()

    def rest(self) -> None:
        """Leave nothing open, no register at fault, and every processor up."""
        if self._held is not None:
            self._recorder.calls("held", None, self._held.try_again)
        for cpu in range(1, len(self._machine.cpu_dies)):
            self._recorder.write(f"/sys/devices/system/cpu/cpu{cpu}/online", "1")

    # What is there right now.

    def _zone(self) -> Zone | None:
        zones = find_zones()
        return self._random.choice(zones) if zones else None

    def _attribute(self) -> tuple[str, str] | None:
        """A path and its name."""
        zone = self._zone()
        if zone is None:
            return None
        name = self._random.choice(attributes(zone))
        return f"{zone.path}/{name}", name

    def _can_write(self, name: str) -> bool:
        # Linux 6.12 divides by a unit that it could not read.
        return self._has_units or not name.endswith(_CONSTRAINED)

    # Files.

    def _read(self) -> None:
        if found := self._attribute():
            self._recorder.read(found[0])

    def _write(self) -> None:
        found = self._attribute()
        if found and self._can_write(found[1]):
            path, name = found
            data = self._data(name if name in FULL else name.partition("_")[2].partition("_")[2])
            if self._random.random() < 0.8:
                self._recorder.write_read(path, data)
            else:
                self._recorder.write(path, data)

    def _data(self, attribute: str) -> str:
        known = FULL.get(attribute, ("0", "1", "abc", ""))
        if attribute in _CONSTRAINED and self._random.random() < 0.6:
            return str(self._random.randrange(1 << self._random.randrange(1, 66)))
        return self._random.choice(known)

    def _touch(self) -> None:
        zone = self._zone()
        if zone is not None and self._has_units:
            touch(self._recorder, zone)

    def _switch_type(self) -> None:
        for path in control_types():
            self._recorder.write_read(f"{path}/enabled", self._random.choice(CONTROL_TYPE))

    def _write_core_file(self) -> None:
        zone = self._zone()
        if zone is not None:
            self._recorder.write(f"{zone.path}/uevent", self._random.choice(ODD_UEVENTS))
            name = self._random.choice(list(POWER_FILES))
            self._recorder.write_read(f"{zone.path}/power/{name}", self._random.choice(POWER_FILES[name]))

    def _call(self) -> None:
        found = self._attribute()
        if found and self._can_write(found[1]):
            path = found[0]
            self._recorder.calls("sys", path, lambda: calls_on_file(path))
            folder = self._random.choice((path.rpartition("/")[0], CLASS))
            self._recorder.calls("sysdir", folder, lambda: calls_on_directory(folder))

    def _hold(self) -> None:
        """Open an attribute and keep it, or use what is kept, whatever has become of it."""
        if self._held is not None:
            if self._has_units:
                self._recorder.calls("held", None, self._held.try_again)
                self._held = None
            return
        zone = self._zone()
        writable = [] if zone is None else [name for name in attributes(zone) if name.endswith((*_CONSTRAINED, "bled"))]
        if zone is None or not writable:
            return
        path = f"{zone.path}/{self._random.choice(writable)}"

        def hold() -> dict[str, Any]:
            self._held = Held(path)
            return self._held.opened()

        self._recorder.calls("hold", path, hold)

    # Registers.

    def _place(self, *kinds: str) -> tuple[int, int] | None:
        places = [place for place in self._places if kind_of(place[1]) in kinds]
        return self._random.choice(places) if places else None

    def _content(self, address: int) -> int:
        bits = self._random.getrandbits(64)
        match kind_of(address):
            case "counter":
                return self._random.choice((*_COUNTS, bits, bits & 0xFFFFFFFF))
            case "unit":
                return bits & 0xFFFFF
        # Often neither lock: a register that is locked is soon a bore.
        return bits & self._random.choice((_ALL, *(_ALL ^ (1 << 63 | 1 << 31),) * 3))

    def _set(self) -> None:
        # Units are the business of a reload: a TPMI device reads them where nothing can be changed any more.
        if place := self._place("counter", "limit", "info", "other"):
            self._recorder.control(f"set {place[0]} {place[1]:#x} {self._content(place[1]):#x}")

    def _fault(self) -> None:
        if place := self._place("counter", "limit", "info", "other"):
            self._recorder.control(f"fault {place[0]} {place[1]:#x} {self._random.choice((0, 0, 1, 2, 3))}")

    def _drop_bits(self) -> None:
        if place := self._place("limit"):
            self._recorder.control(f"wmask {place[0]} {place[1]:#x} {self._random.choice(_MASKS):#x}")
            by = self._random.choice((0, 1 << 63, 1 << 31, 0x8000))
            self._recorder.control(f"ignlock {place[0]} {place[1]:#x} {by:#x}")

    # What goes and comes.

    def _switch_cpu(self) -> None:
        cpu = self._random.randrange(len(self._machine.cpu_dies) + 1)
        self._recorder.write(f"/sys/devices/system/cpu/cpu{cpu}/online", self._random.choice(("0", "0", "1", "1", "1")))

    def _suspend(self) -> None:
        suspend(self._recorder, self._machine)

    def _bind(self) -> None:
        """Take the driver off its device or put it there; more often the one that changes something."""
        if any(name == "intel_rapl_msr" for name, _ in self._machine.modules):
            bind = not self._bound if self._random.random() < 0.8 else self._bound
            self._recorder.write(f"{_DRIVER}/{'bind' if bind else 'unbind'}", "intel_rapl_msr.0")
            self._bound = bind

    def _reload(self) -> None:
        """Load everything anew on a table that lacks registers and has others changed."""
        registers = self._machine.copy()
        lost, changed = self._random.choice((0, 0, 1, 3)), self._random.randrange(4)
        for die, address in self._random.sample(self._places, min(lost, len(self._places))):
            del registers[die][address]
        for die, address in self._random.sample(self._places, min(changed, len(self._places))):
            if address in registers[die] and kind_of(address) != "header":
                registers[die][address] = self._content(address)
        self._has_units = all(address in registers[die] for die, address in self._places if kind_of(address) == "unit")
        commands = []
        for die, address in self._random.sample(self._places, min(2, len(self._places))):
            if address in registers[die] and kind_of(address) not in ("unit", "header"):
                commands.append(f"fault {die} {address:#x} {self._random.randrange(4)}")
        reload(self._recorder, self._machine, registers, "the walk: loaded anew", tuple(commands))
        self._bound = True
        self._places = [(die, address) for die, words in registers.items() for address in sorted(words)]
