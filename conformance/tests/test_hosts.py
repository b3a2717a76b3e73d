# SPDX-License-Identifier: Apache-2.0
"""Two hosts, one judge: pytest and the plain loop give the same verdicts, wherever they are started."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from raplica_conformance import host_pytest, loop
from raplica_conformance.clause import Clause
from raplica_conformance.expectations import Expectations
from raplica_conformance.verdicts import Verdict

# Whole runs in processes of their own: the quick set of the other Pythons leaves them out.
pytestmark = pytest.mark.slow

TESTS = Path(__file__).resolve().parent

#: Runs the harness clauses of conftest.py under one host and prints what came out.
SCRIPT = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("harness", sys.argv[1])
harness = importlib.util.module_from_spec(spec)
sys.modules["harness"] = harness
spec.loader.exec_module(harness)
host = importlib.import_module("raplica_conformance." + sys.argv[2])
clauses = harness._harness_clauses()
subjects = [harness.Bare("one"), harness.Bare("two", kind="reader")]
pairs = [(entry, subject) for subject in subjects for entry in clauses.values()]
seen, verdicts = [], []
for limit_s in (60.0, 0.05):
    some = [pair for pair in pairs if harness._limit_s(pair[0].id) == limit_s]
    verdicts += host.run(some, limit_s=limit_s, registry=clauses, each=seen.append)
assert seen == verdicts
print(json.dumps([[v.clause.id, v.subject, v.verdict, v.reason] for v in verdicts]))
"""

HOSTILE_INI = "[pytest]\naddopts = --maxfail=1 --no-such-option\nminversion = 999\npython_files = *\n"
HOSTILE_CONFTEST = """
import pathlib
pathlib.Path(__file__).with_name("conftest-was-here").touch()
raise SystemExit(77)
"""


def judged_by(host: str, folder: Path, environment: dict[str, str]) -> list[list[str]]:
    """What the harness clauses come to in a process of its own, started in `folder`."""
    found = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, str(TESTS / "conftest.py"), host],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""
    parsed: list[list[str]] = json.loads(found.stdout)
    return parsed


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder whose owner wants every pytest in it to do something else."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    (folder / "pytest.ini").write_text(HOSTILE_INI)
    (folder / "tox.ini").write_text(HOSTILE_INI)
    (folder / "setup.cfg").write_text(HOSTILE_INI.replace("[pytest]", "[tool:pytest]"))
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\nminversion = '999'\n")
    (folder / "conftest.py").write_text(HOSTILE_CONFTEST)
    (folder / "test_never.py").write_text("raise SystemExit(78)\n")
    return folder


HOSTILE_ENVIRONMENT = {
    "PYTEST_ADDOPTS": "--no-such-option -x",
    "PYTEST_PLUGINS": "no_such_plugin",
    "PYTEST_DEBUG": "1",
    "PYTEST_THEME": "no such theme",
}


def test_both_hosts_give_the_same_verdicts_in_a_quiet_folder(tmp_path: Path) -> None:
    under_pytest = judged_by("host_pytest", tmp_path, {})
    assert under_pytest == judged_by("loop", tmp_path, {})
    words = {word for _, _, word, _ in under_pytest}
    assert words == {"pass", "fail", "skip", "not-applicable", "broken", "timeout"}
    assert list(tmp_path.iterdir()) == []


def test_a_hostile_folder_and_environment_change_no_verdict_and_get_no_file(hostile: Path, tmp_path: Path) -> None:
    before = sorted(entry.name for entry in hostile.iterdir())
    under_pytest = judged_by("host_pytest", hostile, HOSTILE_ENVIRONMENT)
    assert under_pytest == judged_by("loop", hostile, HOSTILE_ENVIRONMENT)
    assert under_pytest == judged_by("host_pytest", tmp_path, {})
    assert sorted(entry.name for entry in hostile.iterdir()) == before


def test_a_folder_in_which_nobody_can_write_is_good_enough() -> None:
    # Not even root makes a file in /proc, whatever the modes say.
    folder = Path("/proc")
    with pytest.raises(OSError, match="/proc"):
        (folder / "raplica").touch()
    assert judged_by("host_pytest", folder, {}) == judged_by("loop", folder, {})


def pairs(harness: dict[str, Clause], bare: type, *names: str) -> list[tuple[Clause, Any]]:
    return [(harness[f"selftest.{name}"], bare(subject)) for subject in ("one", "two") for name in names]


def test_in_one_process_both_hosts_agree_on_known_failures_as_well(harness: dict[str, Clause], bare: type) -> None:
    known = Expectations((("selftest.fail", "one"), ("selftest.pass", "two"), ("selftest.hang", "two")))
    options: dict[str, Any] = {"known": known, "registry": harness}
    wanted = pairs(harness, bare, "pass", "fail", "crash")
    hosted = host_pytest.run(wanted, **options)
    assert hosted == loop.run(wanted, **options)
    assert [verdict.verdict for verdict in hosted] == [
        *("pass", "expected-fail", "broken"),
        *("unexpected-pass", "fail", "broken"),
    ]
    endless = pairs(harness, bare, "hang")
    hosted = host_pytest.run(endless, limit_s=0.05, **options)
    assert hosted == loop.run(endless, limit_s=0.05, **options)
    assert [verdict.verdict for verdict in hosted] == ["timeout", "expected-fail"]


def test_a_node_id_is_the_clause_id_and_nothing_else(
    harness: dict[str, Clause], bare: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        host_pytest._Plugin,
        "pytest_runtest_logstart",
        lambda _self, nodeid: seen.append(nodeid),
        raising=False,
    )
    host_pytest.run(pairs(harness, bare, "pass", "fail"), registry=harness)
    assert seen == ["selftest.pass", "selftest.fail"] * 2


def test_the_environment_of_the_caller_is_as_before(
    harness: dict[str, Clause], bare: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", "--no-such-option")
    before = dict(os.environ)
    assert len(host_pytest.run(pairs(harness, bare, "pass"), registry=harness)) == 2
    assert dict(os.environ) == before


def test_an_interrupt_ends_the_run_as_an_interrupt(harness: dict[str, Clause], bare: type) -> None:
    def interrupt() -> object:
        raise KeyboardInterrupt

    subject = bare()
    subject.fresh = interrupt
    with pytest.raises(KeyboardInterrupt):
        host_pytest.run([(harness["selftest.pass"], subject)], registry=harness)


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), KeyboardInterrupt()])
def test_a_reporter_that_fails_ends_the_run_with_its_own_error(
    error: BaseException, harness: dict[str, Clause], bare: type
) -> None:
    seen: list[Verdict] = []

    def fail(verdict: Verdict) -> None:
        seen.append(verdict)
        raise error

    with pytest.raises(type(error)) as raised:
        host_pytest.run(pairs(harness, bare, "pass"), registry=harness, each=fail)
    assert raised.value is error
    assert len(seen) == 1


def test_a_run_that_pytest_ends_early_is_not_taken_for_a_whole_one(
    harness: dict[str, Clause], bare: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytest, "main", lambda *_, **__: pytest.ExitCode.INTERNAL_ERROR)
    with pytest.raises(host_pytest.HostError, match="after 0 of 4 clauses"):
        host_pytest.run(pairs(harness, bare, "pass", "fail"), registry=harness)


def test_the_loop_needs_neither_pytest_nor_anything_else_outside_the_standard_library() -> None:
    script = (
        "import sys; from raplica_conformance import loop, load_clauses; load_clauses();"
        "ours = {name.partition('.')[0] for name in sys.modules} - sys.stdlib_module_names;"
        "print(sorted(name for name in ours if not name.startswith('_')))"
    )
    found = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() in ("['raplica_conformance']", "['raplica_conformance', 'raplica_fixtures']")
