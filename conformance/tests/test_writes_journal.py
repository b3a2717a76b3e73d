# SPDX-License-Identifier: Apache-2.0
"""The journal: what is read back is what was announced, whatever has become of the file."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance.subjects import disk
from raplica_conformance.subjects.disk import FileSystem
from raplica_conformance.subjects.journal import (
    REGISTERS,
    Entry,
    Journal,
    JournalError,
    SavedRegister,
    SavedText,
    default_journal,
    line_of,
    parse,
)

BOOT = "3d0c9a4e-0000-4000-8000-000000000001"
ZONE = "devices/virtual/powercap/intel-rapl/intel-rapl:0"
LIMIT = SavedText(f"{ZONE}/constraint_0_power_limit_uw", "95000000\n", "package-0")
REGISTER = SavedRegister(0, 0x610, 0x00428440001B83E8)

texts = st.builds(
    SavedText,
    st.sampled_from(
        [
            f"{zone}/{name}"
            for zone in (ZONE, f"{ZONE}/intel-rapl:0:a", "class/powercap/intel-rapl-mmio:0")
            for name in ("enabled", "constraint_0_power_limit_uw", "constraint_9_time_window_us")
        ]
    ),
    st.integers(0, 2**64 - 1).map(lambda number: f"{number}\n"),
    st.text(max_size=20),
)
registers = st.builds(
    SavedRegister, st.integers(0, 4095), st.sampled_from(sorted(REGISTERS)), st.integers(0, 2**64 - 1)
)
entries = st.lists(st.one_of(texts, registers), max_size=8)


def file_of(path: Path, saved: list[Entry]) -> bytes:
    """The journal of a run that was killed after it had announced these."""
    path.unlink(missing_ok=True)
    journal = Journal.start(path, FileSystem(), BOOT)
    for entry in saved:
        journal.save([entry])
    data = path.read_bytes()
    journal.entries.clear()
    journal.close()
    return data


def unique(saved: list[Entry]) -> list[Entry]:
    """The first entry of each attribute and register: what it holds later is not what it held at first."""
    places = [entry.path if isinstance(entry, SavedText) else (entry.cpu, entry.register) for entry in saved]
    return [entry for number, entry in enumerate(saved) if places[number] not in places[:number]]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journal") / "writes.journal"


@given(saved=entries)
def test_what_is_announced_is_read_back_in_its_order_and_only_once(path: Path, saved: list[Entry]) -> None:
    found = parse(file_of(path, saved))
    assert (found.boot, found.entries, found.damaged) == (BOOT, unique(saved), [])


@given(saved=entries, data=st.data())
def test_a_tail_that_broke_off_announces_nothing_and_takes_nothing_away(
    path: Path, saved: list[Entry], data: st.DataObject
) -> None:
    whole = file_of(path, saved)
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    found = parse(cut)
    complete = cut.count(b"\n")
    assert found.damaged == []
    assert found.boot == (BOOT if complete else None)
    assert found.entries == unique(saved)[: max(complete - 1, 0)]


@given(
    st.one_of(
        st.binary(max_size=200),
        st.text(max_size=100).map(str.encode),
        st.lists(st.sampled_from([line_of(LIMIT), line_of(REGISTER), b"{}\n", b"\n", b"\xff\n"]), max_size=6).map(
            b"".join
        ),
    )
)
def test_no_garbage_is_taken_for_a_journal(garbage: bytes) -> None:
    found = parse(garbage)
    assert found.boot is None
    assert found.damaged == ([1] if b"\n" in garbage else []) + [
        number
        for number, line in enumerate(garbage.split(b"\n")[:-1], start=1)
        if number > 1 and line + b"\n" not in (line_of(LIMIT), line_of(REGISTER))
    ]


@given(saved=entries, position=st.floats(0, 1), byte=st.integers(0, 255))
def test_a_byte_that_changed_is_noticed_in_its_line_and_no_other(
    path: Path, saved: list[Entry], position: float, byte: int
) -> None:
    whole = bytearray(file_of(path, [*saved, LIMIT]))
    where = int(position * (len(whole) - 1))
    assume_changed = whole[where] != byte
    whole[where] = byte
    found = parse(bytes(whole))
    known = {line_of(entry) for entry in [*saved, LIMIT]}
    assert all(line_of(entry) in known for entry in found.entries)
    if not assume_changed:
        assert found.damaged == []


@pytest.mark.parametrize(
    "content",
    [
        '{"path": "devices/virtual/powercap/../../../etc/passwd", "text": "1", "zone": "x"}',
        '{"path": "devices/virtual/powercap/../x:0/enabled", "text": "1", "zone": "x"}',
        '{"path": "devices/virtual/powercap/intel-rapl/intel-rapl:0/uevent", "text": "1", "zone": "x"}',
        '{"path": "devices/virtual/powercap/intel-rapl/enabled", "text": "1", "zone": "x"}',
        '{"path": "/etc/constraint_0_power_limit_uw", "text": "1", "zone": "x"}',
        f'{{"path": "{ZONE}/enabled", "text": "-1", "zone": "x"}}',
        f'{{"path": "{ZONE}/enabled", "text": "1\\n2", "zone": "x"}}',
        f'{{"path": "{ZONE}/enabled", "text": 1, "zone": "x"}}',
        '{"cpu": 0, "register": "0x1a0", "value": "0x0"}',
        '{"cpu": 0, "register": "0x610", "value": "0x10000000000000000"}',
        '{"cpu": 0, "register": "0x610", "value": "-0x1"}',
        '{"cpu": -1, "register": "0x610", "value": "0x0"}',
        '{"cpu": true, "register": "0x610", "value": "0x0"}',
        '{"cpu": 0, "register": "nine", "value": "0x0"}',
        '{"cpu": 0, "register": "0x610"}',
        '{"settled": 1}',
        "[" * 5000,
        "[]",
        "1",
    ],
)
def test_a_line_that_no_run_would_write_is_never_acted_upon(content: str, path: Path) -> None:
    import binascii

    text = content.encode()
    head = file_of(path, [])
    found = parse(head + b"%08x %s\n" % (binascii.crc32(text), text))
    assert (found.boot, found.entries, found.damaged) == (BOOT, [], [2])


def test_what_was_settled_is_not_put_back_again(tmp_path: Path) -> None:
    journal = Journal.start(tmp_path / "journal", FileSystem(), BOOT)
    journal.save([LIMIT, REGISTER])
    journal.settle()
    assert parse(journal.path.read_bytes()).entries == []
    journal.save([REGISTER])
    assert parse(journal.path.read_bytes()).entries == [REGISTER]
    assert journal.text_of(LIMIT.path) is None
    journal.save([LIMIT, SavedText(LIMIT.path, "1\n", "package-0")])
    assert journal.text_of(LIMIT.path) == LIMIT.text
    journal.settle()
    journal.close()
    assert list(tmp_path.iterdir()) == []


def test_what_a_failed_append_has_left_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal.start(tmp_path / "journal", FileSystem(), BOOT)
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda handle, data, offset: real(handle, data, offset) and fail())

    def fail() -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OSError, match="No space"):
        journal.save([LIMIT])
    monkeypatch.undo()
    assert journal.entries == []
    # The line of the register is shorter than what was left of the attribute's.
    journal.save([REGISTER])
    found = parse(journal.path.read_bytes())
    assert (found.entries, found.damaged) == ([REGISTER], [])


def test_a_line_is_on_the_disk_before_save_returns_and_the_file_before_start_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[tuple[str, int]] = []
    real = os.fsync

    def sync(handle: int) -> None:
        name = Path(f"/proc/self/fd/{handle}").readlink().name
        synced.append((name, os.fstat(handle).st_size if name != tmp_path.name else 0))
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    journal = Journal.start(tmp_path / "journal", FileSystem(), BOOT)
    # The new file, then the folder in which it was renamed.
    assert [name for name, _ in synced] == [".journal.new", tmp_path.name]
    journal.save([LIMIT])
    assert synced[-1] == ("journal", journal.path.stat().st_size)
    journal.settle()
    journal.close()
    assert synced[-1][0] == tmp_path.name


def test_a_second_run_is_refused_also_one_with_another_journal_and_the_first_may_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_TRIES", 2)
    machine = tmp_path / "sys"
    machine.mkdir()
    first = Journal.start(tmp_path / "one/journal", FileSystem(), BOOT, [machine])
    for place in ("one/journal", "one/other", "two/journal"):
        with pytest.raises(JournalError, match="another run that writes to this machine is going on"):
            Journal.start(tmp_path / place, FileSystem(), BOOT, [machine])
    first.save([LIMIT])
    assert parse(first.path.read_bytes()).entries == [LIMIT]
    first.settle()
    first.close()
    Journal.start(tmp_path / "two/journal", FileSystem(), BOOT, [machine]).close()


def test_the_lock_goes_with_the_process_that_has_it(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from raplica_conformance.subjects.disk import FileSystem;"
        "lock = FileSystem().lock([Path(sys.argv[1])]); print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        with pytest.raises(BlockingIOError):
            FileSystem().lock([tmp_path])
        other.kill()
        # No longer than it takes to die: the lock is asked for again and again.
        FileSystem().lock([tmp_path, tmp_path]).release()


def test_a_journal_of_somebody_else_is_not_believed(tmp_path: Path) -> None:
    files, path = FileSystem(), tmp_path / "journal"
    assert files.load(path) is None
    path.write_bytes(b"x")
    path.chmod(0o666)
    with pytest.raises(OSError, match="another user may write it"):
        files.load(path)
    path.chmod(0o600)
    assert files.load(path) == b"x"
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(OSError, match=rf"\[Errno {errno.ELOOP}\]"):
        files.load(tmp_path / "link")
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(OSError, match=rf"not a journal|\[Errno {errno.EISDIR}\]"):
            files.load(tmp_path / name)


def test_where_no_journal_can_be_kept_that_is_said_with_the_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match=r"file/journal: no journal can be kept there .*--journal"):
        Journal.start(tmp_path / "file/journal", FileSystem(), BOOT)
    (tmp_path / "folder").mkdir()
    with pytest.raises(JournalError, match="no journal can be kept there"):
        Journal.start(tmp_path / "folder", FileSystem(), BOOT)
    # Nothing is locked after that.
    Journal.start(tmp_path / "journal", FileSystem(), BOOT).close()


def test_a_file_is_replaced_whole_and_a_leftover_of_a_kill_is_in_nobodys_way(tmp_path: Path) -> None:
    files, path = FileSystem(), tmp_path / "journal"
    (tmp_path / ".journal.new").write_text("left by a kill")
    files.replace(path, b"one")
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"one", 0o600)
    files.replace(path, b"two")
    assert path.read_bytes() == b"two"
    files.extend(path, 2, b"ofold")
    assert path.read_bytes() == b"twofold"
    files.remove(path)
    files.remove(path)
    assert list(tmp_path.iterdir()) == []


def test_the_default_place_is_roots_own_or_the_users_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/elsewhere")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert default_journal() == Path("/var/lib/raplica/writes.journal")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert default_journal() == Path("/elsewhere/raplica/writes.journal")
    # The XDG specification ignores a path that is not absolute.
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert default_journal() == Path("/home/somebody/.local/state/raplica/writes.journal")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    with pytest.raises(JournalError, match="no home folder"):
        default_journal()
