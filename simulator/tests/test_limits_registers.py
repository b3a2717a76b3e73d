# SPDX-License-Identifier: Apache-2.0
"""Whatever is written into whichever limit register, a machine draws what an account kept by other means says.

The account here knows nothing of the simulator's: it takes registers apart by their bits, counts in watts, seconds and
joules, in time without a grain, and goes from one moment at which something runs empty to the next.  The simulator
counts in whole nanoseconds and microwatts, so the two may differ by what is drawn in a nanosecond at each such moment.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raplica_simulator import Machine
from raplica_simulator.linux.perf_power import PowerPmu
from raplica_simulator.profile.profile import Profile

MakeMachine = Callable[..., Machine]
Place = tuple[str, int]

KINDS = ("package", "core", "uncore", "dram")
# A microjoule for each change: thousands of watts for less than a nanosecond.
SLACK_J = Fraction(1, 10**5)

# All three doors to one package: MSRs, MCHBAR, and TPMI words that no driver of this kernel shows beside them.
DOORS = """
[mmio]
0x5938 = 0xA0E03
0x593C = 0x00110000
0x58E0 = 0
0x58E8 = 0x00120000
0x59A0 = 0
0x59B0 = 0
[tpmi.0.package]
0x08 = 0xA383
0x10 = 0
0x18 = 0
0x28 = 0
0x38 = 0x00130000
[tpmi.0.memory]
0x08 = 0xA383
0x10 = 0
0x38 = 0x00140000
[load]
package = 0.0
"""
MEMORY = 0x80

# Where each register lies, what it limits, and of what shape it is.
REGISTERS: Mapping[Place, tuple[str, str]] = {
    ("msr", 0x610): ("package", "two"),
    ("msr", 0x601): ("package", "peak"),
    ("msr", 0x638): ("core", "one"),
    ("msr", 0x640): ("uncore", "one"),
    ("msr", 0x618): ("dram", "one"),
    ("mmio", 0x59A0): ("package", "two"),
    ("mmio", 0x59B0): ("package", "peak"),
    ("mmio", 0x58E0): ("dram", "two"),
    ("tpmi", 0x10): ("package", "wide"),
    ("tpmi", 0x18): ("package", "wide"),
    ("tpmi", 0x28): ("package", "wide peak"),
    ("tpmi", MEMORY + 0x10): ("dram", "wide"),
}
LOCKS = {"two": 63, "one": 31, "peak": 31, "wide": 63, "wide peak": 63}
ENERGIES: Mapping[Place, str] = {
    ("msr", 0x611): "package",
    ("msr", 0x639): "core",
    ("msr", 0x641): "uncore",
    ("msr", 0x619): "dram",
    ("mmio", 0x593C): "package",
    ("mmio", 0x58E8): "dram",
    ("tpmi", 0x38): "package",
    ("tpmi", MEMORY + 0x38): "dram",
}
ZONES: Mapping[str, Place] = {
    "intel-rapl:0": ("msr", 0x611),
    "intel-rapl:0:0": ("msr", 0x639),
    "intel-rapl:0:1": ("msr", 0x641),
    "intel-rapl:0:2": ("msr", 0x619),
    "intel-rapl-mmio:0": ("mmio", 0x593C),
    "intel-rapl-mmio:0:0": ("mmio", 0x58E8),
}


class Limit(NamedTuple):
    """Watts on average over a window of seconds."""

    watts: Fraction
    window_s: Fraction


def limits_in(shape: str, raw: int) -> list[Limit | None]:
    """What a register limits, None for what is switched off; powers in 1/8 W, times in 1/1024 s."""

    def window(code: int) -> Fraction:
        return Fraction((1 << (code & 31)) * (4 + (code >> 5 & 3)), 4 * 1024)

    if shape == "peak":
        return [Limit(Fraction(raw & 0x1FFF, 8), Fraction(0)) if raw & 0x1FFF else None]
    if shape.startswith("wide"):
        seconds = Fraction(0) if shape == "wide peak" else window(raw >> 18 & 0x7F)
        return [Limit(Fraction(raw & 0x3FFFF, 8), seconds) if raw >> 62 & 1 else None]
    halves = [raw & 0xFFFFFFFF, raw >> 32] if shape == "two" else [raw]
    return [Limit(Fraction(half & 0x7FFF, 8), window(half >> 17 & 0x7F)) if half >> 15 & 1 else None for half in halves]


@dataclass
class Account:
    """Rule 10 of the design in joules."""

    wanted: dict[str, Fraction] = field(default_factory=lambda: dict.fromkeys(KINDS, Fraction(0)))
    limits: dict[tuple[Place, int], Limit] = field(default_factory=dict)
    left_j: dict[tuple[Place, int], Fraction] = field(default_factory=dict)
    since_s: dict[tuple[Place, int], Fraction] = field(default_factory=dict)
    spent_j: dict[str, Fraction] = field(default_factory=lambda: dict.fromkeys(KINDS, Fraction(0)))
    now_s: Fraction = Fraction(0)

    def hold(self, place: Place, raw: int) -> None:
        """A register holds this from now on: what is new in it begins with all its credit."""
        for number, limit in enumerate(limits_in(REGISTERS[place][1], raw)):
            key = place, number
            if limit is None:
                self.limits.pop(key, None)
            elif self.limits.get(key) != limit:
                self.limits[key] = limit
                self.left_j[key] = limit.watts * limit.window_s
                self.since_s[key] = self.now_s

    def draws(self) -> dict[str, Fraction]:
        """The watts that are drawn now."""
        most = dict.fromkeys(KINDS, Fraction(10**9))
        for key, limit in self.limits.items():
            kind = REGISTERS[key[0]][0]
            if not self.left_j[key]:
                most[kind] = min(most[kind], limit.watts)
        wanted = {kind: min(self.wanted[kind], most[kind]) for kind in ("core", "uncore", "dram")}
        rest = self.wanted["package"] - self.wanted["core"] - self.wanted["uncore"]
        package = min(rest + wanted["core"] + wanted["uncore"], most["package"])
        # Cores are cut first: the others have what they want before them.
        rest = min(rest, package)
        uncore = min(wanted["uncore"], package - rest)
        return {"package": package, "core": package - rest - uncore, "uncore": uncore, "dram": wanted["dram"]}

    def go(self, seconds: Fraction) -> None:
        """Let time pass."""
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            draws = self.draws()
            loses = {key: draws[REGISTERS[key[0]][0]] - limit.watts for key, limit in self.limits.items()}
            lasts = [self.left_j[key] / loss for key, loss in loses.items() if loss > 0 and self.left_j[key]]
            step_s = min([until_s - self.now_s, *lasts])
            for key, loss in loses.items():
                full_j = self.limits[key].watts * self.limits[key].window_s
                self.left_j[key] = min(max(self.left_j[key] - loss * step_s, Fraction(0)), full_j)
            for kind in KINDS:
                self.spent_j[kind] += draws[kind] * step_s
            self.now_s += step_s


@pytest.fixture(scope="module")
def profile(make_machine: MakeMachine) -> Profile:
    """A client with all its doors, whose limits are off."""
    return make_machine("alderlake", rules="silicon", registers={0x610: 0, 0x601: 0}, more=DOORS).profile


def read(machine: Machine, place: Place) -> int:
    """A register."""
    space, address = place
    if space == "msr":
        return machine.msr.read(0, address)
    return (machine.mmio if space == "mmio" else machine.tpmi).read(address)


def write(machine: Machine, place: Place, raw: int) -> None:
    """A register, by whoever may reach it."""
    space, address = place
    if space == "msr":
        machine.msr.write(0, address, raw)
    else:
        (machine.mmio if space == "mmio" else machine.tpmi).write(address, raw)


HALF = st.builds(
    lambda eighths, on, clamp, power, quarters: eighths | on << 15 | clamp << 16 | power << 17 | quarters << 22,
    st.integers(0, 40 * 8),
    st.sampled_from((0, 1, 1)),
    st.integers(0, 1),
    st.integers(0, 14),
    st.integers(0, 3),
)
WIDE = st.builds(
    lambda eighths, power, quarters, on: eighths | power << 18 | quarters << 23 | on << 62,
    st.integers(0, 40 * 8),
    st.integers(0, 14),
    st.integers(0, 3),
    st.sampled_from((0, 1, 1)),
)
RAW = {
    "two": st.builds(lambda low, high: low | high << 32, HALF, HALF),
    "one": HALF,
    "peak": st.integers(0, 80 * 8),
    "wide": WIDE,
    "wide peak": WIDE.map(lambda raw: raw & ~(0x7F << 18)),
}
LOCKED = st.sampled_from((False,) * 15 + (True,))


@dataclass(frozen=True)
class RegisterWrite:
    """A whole register is written, by a program or by firmware; now and then with its lock bit."""

    place: Place
    raw: int

    def do(self, machine: Machine, account: Account) -> None:  # noqa: ARG002 - all changes have one signature
        """Write it; it shows in no other register."""
        before = {place: read(machine, place) for place in REGISTERS}
        write(machine, self.place, self.raw)
        locked = before[self.place] >> LOCKS[REGISTERS[self.place][1]] & 1
        after = before | ({} if locked else {self.place: self.raw})
        assert {place: read(machine, place) for place in REGISTERS} == after


@dataclass(frozen=True)
class FileWrite:
    """A file of powercap is written; what the driver refuses, as a limit that is locked, it does not write."""

    path: str
    number: int

    def do(self, machine: Machine, account: Account) -> None:  # noqa: ARG002 - all changes have one signature
        """Write it."""
        with suppress(OSError):
            machine.sysfs.write(f"class/powercap/{self.path}", b"%d\n" % self.number)


@dataclass(frozen=True)
class LoadChange:
    """Domains want other watts."""

    core: int
    uncore: int
    rest: int
    dram: int

    def do(self, machine: Machine, account: Account) -> None:
        """Let both know."""
        package = self.core + self.uncore + self.rest
        machine.load.set(package=package, core=self.core, uncore=self.uncore, dram=self.dram)
        wanted = {"package": package, "core": self.core, "uncore": self.uncore, "dram": self.dram}
        account.wanted = {kind: Fraction(watts) for kind, watts in wanted.items()}


Change = RegisterWrite | FileWrite | LoadChange

FILES = (
    *(
        (f"intel-rapl:0/constraint_{number}_{what}", most)
        for number in range(3)
        for what, most in (("power_limit_uw", 60_000_000), ("time_window_us", 28_000_000))
    ),
    *((f"intel-rapl:0:{zone}/constraint_0_power_limit_uw", 60_000_000) for zone in range(3)),
    *((f"intel-rapl-mmio:0/constraint_{number}_power_limit_uw", 60_000_000) for number in range(3)),
    ("intel-rapl-mmio:0/constraint_0_time_window_us", 28_000_000),
    *((f"intel-rapl{zone}/enabled", 1) for zone in (":0", ":0:0", ":0:1", ":0:2", "-mmio:0", "-mmio:0:0")),
)
WATTS = st.integers(0, 50)


@st.composite
def changes(draw: st.DrawFn) -> Change:
    """Most of them are writes into registers."""
    what = draw(st.sampled_from(("register", "register", "file", "load")))
    if what == "load":
        return LoadChange(*(draw(WATTS) for _ in range(4)))
    if what == "file":
        path, most = draw(st.sampled_from(FILES))
        return FileWrite(path, draw(st.integers(0, most)))
    place = draw(st.sampled_from(sorted(REGISTERS)))
    shape = REGISTERS[place][1]
    return RegisterWrite(place, draw(RAW[shape]) | draw(LOCKED) << LOCKS[shape])


@settings(deadline=None)
@given(
    steps=st.lists(st.tuples(changes(), st.integers(0, 20_000)), min_size=8, max_size=16),
    watts=st.integers(1, 50),
)
def test_energy_is_what_another_account_of_the_limits_says_and_all_counters_agree(
    profile: Profile, steps: list[tuple[Change, int]], watts: int
) -> None:
    machine = Machine.from_profile(profile)
    account = Account()
    LoadChange(watts, watts, watts, watts).do(machine, account)
    first = {place: read(machine, place) for place in ENERGIES}
    perf = PowerPmu(machine).open("energy-pkg", 0)
    looks = [(account.now_s, dict(account.spent_j))]
    for change, milliseconds in steps:
        change.do(machine, account)
        for place in REGISTERS:
            account.hold(place, read(machine, place))
        for part_ms in (milliseconds // 3, milliseconds - milliseconds // 3):
            machine.clock.advance(nanoseconds=part_ms * 1_000_000)
            account.go(Fraction(part_ms, 1000))
            check(machine, account, first, len(looks))
            assert abs(Fraction(perf.read(), 1 << 32) - account.spent_j["package"]) < Fraction(1, 1 << 13)
            looks.append((account.now_s, dict(account.spent_j)))
    for key, limit in account.limits.items():
        for seconds, joules in intervals(looks, REGISTERS[key[0]][0], account.since_s[key]):
            assert joules <= limit.watts * (seconds + limit.window_s)


def check(machine: Machine, account: Account, first: Mapping[Place, int], changes: int) -> None:
    """The truth is what the account says, and every counter shows it in its steps."""
    names = {"package": "package-0", **{kind: f"package-0/{kind}" for kind in KINDS[1:]}}
    truths = {kind: machine.truth_joules(name) for kind, name in names.items()}
    for kind, truth_j in truths.items():
        assert abs(truth_j - account.spent_j[kind]) <= changes * SLACK_J, kind
    assert machine.truth_joules("psys") == truths["package"] + truths["dram"]
    for place, kind in ENERGIES.items():
        assert (read(machine, place) - first[place]) % (1 << 32) == int(truths[kind] * 2**14), place
    for zone, place in ZONES.items():
        shown_uj = int(machine.sysfs.read(f"class/powercap/{zone}/energy_uj"))
        assert shown_uj == read(machine, place) * 61035 // 1000, "the driver counts in whole nanojoules"


def intervals(
    looks: list[tuple[Fraction, dict[str, Fraction]]], kind: str, since_s: Fraction
) -> Iterator[tuple[Fraction, Fraction]]:
    """Seconds and joules from any look to any later one, as far back as a limit has stood."""
    found = [(at_s, spent_j[kind]) for at_s, spent_j in looks if at_s >= since_s]
    for index, (from_s, from_j) in enumerate(found):
        for at_s, joules in found[index:]:
            yield at_s - from_s, joules - from_j
