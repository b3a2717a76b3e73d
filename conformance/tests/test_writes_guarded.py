# SPDX-License-Identifier: Apache-2.0
"""The journal fails, the device fails, somebody else writes: what a run and `restore` make of it."""

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.subjects.journal import JournalError, SavedRegister, SavedText, line_of

from .guarded_writes import LIMIT, SWITCH, refused, writes

pytestmark = pytest.mark.usefixtures("signal_handlers")


def test_where_the_journal_cannot_be_written_nothing_else_is(patient: Any) -> None:
    machine = patient("kabylake")
    before = machine.registers()
    subject = machine.guarded()

    def full(what: str, _detail: Any) -> None:
        if what == "extend":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    machine.watch = full
    assert "No space left" in refused(subject, LIMIT, b"15000000")
    assert machine.registers() == before
    machine.watch = lambda _what, _detail: None
    assert subject.write(LIMIT, b"15000000") == 8
    subject.close()
    assert machine.registers() == before


def test_a_register_that_refuses_its_own_value_is_not_touched(patient: Any) -> None:
    machine = patient("kabylake")
    machine.machine.msr.inject(0, 0x610, on="write")
    paths = writes(machine)
    subject = machine.guarded()
    assert "cannot be put back (Input/output error)" in refused(subject, SWITCH, b"1")
    subject.close()
    assert paths == []


def test_what_cannot_be_put_back_is_said_nothing_is_written_later_and_restore_can_be_tried_again(patient: Any) -> None:
    machine = patient("kabylake")
    before = machine.registers()
    subject = machine.guarded()
    subject.write(LIMIT, b"15000000")
    machine.machine.msr.inject(0, 0x610, on="write")
    subject.put_back()
    assert [line.split(": was ")[0] for line in subject.unrestored] == [LIMIT, "register 0x610 of CPU 0"]
    assert "could not be put back" in refused(subject, LIMIT, b"15000000")
    subject.close()
    assert [line for line in machine.said if line.startswith("not put back: register 0x610 of CPU 0: was 0x")]
    assert machine.said[-1] == f"try again: conformance restore --journal {machine.journal}"
    with pytest.raises(JournalError, match="run `conformance restore` first"):
        machine.guarded()
    status, lines = machine.restore()
    assert (status, len(lines)) == (1, 3)
    assert lines[-1].endswith("remove it to give that up")
    machine.machine.msr.inject(0, 0x610, on="write", errno=None)
    assert machine.restore()[0] == 0
    assert machine.registers() == before
    assert machine.files == {}
    assert machine.restore() == (0, [f"{machine.journal}: no journal there: nothing to put back"])


def test_a_signal_that_comes_while_something_is_put_back_waits_until_that_is_done(patient: Any) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for call in ("put_back", "close"):
        machine = patient("kabylake")
        before = machine.registers()
        subject = machine.guarded()
        subject.write(LIMIT, b"15000000")

        def strike(what: str, _detail: object, machine: Any = machine) -> None:
            if what == "wrmsr":
                machine.watch = lambda _what, _detail: None
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)

        machine.watch = strike
        if call == "put_back":
            with pytest.raises(KeyboardInterrupt):
                subject.put_back()
            assert machine.registers() == before
            # Once is enough; whoever swallowed it hears of it again.
            signal.raise_signal(signal.SIGINT)
            with pytest.raises(KeyboardInterrupt):
                subject.write(LIMIT, b"15000000")
        subject.close()
        assert (machine.registers(), machine.files) == (before, {})
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_so(patient: Any) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    subject = patient("kabylake").guarded()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    subject.close()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_what_was_in_the_way_for_a_moment_is_put_back_at_the_end(patient: Any) -> None:
    machine = patient("kabylake")
    before = machine.registers()
    subject = machine.guarded()
    subject.write(LIMIT, b"15000000")
    machine.machine.msr.inject(0, 0x610, on="write")
    subject.put_back()
    machine.machine.msr.inject(0, 0x610, on="write", errno=None)
    subject.close()
    assert subject.unrestored == []
    assert machine.registers() == before
    assert machine.files == {}


def left_behind(patient: Any, killed: Any, stop: int = 4) -> Any:
    """A machine whose run was killed with a limit lowered."""
    machine = patient("kabylake", stop=stop)
    lower_until_dead(machine, killed)
    assert machine.tree.read(LIMIT) == b"15000000\n"
    return machine


def lower_until_dead(machine: Any, killed: Any) -> None:
    subject = machine.guarded()

    def lower() -> None:
        for _ in range(9):
            subject.write(LIMIT, b"15000000")

    with pytest.raises(killed):
        lower()
    machine.stop = None


def test_after_another_boot_restore_writes_nothing_and_a_run_begins_anew(patient: Any, killed: Any) -> None:
    machine = left_behind(patient, killed)
    machine.boot = "3d0c9a4e-0000-4000-8000-000000000002"
    changes, registers = machine.changes, machine.registers()
    status, lines = machine.restore()
    assert status == 0
    assert lines[0].endswith("started again since, and its firmware set the limits; nothing is written")
    assert (machine.changes, machine.registers()) == (changes, registers)
    machine.guarded().close()
    assert machine.files == {}


def test_a_run_that_was_killed_before_it_announced_anything_is_in_nobodys_way(patient: Any) -> None:
    machine = patient("kabylake", stop=1)
    machine.guarded()
    assert list(machine.files) == [machine.journal]
    machine.stop = None
    machine.guarded().close()
    assert machine.files == {}


@pytest.mark.parametrize("content", [b"", b"garbage\n", b"00000000 {}\n"])
def test_a_journal_that_cannot_be_read_is_neither_replaced_nor_acted_upon(content: bytes, patient: Any) -> None:
    machine = patient("kabylake")
    machine.files[machine.journal] = content
    with pytest.raises(JournalError, match="cannot be read; see what is in it, and remove it"):
        machine.guarded()
    status, lines = machine.restore()
    assert status == 2
    assert lines[0].endswith("nothing is written")
    assert machine.files == {machine.journal: content}


def test_a_damaged_line_is_counted_and_the_others_are_put_back(patient: Any, killed: Any) -> None:
    machine = left_behind(patient, killed)
    lines = machine.files[machine.journal].split(b"\n")
    machine.files[machine.journal] = b"\n".join([lines[0], b"ffffffff {}", *lines[1:]])
    status, said = machine.restore()
    assert status == 1
    assert said[0].startswith("line 2 of ")
    assert machine.tree.read(LIMIT) == b"17000000\n"
    assert machine.journal in machine.files
    machine.files[machine.journal] = b"\n".join([lines[0], b"ffffffff {}", b""])
    with pytest.raises(JournalError, match="run `conformance restore` first"):
        machine.guarded()


def test_a_lock_bit_that_was_set_in_the_meantime_is_left_and_said(patient: Any, killed: Any) -> None:
    machine = left_behind(patient, killed)
    machine.machine.msr.poke(0, 0x610, machine.machine.msr.read(0, 0x610) | 1 << 63)
    status, lines = machine.restore()
    assert status == 1
    assert any(line.endswith("(its lock bit is not as it was)") for line in lines)


def test_a_lock_bit_that_is_gone_in_the_meantime_is_not_set_again(patient: Any, killed: Any) -> None:
    machine = left_behind(patient, killed)
    raw = machine.machine.msr.read(0, 0x610)
    locked = raw & ~0x7FFF | 136 | 1 << 63
    first = machine.files[machine.journal].partition(b"\n")[0] + b"\n"
    machine.files[machine.journal] = first + line_of(SavedRegister(0, 0x610, locked))
    assert machine.restore()[0] == 1
    assert machine.machine.msr.read(0, 0x610) == raw


def test_a_zone_that_is_another_one_now_does_not_get_the_text_of_the_old_one(patient: Any, killed: Any) -> None:
    machine = patient("kabylake", msr=errno.ENOENT, stop=3)
    lower_until_dead(machine, killed)
    first = machine.files[machine.journal].partition(b"\n")[0] + b"\n"
    machine.files[machine.journal] = first + line_of(SavedText(LIMIT, "17000000\n", "package-7"))
    status, lines = machine.restore()
    assert status == 1
    assert lines[0].endswith("was 17000000, is 15000000 (the zone was called package-7 and is another one now)")
    assert machine.tree.read(LIMIT) == b"15000000\n"


def test_a_limit_whose_zone_has_lost_its_units_is_not_written_since_that_crashes_the_kernel(patient: Any) -> None:
    machine = patient(str(Path(__file__).parent / "machines" / "no-units.toml"))
    machine.guarded()
    machine.files[machine.journal] += line_of(SavedText(LIMIT, "17000000\n", "package-0"))
    status, lines = machine.restore()
    assert status == 1
    assert lines[0].endswith("was 17000000, is 0 (the driver has no units for this zone)")


def test_a_register_whose_device_is_gone_is_said_and_comes_back_with_it(patient: Any, killed: Any) -> None:
    machine = left_behind(patient, killed)
    machine.msr = errno.ENOENT
    status, lines = machine.restore()
    assert status == 1
    assert any("cannot be read now (No such file or directory)" in line for line in lines)
    assert machine.tree.read(LIMIT) == b"17000000\n"
    machine.msr = 0
    assert machine.restore()[0] == 0


def test_only_one_bit_of_the_notification_register_is_ours_to_put_back(patient: Any, killed: Any) -> None:
    machine = patient("kabylake", stop=4)
    machine.machine.msr.poke(0, 0x1B2, 0x0100_0000)
    lower_until_dead(machine, killed)
    assert machine.machine.msr.read(0, 0x1B2) == 0
    # The kernel has set another one since.
    machine.machine.msr.poke(0, 0x1B2, 0x3)
    assert machine.restore()[0] == 0
    assert machine.machine.msr.read(0, 0x1B2) == 0x0100_0003


def test_where_the_notification_cannot_be_switched_on_again_that_is_said_once_a_run(patient: Any) -> None:
    for msr, poked, told in ((errno.ENOENT, 1, 1), (errno.EPERM, 1, 1), (errno.EPERM, 0, 0), (0, 1, 0)):
        machine = patient("kabylake", msr=msr)
        machine.machine.msr.poke(0, 0x1B2, poked << 24)
        subject = machine.guarded()
        for _ in range(3):
            subject.write(LIMIT, b"15000000")
            subject.put_back()
        subject.close()
        assert len(machine.said) == told, (msr, poked)
        assert all("power limit notification off (bit 24 of MSR 0x1B2)" in line for line in machine.said)


def test_without_a_boot_id_nothing_is_written(patient: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = patient("kabylake")

    def fail() -> str:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))

    monkeypatch.setattr(machine, "boot_id", fail)
    with pytest.raises(JournalError, match="which boot this is cannot be read"):
        machine.guarded()
    assert machine.files == {}


def fails(error: OSError) -> Any:
    def call(*_arguments: object) -> None:
        raise error

    return call


@pytest.mark.parametrize(
    ("door", "error", "why"),
    [
        ("load", PermissionError(errno.EACCES, "Permission denied"), "Permission denied; nothing is written"),
        ("lock", BlockingIOError(errno.EAGAIN, "busy"), "a run that writes to this machine is going on, and puts"),
        ("lock", OSError(errno.EROFS, "Read-only file system"), "Read-only file system; nothing is written"),
        ("boot_id", OSError(errno.ENOENT, "No such file"), "which boot this is cannot be read (No such file); nothing"),
    ],
)
def test_where_something_is_in_the_way_restore_says_so_in_one_line_and_writes_nothing(
    door: str, error: OSError, why: str, patient: Any, killed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = left_behind(patient, killed)
    changes, files = machine.changes, dict(machine.files)
    monkeypatch.setattr(machine, door, fails(error))
    status, (line,) = machine.restore()
    assert (status, line.startswith(f"{machine.journal}: ")) == (2, True)
    assert why in line
    assert (machine.changes, machine.files) == (changes, files)


@pytest.mark.parametrize(("second", "status"), [(None, 0), (OSError(errno.EIO, "Input/output error"), 2)])
def test_a_journal_that_is_gone_once_the_lock_is_there_was_put_back_by_its_own_run(
    second: OSError | None, status: int, patient: Any, killed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = left_behind(patient, killed)
    looks = iter([machine.files[machine.journal]])

    def load(_path: Path) -> bytes | None:
        found = next(looks, None)
        if found is None and second is not None:
            raise second
        return found

    changes = machine.changes
    monkeypatch.setattr(machine, "load", load)
    said, lines = machine.restore()
    assert said == status
    assert lines[0].endswith("nothing to put back" if second is None else "Input/output error; nothing is written")
    assert machine.changes == changes


def test_a_limit_that_refuses_to_be_put_back_is_said_with_the_reason(
    patient: Any, killed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = left_behind(patient, killed)
    first = machine.files[machine.journal].splitlines(keepends=True)[0]
    machine.files[machine.journal] = first + line_of(SavedText(LIMIT, "17000000\n", "package-0"))
    monkeypatch.setattr(machine, "write", fails(OSError(errno.ENODATA, "")))
    status, lines = machine.restore()
    assert status == 1
    assert lines[0].startswith(f"{LIMIT}: was 17000000, is ")
    assert lines[0].endswith(f"({os.strerror(errno.ENODATA)})")
    assert lines[-1].endswith("remove it to give that up")
    read = machine.tree.read
    monkeypatch.setattr(
        machine.tree, "read", lambda path: fails(OSError(errno.EIO, ""))() if path == LIMIT else read(path)
    )
    _, lines = machine.restore()
    assert lines[0] == f"{LIMIT}: was 17000000, and cannot be read now ({os.strerror(errno.EIO)})"
