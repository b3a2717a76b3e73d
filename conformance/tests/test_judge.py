# SPDX-License-Identifier: Apache-2.0
"""The judge makes every kind of verdict, whatever a clause or a subject does."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from raplica_conformance.clause import Clause, clause, expect
from raplica_conformance.expectations import Expectations
from raplica_conformance.judge import judge
from raplica_conformance.verdicts import VERDICTS

META: dict[str, Any] = {"title": "A rule.", "group": "shape", "source": "nowhere"}

WANTED = {
    "pass": ("pass", ""),
    "fail": ("fail", "one is two: got 1, wanted 2"),
    "skip": ("skip", "not today"),
    "not-applicable": ("not-applicable", "not here"),
    "crash": ("broken", "ZeroDivisionError: division by zero (conftest.py:"),
    "exit": ("broken", "SystemExit: 0 (conftest.py:"),
    "hang": ("timeout", "did not end within 0.05 s"),
    "spin": ("timeout", "did not end within 0.05 s"),
    "empty": ("not-applicable", "the subject has nothing that this clause is about"),
    "cannot-tell": ("not-applicable", "the subject cannot show this: an empty file"),
    "oops": ("fail", "the subject crashed: divide error"),
    "needs": ("not-applicable", "the subject cannot show msr, writable"),
    "reader": ("not-applicable", "the clause is about a reader, and this is a provider"),
}


@pytest.mark.parametrize("name", WANTED)
def test_each_harness_clause_gets_its_verdict(
    name: str, harness: dict[str, Clause], bare: type, limit_of: Callable[[str], float]
) -> None:
    verdict = judge(harness[f"selftest.{name}"], bare(), limit_s=limit_of(f"selftest.{name}"))
    word, reason = WANTED[name]
    assert verdict.verdict == word
    assert verdict.reason.startswith(reason)
    assert "\n" not in verdict.reason


def test_every_harness_clause_is_wanted_here_and_every_word_is_made_somewhere(
    harness: dict[str, Clause],
) -> None:
    assert {f"selftest.{name}" for name in WANTED} == set(harness)
    assert {word for word, _ in WANTED.values()} | {"expected-fail", "unexpected-pass"} == set(VERDICTS)


def test_a_clause_that_hangs_leaves_no_thread_and_gives_the_timer_back(harness: dict[str, Clause], bare: type) -> None:
    rung: list[int] = []
    handler = signal.signal(signal.SIGALRM, lambda number, _frame: rung.append(number))
    signal.setitimer(signal.ITIMER_REAL, 3600)
    try:
        threads = threading.active_count()
        assert judge(harness["selftest.hang"], bare(), limit_s=0.01).verdict == "timeout"
        assert threading.active_count() == threads
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 3000
        signal.raise_signal(signal.SIGALRM)
        assert rung == [signal.SIGALRM]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


def test_an_alarm_that_rings_while_the_clause_ends_is_still_only_a_verdict(bare: type) -> None:
    registry: dict[str, Clause] = {}

    @clause("a.race", level="must", registry=registry, **META)
    def just_in_time(_subject: object) -> None:
        expect(1, 1, "one")
        time.sleep(0.001)

    before = signal.getsignal(signal.SIGALRM)
    words = {judge(registry["a.race"], bare(), limit_s=0.001).verdict for _ in range(200)}
    assert words <= {"pass", "timeout"}
    assert signal.getsignal(signal.SIGALRM) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)


def test_off_the_main_thread_the_judge_judges_without_a_limit(harness: dict[str, Clause], bare: type) -> None:
    words: list[str] = []
    thread = threading.Thread(
        target=lambda: words.append(judge(harness["selftest.fail"], bare(), limit_s=0.01).verdict)
    )
    thread.start()
    thread.join()
    assert words == ["fail"]


def test_an_interrupt_by_the_user_is_no_verdict(bare: type) -> None:
    registry: dict[str, Clause] = {}

    @clause("a.interrupt", level="must", registry=registry, **META)
    def interrupt(_subject: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge(registry["a.interrupt"], bare())


def test_a_subject_that_cannot_even_begin_is_broken_and_not_failed(harness: dict[str, Clause], bare: type) -> None:
    subject = bare()

    def fresh() -> object:
        raise RuntimeError("no machine")

    subject.fresh = fresh
    verdict = judge(harness["selftest.pass"], subject)
    assert verdict.verdict == "broken"
    assert verdict.reason.startswith("RuntimeError: no machine")


def test_a_clause_gets_a_fresh_provider_where_the_subject_has_one(bare: type) -> None:
    registry: dict[str, Clause] = {}
    seen: list[object] = []

    @clause("a.fresh", level="must", registry=registry, **META)
    def note(provider: object) -> None:
        seen.append(provider)
        expect(1, 1, "one")

    subject = bare()
    subject.fresh = lambda: bare(name="fresh")
    judge(registry["a.fresh"], subject)
    judge(registry["a.fresh"], subject)
    assert [provider.name for provider in seen] == ["fresh", "fresh"]  # type: ignore[attr-defined]
    assert seen[0] is not seen[1]


@pytest.mark.parametrize(
    ("kernel", "word"), [(None, "not-applicable"), ("6.1.192", "not-applicable"), ("6.12.117", "pass")]
)
def test_a_clause_with_a_kernel_range_holds_only_where_the_kernel_is_known_and_in_it(
    kernel: str | None, word: str, bare: type
) -> None:
    registry: dict[str, Clause] = {}

    @clause("a.new", level="must", kernels=("6.5", None), registry=registry, **META)
    def new(_subject: object) -> None:
        expect(1, 1, "one")

    verdict = judge(registry["a.new"], bare(kernel=kernel))
    assert verdict.verdict == word
    assert ("Linux 6.5 or later" in verdict.reason) == (word != "pass")


@pytest.mark.parametrize(("listed", "word"), [(["intel-rapl"], "pass"), (["dtpm"], "not-applicable")])
def test_a_clause_about_a_driver_wants_one_of_its_control_types(listed: list[str], word: str, bare: type) -> None:
    registry: dict[str, Clause] = {}

    @clause("a.rapl", level="must", drivers=("intel-rapl", "intel-rapl-mmio"), registry=registry, **META)
    def rapl(_subject: object) -> None:
        expect(1, 1, "one")

    subject = bare()

    def listdir(path: str) -> list[str]:
        if path != "class/powercap":
            raise FileNotFoundError(2, "No such file or directory", path)
        return listed

    subject.listdir = listdir
    assert judge(registry["a.rapl"], subject).verdict == word


def test_of_alternatives_one_has_to_hold_and_then_the_others_do_not_apply(bare: type) -> None:
    registry: dict[str, Clause] = {}

    def entry(name: str, seen: int, choice: str) -> Clause:
        options: dict[str, Any] = {"level": "alternative", "alternatives": choice, **META}

        @clause(f"a.{name}", registry=registry, **options)
        def check(_subject: object) -> None:
            expect(seen, 1, "it is one")

        return registry[f"a.{name}"]

    holds, fails = entry("holds", 1, "a-choice"), entry("fails", 2, "a-choice")
    alone, neither = entry("alone", 2, "no-choice"), entry("neither", 3, "no-choice")

    def word(which: Clause) -> str:
        return judge(which, bare(), registry=registry).verdict

    assert (word(holds), word(fails)) == ("pass", "not-applicable")
    assert "a.holds" in judge(fails, bare(), registry=registry).reason
    assert (word(alone), word(neither)) == ("fail", "fail")


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("fail", "expected-fail"),
        ("hang", "expected-fail"),
        ("pass", "unexpected-pass"),
        ("skip", "skip"),
        ("crash", "broken"),
        ("empty", "not-applicable"),
    ],
)
def test_a_known_failure_is_expected_and_its_passing_is_not(
    name: str, word: str, harness: dict[str, Clause], bare: type, limit_of: Callable[[str], float]
) -> None:
    known = Expectations(((f"selftest.{name}", "bare"),))
    limit_s = limit_of(f"selftest.{name}")
    assert judge(harness[f"selftest.{name}"], bare(), known=known, limit_s=limit_s).verdict == word


def test_a_kernel_or_promises_that_make_no_sense_are_a_verdict_as_well(bare: type) -> None:
    registry: dict[str, Clause] = {}

    @clause("a.new", level="must", kernels=("6.5", None), registry=registry, **META)
    def new(_subject: object) -> None:
        expect(1, 1, "one")

    for subject in (bare(kernel="abc"), bare(can=None)):
        verdict = judge(registry["a.new"], subject)
        assert verdict.verdict == "broken"
    assert "'abc' is not a kernel version" in judge(registry["a.new"], bare(kernel="abc")).reason


@pytest.mark.parametrize(
    "name", [b"a b", b"x\ny", b"\x1b[31m it's", b"back\\slash\t", b"no \xff text", "ä\u2028".encode()]
)
def test_the_command_is_one_printable_line_that_a_shell_takes_back(
    name: bytes, harness: dict[str, Clause], bare: type
) -> None:
    verdict = judge(harness["selftest.fail"], bare(arguments=("--tree", os.fsdecode(name))))
    assert verdict.reproduce.isprintable()
    again = subprocess.run(
        ["bash", "-c", f'conformance() {{ printf %s "$4"; }}; {verdict.reproduce}'], capture_output=True, check=True
    )
    assert again.stdout == name


def test_a_verdict_names_the_command_that_makes_it_again(harness: dict[str, Clause], bare: type) -> None:
    verdict = judge(harness["selftest.fail"], bare())
    assert verdict.reproduce == "conformance run selftest.fail --tree '/some where'"
