# SPDX-License-Identifier: Apache-2.0
"""The matrix: the processes that judge, and what becomes of a run when one breaks down or is interrupted."""

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance import matrix_worker
from raplica_conformance.matrix_tools import Tool
from raplica_conformance.readers.subject import PluggedReader

from .matrix_run import TWO, measure


def judged(tool: Tool, *cases: str) -> tuple[int, Callable[[pytest.CaptureFixture[str]], list[dict[str, Any]]]]:
    status = matrix_worker.main(json.dumps(tool.as_json()), *cases)
    return status, lambda capsys: [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_process_of_the_matrix_says_each_verdict_as_it_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    memory = Tool("raplica-reader", "x", speaks_of=frozenset({"dram"}))
    cases = ("topology/every-zone", "topology/psys-takes-a-number")
    status, documents = judged(memory, *cases)
    found = documents(capsys)
    assert status == 0
    assert [(one["case"], one["verdict"]) for one in found] == [(cases[0], "pass"), (cases[1], "pass")]
    assert found[0]["again"] == "conformance matrix raplica-reader --case topology/every-zone"
    status, documents = judged(replace(memory, speaks_of=frozenset({"psys"})), cases[0])
    (one,) = documents(capsys)
    assert (status, one["verdict"]) == (0, "not-applicable")
    assert "speaks of psys" in one["reason"]


@pytest.mark.parametrize(("error", "status"), [(KeyboardInterrupt, 130), (BrokenPipeError, 141)])
def test_a_process_of_the_matrix_that_is_not_listened_to_any_more_ends_its_reader(
    error: type[BaseException], status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []
    monkeypatch.setattr(PluggedReader, "close", lambda reader: closed.append(reader.name))

    def verdict(*_arguments: object) -> None:
        raise error

    monkeypatch.setattr(matrix_worker, "_verdict", verdict)
    monkeypatch.setattr("os.dup2", lambda *_: None)
    assert judged(Tool("raplica-reader", "x"), "topology/every-zone")[0] == status
    assert closed == ["raplica-reader"]


def a_worker(monkeypatch: pytest.MonkeyPatch, source: str) -> None:
    """What judges, replaced by something else."""
    monkeypatch.setattr("raplica_conformance.matrix.WORKER", [sys.executable, "-I", "-S", "-c", source])


def test_a_process_of_the_matrix_that_breaks_down_makes_its_cases_broken_and_they_are_judged_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    a_worker(monkeypatch, "raise SystemExit(1)")
    file = tmp_path / "results.jsonl"
    assert measure(tools=("raplica-reader",), cases=TWO, results=file) == 3
    printed = capsys.readouterr()
    assert re.search(r"^arithmetic/one-wrap +BROKEN$", printed.out, re.MULTILINE)
    assert "raplica-reader: arithmetic/one-wrap: the process that judges ended without a verdict" in printed.out
    assert "[2/2] raplica-reader: " in printed.err
    measure(tools=("raplica-reader",), cases=TWO, results=file)
    assert capsys.readouterr().err.startswith("2 verdicts to be made\n")


def test_an_interrupt_ends_the_processes_and_keeps_what_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One verdict is made, the next never comes; the process does not even hear of SIGTERM."""
    said = {"case": TWO[1], "verdict": "pass", "reason": "", "took_s": 0, "again": "", "details": None}
    a_worker(
        monkeypatch,
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"print({json.dumps(json.dumps(said))}, flush=True)\n"
        "time.sleep(600)",
    )
    monkeypatch.setattr("raplica_conformance.matrix._END_S", 0.1)

    @contextmanager
    def progress(*_arguments: object, **_options: object) -> Iterator[Callable[[object], None]]:
        yield lambda _shown: os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("raplica_conformance.matrix.progress", progress)
    file = tmp_path / "results.jsonl"
    with pytest.raises(KeyboardInterrupt):
        measure(tools=("raplica-reader",), cases=TWO, results=file)
    assert [json.loads(line)["case"] for line in file.read_text().splitlines()] == [TWO[1]]
    assert capsys.readouterr().out == ""
