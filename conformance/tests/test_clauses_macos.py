# SPDX-License-Identifier: Apache-2.0
"""The clauses about powermetrics: they hold on simulated Macs, and each fails where something is wrong."""

import functools
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from raplica_conformance.clause import load_clauses
from raplica_conformance.clauses._powermetrics import KIND, Printed
from raplica_conformance.cli import main
from raplica_conformance.judge import judge
from raplica_conformance.subjects.macos import SimulatedMac
from raplica_conformance.subjects.powermetrics import PowermetricsProgram
from raplica_fixtures import mac_ids
from raplica_simulator import Machine
from raplica_simulator.macos import powermetrics
from raplica_simulator.macos.dates import FIRST_BOOT_NS
from raplica_simulator.macos.mac_files import read_mac
from raplica_simulator.macos.meters import MachineMeters
from raplica_simulator.macos.options import read_options

INTEL, M1, M2_PRO = "macbookpro-2015", "macbook-m1", "mac-m2pro"
CLAUSES = {name: entry for name, entry in load_clauses().items() if entry.kind == KIND}
Lie = Callable[[bytes], bytes]


@functools.cache
def samples(name: str, words: tuple[str, ...]) -> bytes:
    """What the stand-in on this Mac prints with these options, the same each time: the lies are told about it."""
    found = read_mac(name)
    assert found is not None
    profile, mac = found
    out: list[bytes] = []
    meters = MachineMeters(Machine.from_profile(profile))
    powermetrics.show(meters, mac, read_options(words), FIRST_BOOT_NS, out.append)
    return b"".join(out)


class LyingMac(SimulatedMac):
    """A function may change what it prints."""

    def __init__(self, name: str, lie: Lie = bytes, status: int = 0) -> None:
        super().__init__(name)
        self._lie, self._status = lie, status

    def run(self, *words: str) -> Printed:
        done = super().run(*words)
        return done._replace(status=done.status or self._status, out=self._lie(done.out))

    def write(self, *words: str) -> tuple[Printed, bytes]:
        done, content = super().write(*words)
        return done._replace(status=self._status, out=self._lie(done.out)), self._lie(content)


def verdicts(subject: LyingMac) -> dict[str, str]:
    return {name: judge(entry, subject).verdict for name, entry in CLAUSES.items()}


@pytest.mark.parametrize("name", mac_ids())
def test_every_clause_holds_on_a_mac_or_is_not_about_it(name: str) -> None:
    silent = {
        INTEL: {"macos.text.clusters", "macos.text.combined", "macos.text.gpu-twice"},
        M1: {"macos.text.combined"},
        M2_PRO: {"macos.text.clusters"},
    }
    assert {clause for clause, word in verdicts(LyingMac(name)).items() if word == "not-applicable"} == silent[name]
    assert set(verdicts(LyingMac(name)).values()) == {"pass", "not-applicable"}


def swapped(before: bytes, after: bytes, count: int = -1) -> Lie:
    return lambda content: content.replace(before, after, count)


def put(pattern: bytes, after: bytes, count: int = 0) -> Lie:
    return lambda content: re.sub(pattern, after, content, count=count)


def without_the_last(content: bytes) -> bytes:
    """The text without its last sample; anything else as it is."""
    return content[: content.rfind(b"*** Sampled")] if b"*** Sampled" in content else content


SHORTER = put(rb"\([0-9.]+ms elapsed\)", b"(99.99ms elapsed)")
# What is wrong, on which Mac, and the clauses that fail, without the "macos." before them.
LIES: dict[str, tuple[str, Lie, str]] = {
    "the refusal has other words": (M1, swapped(b"superuser", b"root"), "refusal.superuser"),
    "the build is not there": (M1, put(rb"OS version: .*\n", b""), "text.header"),
    "the EFI version is not there": (INTEL, put(rb"EFI version: .*\n", b""), "text.header"),
    "Apple silicon has an EFI version": (M1, swapped(b"OS version", b"EFI version: 1\nOS version"), "text.header"),
    "watts have a blank": (INTEL, put(rb"([0-9])W\n", rb"\1 W\n"), "text.units"),
    "watts have three decimals": (INTEL, put(rb"([0-9])W\n", rb"\g<1>0W\n"), "text.units"),
    "milliwatts have decimals": (
        M2_PRO,
        put(rb"ANE Power: ([0-9]+) mW", rb"ANE Power: \1.5 mW"),
        "text.units text.combined",
    ),
    "milliwatts are watts": (M1, put(rb"DRAM Power: ([0-9]+) mW", rb"DRAM Power: \1 W"), "text.units"),
    "a cluster is too much": (M1, put(rb"E-Cluster Power: [0-9]+", b"E-Cluster Power: 900"), "text.clusters"),
    "combined is the CPU twice": (
        M2_PRO,
        put(rb"Combined Power (.*): [0-9]+", rb"Combined Power \1: 18000"),
        "text.combined",
    ),
    "the second GPU is another": (
        M2_PRO,
        put(rb"usage \*\*\*\*\n\nGPU Power: [0-9]+", b"usage ****\n\nGPU Power: 1"),
        "text.gpu-twice",
    ),
    "there is one GPU": (M2_PRO, put(rb"usage \*\*\*\*\n\nGPU Power: .*\n", b"usage ****\n"), "text.gpu-twice"),
    "a text's samples are too short": (INTEL, SHORTER, "elapsed.not-shorter"),
    "a list's samples are too short": (
        INTEL,
        put(rb"<integer>10[0-9]{7}</integer>", b"<integer>99000000</integer>"),
        "elapsed.not-shorter plist.energies",
    ),
    "two NULs": (
        M1,
        swapped(b"\0", b"\0\0"),
        "plist.separator elapsed.not-shorter plist.keys plist.energies formats.agree",
    ),
    "no date": (M1, put(rb"<date>.*</date>", b"<string>now</string>"), "plist.keys"),
    "energies are reals": (
        M1,
        put(rb"(cpu_energy</key>\s*)<integer>(.*)</integer>", rb"\1<real>\2</real>"),
        "plist.energies",
    ),
    "powers are watts": (
        M2_PRO,
        put(rb"(gpu_power</key>\s*)<real>.*</real>", rb"\1<real>3.0</real>"),
        "plist.energies",
    ),
    "joules are a counter": (
        INTEL,
        put(rb"(package_joules</key>\s*)<real>.*</real>", rb"\1<real>123.0</real>"),
        "plist.energies",
    ),
    "the lists have no memory": (M1, swapped(b"dram_energy", b"ram_energy"), "formats.agree"),
    "a sample is missing": (M1, without_the_last, "text.samples options.output-file"),
    "samples have no power": (INTEL, put(rb"Intel energy.*\n", b""), "text.samples text.header formats.agree"),
    "something is on standard output": (M1, lambda content: content or b"written\n", "options.output-file"),
}


@pytest.mark.parametrize("title", LIES)
def test_what_is_wrong_fails_the_clauses_about_it_and_no_other(title: str) -> None:
    name, lie, fails = LIES[title]
    found = verdicts(LyingMac(name, lie))
    wrong = {clause.removeprefix("macos.") for clause, word in found.items() if word not in ("pass", "not-applicable")}
    assert wrong == set(fails.split())


def test_every_clause_is_failed_by_some_lie() -> None:
    failed = {f"macos.{clause}" for _, _, fails in LIES.values() for clause in fails.split()}
    assert failed == set(CLAUSES)


def test_a_program_that_fails_fails_every_clause_that_needs_samples() -> None:
    found = verdicts(LyingMac(M1, status=1))
    assert {clause for clause, word in found.items() if word != "fail"} == {"macos.refusal.superuser"}


# A program.


def program(folder: Path, text: str) -> str:
    file = folder / "program.py"
    file.write_text(f"import sys\n{text}\n", encoding="utf-8")
    return f"{sys.executable} -I -S {file}"


def test_a_program_is_asked_once_for_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    log = tmp_path / "log"
    text = (
        f"open({str(log)!r}, 'a').write('x'); print(' '.join(sys.argv[1:])); print('no', file=sys.stderr); sys.exit(3)"
    )
    subject = PowermetricsProgram(program(tmp_path, text))
    assert subject.can == {"content"}
    assert subject.run("-n", "1") == subject.run("-n", "1") == Printed(3, b"-n 1\n", b"no\n")
    assert log.read_text(encoding="utf-8") == "x"
    done, content = subject.write("-i", "1")
    assert done.out.startswith(b"-i 1 -o /")
    assert content.startswith(b"something of before")


def test_a_program_that_does_not_end_is_timed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raplica_conformance.subjects.powermetrics._LONGEST_S", 0.1)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    subject = PowermetricsProgram(program(tmp_path, "import time; time.sleep(60)"))
    found = judge(CLAUSES["macos.text.samples"], subject)
    assert (found.verdict, "it did not end within 0.1 s" in found.reason) == ("timeout", True)


def test_who_is_not_root_can_see_the_refusal_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    command = program(tmp_path, "print('powermetrics must be invoked as the superuser'); sys.exit(1)")
    with pytest.raises(SystemExit) as ended:
        main(["run", "macos.*", "--powermetrics", command, "--json"])
    assert ended.value.code == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert (summary["pass"], summary["not-applicable"]) == (1, len(CLAUSES) - 1)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "--powermetrics is empty: name a program"),
        ("'x", '--powermetrics "\'x": No closing quotation'),
        ("nobodys -x", "--powermetrics nobodys -x: there is no program nobodys: name one that is in PATH"),
    ],
)
def test_a_command_that_is_none_is_refused(command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["run", "macos.*", "--powermetrics", command])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
