# SPDX-License-Identifier: Apache-2.0
"""A run that writes, stopped at every change that it makes: afterwards every bit is as it was before."""

import contextlib
import errno
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from raplica_conformance import loop
from raplica_conformance.clause import Clause, load_clauses
from raplica_conformance.subjects.journal import REGISTERS, parse
from raplica_conformance.verdicts import Verdict

# Thousands of runs, one for each place where one can be stopped.
pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
KERNELS = ("6.1", "6.12")
#: Where a run is made anew for each of its changes, and killed there.
ANEW = (("kabylake", "6.12"), ("baytrail", "6.1"), ("baytrail", "6.12"))
#: Where one run is looked at from each of its changes: that is what a kill there would leave.
ONE_DIE = ("kabylake", "alderlake-p", "apollolake", "locked-core", "locked-package", "peak-only", "longest-window")
#: Where more than one instance of a register is changed: those of several dies, or of MSR and host bridge.
SEVERAL = (
    *("skylake-sp-2s", "icelake-sp-2s", "sapphirerapids-2s", "cascadelake-ap-2s", "psys-on-each-die"),
    "both-interfaces",
)


def named(machine: str) -> str:
    odd = HERE / "machines" / f"{machine}.toml"
    return str(odd) if odd.exists() else machine


def writing() -> list[Clause]:
    return [clause for clause in load_clauses().values() if clause.needs & {"writable", "wild-writes"}]


def run(patient: Any, *, wild: bool = False) -> list[Verdict]:
    """All clauses that write, under the plain loop, as the command runs them."""
    subject = patient.guarded(wild=wild)
    try:
        return loop.run([(clause, subject) for clause in writing()])
    finally:
        subject.close()


def with_notification(patient: Any) -> Any:
    """Switch the power limit notification on, where the machine has it: a limit that is written switches it off."""
    for cpu in patient.places():
        patient.machine.msr.poke(cpu, 0x1B2, 0x0100_0003 if {"pts", "pln"} <= patient.facts.flags else 0x3)
    return patient


@pytest.mark.parametrize(("machine", "kernel"), ANEW)
def test_a_run_that_is_killed_before_any_of_its_changes_is_put_back_whole(
    machine: str, kernel: str, patient: Any, killed: Any
) -> None:
    whole = with_notification(patient(named(machine), kernel))
    before = whole.registers()
    assert "pass" in {verdict.verdict for verdict in run(whole)}
    assert whole.registers() == before
    assert whole.files == {}
    assert whole.changes > 40
    dirty = 0
    for stop in range(whole.changes):
        victim = with_notification(patient(named(machine), kernel, stop=stop))
        with pytest.raises(killed):
            run(victim)
        dirty += victim.registers() != before
        status, lines = victim.restore()
        assert (status, victim.registers()) == (0, before), lines
        assert victim.files == {}
    # Otherwise there was nothing to put back in the first place.
    assert dirty > 3


@pytest.mark.parametrize(("machine", "kernel"), [("kabylake", "6.1"), ("kabylake", "6.12"), ("locked-package", "6.12")])
def test_without_the_msr_device_a_killed_run_is_put_back_but_for_the_notification_that_is_said(
    machine: str, kernel: str, patient: Any, killed: Any
) -> None:
    whole = with_notification(patient(named(machine), kernel, msr=errno.ENOENT))
    before = whole.registers()
    run(whole)
    assert ("power limit notification" in " ".join(whole.said)) is ({"pts", "pln"} <= whole.facts.flags)
    for stop in range(whole.changes):
        victim = with_notification(patient(named(machine), kernel, msr=errno.ENOENT, stop=stop))
        with pytest.raises(killed):
            run(victim)
        status, _ = victim.restore()
        different = {address for (cpu, address), raw in victim.registers().items() if before[cpu, address] != raw}
        assert status == 0
        assert different <= {0x1B2}


def of_dies(patient: Any, places: Iterable[tuple[int, int]]) -> dict[tuple[int, int], int]:
    """The registers of these that a run may change, on the first CPU of each die."""
    first = {where: cpu for cpu, where in sorted(patient.places().items(), reverse=True)}
    return {
        (cpu, address): patient.machine.msr.read(cpu, address)
        for cpu, address in places
        if address in REGISTERS and cpu in first.values()
    }


def snapshots(patient: Any, *, wild: bool = False) -> Iterator[tuple[dict[tuple[int, int], int], dict[Path, bytes]]]:
    """What a run leaves when it is killed before each of its changes: the registers that differ, and the files."""
    seen = []
    before = patient.registers()

    def look(_what: str, _detail: Any) -> None:
        now = patient.registers() if len(before) < 100 else of_dies(patient, before)
        seen.append(({place: raw for place, raw in now.items() if raw != before[place]}, dict(patient.files)))

    patient.watch = look
    run(patient, wild=wild)
    patient.watch = lambda _what, _detail: None
    assert patient.registers() == before
    yield from seen


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("machine", ONE_DIE + SEVERAL)
def test_wherever_a_run_is_killed_what_it_left_is_put_back_everywhere(machine: str, kernel: str, patient: Any) -> None:
    subject = with_notification(patient(named(machine), kernel))
    before = subject.registers()
    changed: set[tuple[int, int]] = set()
    for registers, files in list(snapshots(subject)):
        for place, raw in registers.items():
            subject.poke(place, raw)
        changed |= registers.keys()
        subject.files = files
        status, lines = subject.restore()
        assert (status, subject.registers()) == (0, before), lines
    owners = {subject.places().get(cpu, cpu) for cpu, _ in changed}
    assert (len(owners) > 1) is (machine in SEVERAL)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("machine", ["kabylake", "psys-on-the-second"])
def test_where_anything_may_be_written_it_is_put_back_all_the_same(machine: str, kernel: str, patient: Any) -> None:
    subject = with_notification(patient(named(machine), kernel))
    before = subject.registers()
    for registers, files in list(snapshots(subject, wild=True)):
        for place, raw in registers.items():
            subject.poke(place, raw)
        subject.files = files
        status, lines = subject.restore()
        assert (status, subject.registers()) == (0, before), lines


def test_a_journal_that_breaks_off_anywhere_in_its_last_line_is_enough(patient: Any) -> None:
    subject = with_notification(patient("kabylake"))
    before = subject.registers()
    last = b""
    for registers, files in list(snapshots(subject)):
        journal = files.get(subject.journal, b"")
        added = journal[len(last) :] if journal.startswith(last) else b""
        last = journal
        # The line was being written: what it announces has not been done.
        for length in range(0, len(added), 11):
            for place, raw in registers.items():
                subject.poke(place, raw)
            subject.files = {subject.journal: journal[: len(journal) - len(added) + length]}
            if not registers and b"\n" in subject.files[subject.journal]:
                assert subject.restore()[0] == 0
                assert subject.registers() == before


def test_a_restore_that_is_killed_itself_is_taken_up_by_the_next(patient: Any, killed: Any) -> None:
    count = 0
    for stop in range(5, 120, 12):
        for again in range(0, 8, 2):
            victim = with_notification(patient("kabylake", stop=stop))
            before = victim.registers()
            with pytest.raises(killed):
                run(victim)
            victim.stop = victim.changes = 0
            victim.stop = again
            try:
                restoring(victim)
            except killed:
                count += 1
            assert victim.restore()[0] == 0
            assert victim.registers() == before
    assert count > 5


def restoring(victim: Any) -> None:
    """`restore` in a process that may be killed."""
    from raplica_conformance.subjects.putback import restore

    restore(victim.journal, victim.tree, victim, victim)


class _Stop(Exception):
    """An error in the middle of a run."""


@pytest.mark.parametrize("error", [KeyboardInterrupt, _Stop, MemoryError, OSError])
def test_a_run_that_ends_by_an_exception_at_any_change_puts_everything_back_itself(error: Any, patient: Any) -> None:
    whole = with_notification(patient("kabylake"))
    before = whole.registers()
    run(whole)
    for number in range(1, whole.changes, 8):
        victim = with_notification(patient("kabylake"))

        def strike(what: str, _detail: Any, victim: Any = victim, number: int = number) -> None:
            # An error of the disk or the device at the change itself is another matter: see test_writes_guarded.py.
            if victim.changes >= number and what == "write":
                victim.watch = lambda _what, _detail: None
                raise error

        victim.watch = strike
        try:
            run(victim)
        except error:
            assert error is KeyboardInterrupt
        assert victim.registers() == before
        assert victim.files == {}


def lines_of(patient: Any, number: int, strike: Any) -> int:
    """Run while `strike` is called at line `number` of the suite; the count of lines."""
    lines = 0

    def trace(frame: FrameType, event: str, _argument: Any) -> Any:
        nonlocal lines
        if "raplica_conformance" not in frame.f_code.co_filename:
            return None
        if event == "line":
            lines += 1
            if lines == number:
                strike()
        return trace

    subject = patient.guarded()
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            loop.run([(clause, subject) for clause in writing()])
        with contextlib.suppress(KeyboardInterrupt):
            subject.close()
    finally:
        sys.settrace(before)
    return lines


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """SIGINT as a terminal finds it; what runs in the background may have it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


@pytest.mark.usefixtures("_interruptible")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGALRM], ids=["interrupt", "alarm"])
def test_a_signal_at_any_line_of_the_suite_leaves_nothing_behind(number: signal.Signals, patient: Any) -> None:
    def strike() -> None:
        if callable(signal.getsignal(number)):
            signal.raise_signal(number)

    total = lines_of(with_notification(patient("kabylake")), 0, strike)
    assert total > 10_000
    for line in range(7, total, total // 15):
        victim = with_notification(patient("kabylake"))
        before = victim.registers()
        lines_of(victim, line, strike)
        assert victim.registers() == before, f"line event {line} of {total}"
        assert [parse(data).entries for data in victim.files.values()] in ([], [[]])
