# SPDX-License-Identifier: Apache-2.0
"""`conformance record`: the walk through the tree."""

import errno
import os
from pathlib import Path

import pytest

from raplica_conformance.record import tree as tree_module
from raplica_conformance.record.counters import sample
from raplica_conformance.record.places import read_text
from raplica_conformance.record.registers import read_registers
from raplica_conformance.record.tree import read_file, walk
from raplica_fixtures.recording import (
    Entry,
    ReadResult,
    RecordingError,
)

from .record_files import POWERCAP, files, processors


def test_what_is_no_file_of_sysfs_is_walked_without_waiting_or_falling_over(tmp_path: Path) -> None:
    files(tmp_path, {f"{POWERCAP}/a/name": "x\n"})
    os.mkfifo(tmp_path / POWERCAP / "fifo")
    os.mkfifo(tmp_path / POWERCAP / "a/energy_uj")
    (tmp_path / POWERCAP / "loop").symlink_to("loop")
    seen: list[str] = []
    found = walk(tmp_path, lambda _path: None, seen.append)
    assert found["class/powercap"] == Entry(kind="missing", errno=errno.ENOENT)
    assert found[f"{POWERCAP}/loop"].target == "loop"
    fifo = found[f"{POWERCAP}/fifo"]
    assert (fifo.kind, fifo.read, fifo.opens) == ("file", None, None)
    assert seen == list(found)
    assert sample(tmp_path, found, 0.001, seen.append) == ()  # type: ignore[arg-type]


def test_what_lies_in_a_folder_follows_it_in_its_order_as_deep_as_that_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / POWERCAP / "d/b").mkdir(parents=True)
    (tmp_path / POWERCAP / "d/a").mkdir()
    (tmp_path / POWERCAP / "e").mkdir()
    orders = {POWERCAP: ["d", "e"], "d": ["b", "a"]}
    monkeypatch.setattr(os, "listdir", lambda path: orders.get(path.name, orders.get("/".join(path.parts[-3:]), [])))
    paths = list(walk(tmp_path, lambda _path: None, lambda _path: None))
    assert [path.removeprefix(POWERCAP) for path in paths[1:]] == ["", "/d", "/d/b", "/d/a", "/e"]


def test_a_tree_that_does_not_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree_module, "_entry", lambda *_: Entry("dir", order=("d",)))
    monkeypatch.setattr(tree_module, "_MOST_ENTRIES", 3000)  # deeper than Python calls itself
    monkeypatch.setattr(os, "lstat", lambda _path: None)
    with pytest.raises(RecordingError, match=r"^tree: has more than 3000 entries, which no powercap tree has$"):
        walk(tmp_path, lambda _path: None, lambda _path: None)


def test_a_pipe_in_the_place_of_a_device_or_a_file_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "cpu/0").mkdir(parents=True)
    os.mkfifo(tmp_path / "cpu/0/msr")
    table, _ = read_registers(tmp_path, processors())
    assert not any(table.values())
    held = os.open(tmp_path / "cpu/0/msr", os.O_RDWR)
    try:
        assert read_text(tmp_path / "cpu/0/msr") == ""
    finally:
        os.close(held)


def test_an_error_that_no_attribute_gives_is_kept_as_an_input_output_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files(tmp_path, {"name": "x"})

    def refuse(*_: object) -> bytes:
        raise OSError(errno.EUCLEAN, "clean me")

    monkeypatch.setattr(os, "read", refuse)
    assert read_file(tmp_path / "name") == ReadResult(errno=errno.EIO)
