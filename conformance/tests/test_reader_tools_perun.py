# SPDX-License-Identifier: Apache-2.0
"""The driver of perun, with a program that stands in for it."""

import json
from pathlib import Path

import pytest

from raplica_conformance.readers.tools import perun

from .stand_in import program

PERUN = """#!/bin/sh
[ "$1 $2 $3" = "monitor --sampling-period 0.25" ] || exit 9
{body}
"""


@pytest.mark.parametrize(
    ("metrics", "said"),
    [
        ('"cpu_energy": {"sum": 1.5}, "dram_energy": {"sum": 0.25}', {"total": 1_750_000}),
        ('"cpu_util": {"sum": 3}', {"total": None}),
    ],
)
def test_perun_monitors_a_program_that_sleeps(
    metrics: str, said: dict[str, int], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = f"mkdir results; echo '{{\"metrics\": {{{metrics}}}}}' > results/sleep.json"
    assert perun.main(str(program(home, "perun", PERUN.format(body=body))), "2") == 0
    assert json.loads(capsys.readouterr().out) == said


def test_a_perun_that_fails_fails_with_its_own_words(home: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert perun.main(str(program(home, "perun", PERUN.format(body="echo no luck >&2; exit 3"))), "2") == 3
    assert capfd.readouterr() == ("", "no luck\n")
