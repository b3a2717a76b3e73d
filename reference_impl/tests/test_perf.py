# SPDX-License-Identifier: Apache-2.0
"""perf events as a source: over a machine's own PMUs in process, and through the real system call."""

from __future__ import annotations

import errno
import os
import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_fixtures import profile_ids
from raplica_reader import Follower, Handle, Meter, OsFiles, Sampler, Zone, discover, shares
from raplica_reader.perf import Perf, parse_config, parse_scale
from raplica_reader.perf_event import Kernel
from raplica_simulator import Machine
from raplica_simulator.linux.perf_power import power_pmus

if TYPE_CHECKING:
    from tests.conftest import Faces, Memory

WITH_EVENTS = [one for one in profile_ids() if power_pmus(Machine.from_profile(one))]
POWER = "bus/event_source/devices/power/"


def source_of(shown: Faces) -> Perf:
    return Perf(shown.events, shown.files, shown.cpuinfo)


def paths(zones: tuple[Zone, ...]) -> list[str]:
    return [zone.path for zone in zones]


@pytest.mark.parametrize("machine_id", WITH_EVENTS)
def test_every_event_of_every_machine_counts_what_was_spent(machine_id: str, faces: type[Faces]) -> None:
    machine = Machine.from_profile(machine_id)
    shown = faces(machine)
    sampler = Sampler(source_of(shown).discover(), clock=shown.now_ns)
    meter = Meter()
    meter.add(sampler.sample())
    before = {zone.path: machine.truth_joules(zone.path) for zone in sampler.zones}
    machine.clock.advance(seconds=7200)  # longer than a register takes to wrap
    meter.add(sampler.sample())
    assert paths(sampler.zones)
    for spent in meter.total():
        assert (spent.status, spent.zone.control_type) == ("ok", "perf")
        assert spent.energy_uj is not None
        if spent.zone.path == "psys-1":  # Sapphire Rapids: never probed, and only the first package has the meter
            assert spent.energy_uj == 0
            continue
        truth_uj = (machine.truth_joules(spent.zone.path) - before[spent.zone.path]) * 10**6
        # perf takes 2^-16 J where server memory counts in 15.3 uJ (arch/x86/events/rapl.c): 0.27 % less.
        rate = Fraction(10**9, 15_300 * 2**16) if _counts_15_3_uj(machine, spent.zone) else Fraction(1)
        step_uj = Fraction(10**6) if spent.zone.name == "psys" and "sapphire" in machine_id else 100
        assert abs(spent.energy_uj - truth_uj * rate) <= step_uj


def _counts_15_3_uj(machine: Machine, zone: Zone) -> bool:
    return zone.name == "dram" and machine.counter_units()["dram"] == Fraction(153, 10_000_000)


@pytest.mark.parametrize("machine_id", ["kabylake", "skylake-sp-2s", "sapphirerapids-2s", "cascadelake-ap-2s"])
def test_zones_are_called_as_in_powercap(machine_id: str, faces: type[Faces]) -> None:
    machine = Machine.from_profile(machine_id)
    in_powercap = {zone.path for zone in discover(machine.sysfs) if zone.control_type == "intel-rapl"}
    found = source_of(faces(machine)).discover()
    # The event psys of Sapphire Rapids is there in each package, whether or not it counts.
    assert {path for path in paths(found) if not path.startswith("psys-")} == in_powercap
    counted = {zone.path for zone, share in zip(found, shares(found), strict=True) if share.counted}
    assert counted == {path for path in in_powercap if path.startswith("package") and not path.endswith("core")}


def test_cores_of_amd_are_read_where_the_kernel_has_their_pmu(faces: type[Faces]) -> None:
    machine = Machine.from_profile("zen2-epyc-2s", kernel="7.2")
    zones = source_of(faces(machine)).discover()
    assert len(zones) == 2 + 32
    assert paths(zones)[-1] == "package-1/core-15"
    assert sum(share.counted for share in shares(zones)) == 2


class EverybodyCounts:
    """The files of a machine of four CPUs, all of which stand in the mask, as on Panther Lake since 6.19."""

    def __init__(self, shown: Faces) -> None:
        self.listdir = shown.files.listdir
        self.readlink = shown.files.readlink
        self.read_file = shown.files.read

    def read(self, path: str) -> bytes:
        return b"0-3\n" if path == f"{POWER}cpumask" else self.read_file(path)


def test_a_package_is_read_once_however_many_cpus_of_it_count(faces: type[Faces]) -> None:
    shown = faces(Machine.from_profile("kabylake"))
    zones = Perf(shown.events, EverybodyCounts(shown), shown.cpuinfo).discover()
    assert paths(zones) == paths(source_of(shown).discover())


def test_without_the_pmu_there_is_no_source(memory: type[Memory], faces: type[Faces]) -> None:
    with pytest.raises(FileNotFoundError):
        Perf(faces(Machine.from_profile("kabylake")).events, memory({}), None).discover()


def test_an_event_that_may_not_be_opened_is_an_error_of_its_zone(faces: type[Faces]) -> None:
    class Forbidding:
        def open(self, pmu_type: int, config: int, cpu: int) -> Handle:
            raise OSError(errno.EACCES, f"{pmu_type} {config} {cpu}")

    shown = faces(Machine.from_profile("kabylake"))
    sample = Sampler(Perf(Forbidding(), shown.files, shown.cpuinfo).discover()).sample()
    assert set(sample.errors) == {"EACCES"}


def test_an_event_that_ends_is_an_error_and_is_not_opened_anew(faces: type[Faces]) -> None:
    """Opened again it would count from 0, and pass for energy that it never saw."""
    opened = []
    answers = iter([b"\0" * 8, (2**33).to_bytes(8, "little"), b"", (2**34).to_bytes(8, "little")])

    class Ending:
        def open(self, pmu_type: int, config: int, cpu: int) -> Handle:
            opened.append((pmu_type, config, cpu))
            return Handle(lambda: next(answers), os.open("/dev/null", os.O_RDONLY))

    with Sampler(Perf(Ending(), faces(Machine.from_profile("zen4", kernel="6.12")).files).discover()) as sampler:
        meter = Meter()
        seen = [meter.add(sampler.sample()) for _ in range(4)]
    assert [(one[0].energy_uj, one[0].error) for one in seen[1:]] == [
        (2_000_000, None),
        (None, "ENODATA"),
        (2_000_000, None),
    ]
    assert len(opened) == 1


def test_events_stay_open_when_other_zones_come(faces: type[Faces]) -> None:
    machine = Machine.from_profile("skylake-sp-2s")
    second = [cpu.number for cpu in machine.profile.topology.cpus if cpu.package == 1]
    for cpu in second:
        machine.cpu(cpu).offline()
    shown = faces(machine)
    source = source_of(shown)
    follower = Follower(source, Sampler(source.discover(), clock=shown.now_ns))
    follower.sample()
    machine.clock.advance(seconds=5)
    for cpu in second:
        machine.cpu(cpu).online()
    first, *_, new = follower.sample()
    assert (first.zone.path, first.status, new.zone.path, new.error) == ("package-0", "ok", "package-1/dram", "ENODEV")
    machine.clock.advance(seconds=5)
    assert {spent.status for spent in follower.sample()} == {"ok"}
    assert follower.meter.total()[0].energy_uj == pytest.approx(machine.truth_uj("package-0"), rel=1e-6)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        (b"2.3283064365386962890625e-10\n", Fraction(10**9, 2**32)),
        (b"1e-9\n", Fraction(1)),
        (b"0.5\n", Fraction(500_000_000)),
        (b"1\n", Fraction(10**9)),
        (b"3E2", Fraction(3 * 10**11)),
    ],
)
def test_a_scale_is_an_exact_ratio(text: bytes, unit: Fraction) -> None:
    assert parse_scale(text) == (unit.numerator, unit.denominator)


@pytest.mark.parametrize("text", [b"", b"\n", b"0\n", b"-1\n", b"1e", b"1e999\n", b"nan", b"0x1p-32\n", b"1 2"])
def test_what_is_no_scale_is_none(text: bytes) -> None:
    assert parse_scale(text) is None


@given(st.binary(max_size=30))
def test_no_scale_and_no_code_is_an_exception(text: bytes) -> None:
    unit = parse_scale(text)
    assert unit is None or (unit[0] > 0 and unit[1] > 0)
    config = parse_config(text)
    assert config is None or isinstance(config, int)


@pytest.mark.parametrize(("text", "code"), [(b"event=0x02\n", 2), (b"event=5\n", 5), (b"event=0x02,umask=1", None)])
def test_codes_are_read(text: bytes, code: int | None) -> None:
    assert parse_config(text) == code


@pytest.fixture
def software_clock(tmp_path: Path) -> Path:
    """A tree whose PMU `power` is the kernel's software clock: nanoseconds in place of energy."""
    pmu = tmp_path / POWER
    (pmu / "events").mkdir(parents=True)
    for name, text in {
        "type": "1\n",
        "cpumask": "0\n",
        "events/energy-pkg": "event=0x00\n",
        "events/energy-pkg.scale": "1e-9\n",
        "events/energy-pkg.unit": "Joules\n",
    }.items():
        (pmu / name).write_text(text)
    return tmp_path


def test_the_system_call_opens_a_counter_of_this_kernel(software_clock: Path) -> None:
    if os.uname().machine not in {"x86_64", "i386", "i686"}:
        pytest.skip("perf_event_open is known on x86 only, as is the PMU of RAPL")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with Sampler(Perf(Kernel(), OsFiles(software_clock)).discover()) as sampler:
        first = sampler.sample()
        if first.errors[0] in {"EACCES", "EPERM", "ENOSYS"}:
            pytest.skip(f"perf events may not be opened here ({first.errors[0]})")
        began = time.monotonic()
        while time.monotonic() - began < 0.02:
            pass
        meter = Meter()
        meter.add(first)
        (spent,) = meter.add(sampler.sample())
    assert first.errors == (None,)
    assert spent.energy_nj is not None
    assert spent.energy_nj > 0
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.parametrize(("pmu_type", "code"), [(0x7FFFFFF0, errno.ENOENT)])
def test_the_system_calls_errno_is_kept(pmu_type: int, code: int) -> None:
    with pytest.raises(OSError, match=r".*") as failure:
        Kernel().open(pmu_type, 0, 0)
    assert failure.value.errno in {code, errno.EACCES, errno.EPERM, errno.ENOSYS}
