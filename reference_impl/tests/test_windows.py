# SPDX-License-Identifier: Apache-2.0
"""Registers behind the Scaphandre driver for Windows, in each of its versions, against simulated machines' truth."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

import pytest

from raplica_fixtures import profile_ids
from raplica_reader import Follower, Meter, Sampler, Zone, shares
from raplica_reader.processor import Processor
from raplica_reader.windows import DriverRegister, Scaphandre
from raplica_reader.windows_calls import Answer, LogicalProcessor
from raplica_reader.windows_driver import BY_CODE, EIGHT, FOUR, PATHS, DriverRegisters
from raplica_reader.windows_models import documented
from raplica_simulator import Machine, load_profile
from raplica_simulator.windows.scaphandre_driver import ScaphandreDriver
from raplica_simulator.windows.system import WindowsSystem
from raplica_simulator.windows.win32_calls import Win32Calls

WITH_REGISTERS = [one for one in profile_ids() if any(load_profile(one).registers.values())]
OF_VERSION_2 = ("v2-4", "v2-8", "v2-8-open")
LATER = ("v2-8-allow", "v3", "v3.1", "v3.2", "fixed")

KABYLAKE = {"package-0", "package-0/core", "package-0/uncore", "package-0/dram"}
SKYLAKE = {"package-0", "package-0/dram", "package-1", "package-1/dram"}
CASES = [
    ("kabylake", "v1", {"package-0"}),
    *(("kabylake", version, KABYLAKE | {"psys"}) for version in (*OF_VERSION_2, "v3.1", "v3.2", "fixed")),
    *(("kabylake", version, KABYLAKE) for version in ("v2-8-allow", "v3")),
    ("skylake-sp-2s", "v1", {"package-0", "package-1"}),
    *(("skylake-sp-2s", version, SKYLAKE) for version in (*OF_VERSION_2, *LATER)),
    *(("zen2-epyc-2s", version, {"package-0", "package-1"}) for version in ("v2-8", "v2-8-open", "v3.2", "fixed")),
    *(("zen4", version, {"package-0"}) for version in ("v2-8", "v3.2", "fixed")),
]


def driver(version: str) -> ScaphandreDriver:
    return ScaphandreDriver("v3.2", fixed=True) if version == "fixed" else ScaphandreDriver(version)


def process_of(machine: Machine, version: str) -> Win32Calls:
    """An ordinary user's process on a Windows where this version of the driver runs."""
    return WindowsSystem.with_driver(machine, driver(version)).process(administrator=False)


def paths(zones: tuple[Zone, ...]) -> list[str]:
    return [zone.path for zone in zones]


def step_uj(zone: Zone) -> float:
    return float(zone.counter.unit_nj or 0) / 1000


def near_the_wrap(machine: Machine) -> None:
    """Let every energy counter of 32 bits begin anew within a few seconds."""
    for cpu in machine.profile.topology.cpus:
        for register in (0x611, 0x619, 0x639, 0x641, 0x64D, 0xC001029A, 0xC001029B):
            try:
                standing = machine.msr.read(cpu.number, register)
            except OSError:
                continue
            if standing and cpu.thread == 0:
                machine.msr.poke(cpu.number, register, standing | 0xFFFFF000)


@pytest.mark.parametrize(("machine_id", "version", "expected"), CASES)
def test_every_version_gives_the_truth_to_the_unit_across_wraps(
    machine_id: str, version: str, expected: set[str]
) -> None:
    machine = Machine.from_profile(machine_id)
    near_the_wrap(machine)
    zones = Scaphandre(process_of(machine, version)).discover()
    assert {path for path in paths(zones) if "core-" not in path} == expected
    with Sampler(zones, clock=lambda: machine.clock.now_ns) as sampler:
        first = sampler.sample()
        before_uj = {path: machine.truth_uj(path) for path in paths(zones)}
        meter = Meter()
        meter.add(first)
        latest = first
        for _ in range(3):
            machine.clock.advance(seconds=60)
            latest = sampler.sample()
            meter.add(latest)
    for spent in meter.total():
        path = spent.zone.path
        truth_uj = machine.truth_uj(path) - before_uj[path]
        assert spent.energy_uj is not None, path
        assert truth_uj > 0
        assert abs(spent.energy_uj - truth_uj) <= step_uj(spent.zone) + 2, path
    wrapped = [one for one, other in zip(first.counts, latest.counts, strict=True) if (other or 0) < (one or 0)]
    assert bool(wrapped) == (machine_id != "zen4")  # whose counters have 64 bits
    counted = {zone.path for zone, share in zip(zones, shares(zones), strict=True) if share.counted}
    assert counted == {path for path in expected if path.startswith("package") and "core" not in path} - {
        "package-0/uncore"
    }


@pytest.mark.parametrize("machine_id", ["zen2-epyc-2s", "zen4"])
@pytest.mark.parametrize("version", ["v3.2", "fixed"])
def test_each_core_of_an_amd_package_is_read_on_that_core(machine_id: str, version: str) -> None:
    machine = Machine.from_profile(machine_id)
    zones = Scaphandre(process_of(machine, version)).discover()
    counts = {zone.path: zone.gauge.decode(zone.gauge.once()) for zone in zones if "core-" in zone.path}
    standing = {
        f"package-{cpu.package}/core-{cpu.core}": machine.msr.read(cpu.number, 0xC001029A)
        for cpu in machine.profile.topology.cpus
    }
    assert counts == standing


@pytest.mark.parametrize("version", ["v1", "v2-4", "v2-8-open", "v2-8-allow", "v3"])
@pytest.mark.parametrize("machine_id", WITH_REGISTERS)
def test_no_version_without_a_guard_is_asked_for_what_takes_the_machine_down(machine_id: str, version: str) -> None:
    system = WindowsSystem.with_driver(Machine.from_profile(machine_id), driver(version))
    source = Scaphandre(system.process(administrator=False))
    if machine_id.startswith("zen") and version != "v2-8-open":
        with pytest.raises(OSError, match="AMD's unit register") as refused:
            source.discover()
        assert refused.value.errno == errno.ENOSYS
    else:
        assert source.discover()[0].path.startswith("package-0")
    assert system.crashed is None


@pytest.mark.parametrize(
    ("version", "dialect"), [("v1", BY_CODE), ("v2-4", FOUR), ("v2-8", EIGHT), ("v2-8-allow", EIGHT), ("v3.2", EIGHT)]
)
def test_the_protocol_is_found_and_said(version: str, dialect: Any) -> None:
    source = Scaphandre(process_of(Machine.from_profile("kabylake"), version))
    source.discover()
    assert source.about == f"{dialect.name}; placed by the thread that asks"
    is_said = any("take the machine down" in note for note in source.notes)
    assert is_said == (version not in {"v1", "v3.2"})


def test_a_driver_without_a_list_and_one_without_psys_on_it_are_not_taken_for_guarded() -> None:
    guarded = {}
    for version in (*OF_VERSION_2, *LATER):
        registers = DriverRegisters(
            process_of(Machine.from_profile("kabylake"), version), Processor("GenuineIntel", 6, 142)
        )
        registers.learn()
        guarded[version] = registers.is_guarded
    assert [version for version, is_guarded in guarded.items() if is_guarded] == ["v3.1", "v3.2", "fixed"]


@pytest.mark.parametrize(("version", "way"), [("v3.2", "the thread that asks"), ("fixed", "the index of a CPU")])
def test_two_packages_of_one_group_are_told_apart_with_the_wrong_mask_and_with_the_right_one(
    version: str, way: str
) -> None:
    machine = Machine.from_profile("zen2-epyc-2s")
    process = process_of(machine, version)
    assert len({one.group for one in process.logical_processors()}) == 1
    source = Scaphandre(process)
    zones = source.discover()
    assert source.about.endswith(way)
    assert [zone.path for zone in zones if zone.parent is None] == ["package-0", "package-1"]
    assert not any(zone.mirror_of for zone in zones)


@pytest.mark.parametrize("version", ["v3.2", "fixed"])
@pytest.mark.parametrize(("machine_id", "several"), [("zen2-epyc-2s", 0xC001029B), ("zen4", 0xC001029A)])
def test_counters_that_stand_alike_by_chance_are_told_apart_as_soon_as_they_do_not(
    machine_id: str, several: int, version: str
) -> None:
    machine = Machine.from_profile(machine_id)
    topology = machine.profile.topology
    for cpu in topology.cpus:
        for register in (0xC001029A, 0xC001029B):
            machine.msr.poke(cpu.number, register, 0x12345678)
    source = Scaphandre(process_of(machine, version))
    zones = source.discover()
    assert len(zones) == topology.packages * (1 + topology.cores_per_die)
    assert (source.notes, [zone.mirror_of for zone in zones]) == ((), [None] * len(zones))
    with Sampler(zones) as sampler:
        assert set(sampler.sample().counts) == {0x12345678}
        last = [cpu.number for cpu in topology.cpus if cpu.thread == 0][-1]
        machine.msr.poke(last, several, 0x23456789)
        counts = dict(zip(paths(zones), sampler.sample().counts, strict=True))
        assert [path for path, count in counts.items() if count == 0x23456789] == [
            "package-1" if several == 0xC001029B else "package-0/core-15"
        ]
        assert set(sampler.sample().counts) == {0x12345678, 0x23456789}


def test_the_thread_is_given_back_to_where_it_was() -> None:
    process = process_of(Machine.from_profile("skylake-sp-2s"), "v3.2")
    before = process.thread.affinity
    with Sampler(Scaphandre(process).discover()) as sampler:
        sampler.sample()
    assert process.thread.affinity == before


class Wrapped:
    """Calls of another object, some of them replaced."""

    def __init__(self, calls: Any, **replaced: Callable[..., Any]) -> None:
        self.calls = calls
        self.replaced = replaced

    def __getattr__(self, name: str) -> Any:
        return self.replaced.get(name) or getattr(self.calls, name)


def test_packages_that_show_one_counter_are_counted_once_and_their_cores_left_out() -> None:
    process = process_of(Machine.from_profile("zen2-epyc-2s"), "v3.2")
    stuck = Wrapped(process, set_thread_group_affinity=lambda *_: None)
    source = Scaphandre(stuck)
    zones = source.discover()
    assert paths(zones) == ["package-0", "package-1"]
    assert [share.counted for share in shares(zones)] == [True, False]
    assert zones[1].mirror_of == "scaphandre:package-0"
    assert source.notes == (
        "several cores of package-0 show one counter, so the driver does not go where it is sent: they are left out",
    )


def test_a_thread_that_cannot_be_moved_does_no_harm_where_the_driver_obeys_the_index() -> None:
    machine = Machine.from_profile("zen2-epyc-2s")
    source = Scaphandre(Wrapped(process_of(machine, "fixed"), set_thread_group_affinity=lambda *_: None))
    zones = source.discover()
    assert len(zones) == 34
    assert source.notes == ()
    assert sum(share.counted for share in shares(zones)) == 2


def test_an_intel_package_that_shows_another_ones_counter_has_no_memory_either() -> None:
    process = process_of(Machine.from_profile("haswell-ep-2s"), "v3.2")
    assert len({one.group for one in process.logical_processors()}) == 1
    stuck = Wrapped(process, set_thread_group_affinity=lambda *_: None)
    zones = Scaphandre(stuck).discover()
    assert paths(zones) == ["package-0", "package-0/dram", "package-1"]
    assert [share.counted for share in shares(zones)] == [True, True, False]


def test_a_register_that_faults_is_an_error_and_its_energy_is_made_up_for() -> None:
    machine = Machine.from_profile("kabylake")
    with Sampler(Scaphandre(process_of(machine, "v3.2")).discover(), clock=lambda: machine.clock.now_ns) as sampler:
        meter = Meter()
        meter.add(sampler.sample())
        machine.clock.advance(seconds=10)
        for cpu in machine.profile.topology.cpus:
            machine.msr.inject(cpu.number, 0x619, on="read", errno=errno.EIO)
        sample = sampler.sample()
        assert dict(zip(paths(sample.zones), sample.errors, strict=True))["package-0/dram"] == "EIO"
        assert dict(zip(paths(sample.zones), sample.counts, strict=True))["package-0/dram"] is None
        meter.add(sample)
        for cpu in machine.profile.topology.cpus:
            machine.msr.inject(cpu.number, 0x619, on="read", errno=None)
        machine.clock.advance(seconds=10)
        healed = {spent.zone.path: spent for spent in meter.add(sampler.sample())}
    assert healed["package-0/dram"].duration_ns == 20 * 10**9
    assert healed["package-0/dram"].energy_uj == pytest.approx(25_000_000, abs=200)  # 1.25 W


def test_a_unit_that_cannot_be_read_ends_the_search() -> None:
    machine = Machine.from_profile("kabylake")
    for cpu in machine.profile.topology.cpus:
        machine.msr.inject(cpu.number, 0x606, on="read", errno=errno.EIO)
    assert Scaphandre(process_of(machine, "v3.2")).discover() == ()


def test_a_driver_that_is_stopped_is_an_error_until_it_runs_again() -> None:
    machine = Machine.from_profile("kabylake")
    system = WindowsSystem.with_driver(machine, ScaphandreDriver())
    source = Scaphandre(system.process(administrator=False))
    follower = Follower(source, Sampler(source.discover(), clock=lambda: machine.clock.now_ns))
    follower.sample()
    system.reboot()
    assert {spent.error for spent in follower.sample()} == {"EBADF"}
    assert {spent.error for spent in follower.sample()} == {"ENOENT"}
    system.kernel.load(ScaphandreDriver())
    machine.clock.advance(seconds=1)
    follower.sample()
    machine.clock.advance(seconds=1)
    assert {spent.status for spent in follower.sample()} == {"ok"}
    follower.sampler.close()
    assert all(device.open_handles == 0 for device in system.kernel.devices)


def test_a_driver_of_another_version_that_comes_in_its_place_is_asked_in_its_own_way() -> None:
    machine = Machine.from_profile("kabylake")
    system = WindowsSystem.with_driver(machine, ScaphandreDriver())
    source = Scaphandre(system.process())
    follower = Follower(source, Sampler(source.discover(), clock=lambda: machine.clock.now_ns))
    follower.sample()
    system.reboot()
    assert {spent.error for spent in follower.sample()} == {"EBADF"}
    system.kernel.load(ScaphandreDriver("v2-4"))
    follower.sample()
    machine.clock.advance(seconds=1)
    assert {spent.zone.path: spent.status for spent in follower.sample()} == dict.fromkeys(KABYLAKE | {"psys"}, "ok")
    assert source.about.startswith("register in 4 bytes")
    follower.sampler.close()


def test_looking_leaves_no_handle_and_reading_one() -> None:
    system = WindowsSystem.with_driver(Machine.from_profile("skylake-sp-2s"), ScaphandreDriver())
    zones = Scaphandre(system.process(administrator=False)).discover()
    assert system.kernel.devices[0].open_handles == 0
    with Sampler(zones) as sampler:
        sampler.sample()
        assert system.kernel.devices[0].open_handles == 1
    assert system.kernel.devices[0].open_handles == 0


@pytest.mark.parametrize("version", ["v0-none", "v0-ones", "v0-unit"])
def test_the_first_trials_of_the_driver_that_answer_everything_are_refused(version: str) -> None:
    system = WindowsSystem.with_driver(Machine.from_profile("kabylake"), ScaphandreDriver(version))
    with pytest.raises(OSError, match="stands for no register") as refused:
        Scaphandre(system.process()).discover()
    assert refused.value.errno == errno.ENOSYS
    assert system.crashed is None


def test_without_a_driver_it_is_enoent() -> None:
    with pytest.raises(OSError, match=r"RAPLDriver|ScaphandreDriver") as missing:
        Scaphandre(WindowsSystem(Machine.from_profile("kabylake")).process()).discover()
    assert missing.value.errno == errno.ENOENT


@pytest.mark.parametrize(
    ("vendor", "signature"),
    [
        ("GenuineIntel", (6, 0x1A, 5)),  # Nehalem
        ("GenuineIntel", (6, 0x2C, 2)),  # Westmere
        ("GenuineIntel", (5, 9, 0)),
        ("AuthenticAMD", (0x15, 2, 0)),
        ("CentaurHauls", (7, 0x3B, 0)),
    ],
)
def test_a_processor_without_rapl_is_not_asked(vendor: str, signature: tuple[int, int, int]) -> None:
    system = WindowsSystem.with_driver(Machine.from_profile("kabylake"), ScaphandreDriver("v2-8-open"))
    calls = Wrapped(system.process(), cpu_vendor=lambda: vendor, cpu_signature=lambda: signature)
    with pytest.raises(OSError, match="no energy registers") as refused:
        Scaphandre(calls).discover()
    assert refused.value.errno == errno.ENXIO


def test_the_processor_can_be_told() -> None:
    process = process_of(Machine.from_profile("kabylake"), "v3.2")
    unknown = Scaphandre(process, Processor("GenuineIntel", 6, 0xFE)).discover()
    assert paths(unknown) == ["package-0"]  # what a step of its memory is worth nobody knows
    assert Scaphandre(process, Processor("GenuineIntel", 19, 1)).discover() != ()


@pytest.mark.parametrize(
    ("model", "domains"),
    [
        (0x2A, {"package", "core", "uncore"}),
        (0x2D, {"package", "core"}),
        (0x3C, {"package", "core", "uncore", "dram"}),
        (0x3F, {"package", "dram"}),  # where 0x641 takes an unguarded driver's machine down
        (0x4E, {"package", "core", "uncore", "dram", "psys"}),
        (0x8F, {"package", "dram", "psys"}),
        (0x37, {"package", "core"}),
        (0x5C, {"package"}),
        (0xFE, {"package"}),
    ],
)
def test_what_a_model_is_documented_to_have_is_asked_of_any_driver(model: int, domains: set[str]) -> None:
    assert documented(Processor("GenuineIntel", 6, model)) == domains
    assert documented(Processor("GenuineIntel", 19, model)) == {"package"}
    assert documented(Processor("AuthenticAMD", 0x19, model)) == {"package", "core"}


class Scripted:
    """A driver with one answer, or a function of the request."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.opened: list[str] = []

    def create_file(self, path: str, *_: object) -> int:
        self.opened.append(path)
        return 4

    def close_handle(self, handle: int) -> None:
        raise OSError(errno.EBADF, f"handle {handle}")

    def device_io_control(self, _: int, code: int, data: bytes | None, size: int) -> Answer:
        answer: Answer = self.answer(code, data, size) if callable(self.answer) else self.answer
        return answer

    def logical_processors(self) -> list[LogicalProcessor]:
        return [LogicalProcessor(0, 0, 0, 0, 0)]


def reads(answer: Any) -> int:
    """What one register reads as, of a driver that was found to take 8 bytes."""
    registers = DriverRegisters(Scripted(answer), Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    registers.dialect = EIGHT
    return registers.read(0, 0x611)


def test_an_answer_of_eight_bytes_is_a_register() -> None:
    assert reads(Answer(True, 0, 8, bytes(range(8)))) == 0x0706050403020100


@pytest.mark.parametrize("returned", [0, 4, 7, 9, None])
def test_an_answer_of_another_length_is_an_error(returned: int | None) -> None:
    with pytest.raises(OSError, match="bytes") as wrong:
        reads(Answer(True, 0, returned, bytes(8)))
    assert wrong.value.errno == errno.EBADMSG


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (1, errno.EIO),
        (1117, errno.EIO),
        (31, errno.EIO),
        (87, errno.ENXIO),
        (5, errno.EACCES),
        (6, errno.EBADF),
        (433, errno.ENODEV),
        (3221225622, errno.EINVAL),
    ],
)
def test_a_failure_is_an_errno_and_never_a_number(error: int, code: int) -> None:
    with pytest.raises(OSError, match=f"Windows error {error}") as wrong:
        reads(Answer(False, error, None, bytes(8)))
    assert wrong.value.errno == code


def test_before_the_protocol_is_known_nothing_is_read() -> None:
    registers = DriverRegisters(Scripted(Answer(True, 0, 8, bytes(8))), Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="protocol"):
        registers.read(0, 0x611)
    with pytest.raises(OSError, match="looked for"):
        Scaphandre(Scripted(None)).gauge(0x611, [0])  # type: ignore[arg-type]


def test_a_driver_that_refuses_everything_says_so() -> None:
    registers = DriverRegisters(Scripted(Answer(False, 1, None, bytes(8))), Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    with pytest.raises(OSError, match="each of its protocols") as refused:
        registers.learn()
    assert refused.value.errno == errno.ENOSYS


def test_a_driver_that_asks_for_anything_and_survives_is_guarded() -> None:
    def answer(_: int, data: bytes | None, size: int) -> Answer:
        if data is not None and data[:4] == (0x1B2).to_bytes(4, "little"):
            return Answer(False, 1117, None, bytes(size))
        return Answer(True, 0, 8, (0xA0E03).to_bytes(8, "little"))

    registers = DriverRegisters(Scripted(answer), Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    registers.learn()
    assert registers.is_guarded


def test_where_one_name_is_forbidden_that_is_the_error_and_not_that_the_other_is_missing() -> None:
    class Closed(Scripted):
        def create_file(self, path: str, *_: object) -> int:
            raise OSError(errno.EACCES if path == PATHS[0] else errno.ENOENT, path)

    registers = DriverRegisters(Closed(None), Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    with pytest.raises(PermissionError):
        registers.learn()


@pytest.mark.parametrize(
    ("shown", "is_one"),
    [
        ((5, 5, 5), True),
        ((5, 6, 7), True),
        ((5, 4, 7), False),
        ((5, 8, 7), False),
        ((2**32 - 1, 0, 1), True),
        ((2**32 - 2, 2**32 - 1, 1), True),
        ((2**32 - 1, 77, 1), False),
    ],
)
def test_a_counter_is_another_ones_if_it_lies_between_two_readings_of_it(
    shown: tuple[int, int, int],
    is_one: bool,  # noqa: FBT001
) -> None:
    following = iter(shown)
    script = Scripted(lambda *_: Answer(True, 0, 8, next(following).to_bytes(8, "little")))
    registers = DriverRegisters(script, Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    registers.dialect = EIGHT
    assert registers.show_the_same(0x611, 0, 1) is is_one


def test_gauges_of_one_register_and_cpu_are_equal() -> None:
    registers = DriverRegisters(Scripted(None), Processor("GenuineIntel", 6, 142))  # type: ignore[arg-type]
    assert DriverRegister(registers, 0x611, 0) == DriverRegister(registers, 0x611, 0)
    assert DriverRegister(registers, 0x611, 0) != DriverRegister(registers, 0x619, 0)
