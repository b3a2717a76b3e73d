# SPDX-License-Identifier: Apache-2.0
"""From a virtual machine's lines to a log, and from the log to a recording."""

import json
from pathlib import Path
from typing import Any

import pytest

from kernel_witness.failure import WitnessError, run
from kernel_witness.logs import assemble, write_atomically
from kernel_witness.machines import load_description
from raplica_fixtures.witness_log import from_witness_log

HEAD = {"head": {"kernel": "6.12.117+deb12-amd64", "kernel_version": "#1 SMP Debian 6.12.117-1 (2026-11-14)"}}
LINK = {
    "path": "/sys/class/powercap",
    "mode": "0755",
    "nlink": 2,
    "uid": 0,
    "gid": 0,
    "size": 0,
    "blksize": 4096,
    "blocks": 0,
    "type": "dir",
    "order": [],
}
TREE = {"op": "tree", "label": "as loaded", "entries": [LINK]}
END = {"end": {"dmesg": ["Linux version 6.12.117"]}}


def lines(*said: dict[str, Any]) -> str:
    return "".join(json.dumps(line) + "\n" for line in said)


def test_a_log_becomes_a_recording() -> None:
    machine = load_description("kabylake")
    fault = {"op": "ctl", "path": "/proc/raplica/registers", "data": "fault 0 0x610 3"}
    recording = from_witness_log(assemble(lines(HEAD, TREE, fault, END), machine, "2026-11-21"))
    assert (recording.machine, recording.kernel, recording.kernel_full) == ("kabylake", "6.12", "6.12.117")
    assert recording.registers[0][0x606] == 0xA0E03
    assert list(recording.tree) == ["class/powercap"]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (lines(HEAD, TREE), "the machine stopped after 2 lines"),
        ("", "the machine stopped after 0 lines"),
        (lines(HEAD, TREE) + '{"op": "re', "after 2 lines came one that is no JSON"),
        (lines(HEAD, {"failed": "Traceback\nValueError: 3"}), "after 1 lines: ValueError: 3"),
    ],
)
def test_a_log_that_is_not_whole_is_refused(said: str, message: str) -> None:
    with pytest.raises(WitnessError, match=message):
        assemble(said, load_description("kabylake"), "2026-11-21")


def test_a_file_is_written_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    write_atomically(tmp_path / "log.json", b"{}")
    assert [path.name for path in tmp_path.iterdir()] == ["log.json"]


def test_a_program_that_is_not_there_is_named_in_one_line() -> None:
    with pytest.raises(WitnessError, match=r"^building: no-such-program is not on this machine; install it$"):
        run(["no-such-program"], "building")


def test_a_command_that_fails_is_told_with_its_error() -> None:
    with pytest.raises(WitnessError, match=r"^fetching: E: nothing here$"):
        run(["sh", "-c", "echo more >&2; echo 'E: nothing here' >&2; echo and >&2; exit 3"], "fetching")
