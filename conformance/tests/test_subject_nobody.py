# SPDX-License-Identifier: Apache-2.0
"""The child that opens files as nobody, step by step in this process: what it does as a process is tested elsewhere."""

import errno
import os
from pathlib import Path

import pytest

from raplica_conformance.subject import CannotTell
from raplica_conformance.subjects import real
from raplica_conformance.subjects.real import RealMachine


def test_everything_but_two_handles_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[tuple[int, int]] = []
    monkeypatch.setattr("os.closerange", lambda first, last: closed.append((first, last)))
    real._close_all_but(9, 5)
    assert closed[:2] == [(3, 5), (6, 9)]
    assert closed[2][0] == 10
    assert closed[2][1] == os.sysconf("SC_OPEN_MAX")


def test_questions_are_taken_until_the_other_end_closes() -> None:
    ours, theirs = os.pipe()
    try:
        for path in (b"/sys/a", b"/sys/class/b"):
            os.write(theirs, real._LENGTH.pack(len(path)) + path)
        os.write(theirs, b"\0")
        os.close(theirs)
        assert list(real._questions(ours)) == [b"/sys/a", b"/sys/class/b"]
    finally:
        os.close(ours)


def test_root_is_given_up_with_its_groups_first_and_its_saved_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[str, object]] = []
    for name in ("setgroups", "setresgid", "setresuid"):
        monkeypatch.setattr(f"os.{name}", lambda *ids, name=name: done.append((name, ids)))
    real._give_up_root()
    assert done == [("setgroups", ([],)), ("setresgid", (65534,) * 3), ("setresuid", (65534,) * 3)]


def test_an_attempt_to_open_gives_its_errno(tmp_path: Path) -> None:
    assert real._try_open(os.fsencode(tmp_path)) == 0
    assert real._try_open(os.fsencode(tmp_path / "none")) == errno.ENOENT


def test_a_child_that_cannot_give_up_root_gives_no_answer_and_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does an interrupt leave it: its answer would be taken for that to the next question."""
    (tmp_path / "file").write_text("x")

    def refused() -> None:
        raise PermissionError

    monkeypatch.setattr(real, "_give_up_root", refused)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    machine = RealMachine(str(tmp_path))
    # As in the user namespace of `raplica exec`, where there is one user: unknown, and no fault of the suite.
    with pytest.raises(CannotTell, match="could not give up root for user 65534"):
        machine.open_errno("file", "r", "nobody")
    assert machine._nobody is None
    machine.close()


def test_a_child_that_ends_later_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setattr(real, "_give_up_root", lambda: None)
    monkeypatch.setattr(real, "_questions", lambda _pipe: iter(()))
    monkeypatch.setattr("os.geteuid", lambda: 0)
    machine = RealMachine(str(tmp_path))
    with pytest.raises(BrokenPipeError):
        machine.open_errno("file", "r", "nobody")
    assert machine._nobody is None


def test_what_only_a_writer_or_root_could_know_cannot_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = RealMachine(str(tmp_path))
    with pytest.raises(CannotTell, match="opens for writing"):
        machine.open_errno("file", "w", "root")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(CannotTell, match="whether root may open"):
        machine.open_errno("file", "r", "root")
    assert machine.open_errno("none", "r", "nobody") == errno.ENOENT
