# SPDX-License-Identifier: Apache-2.0
"""Programs under test may do anything: the suite survives it, says what it was, and leaves nothing behind."""

import os
import sys
import time
from pathlib import Path

import pytest

from raplica_conformance.clause import ClauseFailed, ClauseTimedOut
from raplica_conformance.readers.adapter import Adapter
from raplica_conformance.readers.command import Command
from raplica_conformance.readers.extract import read_extractor
from raplica_conformance.readers.oneshot import OneshotPlug
from raplica_conformance.readers.plug import TOTAL, ReaderFault, ReaderHung, Reading
from raplica_conformance.readers.program import MOST_BYTES, Program
from raplica_conformance.readers.stepped import SteppedPlug
from raplica_conformance.readers.trial import run_case
from raplica_fixtures.cases import load_case
from raplica_simulator.surfaces.fuse_mounting import obstacle

FLOOD = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
#: Leaves its process group, and holds stdout open for ever.
DAEMON = (
    "import os, sys, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    "    if os.fork() == 0: time.sleep(600)\n"
    "    os._exit(0)\n"
    "os.wait()\n"
)
ECHO = "import sys\nfor line in sys.stdin: print(line, end='', flush=True)"


def python(source: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", source]


def marked() -> list[str]:
    """The processes of readers that are still there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                environment = (entry / "environ").read_bytes()
                mine = f"RAPLICA_TEST={os.getpid()}".encode() in environment
            except OSError:
                continue
            if mine and b"RAPLICA_READER=" in environment:
                found.append((entry / "cmdline").read_text())
    return found


@pytest.fixture(autouse=True)
def nothing_left(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """No process, no mount and no temporary file outlives a test."""
    monkeypatch.setenv("RAPLICA_TEST", str(os.getpid()))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield
    assert marked() == []
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in Path("/proc/self/mounts").read_text()


def outcome(source: str, limit_s: float = 5.0) -> tuple[str, str]:
    program = Program(python(source))
    try:
        return program.output(limit_s)
    finally:
        program.close()


def test_what_a_program_prints_is_its_output() -> None:
    assert outcome("print('one'); print('two')") == ("one\ntwo\n", "")


def test_a_program_that_ends_in_order_with_a_complaint_is_no_crash() -> None:
    output, complaint = outcome("import sys; print('x'); sys.exit('nothing can be read here')")
    assert (output, complaint) == ("x\n", "it ended with status 1: nothing can be read here")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("1 / 0", "status 1: ZeroDivisionError: division by zero"),
        ("import os; os.abort()", "signal SIGABRT"),
        ("import os; os.kill(os.getpid(), 9)", "signal SIGKILL"),
        ("import sys; sys.exit(139)", "status 139"),
        (FLOOD, f"prints more than {MOST_BYTES} bytes"),
    ],
)
def test_a_program_that_breaks_down_is_told_of_in_one_line(source: str, why: str) -> None:
    with pytest.raises(ReaderFault, match=why) as raised:
        outcome(source)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "source",
    [
        "import time; time.sleep(600)",
        "import os, time; os.close(1); os.close(2); time.sleep(600)",
        "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)",
        "import sys, time\nwhile True: print('x', flush=True); time.sleep(0.01)",
    ],
)
def test_a_program_that_hangs_is_ended_when_its_time_is_over(source: str) -> None:
    begun_s = time.monotonic()
    with pytest.raises(ReaderHung, match=r"within 0\.3 s"):
        outcome(source, 0.3)
    assert time.monotonic() - begun_s < 60


def test_what_a_program_started_and_left_behind_is_ended_too() -> None:
    output, complaint = outcome(f"{DAEMON}print('done')")
    assert (output, complaint) == ("done\n", "")


def test_a_program_that_says_much_on_stderr_is_not_stopped_by_it() -> None:
    assert outcome("import sys; sys.stderr.write('x' * (1 << 22)); print('y')") == ("y\n", "")


def test_a_program_that_is_not_there_is_told_of() -> None:
    with pytest.raises(ReaderFault, match="cannot be started: No such file"):
        Program(["/no/such/program"])


def test_lines_are_asked_and_answered() -> None:
    program = Program(python(ECHO))
    try:
        program.tell("one")
        assert program.line(5.0) == "one"
        program.tell("two")
        assert program.line(5.0) == "two"
        with pytest.raises(ReaderHung):
            program.line(0.1)
    finally:
        program.close()
        program.close()
    assert program.has_ended


def test_a_line_that_never_ends_is_not_read_for_ever() -> None:
    program = Program(python(FLOOD))
    try:
        with pytest.raises(ReaderFault, match="prints more than"):
            program.line(30.0)
    finally:
        program.close()


def test_who_ends_before_an_answer_is_told_of() -> None:
    program = Program(python("import sys; input(); sys.exit('enough')"))
    try:
        program.tell("one")
        with pytest.raises(ReaderFault, match="ended without an answer: enough"):
            program.line(5.0)
    finally:
        program.close()


def oneshot(source: str, **keys: object) -> OneshotPlug:
    return OneshotPlug("program", Command(tuple(python(source))), read_extractor(), **keys)  # type: ignore[arg-type]


CASE = load_case("topology/all-sockets")


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("raise SystemError('broken')", "SystemError: broken"),
        ("print('garbage')", "no JSON"),
        ("", "printed nothing"),
        (FLOOD, "prints more than"),
        ("print('{}')", "asks for"),
        (f"{DAEMON}print('[]')", "leads to a list"),
    ],
)
def test_a_case_is_failed_by_who_breaks_down_and_says_how(source: str, why: str) -> None:
    with pytest.raises(ClauseFailed, match=why):
        run_case(CASE, oneshot(source))


def test_a_case_in_which_a_reader_hangs_is_a_timeout() -> None:
    with pytest.raises(ClauseTimedOut, match="did not end within"):
        run_case(CASE, oneshot("import time; time.sleep(600)", limit_s=0.2))


def test_a_reader_that_complains_has_said_that_it_knows_nothing() -> None:
    plug = oneshot("import sys; sys.exit('no RAPL here')")
    run_case(load_case("errors/masked"), plug)
    with pytest.raises(ClauseFailed, match="does not list it"):
        run_case(CASE, plug)


def test_a_reader_has_a_folder_to_remember_in_for_one_case_and_a_file_to_write_to() -> None:
    source = (
        "import json, pathlib, sys\n"
        "state = pathlib.Path(sys.argv[1])\n"
        "count = len(list(state.iterdir()))\n"
        "(state / str(count)).write_text('')\n"
        "(state / 'out').write_text(json.dumps({'total': count}))\n"
    )
    plug = Adapter("rememberer", "oneshot", Command((*python(source), "{state}")), file="{state}/out").plug()

    class Stage:
        """Nothing is asked of it here."""

    running = plug.open(Stage())  # type: ignore[arg-type]
    try:
        said = []
        for _ in range(2):
            running.sample()
            said.append(running.answer()[TOTAL])
        assert said == [Reading(0), Reading(2)]
    finally:
        running.close()


def test_a_file_that_is_not_written_is_the_readers_fault() -> None:
    plug = Adapter("forgetful", "oneshot", Command(tuple(python("print('x')"))), file="{state}/out").plug()
    with pytest.raises(ClauseFailed, match="did not write out"):
        run_case(CASE, plug)


STEPPED = """
import json, sys
for line in sys.stdin:
    do = json.loads(line)['do']
    {body}
"""


@pytest.mark.skipif(obstacle() is not None, reason=f"nothing can be mounted here: {obstacle()}")
@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("print('garbage', flush=True)", "which is no JSON"),
        ("sys.exit(3)", "ended without an answer"),
        ("print(json.dumps({'ok': False, 'problem': 'no luck'}), flush=True)", "no luck"),
        ("print(json.dumps({'ok': True, 'zones': 5}), flush=True)", "not with ok and zones"),
        ("print(json.dumps({'ok': True, 'zones': [{}]}), flush=True)", "an object with an id"),
        ("print(json.dumps({'ok': True, 'zones': [{'id': 'a', 'energy_uj': 0.5}]}), flush=True)", "whole microjoules"),
        ("1 / 0", "ended without an answer: ZeroDivisionError"),
    ],
)
def test_a_session_that_breaks_down_fails_its_case_and_the_next_begins_anew(body: str, why: str) -> None:
    plug = SteppedPlug("session", Command.parse(["{python}", "-c", STEPPED.replace("{body}", body)]))
    try:
        for _ in range(2):
            with pytest.raises(ClauseFailed, match=why):
                run_case(CASE, plug)
    finally:
        plug.close()


@pytest.mark.skipif(obstacle() is not None, reason=f"nothing can be mounted here: {obstacle()}")
def test_a_session_that_hangs_is_a_timeout_and_the_next_begins_anew() -> None:
    hangs = STEPPED.replace("{body}", "pass")
    plug = SteppedPlug("session", Command.parse(["{python}", "-c", hangs]), limit_s=0.3)
    try:
        for _ in range(2):
            with pytest.raises(ClauseTimedOut, match="did not answer within"):
                run_case(CASE, plug)
    finally:
        plug.close()
