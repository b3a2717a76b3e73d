# SPDX-License-Identifier: Apache-2.0
"""SIGTERM and SIGHUP end a run as SIGINT does: what it has put up is taken away, and its status says who asked."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raplica_conformance import cli, ending
from raplica_conformance.clause import Clause
from raplica_conformance.verdicts import Verdict
from raplica_simulator.surfaces.fuse_mounting import obstacle

ASKED = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}

#: A stepped reader that starts another one, out of its group, says that it is there, and never answers.
STUBBORN = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
    time.sleep(600)
pathlib.Path(sys.argv[1]).write_text("here")
time.sleep(600)
"""


def strike(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    # A handler of Python's runs between two of its instructions.
    for _ in range(1000):
        pass


@pytest.mark.parametrize("number", ASKED)
def test_a_signal_is_raised_once_and_everything_is_as_before_afterwards(number: signal.Signals) -> None:
    before = [signal.getsignal(one) for one in ASKED]
    with ending.orderly():
        assert ending.asked_by() is None
        with pytest.raises(KeyboardInterrupt):
            strike(number)
        for again in ASKED:
            strike(again)
        assert ending.asked_by() == number
        assert ending.status() == STATUS[number]
    assert [signal.getsignal(one) for one in ASKED] == before
    assert ending.asked_by() is None
    assert ending.status() == 130


def test_an_end_that_takes_too_long_can_be_asked_for_again_also_where_signals_are_held(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now_s = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now_s[0])
    with ending.orderly():
        with pytest.raises(KeyboardInterrupt):
            strike(signal.SIGTERM)
        now_s[0] = 9.0
        strike(signal.SIGINT)
        now_s[0] = 11.0
        with pytest.raises(KeyboardInterrupt), ending.held():
            strike(signal.SIGINT)
        assert ending.status() == 143


def test_what_was_raised_and_came_nowhere_is_raised_again() -> None:
    with ending.orderly():
        ending.check()
        with contextlib.suppress(KeyboardInterrupt):
            strike(signal.SIGTERM)
        with ending.held():
            ending.check()
        with pytest.raises(KeyboardInterrupt):
            ending.check()


def test_what_is_put_up_or_taken_away_is_not_left_half_done() -> None:
    done = []

    def put_up() -> None:
        with ending.held():
            with ending.held():
                strike(signal.SIGTERM)
                done.append("inner")
            done.append("outer")

    with ending.orderly():
        with pytest.raises(KeyboardInterrupt):
            put_up()
        with ending.held():
            done.append("next")
    assert done == ["inner", "outer", "next"]


def test_an_error_out_of_what_is_held_counts_more_than_the_signal() -> None:
    def fill() -> None:
        with ending.held():
            strike(signal.SIGTERM)
            raise OSError("full")

    with ending.orderly(), pytest.raises(OSError, match="full"):
        fill()


def test_a_signal_that_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with ending.orderly():
            strike(signal.SIGHUP)
            assert ending.asked_by() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_are_left_alone_in_a_thread_that_cannot_hear_of_them() -> None:
    seen: list[object] = []

    def work() -> None:
        with ending.orderly(), ending.held():
            seen.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("number", ASKED)
def test_the_command_says_in_one_line_what_ended_it(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_arguments: object, **_options: object) -> None:
        strike(number)

    monkeypatch.setattr("raplica_conformance.host_pytest.run", run)
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "--machine", "kabylake"])
    assert ended.value.code == STATUS[number]
    words = "interrupted" if number == signal.SIGINT else f"ended by {number.name}"
    assert capsys.readouterr().err == f"conformance: {words}\n"


def test_a_terminal_that_has_gone_takes_no_last_words_and_the_status_is_that_of_the_signal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(*_arguments: object, **_options: object) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            strike(signal.SIGHUP)
        raise OSError(5, "Input/output error")

    given_up: list[bool] = []
    monkeypatch.setattr("raplica_conformance.host_pytest.run", run)
    monkeypatch.setattr(cli, "_give_up_stdout", lambda: given_up.append(True))
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "--machine", "kabylake"])
    assert ended.value.code == 129
    assert given_up == [True]


def test_a_run_that_has_swallowed_a_signal_ends_after_the_verdict_that_it_was_about(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judged: list[str] = []

    def swallow(clause: Clause, *_arguments: object, **_options: object) -> Verdict:
        judged.append(clause.id)
        with contextlib.suppress(KeyboardInterrupt):
            strike(signal.SIGTERM)
        return Verdict(clause, "kabylake@6.12", "pass")

    monkeypatch.setattr("raplica_conformance.host_pytest.judge", swallow)
    with pytest.raises(SystemExit) as ended:
        cli.main(["run", "--machine", "kabylake"])
    assert (ended.value.code, len(judged)) == (143, 1)
    assert capsys.readouterr().err == "conformance: ended by SIGTERM\n"


def test_an_interrupt_before_the_command_has_begun_is_its_usual_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.cli, "main", lambda *_arguments, **_options: strike(signal.SIGINT))
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert ended.value.code == 130


class Bench:
    """A folder for all that a run makes for a while, and a mark on all that it starts."""

    def __init__(self, folder: Path) -> None:
        self.here = folder / "here"
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        self.mark = f"RAPLICA_TEST_ENDING={folder}"
        self.reader = folder / "stubborn.py"
        self.reader.write_text(STUBBORN)
        self.adapter = folder / "stubborn.toml"
        command = f"['{{python}}', '-S', '{self.reader}', '{self.here}', '{{sysfs}}']"
        self.adapter.write_text(f"kind = 'stepped'\ncommand = {command}\nlimit_s = 600\n")

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        name, _, value = self.mark.partition("=")
        environment = {**os.environ, "TMPDIR": str(self.temporary), name: value}
        return subprocess.Popen(
            [sys.executable, "-m", "raplica_conformance", *words],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def wait_for_the_reader(self, process: "subprocess.Popen[bytes]") -> None:
        until_s = time.monotonic() + 60
        while not self.here.exists():
            assert process.poll() is None
            assert time.monotonic() < until_s
            time.sleep(0.01)

    def left(self) -> list[str]:
        found = [str(path) for path in self.temporary.iterdir()]
        found += [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(self.temporary) in line]
        for process in Path("/proc").iterdir():
            if process.name.isdigit():
                try:
                    if self.mark.encode() in (process / "environ").read_bytes().split(b"\0"):
                        found.append((process / "cmdline").read_text())
                except OSError:
                    continue
        return found


@pytest.fixture
def benches(tmp_path: Path) -> Iterator[list[Bench]]:
    made = []
    for number in range(4):
        folder = tmp_path / str(number)
        folder.mkdir()
        made.append(Bench(folder))
    yield made
    for bench in made:
        assert bench.left() == []


@pytest.mark.skipif(obstacle() is not None, reason=f"nothing can be mounted here: {obstacle()}")
def test_a_run_that_is_told_to_end_leaves_no_process_no_mount_and_no_file(benches: list[Bench]) -> None:
    """Side by side: what takes time is the start of Python. Each hears twice, as from a terminal that is closed."""
    wanted = [
        (signal.SIGTERM, ("run", "topology/every-zone", "--reader")),
        (signal.SIGHUP, ("run", "topology/every-zone", "--reader")),
        (signal.SIGTERM, ("smoke", "--reader")),
        (signal.SIGTERM, ("matrix", "--case", "topology/every-zone")),
    ]
    running = [
        (bench, number, bench.start(*words, str(bench.adapter)))
        for bench, (number, words) in zip(benches, wanted, strict=True)
    ]
    try:
        for bench, number, process in running:
            bench.wait_for_the_reader(process)
            process.send_signal(number)
            process.send_signal(number)
        for bench, number, process in running:
            _, told = process.communicate(timeout=60)
            assert process.returncode == STATUS[number], told
            assert told.decode().splitlines()[-1] == f"conformance: ended by {number.name}"
            assert b"Traceback" not in told
            assert bench.left() == []
    finally:
        for _, _, process in running:
            process.kill()
            process.wait()
