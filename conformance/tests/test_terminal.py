# SPDX-License-Identifier: Apache-2.0
"""What a person sees: plain lines in a pipe, a bar on a terminal, and nothing at all where JSON is wanted."""

import os
import pty
import subprocess
import sys

import pytest

from raplica_conformance.clause import Clause
from raplica_conformance.judge import judge
from raplica_conformance.terminal import progress, show_failures, show_totals

# Whole runs in processes of their own: the quick set of the other Pythons leaves them out.
pytestmark = pytest.mark.slow


def test_a_subject_gets_its_line_as_soon_as_its_last_clause_is_judged(
    harness: dict[str, Clause], bare: type, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("pass", "fail", "skip")
    pairs = [(harness[f"selftest.{name}"], bare(subject)) for subject in ("one", "second") for name in names]
    printed: list[str] = []
    with progress(pairs, quiet=False) as each:
        for entry, subject in pairs:
            each(judge(entry, subject))
            printed.append(capsys.readouterr().out)
    assert printed == ["", "", "one     1 pass, 1 fail, 1 skip\n", "", "", "second  1 pass, 1 fail, 1 skip\n"]


def test_quiet_progress_prints_nothing(
    harness: dict[str, Clause], bare: type, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = [(harness["selftest.pass"], bare())]
    with progress(pairs, quiet=True) as each:
        each(judge(*pairs[0]))
    assert capsys.readouterr().out == ""


def test_a_failure_is_shown_with_its_rule_reason_source_threads_and_command(
    harness: dict[str, Clause], bare: type, capsys: pytest.CaptureFixture[str]
) -> None:
    show_failures([judge(harness[f"selftest.{name}"], bare()) for name in ("pass", "fail", "crash", "skip")])
    printed = capsys.readouterr().out
    assert printed.startswith(
        "\nFAIL  selftest.fail  (must)  on bare\n"
        "    rule    The harness clause fail.\n"
        "    reason  one is two: got 1, wanted 2\n"
        "    source  nowhere\n"
        "    thread  https://example.org/thread/1\n"
        "    again   conformance run selftest.fail --tree '/some where'\n"
        "\nBROKEN  selftest.crash  (must)  on bare\n"
    )
    assert "selftest.pass" not in printed
    assert "selftest.skip" not in printed


def test_the_totals_count_clauses_subjects_and_words(
    harness: dict[str, Clause], bare: type, capsys: pytest.CaptureFixture[str]
) -> None:
    show_totals([judge(harness["selftest.pass"], bare())])
    show_totals([judge(harness["selftest.pass"], bare(name)) for name in ("one", "two")])
    assert capsys.readouterr().out == "\n1 clause on 1 subject: 1 pass\n\n1 clause on 2 subjects: 2 pass\n"


def test_on_a_terminal_there_is_a_bar_and_the_same_lines() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "raplica_conformance", "run", "--machine", "kabylake"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "200"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65536):
                shown += piece
        except OSError:
            # Linux says EIO where the other end of a terminal has closed.
            pass
        assert process.wait() == 0
    os.close(ours)
    assert b"judging" in shown
    assert b"kabylake@6.12" in shown
    assert b"2 subjects: " in shown


def test_in_a_pipe_rich_is_not_even_loaded() -> None:
    script = (
        "import sys\n"
        "from raplica_conformance.cli import main\n"
        "try: main(['run', 'powercap.class.*', '--machine', 'kabylake'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print('rich' in sys.modules)\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"
    assert "\x1b" not in ran.stdout
