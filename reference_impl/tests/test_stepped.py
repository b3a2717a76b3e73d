# SPDX-License-Identifier: Apache-2.0
"""The stepped protocol: another program says when to look, and what time it is."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import raplica_reader
from raplica_reader import Host
from raplica_reader.stepped import Session, converse

if TYPE_CHECKING:
    from tests.conftest import Tree

SECOND = 10**9


class Asked:
    """A session and a shorter way to ask it."""

    def __init__(self, root: Path | str) -> None:
        self.session = Session(Host(str(root)), "auto", lambda: 77, version="0")

    def __call__(self, do: str, **more: Any) -> dict[str, Any]:
        return self.session.answer(json.dumps({"do": do} | more))


def by_path(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {zone["path"]: zone for zone in answer["zones"]}


def test_energies_are_since_the_start_in_the_callers_time(client: Tree) -> None:
    ask = Asked(client.root)
    started = ask("start", at_ns=5)
    assert {key: started[key] for key in ("do", "ok", "format", "reader", "source", "trouble", "at_ns")} == {
        "do": "start",
        "ok": True,
        "format": 1,
        "reader": "raplica-reader 0",
        "source": "powercap",
        "trouble": None,
        "at_ns": 5,
    }
    assert {zone["energy_uj"] for zone in started["zones"]} == {0}
    client.show("intel-rapl:0", 105_000_000)
    assert by_path(ask("sample", at_ns=SECOND))["package-0"]["energy_uj"] == 100_000_000
    client.show("intel-rapl:0", 205_000_000)
    sampled = ask("sample", at_ns=2 * SECOND)
    assert sampled["at_ns"] == 2 * SECOND
    assert sampled["total"] == {"energy_uj": 200_000_000, "status": "ok", "error": None}
    assert by_path(sampled)["package-0"] == {
        "id": "intel-rapl:0",
        "path": "package-0",
        "energy_uj": 200_000_000,
        "status": "ok",
        "error": None,
        "counted": True,
    }
    assert ask("stop") == {"do": "stop", "ok": True}
    assert ask.session.is_over


def test_each_status_is_told_and_lasts_as_long_as_it_is_true(client: Tree) -> None:
    ask = Asked(client.root)
    ask("start", at_ns=0)
    client.write("intel-rapl:0:0", b"")
    client.show("intel-rapl:1", 1_000)
    sampled = by_path(ask("sample", at_ns=SECOND))
    assert (sampled["package-0/core"]["status"], sampled["package-0/core"]["error"]) == ("error", "ENODATA")
    assert (sampled["psys"]["status"], sampled["psys"]["energy_uj"]) == ("reset", None)
    client.write("intel-rapl:0:0", b"2000061\n")
    sampled = by_path(ask("sample", at_ns=2 * SECOND))
    assert (sampled["package-0/core"]["status"], sampled["package-0/core"]["energy_uj"]) == ("ok", 61)
    assert sampled["psys"]["status"] == "reset"
    answer = ask("sample", at_ns=10**6 * SECOND)
    assert {zone["status"] for zone in by_path(answer).values()} == {"unknown", "reset"}
    assert answer["total"] == {"energy_uj": None, "status": "unknown", "error": "EOVERFLOW"}


def test_a_second_start_begins_anew_also_on_another_machine(client: Tree, tmp_path: Path) -> None:
    ask = Asked(tmp_path)
    started = ask("start", at_ns=9)
    assert (started["ok"], started["zones"]) == (True, [])
    assert started["total"] == {"energy_uj": None, "status": "none", "error": None}
    assert "cannot be listed (ENOENT)" in started["trouble"]
    started = ask("start", sysfs=str(client.root), at_ns=0)
    assert (started["trouble"], len(started["zones"])) == (None, 6)


def test_without_a_time_the_readers_own_clock_counts(client: Tree) -> None:
    ask = Asked(client.root)
    assert ask("start")["at_ns"] == 77
    assert ask("sample")["at_ns"] == 77


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", "the line is no JSON"),
        ("{", "the line is no JSON"),
        ("[" * 100_000, "the line is no JSON"),
        ("[]", "a command is an object"),
        ("{}", "a command is an object"),
        ('{"do": ["start"]}', "a command is an object"),
        ('{"do": "sit"}', "a command is an object"),
        ('{"do": "start", "at_ms": 1}', "start has no at_ms"),
        ('{"do": "start", "at_ns": 1.5}', "at_ns is a whole number"),
        ('{"do": "start", "at_ns": true}', "at_ns is a whole number"),
        ('{"do": "start", "at_ns": -1}', "at_ns is a whole number"),
        ('{"do": "start", "sysfs": 1}', "sysfs, dev, cpu, windows and source are text"),
        ('{"do": "start", "sysfs": ""}', "sysfs is no name of a directory"),
        ('{"do": "start", "sysfs": "a\\u0000b"}', "sysfs is no name of a directory"),
        ('{"do": "start", "dev": "a\\ud800b"}', "dev is no name of a directory"),
        ('{"do": "start", "source": "tea"}', "there is no source 'tea'"),
        ('{"do": "start", "cpu": "tea"}', "cpu is FAMILY:MODEL"),
        ('{"do": "sample", "sysfs": "/"}', "sample has no sysfs"),
        ('{"do": "sample"}', "start comes first"),
    ],
)
def test_what_cannot_be_done_is_answered_and_changes_nothing(line: str, problem: str, client: Tree) -> None:
    ask = Asked(client.root)
    answer = ask.session.answer(line)
    assert answer["ok"] is False
    assert answer["problem"].startswith(problem)
    assert ask("start")["ok"]


def test_time_goes_forward_and_is_in_all_commands_or_in_none(client: Tree) -> None:
    ask = Asked(client.root)
    ask("start", at_ns=10)
    assert ask("sample")["problem"] == "at_ns is in all commands of a series or in none"
    assert ask("sample", at_ns=9)["problem"] == "at_ns goes back, from 10"
    assert ask("sample", at_ns=10)["ok"]
    ask("start")
    assert ask("sample", at_ns=10)["problem"] == "at_ns is in all commands of a series or in none"


@given(st.text(max_size=50) | st.recursive(st.none() | st.integers() | st.text(max_size=9), st.lists).map(json.dumps))
def test_no_line_is_an_exception(line: str) -> None:
    session = Session(Host("/nonexistent"), "auto", lambda: 0)
    assert isinstance(session.answer(line)["ok"], bool)


def test_the_end_of_the_input_ends_the_session_and_gives_everything_back(client: Tree) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    answers = io.StringIO()
    converse(Asked(client.root).session, ['{"do": "start"}\n', '{"do": "sample"}\n'], answers)
    assert [json.loads(line)["do"] for line in answers.getvalue().splitlines()] == ["start", "sample"]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_command_answers_each_line_at_once(client: Tree) -> None:
    """A caller that waits for an answer before it goes on must get it."""
    command = [sys.executable, "-I", "-S", str(Path(raplica_reader.__file__).parent), "stepped"]
    with subprocess.Popen(
        [*command, "--sysfs", str(client.root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number, energy_uj in enumerate([5_000_000, 6_000_000, 7_000_000]):
            client.show("intel-rapl:0", energy_uj)
            process.stdin.write(json.dumps({"do": "sample" if number else "start", "at_ns": number * SECOND}) + "\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            assert by_path(answer)["package-0"]["energy_uj"] == number * 1_000_000
        os.write(process.stdin.fileno(), b"\xff\n")
        assert json.loads(process.stdout.readline())["problem"] == "the line is no JSON"
        process.stdin.write('{"do": "stop"}\n{"do": "sample"}\n')
        process.stdin.close()
        assert [json.loads(line)["do"] for line in process.stdout] == ["stop"]
    assert process.returncode == 0
