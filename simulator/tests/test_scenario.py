# SPDX-License-Identifier: Apache-2.0
"""Scenarios: what a file may say, when its events happen, and what a command line replaces."""

from collections.abc import Callable
from decimal import Decimal
from errno import EACCES, EIO
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from raplica_simulator import Machine, Scenario
from raplica_simulator.faults.verbs import read_event
from raplica_simulator.live.clock import LiveClock
from raplica_simulator.live.machine import LiveMachine, start
from raplica_simulator.live.options import start_live
from raplica_simulator.load.plan import ConstantLoad, read_load
from raplica_simulator.profile.profile import Profile
from raplica_simulator.profile.shape import ProfileError, Where
from raplica_simulator.scenario.course import TimedEvent

ENERGY = "class/powercap/intel-rapl:0/energy_uj"
WRAP = 1 << 32
NS = 10**9

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a scenario down: the file."""

    def put(text: str) -> Path:
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return put


def errno_of(live: LiveMachine, path: str = ENERGY) -> int:
    """The errno of reading a file, 0 where it goes well."""
    with live.held() as machine:
        try:
            machine.sysfs.read(path)
        except OSError as error:
            return error.errno or -1
    return 0


# When.


def test_an_event_happens_at_its_moment_whenever_somebody_looks(write: Write) -> None:
    path = write(
        'machine = "skylake-sp-2s"\nload = "package=100"\n'
        '[[event]]\nat_s = 2.5\ndo = "load"\npackage = 40\n'
        '[[event]]\nat_s = "7.000000001"\ndo = "load"\npackage = 10\n'
    )
    live = start(scenario=Scenario.load(path))
    live.advance(seconds=100)
    with live.held() as machine:
        spent_j = Fraction(5, 2) * 100 + (Fraction(9, 2) + Fraction(1, NS)) * 40 + (93 - Fraction(1, NS)) * 10
        assert machine.truth_joules("package-0") == spent_j
    assert live.events is not None
    assert (live.events.done, live.events.due_ns(), live.events.missed) == (2, None, [])


def test_what_has_an_end_ends_and_of_two_at_once_the_first_in_the_file_is_first(write: Write) -> None:
    path = write(
        'machine = "skylake-sp-2s"\n'
        f'[[event]]\nat_s = 1\nuntil_s = 2\ndo = "fault"\npath = "{ENERGY}"\nerrno = "EIO"\n'
        f'[[event]]\nat_s = 2\nuntil_s = 3\ndo = "fault"\non = "open"\npath = "{ENERGY}"\nerrno = "EACCES"\n'
    )
    live = start(scenario=Scenario.load(path))
    found = []
    for _ in range(4):
        found.append(errno_of(live))
        live.advance(seconds=1)
    assert found == [0, EIO, EACCES, 0]


def test_a_read_count_begins_with_its_event(write: Write) -> None:
    path = write(f'machine = "skylake-sp-2s"\n[[event]]\nat_s = 1\ndo = "fault"\npath = "{ENERGY}"\nread = 3\n')
    live = start(scenario=Scenario.load(path))
    assert [errno_of(live) for _ in range(5)] == [0] * 5
    live.advance(seconds=1)
    assert [errno_of(live) for _ in range(5)] == [0, 0, EIO, 0, 0]


def test_who_begins_later_finds_done_what_came_before() -> None:
    live = start(scenario=Scenario.load("driver-unloaded"), at_s=7)
    with live.held() as machine:
        assert machine.sysfs.listdir("class/powercap") == []
        assert machine.clock.now_ns == 7 * NS
    live.advance(seconds=Decimal(3))
    assert errno_of(live) == 0


def test_a_scenario_can_begin_on_a_machine_that_somebody_else_has_made() -> None:
    live = start("skylake-sp-2s")
    clock = live.machine.clock
    assert isinstance(clock, LiveClock)
    course = Scenario.load("zone-vanishes").begin(live.machine, clock)
    assert course.due_ns() == 5 * NS
    course.go(6 * NS)
    assert "intel-rapl:1" not in live.machine.sysfs.listdir("class/powercap")
    assert (course.due_ns(), live.machine.clock.now_ns) == (15 * NS, 0)


def test_an_event_that_can_no_longer_be_done_is_noted_and_the_others_go_on(write: Write) -> None:
    path = write(
        'machine = "skylake-sp-2s"\n'
        f'[[event]]\nat_s = 1\ndo = "fault"\npath = "{ENERGY}"\nerrno = "EIO"\n'
        '[[event]]\nat_s = 2\ndo = "load"\npackage = 10\n'
    )
    live = start(scenario=Scenario.load(path))
    with live.held() as machine:
        machine.driver.unload()
    live.advance(seconds=3)
    assert live.events is not None
    assert live.events.missed == [
        f"{path}: event[0]: at 1 s: {ENERGY}: No such file or directory: name a file that is there at that moment"
    ]
    assert live.machine.load.now().package_uw == 10_000_000


def test_counters_wrap_when_they_are_to_whatever_firmware_does_before(write: Write) -> None:
    path = write(
        'machine = "skylake-sp-2s"\nload = "package=140,dram=8"\nat_s = 30\nnear_wrap_s = 20\n'
        '[[event]]\nat_s = 35\ndo = "poke"\nregister = 0x610\nvalue = 0x000185A0001181E0\n'
    )
    live = start(scenario=Scenario.load(path))
    limit = live.machine.msr.read(0, 0x610)
    assert limit == 0x000185A0001184B0
    live.advance(nanoseconds=20 * NS - 1_000_000)
    with live.held() as machine:
        assert machine.msr.read(0, 0x611) > WRAP // 2
        assert machine.msr.read(0, 0x610) == 0x000185A0001181E0
    live.advance(nanoseconds=1_000_000)
    with live.held() as machine:
        assert [machine.msr.read(cpu, register) for cpu in (0, 20) for register in (0x611, 0x619)] == [0] * 4


# However time is cut, the same happens.

_EVENTS: list[dict[str, object]] = [
    {"do": "load", "package": 20},
    {"do": "load", "package": 140, "dram": 9, "on_package": 1},
    {"do": "offline", "package": 1},
    {"do": "online", "package": 1},
    {"do": "unload-driver"},
    {"do": "load-driver"},
    {"do": "poke", "register": 0x610, "value": 0x000185A0001181E0},
    {"do": "poke", "register": 0x610, "value": 0x000184B0001183E8, "package": 1},
    {"do": "set-counter", "domain": "package-0", "raw": 0xFFFFFF00},
    {"do": "wrap", "domain": "package-1", "in_s": "0.75"},
    {"do": "stop-counter", "domain": "package-0"},
    {"do": "start-counter", "domain": "package-0"},
    {"do": "suspend"},
    {"do": "resume"},
    {"do": "reset"},
    {"do": "msr-device", "allow_writes": "off"},
]


@pytest.fixture(scope="module")
def server(make_machine: Callable[..., Machine]) -> Profile:
    """Two packages of two cores, with limits that bind what is asked of them."""
    return make_machine(
        "skylake-sp", topology=(2, 1, 2, 1), rules="silicon", more="[load]\npackage = 160\ndram = 5"
    ).profile


@settings(max_examples=60)
@given(
    happens=st.lists(st.tuples(st.integers(0, 20 * NS), st.sampled_from(_EVENTS)), max_size=12),
    cuts=st.lists(st.integers(0, 20 * NS), max_size=12),
)
def test_truth_and_counters_are_the_same_however_time_is_cut_into_looks(
    server: Profile, happens: list[tuple[int, dict[str, object]]], cuts: list[int]
) -> None:
    events = [TimedEvent(at_ns, read_event(table), Where("x")) for at_ns, table in sorted(happens, key=lambda e: e[0])]
    scenario = Scenario("x", "x", "x", (), server, events=tuple(events))
    at_once, in_parts = start(scenario=scenario), start(scenario=scenario)
    at_once.advance(seconds=21)
    now_ns = 0
    for cut_ns in [*sorted(cuts), 21 * NS]:
        in_parts.advance(nanoseconds=cut_ns - now_ns)
        now_ns = cut_ns
        _everything(in_parts)
    assert _everything(in_parts) == _everything(at_once)


def _everything(live: LiveMachine) -> tuple[object, ...]:
    """The truth, all registers, and the tree with its energies."""
    with live.held() as machine:
        truths = [machine.truth_uj(f"package-{n}{below}") for n in (0, 1) for below in ("", "/dram")]
        registers = [machine.msr.content(cpu, address) for cpu in range(4) for address in machine.msr.addresses(cpu)]
        zones = machine.sysfs.listdir("class/powercap")
        energies = [machine.sysfs.read(f"class/powercap/{zone}/energy_uj") for zone in zones if ":" in zone]
        missed = [] if live.events is None else live.events.missed
        return truths, registers, zones, energies, live.msr_module.allow_writes, missed


_WITHOUT_WATTS = [table for table in _EVENTS if table["do"] not in ("load", "poke")]
_WITHOUT_WATTS += [{"do": "fault", "register": register, "times": 2} for register in (0x610, 0x611, 0x619)]


@given(happens=st.lists(st.tuples(st.integers(0, 20 * NS), st.sampled_from(_WITHOUT_WATTS)), max_size=12))
def test_nothing_that_goes_wrong_moves_the_truth(server: Profile, happens: list[tuple[int, dict[str, object]]]) -> None:
    events = [TimedEvent(at_ns, read_event(table), Where("x")) for at_ns, table in sorted(happens, key=lambda e: e[0])]
    scenario = Scenario("x", "x", "x", (), server, events=tuple(events))
    # Below every limit: which of them are on is changed by a driver that goes.
    try:
        live = start(scenario=scenario, load=ConstantLoad({"package": 50, "dram": 4}))
    except ProfileError:
        reject()  # a driver that meets a fault while it looks for domains fails, and so does the rehearsal
    live.advance(seconds=21)
    with live.held() as machine:
        truths = [machine.truth_uj(f"package-{n}{below}") for n in (0, 1) for below in ("", "/dram")]
    assert truths == [1_050_000_000, 84_000_000] * 2


# What a command line replaces.


def test_what_is_given_replaces_what_the_scenario_says(write: Write) -> None:
    scenario = Scenario.load(
        write('machine = "kabylake"\nkernel = "6.1"\nload = "package=12"\nat_s = 3\nnear_wrap_s = 4\n')
    )
    own = start(scenario=scenario)
    assert (own.machine.profile.id, own.machine.kernel.number[:2], own.machine.clock.now_ns) == (
        "kabylake",
        (6, 1),
        3 * NS,
    )
    assert own.machine.truth_uj("package-0") == 36_000_000
    own.advance(seconds=4)
    assert own.machine.msr.read(0, 0x611) == 0
    other = start("alderlake-p", kernel="6.12", load=ConstantLoad({"package": 10}), at_s=0, scenario=scenario)
    assert (other.machine.profile.id, other.machine.kernel.number[:2]) == ("alderlake-p", (6, 12))
    assert (other.machine.clock.now_ns, other.machine.load.now().package_uw) == (0, 10_000_000)
    other.advance(seconds=4)
    assert other.machine.msr.read(0, 0x611) == 0


def test_a_machine_is_needed_from_one_or_the_other() -> None:
    with pytest.raises(TypeError, match="needs a profile, or a scenario"):
        start()


def test_a_command_line_names_a_scenario_and_takes_its_machine_or_another() -> None:
    def begin(machine: str, scenario: str | None, load: str | None = None, at: str | None = None) -> LiveMachine:
        return start_live(machine, None, load=load, speed="1", at=at, near_wrap=None, scenario=scenario)

    assert begin("-", "two-digit-packages").machine.profile.topology.packages == 17
    assert begin("kabylake", "base").machine.profile.id == "kabylake"
    live = begin("-", "order-swapped", load="package=20", at="4.5")
    assert (live.machine.load.now().package_uw, live.machine.clock.now_ns) == (20_000_000, 4_500_000_000)
    with pytest.raises(
        ValueError, match=r"^MACHINE is -, the machine of a scenario: name one, or say --scenario FILE$"
    ):
        begin("-", None)
    with pytest.raises(ValueError, match=r"^zone-vanishes: event\[0\]: at 5 s: package 1 does not exist"):
        begin("kabylake", "zone-vanishes")
    with pytest.raises(ValueError, match=r"^wrapp: unknown scenario; did you mean wrap"):
        begin("-", "wrapp")


def test_a_machine_given_as_a_profile_is_taken_as_it_is(server: Profile) -> None:
    live = start(server, load=read_load("package=30"), scenario=Scenario.load("zone-vanishes"))
    live.advance(seconds=10)
    with live.held() as machine:
        assert machine.sysfs.listdir("class/powercap").count("intel-rapl:1") == 0
        assert machine.truth_uj("package-1") == 300_000_000


# What is read.


def test_a_machine_can_be_written_into_a_scenario_or_lie_beside_it(write: Write, tmp_path: Path) -> None:
    machine = '[machine.cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 85\n[machine.topology]\npackages = 1\n'
    inside = Scenario.load(write(f"{machine}[machine.registers]\n0x606 = 0xA0E03\n0x611 = 5\n"))
    assert (inside.id, inside.title, inside.why, inside.profile.id) == ("mine", "mine", "not said", "mine")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/box.toml").write_text(machine.replace("machine.", ""))
    (tmp_path / "load.csv").write_text("time_s,package\n1,10\n")
    beside = Scenario.load(write('machine = "sub/box.toml"\nload = "load.csv"\nthreads = ["a/b#1"]\n'))
    assert (beside.profile.id, beside.threads, beside.load_spec) == ("box", ("a/b#1",), "load.csv")
    live = start(scenario=beside)
    live.advance(seconds=2)
    assert live.machine.truth_uj("package-0") == 10_000_000


def test_a_name_with_the_ending_of_a_file_is_a_file() -> None:
    with pytest.raises(ValueError, match=r"^wrap\.toml: cannot be read: No such file"):
        Scenario.load("wrap.toml")
    assert Scenario.load("wrap").id == "wrap"


_M = 'machine = "skylake-sp-2s"\n'
_COUNTER_0 = '[[event]]\ndo = "poke"\nregister = 0x611\nvalue = 0\n'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 'machine is missing: give the id of one, such as machine = "skylake-sp-2s", or [machine]'),
        ("machine =", "is not TOML: Invalid value"),
        (_M + "at_s = 1e9999999999999999999", "is not TOML: '1e9999999999999999999' is no number"),
        (_M + 'at_s = "1_0"', "at_s: must be a number of seconds such as 12.5, not the text 1_0"),
        (_M + "evnt = 1\n", "evnt: unknown key; did you mean event? (known here: title, why, threads, machine, kernel"),
        ('machine = "skylake"\n', "machine: skylake: unknown machine; did you mean skylake-sp-2s?"),
        ("machine = 5\n", "machine: must be text on one line, not the whole number 5"),
        ('machine = "../x.toml"\n', "machine: ../x.toml: must lie beside the scenario or below it: give a relative"),
        ('machine = "/etc/x.json"\n', "machine: /etc/x.json: must lie beside the scenario or below it"),
        ("[machine]\nrules = 1\n", "machine: table [cpu] is missing: every profile needs one"),
        ("[machine.cpu]\nvendr = 1\n[machine.topology]\n", "machine.cpu.vendr: unknown key; did you mean vendor?"),
        (_M + 'kernel = "6.77"\n', "kernel: "),
        (_M + "kernel = 6\n", "kernel: must be text on one line, not the whole number 6"),
        (_M + "x = " + "[" * 5000 + "]" * 5000, "is "),
        (_M + 'load = "package"\n', "load: 'package' is none of"),
        (_M + 'load = "x.csv"\n', "load: x.csv: No such file or directory: name a file that can be read"),
        (_M + 'load = "../x.csv"\n', "load: ../x.csv: must lie beside the scenario"),
        (_M + "at_s = -1\n", "at_s: -1 s is out of range: 0 to 1000000000000"),
        (_M + "near_wrap_s = 0\n", "near_wrap_s: counters wrap after some time: say how many seconds, above 0"),
        (_M + "threads = 5\n", "threads: must be an array of texts, not the whole number 5"),
        (_M + "threads = [5]\n", "threads[0]: must be text on one line, not the whole number 5"),
        (_M + "event = 5\n", "event: must be an array of tables [[event]], not the whole number 5"),
        (_M + "event = [5]\n", "event[0]: must be a table [[event]], not the whole number 5"),
        (_M + "[event]\n", "event: must be an array of tables [[event]], not a table"),
        (_M + "[[event]]\n", 'event[0]: do is missing: say what happens, such as do = "wrap"'),
        (_M + '[[event]]\ndo = "maks"\n', "event[0].do: the text maks is no event; did you mean mask?"),
        (
            _M + '[[event]]\ndo = "reset"\natt_s = 5\n',
            "event[0].att_s: unknown key; did you mean at_s? (known here: at_s, until_s)",
        ),
        (_M + '[[event]]\ndo = "reset"\nat_s = 0.0000000001\n', "event[0].at_s: 1E-10 s is finer than a nanosecond"),
        (_M + '[[event]]\ndo = "reset"\nuntil_s = 5\n', "event[0].until_s: reset has no end: write another event"),
        (_M + '[[event]]\ndo = "mask"\nat_s = 5\nuntil_s = 5\n', "event[0].until_s: must be later than at_s"),
    ],
)
def test_a_file_that_is_no_scenario_is_refused_in_one_line(write: Write, text: str, line: str) -> None:
    path = write(text)
    with pytest.raises(ValueError, match=r".") as refused:
        Scenario.load(path)
    assert str(refused.value).startswith(f"{path}: {line}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            '[[event]]\nat_s = 2\ndo = "offline"\npackage = 2\n',
            "event[0]: at 2 s: package 2 does not exist: the machine",
        ),
        (
            f'[[event]]\ndo = "unload-driver"\n[[event]]\ndo = "fault"\nat_s = 1\npath = "{ENERGY}"\n',
            f"event[1]: at 1 s: {ENERGY}: No such file or directory: name a file that is there",
        ),
        (
            '[[event]]\ndo = "offline"\npackage = 0\n[[event]]\nat_s = 1.5\ndo = "offline"\npackage = 1\n',
            "event[1]: at 1.5 s: no processor would be left: the last one cannot go down",
        ),
        (
            '[[event]]\ndo = "mask"\nuntil_s = 9\n[[event]]\nat_s = 3\ndo = "unmask"\n',
            "event[0].until_s: at 9 s: devices/virtual/powercap: is not masked at that moment",
        ),
        (
            _COUNTER_0 + '[[event]]\ndo = "offline"\npackage = 1\n[[event]]\ndo = "online"\npackage = 1\n',
            "event[2]: at 0 s: no package domain found",
        ),
    ],
)
def test_an_event_that_will_not_fit_is_found_before_anything_starts(write: Write, text: str, line: str) -> None:
    path = write(_M + text)
    with pytest.raises(ValueError, match=r".") as refused:
        start(scenario=Scenario.load(path))
    assert str(refused.value).startswith(f"{path}: {line}")


def test_what_crashes_the_kernel_is_found_as_well(write: Write) -> None:
    # The driver of 3.13 unregisters zones that it never registered: a package counter alone is a domain too few.
    path = write(
        'kernel = "3.13"\n[machine.cpu]\nvendor = "GenuineIntel"\nfamily = 6\nmodel = 42\n[machine.topology]\n'
        "packages = 1\n[machine.registers]\n0x606 = 0xA1003\n0x639 = 5\n[machine.load]\npackage = 10\ncore = 5\n"
        '[[event]]\nat_s = 1\ndo = "unload-driver"\n'
    )
    with pytest.raises(ValueError, match=r"event\[0\]: at 1 s: crashes this kernel: NULL pointer dereference"):
        start(scenario=Scenario.load(path))


def test_too_many_events_are_refused(write: Write) -> None:
    path = write(_M + '[[event]]\ndo = "suspend"\n' * 10_001)
    with pytest.raises(ValueError, match="event: 10001 events are too many: at most 10000"):
        Scenario.load(path)
