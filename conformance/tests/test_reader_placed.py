# SPDX-License-Identifier: Apache-2.0
"""Programs with fixed paths see a mounted machine in the place of the host's own meters, and nobody else does."""

import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance.readers import placed
from raplica_conformance.readers.stage import Stage
from raplica_fixtures.cases import load_case
from raplica_simulator.surfaces import namespace
from raplica_simulator.surfaces import namespace_calls as calls
from raplica_simulator.surfaces.fuse_mounting import CannotMount

can_place = pytest.mark.skipif(
    namespace.obstacle() is not None, reason=f"no machine can be put into place here: {namespace.obstacle()}"
)
NAME = "/sys/class/powercap/intel-rapl:0/name"

#: A stepped reader with a fixed path, which ends by itself at its third line.
READER = f"""
import json, sys
for number, line in enumerate(sys.stdin):
    if number == 2: sys.exit()
    name = open({NAME!r}).read().strip()
    print(json.dumps(dict(ok=True, do=json.loads(line)["do"], name=name)), flush=True)
"""


@pytest.fixture(scope="module")
def sysfs() -> Iterator[str]:
    stage = Stage(load_case("topology/every-zone"))
    try:
        yield stage.sysfs_dir
    finally:
        stage.close()


def become(arguments: list[str]) -> tuple[int, str]:
    """What a child printed that was to become a command, and its status."""
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        # The thread that serves the mount is the parent's.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        status = 99
        try:
            os.dup2(theirs, 1)
            os.dup2(theirs, 2)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            status = placed.main(arguments)
            sys.stderr.flush()
        finally:
            os._exit(status)
    os.close(theirs)
    with os.fdopen(ours) as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


@can_place
def test_a_command_finds_the_machine_where_it_looks_and_a_home_in_memory(sysfs: str) -> None:
    status, text = become(
        [sysfs, "--", "sh", "-c", f'cat {NAME}; echo x > "$HOME/file" && stat -f -c %T "$HOME"; exit 7']
    )
    assert (status, text.splitlines()) == (7, ["package-0", "tmpfs"])
    assert not re.search(r"^raplica \S+ tmpfs ", Path("/proc/self/mounts").read_text(), re.MULTILINE)


@can_place
def test_where_no_folder_can_be_mounted_in_memory_that_is_said(sysfs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = calls.mount

    def mount(source: str, *rest: Any, **options: Any) -> None:
        if rest[0] in ("/mnt", "/srv", "/media", "/opt"):
            raise OSError(28, "No space left on device")
        real(source, *rest, **options)

    monkeypatch.setattr(calls, "mount", mount)
    status, text = become([sysfs, "--", "true"])
    assert status == 125
    assert text.endswith(": No space left on device: no folder in memory can be mounted there\n")


def test_what_the_system_does_not_allow_is_said_in_one_line_with_status_125(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def enter(**_options: object) -> None:
        raise CannotMount("no namespaces here")

    monkeypatch.setattr(namespace, "enter", enter)
    assert placed.main(["/m/sys", "--", "true"]) == 125
    assert capsys.readouterr().err == "no namespaces here\n"


@pytest.mark.parametrize(
    ("command", "status", "why"),
    [("/no/such/program", 127, "No such file or directory"), ("/etc/passwd", 126, "Permission denied")],
)
def test_a_command_that_cannot_be_executed_has_the_status_that_a_shell_gives(
    command: str, status: int, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(placed, "put_into_place", lambda _mounted: None)
    assert placed.main(["/m/sys", "--", command]) == status
    assert capsys.readouterr().err == f"{command}: {why}\n"


@pytest.mark.parametrize("arguments", [[], ["/m/sys"], ["/m/sys", "--"], ["/m/sys", "true", "x"]])
def test_what_is_no_command_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert placed.main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: python -m raplica_conformance.readers.placed")


def converse(monkeypatch: pytest.MonkeyPatch, *lines: dict[str, str]) -> int:
    monkeypatch.setattr("sys.stdin", StringIO("".join(json.dumps(line) + "\n" for line in lines)))
    return placed.main(["--stepped", "--", sys.executable, "-I", "-S", "-c", READER])


@can_place
def test_a_stepped_reader_with_fixed_paths_is_started_anew_for_each_machine(
    sysfs: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start, sample = {"do": "start", "sysfs": sysfs}, {"do": "sample"}
    assert converse(monkeypatch, sample, start, sample, sample, sample, start, {"do": "stop"}, start) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    ended = {"ok": False, "problem": "the tool ended without an answer"}
    seen = {"ok": True, "name": "package-0"}
    assert said == [
        ended,
        {**seen, "do": "start"},
        {**seen, "do": "sample"},
        ended,
        ended,
        {**seen, "do": "start"},
        {**seen, "do": "stop"},
    ]


@can_place
def test_who_hangs_up_leaves_no_reader_behind(
    sysfs: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text()
    assert converse(monkeypatch, {"do": "start", "sysfs": sysfs}) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True
    assert children.read_text() == before
