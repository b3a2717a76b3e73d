# SPDX-License-Identifier: Apache-2.0
"""The source powermetrics: all formats against the truth of simulated Macs, and programs that run, refuse or fail."""

from __future__ import annotations

import errno
import json
import plistlib
import select
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_reader import Follower, Host, Sampler, choose, shares, total
from raplica_reader.cli import main
from raplica_reader.powermetrics import Powermetrics
from raplica_reader.powermetrics_output import NAMES, Reading, from_plist, from_text, readings
from raplica_reader.powermetrics_process import Powermeter
from raplica_simulator import Machine
from raplica_simulator.macos.dates import FIRST_BOOT_NS
from raplica_simulator.macos.mac import Mac
from raplica_simulator.macos.mac_files import read_mac
from raplica_simulator.macos.meters import MachineMeters
from raplica_simulator.macos.options import read_options
from raplica_simulator.macos.powermetrics import show

INTEL, M1, M2_PRO = "macbookpro-2015", "macbook-m1", "mac-m2pro"
DOMAINS = {"cpu": "package-0/core", "gpu": "package-0/uncore", "dram": "package-0/dram"}
Program = Callable[[str], list[str]]


def mac_and_machine(name: str) -> tuple[Mac, Machine]:
    found = read_mac(name)
    assert found is not None
    return found[1], Machine.from_profile(found[0])


def truth_uj(mac: Mac, machine: Machine, part: str) -> float:
    spent = mac.spent_uj({domain: machine.truth_uj(domain) for domain in mac.domains})
    return float(machine.truth_uj(DOMAINS[part]) if part in DOMAINS else spent[part])


# Formats.


@pytest.mark.parametrize(("name", "parts"), [(INTEL, 1), (M1, 5), (M2_PRO, 3)])
@pytest.mark.parametrize("form", ["text", "plist"])
def test_every_format_of_every_mac_gives_the_truth_to_what_it_prints(name: str, parts: int, form: str) -> None:
    mac, machine = mac_and_machine(name)
    out: list[bytes] = []
    words = ["-f", form, "-i", "100", "-n", "30", "--samplers", "cpu_power,gpu_power,thermal"]
    show(MachineMeters(machine), mac, read_options(words), FIRST_BOOT_NS, out.append)
    found = list(readings(b"".join(out)))
    assert len(found) == 30
    assert abs(sum(one.elapsed_ns for one in found) - machine.clock.now_ns) <= 30 * 5_000
    for part in found[0].energies_nj:
        spent_uj = sum(one.energies_nj[part] for one in found) / 1000
        # A text rounds to the milliwatt, of Intel to ten; a property list has whole millijoules, of Intel six digits.
        rounded_uj = machine.clock.now_ns / 1e6 * (5 if name == INTEL else 0.5) if form == "text" else 100
        counted_uj = 0 if name == INTEL else 1000 * max(1, len(mac.clusters))
        assert abs(spent_uj - truth_uj(mac, machine, part)) <= rounded_uj + counted_uj
    assert len(found[0].energies_nj) == parts


def a_list(**processor: object) -> bytes:
    return plistlib.dumps({"elapsed_ns": 2_000_000_000, "processor": processor})


@pytest.mark.parametrize(
    ("processor", "energies_nj"),
    [
        ({"cpu_energy": 7, "cpu_power": 99.0}, {"cpu": 7_000_000}),
        ({"cpu_power": 0.5, "combined_power": 12.5}, {"cpu": 1_000_000}),
        ({"gpu_power": 3, "ane_energy": 0}, {"gpu": 6_000_000, "ane": 0}),
        ({"package_joules": 2.5, "package_watts": 9.0}, {"package": 2_500_000_000}),
        ({"package_watts": 1.25}, {"package": 2_500_000_000}),
        ({"package_energy": 1046, "dram_energy": 89}, {"package": 1_046_000_000, "dram": 89_000_000}),
    ],
)
def test_millijoules_come_before_milliwatts_and_joules_before_watts(
    processor: dict[str, object], energies_nj: dict[str, int]
) -> None:
    assert from_plist(a_list(**processor)) == Reading(2_000_000_000, energies_nj)


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (b"powermetrics must be invoked as the superuser\n", errno.EBADMSG),
        (b"", errno.EBADMSG),
        (plistlib.dumps([1, 2]), errno.EBADMSG),
        (plistlib.dumps({"processor": {"cpu_energy": 1}}), errno.EBADMSG),
        (plistlib.dumps({"elapsed_ns": -1, "processor": {"cpu_energy": 1}}), errno.EBADMSG),
        (plistlib.dumps({"elapsed_ns": 1.5, "processor": {"cpu_energy": 1}}), errno.EBADMSG),
        (plistlib.dumps({"elapsed_ns": 1}), errno.ENODATA),
        (a_list(combined_power=12.5, freq_hz=3.0), errno.ENODATA),
        (a_list(cpu_energy="7"), errno.EBADMSG),
        (a_list(cpu_energy=True), errno.EBADMSG),
        (a_list(cpu_energy=-7), errno.EBADMSG),
        (a_list(package_joules=float("nan")), errno.EBADMSG),
        (a_list(cpu_power=float("inf")), errno.EBADMSG),
    ],
)
def test_what_is_no_sample_is_an_error_and_never_0(document: bytes, error: int) -> None:
    with pytest.raises(OSError, match=r"\w") as failed:
        from_plist(document)
    assert failed.value.errno == error


def test_a_list_that_is_cut_off_at_the_end_is_left_out() -> None:
    whole = a_list(cpu_energy=7)
    for length in range(len(whole.rstrip())):
        assert [one.energies_nj for one in readings(whole + b"\0" + whole[:length])] == [{"cpu": 7_000_000}]


def test_a_text_without_samples_or_without_energies_is_an_error() -> None:
    for output in ("", "Machine model: Mac14,12\n", "*** Sampled system activity (now) (5.00ms elapsed) ***\n"):
        with pytest.raises(OSError, match=r"\w") as failed:
            list(from_text(output))
        assert failed.value.errno == errno.ENODATA


def test_in_a_text_clusters_and_what_is_combined_and_a_second_gpu_are_left_out() -> None:
    output = (
        "*** Sampled system activity (Fri Nov 10 12:37:08 2023 +0100) (100.00ms elapsed) ***\n"
        "E-Cluster Power: 100 mW\nP0-Cluster Power: 842 mW\nCPU Power: 942 mW\nGPU Power: 150 mW\n"
        "Combined Power (CPU + GPU + ANE): 1092 mW\n**** GPU usage ****\nGPU Power: 151 mW\n"
    )
    assert list(readings(output.encode())) == [Reading(100_000_000, {"cpu": 94_200_000, "gpu": 15_000_000})]


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_reading_or_an_error(document: bytes) -> None:
    for parse in (from_plist, lambda text: list(from_text(text.decode(errors="replace"))), lambda x: list(readings(x))):
        try:
            parse(document)
        except OSError as error:
            assert error.errno in {errno.EBADMSG, errno.ENODATA}  # noqa: PT017 - or there is none


# A program that runs.

# It may be told several times before it listens, so it may print more samples than it was asked for.
STARTED = """
import os, signal, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, {29})
signal.signal(29, signal.SIG_DFL)
given = 0
def sample(**processor):
    global given
    keys = "".join(f"<key>{name}</key><real>{value}</real>" for name, value in processor.items())
    inner = f"<key>elapsed_ns</key><integer>1000000000</integer><key>processor</key><dict>{keys}</dict>"
    os.write(1, ("\\0" if given else "").encode() + f"<plist><dict>{inner}</dict></plist>".encode())
    given += 1
def asked():
    signal.sigwait({29})
open(__file__ + ".ready", "w").close()
"""


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """A program in the place of powermetrics; `asked()` waits for the signal, `sample(...)` prints one."""

    def write(text: str) -> list[str]:
        file = tmp_path / "program.py"
        file.write_text(STARTED + text, encoding="utf-8")
        return [sys.executable, "-I", "-S", str(file)]

    return write


@pytest.fixture
def closing() -> Iterator[list[Powermeter | Powermetrics]]:
    """What is ended at the end."""
    opened: list[Powermeter | Powermetrics] = []
    yield opened
    for one in opened:
        one.close()


GROWING = """
while True:
    asked()
    sample(cpu_energy=1000 * (given + 1), gpu_energy=2000 * (given + 1), ane_energy=0, combined_power=5.0)
"""


def test_all_parts_of_one_look_are_of_one_sample_and_energies_add_up(
    program: Program, closing: list[Powermeter | Powermetrics]
) -> None:
    source = Powermetrics(program(GROWING))
    closing.append(source)
    zones = source.discover()
    assert [(zone.id, zone.path, zone.parent) for zone in zones] == [
        ("powermetrics:cpu", "cpu", None),
        ("powermetrics:gpu", "gpu", None),
        ("powermetrics:ane", "ane", None),
    ]
    assert "not counted" in source.notes[0]
    assert source.discover() == zones
    times = iter(range(0, 100 * 10**9, 10**9))
    with Sampler(zones, clock=lambda: next(times)) as sampler:
        follower = Follower(source, sampler)
        follower.sample()
        for _ in range(3):
            cpu, gpu, ane = follower.sample()
            assert cpu.energy_nj is not None
            assert cpu.energy_nj % 10**9 == 0
            assert (gpu.energy_nj, ane.energy_nj) == (2 * cpu.energy_nj, 0)
            assert cpu.power_w == cpu.energy_nj / 10**9 >= 2.0
        whole = follower.meter.total()
        assert total(whole).energy_nj == sum(part.energy_nj or 0 for part in whole)


def test_where_there_is_a_package_it_is_the_total_and_the_rest_is_in_it(
    program: Program, closing: list[Powermeter | Powermetrics]
) -> None:
    text = "asked()\nsample(package_energy=9, cpu_energy=5, gpu_energy=1, ane_energy=0, dram_energy=1)\nasked()"
    source = Powermetrics(program(text))
    closing.append(source)
    zones = source.discover()
    assert [zone.path for zone in zones] == ["package-0", *(f"package-0/{name}" for name in NAMES[1:])]
    assert [share.counted for share in shares(zones)] == [True, False, False, False, False]
    assert source.notes == ()


def test_a_sample_that_came_late_belongs_to_the_time_before(
    program: Program, closing: list[Powermeter | Powermetrics], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raplica_reader.powermetrics_process.SOON_S", 60.0)
    # Two at once, as where it was told twice.
    words = program("asked()\nsample(cpu_energy=1)\nsample(cpu_energy=2)\nasked()\nsample(cpu_energy=4)\nasked()")
    meter = Powermeter(words)
    closing.append(meter)
    while not Path(f"{words[-1]}.ready").exists():
        time.sleep(0.002)
    meter.take()
    assert meter._process.stdout is not None
    assert b"</plist>" in meter._rest or select.select([meter._process.stdout], [], [], 60)[0]
    meter.take()
    assert meter.energies_nj == {"cpu": 7_000_000}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('print("powermetrics must be invoked as the superuser")\nsys.exit(1)', errno.EPERM),
        ("sys.exit(1)", errno.ESRCH),
        ("asked()\nos.write(1, b'<plist><dict></dict></pl')", errno.ESRCH),
        ("asked()\nos.write(1, b'<plist><dict></dict></plist>')", errno.EBADMSG),
        ("asked()\nsample(combined_power=5.0)", errno.ENODATA),
    ],
)
def test_a_program_that_gives_no_energy_is_an_error_and_leaves_nothing(program: Program, text: str, error: int) -> None:
    source = Powermetrics(program(text))
    with pytest.raises(OSError, match=r"\w") as failed:
        source.discover()
    assert failed.value.errno == error
    source.close()


def test_a_program_that_ends_later_is_an_error_of_every_part(
    program: Program, closing: list[Powermeter | Powermetrics], tmp_path: Path
) -> None:
    end = tmp_path / "end"
    text = "if signal.sigtimedwait({29}, 0.01):\n        sample(cpu_energy=1, gpu_energy=2)"
    source = Powermetrics(program(f"while not os.path.exists({str(end)!r}):\n    {text}"))
    closing.append(source)
    with Sampler(source.discover()) as sampler:
        assert sampler.sample().errors == (None, None)
        end.touch()
        while (sample := sampler.sample()).errors == (None, None):
            pass
        assert (sample.errors, sample.counts) == (("ESRCH", "ESRCH"), (None, None))
        assert sampler.sample().errors == ("ESRCH", "ESRCH")


def test_a_part_that_was_never_there_has_no_count(program: Program, closing: list[Powermeter | Powermetrics]) -> None:
    meter = Powermeter(program("while True:\n    asked()\n    sample(cpu_energy=1)"))
    closing.append(meter)
    assert meter.count("cpu") == 1_000_000
    with pytest.raises(OSError, match="shows no dram") as failed:
        meter.count("dram")
    assert failed.value.errno == errno.ENODATA


def test_a_program_that_is_silent_is_told_again_and_then_given_up(
    program: Program, closing: list[Powermeter | Powermetrics], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raplica_reader.powermetrics_process.AGAIN_S", 0.02)
    meter = Powermeter(program("asked()\nasked()\nsample(cpu_energy=1)\nasked()\nasked()\ntime.sleep(60)"))
    closing.append(meter)
    meter.take()
    assert meter.energies_nj == {"cpu": 1_000_000}
    monkeypatch.setattr("raplica_reader.powermetrics_process.LONGEST_S", 0.05)
    with pytest.raises(OSError, match="takes no sample") as failed:
        meter.take()
    assert failed.value.errno == errno.ETIMEDOUT


def test_another_thread_can_start_it_too(program: Program, closing: list[Powermeter | Powermetrics]) -> None:
    words = program(GROWING)
    made: list[Powermeter] = []
    thread = threading.Thread(target=lambda: made.append(Powermeter(words)))
    thread.start()
    thread.join()
    closing.extend(made)
    assert len(made) == 1


def test_a_program_that_is_closed_is_gone_and_says_so(program: Program) -> None:
    meter = Powermeter(program(GROWING))
    meter.take()
    meter.close()
    meter.close()
    with pytest.raises(ProcessLookupError):
        meter.take()


# The command.


@pytest.fixture
def installed(program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a program into PATH under the name of powermetrics, alone."""

    def install(text: str) -> None:
        python, *words = program(text)
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "powermetrics").write_text(
            f"#!/bin/sh\ntrap '' 29\nexec {python} {' '.join(words)}\n", encoding="utf-8"
        )
        (folder / "powermetrics").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return install


def test_the_command_reads_it_when_it_is_asked_for(
    installed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    installed(GROWING)
    assert main(["read", "--source", "powermetrics", "--interval", "0.01", "--json"], sleep=lambda _: None) == 0
    told = capsys.readouterr()
    document = json.loads(told.out)
    assert document["source"] == "powermetrics"
    cpu, gpu, ane = document["zones"]
    assert (gpu["energy_uj"], ane["energy_uj"]) == (2 * cpu["energy_uj"], 0)
    assert document["total"]["energy_uj"] == 3 * cpu["energy_uj"] > 0
    assert "the memory and the rest of the chip are not counted" in told.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('print("powermetrics must be invoked as the superuser")\nsys.exit(1)', "(EPERM): run as root"),
        ("sys.exit(1)", "(ESRCH): powermetrics has ended"),
        (
            "asked()\nos.write(1, b'<plist><dict></dict></plist>')",
            "(EBADMSG): what powermetrics prints is not understood",
        ),
    ],
)
def test_what_is_wrong_with_it_is_one_line_and_no_energy(
    installed: Callable[[str], None], capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    installed(text)
    assert main(["read", "--source", "powermetrics", "--count", "1"]) == 3
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert told.err.count("\n") == 1


def test_where_there_is_none_it_says_that_it_is_of_macos(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["list", "--source", "powermetrics"]) == 3
    assert capsys.readouterr().err == "raplica-reader: powermetrics is not in PATH: it is a tool of macOS\n"


def test_on_macos_it_is_the_one_that_is_looked_at(
    installed: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(GROWING)
    monkeypatch.setattr("sys.platform", "darwin")
    choice = choose(Host())
    assert (choice.source.name, choice.others) == ("powermetrics", ())
    assert isinstance(choice.source, Powermetrics)
    choice.source.close()
