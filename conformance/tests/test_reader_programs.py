# SPDX-License-Identifier: Apache-2.0
"""Programs under test may do anything: the suite survives it, says what it was, and leaves nothing behind."""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance.clause import ClauseFailed, ClauseTimedOut
from raplica_conformance.readers.adapter import Adapter
from raplica_conformance.readers.command import Command
from raplica_conformance.readers.extract import read_extractor
from raplica_conformance.readers.oneshot import OneshotPlug
from raplica_conformance.readers.plug import STATUSES, TOTAL, ReaderFault, ReaderHung, Reading, Running
from raplica_conformance.readers.program import MOST_BYTES, Printed, Program
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


def outcome(source: str, limit_s: float = 60.0) -> Printed:
    program = Program(python(source))
    try:
        return program.output(limit_s)
    finally:
        program.close()


def test_what_a_program_prints_is_its_output() -> None:
    assert outcome("print('one'); print('two')") == Printed("one\ntwo\n")


def test_a_program_that_ends_in_order_with_a_complaint_is_no_crash() -> None:
    printed = outcome("import sys; print('x'); sys.exit('nothing can be read here')")
    assert printed == Printed("x\n", "it ended with status 1", "it ended with status 1: nothing can be read here")
    assert outcome("import sys; sys.exit(3)") == Printed("", "it ended with status 3", "")


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
    assert outcome(f"{DAEMON}print('done')") == Printed("done\n")


def test_a_program_that_says_much_on_stderr_is_not_stopped_by_it() -> None:
    assert outcome("import sys; sys.stderr.write('x' * (1 << 22)); print('y')") == Printed("y\n")


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
        ("print('{}')", "does not list it"),
        ("import sys; sys.exit(1)", "status 1 without a line on stderr that says why, and it printed nothing"),
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


def test_a_reader_that_shrugs_has_not_said_that_it_knows_nothing() -> None:
    """A status alone may be anything, also a shell that did not find the reader's file."""
    for source in ("import sys; sys.exit(1)", "import sys; print('?'); sys.exit(1)"):
        with pytest.raises(ClauseFailed, match="it ended with status 1 without a line on stderr that says why"):
            run_case(load_case("errors/masked"), oneshot(source))


def test_a_reader_that_says_that_there_is_nothing_is_right_where_that_is_so() -> None:
    run_case(load_case("errors/class-is-empty"), oneshot("print('{}')"))
    # With a complaint beside it, that is what it says.
    run_case(load_case("errors/masked"), oneshot("import sys; print('{}'); sys.exit('powercap is hidden')"))


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
        (
            "print(json.dumps({'ok': True, 'zones': []}) + '\\n' + json.dumps({'ok': True, 'zones': []}), flush=True)",
            "it printed .*, which nobody had asked for: one line for each command",
        ),
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


class Played:
    """A program whose lines are known: one list for each command, of which the first is the answer."""

    has_ended = False

    def __init__(self, *said: list[str]) -> None:
        self.said = iter(said)
        self.lines: list[str] = []
        self.closed = False

    def surplus(self) -> str:
        return "\n".join(self.lines)

    def tell(self, _line: str) -> None:
        self.lines += next(self.said)

    def line(self, _limit_s: float) -> str:
        return self.lines.pop(0)

    def close(self) -> None:
        self.closed = True


class Placed:
    """As much of a stage as a session asks."""

    sysfs_dir, dev_dir, cpu = "/m/sys", "/m/dev", "6:85"

    def now_ns(self) -> int:
        return 0


NOTHING = '{"ok": true, "zones": []}'


def session(program: Played) -> Running:
    plug = SteppedPlug("played", Command(("played",)), _program=program, _started=("played",))  # type: ignore[arg-type]
    return plug.open(Placed())  # type: ignore[arg-type]


def test_a_line_too_much_is_the_readers_fault_before_the_next_command_and_at_the_end() -> None:
    """It would be taken for the answer to what is asked next, and all later ones would be stale."""
    early = Played([NOTHING, NOTHING], [NOTHING])
    running = session(early)
    running.sample()
    with pytest.raises(ReaderFault, match="nobody had asked for"):
        running.sample()
    running.close()
    assert early.closed
    late = Played([NOTHING], [NOTHING, ""])
    late.lines = []
    running = session(late)
    running.sample()
    running.sample()
    late.lines = ["one more"]
    with pytest.raises(ReaderFault, match="it printed 'one more', which nobody had asked for"):
        running.close()
    assert late.closed
    running.close()


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ('"total_uj": "5"', "of total it says 5: whole microjoules"),
        ('"total_uj": true', "of total it says True: whole microjoules"),
        ('"total_uj": [1.5]', "of total it says"),
        (f'"total_uj": {10**400}', "of total it says an energy of 1329 bits"),
        (f'"total_uj": {"9" * 5000}', "which is no JSON"),
        ('"total_uj": 1e999', "of total it says inf"),
    ],
)
def test_a_total_that_is_none_is_the_readers_fault(said: str, why: str) -> None:
    with pytest.raises(ReaderFault, match=why):
        session(Played([f'{{"ok": true, "zones": [], {said}}}'])).sample()


ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | st.text(max_size=4),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=4), below, max_size=3),
    max_leaves=6,
)
ZONES = st.fixed_dictionaries(
    {},
    optional={
        "id": st.sampled_from(["intel-rapl:0", "total"]) | ODD,
        "energy_uj": st.integers(-(1 << 128), 1 << 128) | ODD,
        "status": st.sampled_from([*STATUSES, "none"]) | ODD,
        "error": ODD,
        "counted": st.booleans() | ODD,
    },
)
ANSWERS = st.fixed_dictionaries(
    {"ok": st.just(True) | ODD, "zones": st.lists(ZONES | ODD, max_size=4) | ODD}, optional={"total_uj": ODD}
)


@given(ANSWERS.map(json.dumps) | ODD.map(json.dumps) | st.text())
def test_no_answer_at_all_makes_a_session_crash(line: str) -> None:
    running = session(Played([line]))
    with contextlib.suppress(ReaderFault):
        running.sample()
        for reading in running.answer().values():
            assert reading.status in STATUSES
            assert (reading.error or "").isprintable()
            assert reading.energy_uj is None or abs(float(reading.energy_uj)) < 1e39


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
