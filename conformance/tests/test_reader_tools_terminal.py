# SPDX-License-Identifier: Apache-2.0
"""The driver of meters on a terminal, with programs that stand in for s-tui and powerstat."""

import json
from pathlib import Path

import pytest

from raplica_conformance.readers.tools import terminal

from .stand_in import program

#: Rows come at once, so that no test waits; it ends when it is told with a q, as the real one does.
S_TUI = """#!/bin/sh
printf 'Time,"Power:package-0,0","Power:dram,0","Power:psys,0","Util:0"\\n' > rows.csv
number=0
stty -icanon -echo min 0 time 0
while [ "$(dd bs=1 count=1 2>/dev/null)" != q ]; do
    echo "$number,10.0,2.0,,50" >> rows.csv
    sleep 0.05
done
"""
POWERSTAT = """#!/bin/sh
trap 'exit 0' INT
echo '  Time    User  Nice   Sys  Idle    IO  Run Ctxt/s  IRQ/s Fork Exec Exit  Watts'
while :; do
    echo '10:11:12   1.0   0.0   1.0  98.0   0.0    1    100    100    0    0    0   7.50'
    sleep 0.05
done
"""


def test_the_watts_of_a_table_become_joules_by_the_time_between_two_rows(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(home, "s-tui", S_TUI)
    assert terminal.main("s-tui", "0.2") == 0
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {"package-0", "package-0/dram"}
    # The first of five rows and a bit has none before it; how long they took is not for a test to say.
    assert said["package-0"] == pytest.approx(5 * said["package-0/dram"], abs=5)
    assert said["package-0"] > 1_000_000


def test_the_first_line_of_powerstat_stands_for_the_time_before_it(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(home, "powerstat", POWERSTAT)
    assert terminal.main("powerstat", "0.1") == 0
    said = json.loads(capsys.readouterr().out)
    assert list(said) == ["total"]
    assert said["total"] >= 0.5 * 7.5e6


def test_a_meter_that_crashes_in_the_middle_is_no_meter_that_knows_less(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it had shown before is no answer; what it leaves on the terminal is what its user sees."""
    rows = 'Time,"Power:package-0,0"\\n1,10.0\\n2,10.0\\n'
    traceback = "Traceback (most recent call last):\\n  File x\\nIndexError: list index out of range\\n"
    program(home, "s-tui", f"#!/bin/sh\nprintf '{rows}' > rows.csv\nsleep 0.05\nprintf '{traceback}'\nexit 1\n")
    assert terminal.main("s-tui", "9") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Traceback (most recent call last):\nIndexError: list index out of range\n"


@pytest.mark.parametrize("name", ["s-tui", "powerstat"])
def test_a_meter_that_shows_nothing_gives_its_last_words(
    name: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program(home, name, "#!/bin/sh\necho; echo 'no RAPL here'; echo\n")
    assert terminal.main(name, "1") == 1
    assert capsys.readouterr().err == "no RAPL here\n"
    program(home, name, "#!/bin/sh\n")
    assert terminal.main(name, "1") == 1
    assert capsys.readouterr().err == "it showed nothing\n"
