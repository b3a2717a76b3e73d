# SPDX-License-Identifier: Apache-2.0
"""`conformance run --real --allow-writes` and `conformance restore`: the command, the plain loop, both hosts."""

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from raplica_conformance import cli, host_pytest, loop, plain
from raplica_conformance.clause import Clause, clause, expect, load_clauses
from raplica_conformance.subjects import guarded
from raplica_conformance.subjects.disk import FileSystem
from raplica_conformance.subjects.real import RealMachine

# Each test judges a machine of plain files.
pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).with_name("machine_of_files.py")
LIMIT = "devices/virtual/powercap/intel-rapl/intel-rapl:0/constraint_0_power_limit_uw"
#: On plain files root may open everything, so what nobody may open says nothing here.
WRITING = ("powercap.write.*", "rapl.write.limit-*", "rapl.write.enabled-*", "rapl.write.window-*")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("machine_of_files", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def here(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a machine that the commands take for this one."""
    script.build(tmp_path)
    monkeypatch.setattr(RealMachine.__init__, "__defaults__", (str(tmp_path / "sys"),))
    monkeypatch.setattr(guarded, "OperatingSystem", lambda: script.MachineOfFiles(tmp_path))
    monkeypatch.setattr(guarded, "_folders", lambda: [tmp_path / "sys"])
    monkeypatch.setattr("platform.release", lambda: "6.12.117-raplica")
    before = (tmp_path / "dev/cpu/0/msr").read_bytes()
    yield tmp_path
    assert (tmp_path / "dev/cpu/0/msr").read_bytes() == before
    assert not (tmp_path / "journal").exists()


def command(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def plainly(*arguments: object) -> int:
    return plain.main([str(argument) for argument in arguments])


BOTH: list[Callable[..., int]] = [command, plainly]


def test_the_command_and_the_plain_loop_write_put_back_and_say_the_same(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for run in BOTH:
        arguments = ("run", *WRITING, "--real", "--allow-writes", "--journal", here / "journal", "--json")
        assert run(*arguments) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        said.append(json.loads(printed.out))
    assert said[0] == said[1]
    assert said[0]["summary"]["fail"] == 0
    assert said[0]["summary"]["pass"] > 8
    words = {result["id"]: result["verdict"] for result in said[0]["results"]}
    assert words["rapl.write.enabled-sets-clamps"] == words["rapl.write.limit-alone"] == "pass"
    assert words["rapl.write.limit-wraps"] == "not-applicable"


def test_without_leave_nothing_is_written(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in BOTH:
        assert run("run", *WRITING, "--real", "--json") == 3
        assert {result["verdict"] for result in json.loads(capsys.readouterr().out)["results"]} == {"not-applicable"}
    assert not (here / "journal").exists()


def test_a_machine_that_nobody_needs_takes_wild_writes_by_the_plain_loop_alone(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        "run",
        "rapl.write.limit-*",
        "--real",
        "--allow-writes",
        "--wild-writes",
        "--journal",
        here / "journal",
    )
    assert plainly(*arguments, "--json") == 0
    words = {result["id"]: result["verdict"] for result in json.loads(capsys.readouterr().out)["results"]}
    assert words["rapl.write.limit-wraps"] == "pass"
    assert set(words.values()) == {"pass"}
    assert command(*arguments) == 2


@pytest.fixture
def left(here: Path, script: ModuleType) -> Path:
    """A machine whose run was killed: its limit is lower, and its journal lies there."""
    machine = script.MachineOfFiles(here)
    tree = RealMachine()
    subject = guarded.GuardedMachine(tree, machine, FileSystem(), here / "journal")
    subject.write(LIMIT, b"15000000")
    # Dead: nothing of its own is done any more, and the kernel takes the lock.
    subject._interrupts.remove()
    subject._journal._lock.release()
    return here


def test_restore_puts_back_what_a_killed_run_left_and_a_run_before_that_is_refused(
    left: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = left / "journal"
    for run in BOTH:
        assert run("run", *WRITING, "--real", "--allow-writes", "--journal", journal) == 2
        printed = capsys.readouterr()
        assert (printed.out, printed.err.count("\n")) == ("", 1)
        assert "run `conformance restore` first" in printed.err
    assert command("restore", "--journal", journal) == 0
    assert "values are as before the run that was stopped" in capsys.readouterr().out
    for run in BOTH:
        assert run("restore", "--journal", journal) == 0
        assert capsys.readouterr().out == f"conformance: {journal}: no journal there: nothing to put back\n"


def test_the_plain_loop_restores_as_well(left: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert plainly("restore", "--journal", left / "journal") == 0
    assert "values are as before" in capsys.readouterr().out


def test_what_cannot_be_put_back_is_said_and_is_the_exit_status(
    left: Path, monkeypatch: pytest.MonkeyPatch, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = left / "journal"
    with monkeypatch.context() as broken:
        broken.setattr(script.MachineOfFiles, "msr_write", refuse)
        broken.setattr(script.MachineOfFiles, "write", refuse)
        for run in BOTH:
            assert run("restore", "--journal", journal) == 1
            printed = capsys.readouterr()
            assert printed.out == ""
            assert f"conformance: {LIMIT}: was 17000000, is 15000000 (Input/output error)\n" in printed.err
    assert command("restore", "--journal", journal) == 0


def refuse(*_arguments: object) -> int:
    raise OSError(5, "Input/output error")


def test_a_run_that_could_not_put_everything_back_is_no_success(
    here: Path, monkeypatch: pytest.MonkeyPatch, script: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    real, written = script.MachineOfFiles.write, []

    def once(machine: Any, path: str, data: bytes) -> int:
        written.append(path)
        return real(machine, path, data) if len(written) == 1 else refuse()

    for run in BOTH:
        written.clear()
        with monkeypatch.context() as broken:
            broken.setattr(script.MachineOfFiles, "write", once)
            broken.setattr(script.MachineOfFiles, "msr_write", refuse)
            arguments = ("run", "selftest.lowers", "--real", "--allow-writes", "--journal", here / "journal")
            with added_clause():
                assert run(*arguments) == 3
        printed = capsys.readouterr()
        assert f"not put back: {LIMIT}: was 17000000, is 15000000" in printed.err
        assert f"try again: conformance restore --journal {here / 'journal'}" in printed.err
        assert command("restore", "--journal", here / "journal") == 0
        capsys.readouterr()


class added_clause:  # noqa: N801 - a context, named like one
    """A clause that lowers a limit and is content."""

    def __enter__(self) -> None:
        def lowers(tree: Any) -> None:
            expect(tree.write(LIMIT, b"15000000"), 8, "the limit is lowered")

        load_clauses()
        clause(
            "selftest.lowers", level="must", title="A rule.", group="selftest", source="nowhere", needs=("writable",)
        )(lowers)

    def __exit__(self, *_: object) -> None:
        del load_clauses()["selftest.lowers"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "--real", "--wild-writes"], "allow that with --allow-writes"),
        (["run", "--real", "--journal", "x"], "allow that with --allow-writes"),
        (["run", "no.such.clause", "--real"], "no clause matches 'no.such.clause'"),
        (["run", "--real", "--allow-writes", "--journal", "/dev/null/x"], "no journal can be kept there"),
    ],
)
def test_the_plain_loop_refuses_in_one_line(
    arguments: list[str], complaint: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert here.exists()
    assert plainly(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert complaint in printed.err
    assert printed.err.count("\n") == 1


def test_where_there_is_no_powercap_the_plain_loop_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(RealMachine.__init__, "__defaults__", (str(tmp_path),))
    assert plainly("run", "--real", "--allow-writes") == 3
    printed = capsys.readouterr().err
    assert printed.startswith("conformance: no /sys/class/powercap here: nothing to judge (")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("stop", [None, 30, 61])
def test_both_hosts_give_the_same_verdicts_and_leave_the_same_machine(stop: int | None, patient: Any) -> None:
    clauses = [clause for clause in load_clauses().values() if "writable" in clause.needs]
    judged = []
    for host in (host_pytest, loop):
        machine = patient("kabylake")
        before = machine.registers()
        subject = machine.guarded()
        machine.watch = interrupt_at(machine, stop)
        seen: list[tuple[str, str, str]] = []
        pairs: list[tuple[Clause, Any]] = [(clause, subject) for clause in clauses]
        try:
            host.run(
                pairs, each=lambda verdict, seen=seen: seen.append((verdict.clause.id, verdict.verdict, verdict.reason))
            )
        except KeyboardInterrupt:
            assert stop is not None
        finally:
            subject.close()
        assert machine.registers() == before
        assert machine.files == {}
        judged.append(seen)
    assert judged[0] == judged[1]
    assert (len(judged[0]) == len(clauses)) is (stop is None)


def interrupt_at(machine: Any, stop: int | None) -> Callable[[str, Any], None]:
    def strike(_what: str, _detail: Any) -> None:
        if machine.changes == stop:
            raise KeyboardInterrupt

    return strike


@pytest.mark.parametrize("run", BOTH)
def test_an_interrupt_is_one_line_and_130(
    run: Callable[..., int],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: ModuleType,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real, written = script.MachineOfFiles.write, []

    def interrupted(machine: Any, path: str, data: bytes) -> int:
        written.append(path)
        taken: int = real(machine, path, data)
        if len(written) == 3:
            raise KeyboardInterrupt
        return taken

    monkeypatch.setattr(script.MachineOfFiles, "write", interrupted)
    assert run("run", *WRITING, "--real", "--allow-writes", "--journal", here / "journal") == 130
    assert capsys.readouterr().err == "conformance: interrupted\n"
