# SPDX-License-Identifier: Apache-2.0
"""`conformance run --reader`, `smoke`, `list` and `explain`, as a person and a CI meet them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from raplica_conformance.cli import main
from raplica_fixtures.cases import case_ids
from raplica_simulator.surfaces.fuse_mounting import obstacle

# Whole runs: the quick set of the other Pythons leaves them out.
pytestmark = pytest.mark.slow

#: The counter itself for energy, as the first sample's users have it.
WRONG = """
class Reader:
    def __init__(self, tree):
        self.tree = tree
        self.said = {}

    def sample(self):
        zones = [name for name in self.tree.listdir("class/powercap") if ":" in name]
        self.said = {zone: int(self.tree.read(f"class/powercap/{zone}/energy_uj")) for zone in zones}

    def answer(self):
        return self.said


def make(tree, clock):
    return Reader(tree)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a wrong reader in it."""
    (tmp_path / "wrong_reader.py").write_text(WRONG)
    return tmp_path


class Ran(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Conformance = Callable[..., Ran]


@pytest.fixture
def conformance(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Conformance:
    """Run the command in that folder, in this process."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    # The module of another test's folder is not to be found again.
    monkeypatch.delitem(sys.modules, "wrong_reader", raising=False)

    def run(*arguments: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main([*arguments])
        printed = capsys.readouterr()
        return Ran(int(ended.value.code or 0), printed.out, printed.err)

    return run


def test_a_wrong_reader_fails_with_its_story_and_a_command_that_shows_it_again(conformance: Conformance) -> None:
    ran = conformance("run", "topology/all-sockets", "--reader", "wrong_reader:make")
    assert (ran.returncode, ran.stderr) == (1, "")
    lines = [line.strip() for line in ran.stdout.splitlines()]
    assert "FAIL  topology/all-sockets  (must)  on wrong_reader:make" in lines
    assert any(line.startswith("reason  package-0 from 0 s to 10 s: it says ") for line in lines)
    assert any(line.startswith("effect  ") for line in lines)
    assert any(line.startswith("error   package-0: +") and line.endswith(" W") for line in lines)
    heads = ["time", "s", "spent", "uJ", "counter", "the", "reader", "saw", "the", "reader", "says"]
    assert heads in [line.split() for line in lines]
    assert "again   conformance run topology/all-sockets --reader wrong_reader:make" in lines


def test_in_json_the_story_stands_beside_the_reason(conformance: Conformance) -> None:
    ran = conformance("run", "topology/all-sockets", "--reader", "wrong_reader:make", "--json")
    (result,) = json.loads(ran.stdout)["results"]
    assert (result["id"], result["subject"], result["verdict"]) == ("topology/all-sockets", "wrong_reader:make", "fail")
    assert result["details"]["errors"][0]["energy_j"] > 1000
    assert result["details"]["timelines"][0]["samples"][0]["at_s"] == 0


def test_known_failures_are_written_and_read_again_and_one_that_passes_is_a_failure(
    conformance: Conformance, folder: Path
) -> None:
    reader = ("--reader", "wrong_reader:make")
    cases = ("topology/all-sockets", "errors/eacces-is-said", "topology/no-core-zone")
    first = conformance("run", *cases, *reader, "--emit-expectations", "known.txt")
    assert first.returncode == 1
    known = folder / "known.txt"
    assert known.read_text().count("\n") == 1 + 3
    again = conformance("run", *cases, *reader, "--expect", "known.txt")
    assert again.returncode == 0
    assert "3 expected-fail" in again.stdout
    known.write_text("topology/all-sockets raplica-reader # was wrong once\n")
    stale = conformance("run", *cases, "--reader", "raplica-reader", "--expect", "known.txt")
    assert stale.returncode == 1
    assert "1 unexpected-pass" in stale.stdout


def test_without_a_subject_cases_are_about_the_reference_reader_by_each_of_its_doors(conformance: Conformance) -> None:
    ran = conformance("run", "interfaces/*", "--level", "should")
    assert (ran.returncode, ran.stderr) == (0, "")
    readers = [line.split()[0] for line in ran.stdout.splitlines()[:3]]
    assert readers == ["raplica-reader", "raplica-reader-msr", "raplica-reader-perf"]


def test_cases_are_listed_and_explained_beside_clauses(conformance: Conformance) -> None:
    listed = {entry["id"]: entry for entry in json.loads(conformance("list", "--json").stdout)}
    assert set(case_ids()) < set(listed)
    assert listed["arithmetic/one-wrap"]["kind"] == "plugged reader"
    told = conformance("explain", "arithmetic/one-wrap").stdout
    for word in ("bug class", "effect", "scenario", "samples", "right", "conformance run arithmetic/one-wrap"):
        assert word in told


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--reader", "no-such-reader"], "there is no such program"),
        (["--reader", "raplica-reader", "--kernel", "6.1"], "a case says by itself"),
        (["no/such-case", "--reader", "raplica-reader"], "no clause matches"),
        (["reader.*", "--reader", "raplica-reader"], "about a reader"),
        (["--extract", "json"], "name it with --reader"),
        (["--reader", "raplica-reader", "--journal", "x"], "allow that with --allow-writes"),
    ],
)
def test_a_wrong_use_is_one_line_and_status_2(arguments: list[str], why: str, conformance: Conformance) -> None:
    ran = conformance("run", *arguments)
    assert (ran.returncode, ran.stdout, ran.stderr.count("\n")) == (2, "", 1)
    assert why in ran.stderr


def smoke(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    """The status of `conformance smoke`, and what it printed."""
    with pytest.raises(SystemExit) as ended:
        main(["smoke", *options])
    printed = capsys.readouterr()
    return int(ended.value.code or 0), printed.out, printed.err


@pytest.mark.skipif(obstacle() is not None, reason=f"nothing can be mounted here: {obstacle()}")
def test_smoke_says_that_a_plug_works_and_what_it_answers(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = smoke(capsys, "--reader", "raplica-reader-stepped")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "raplica-reader-stepped: stepped, reads powercap"
    assert any(line.split() == ["intel-rapl:0", "99999744", "uJ"] for line in lines)
    assert lines[-1].strip().startswith("the plug works: 2 s of the machine in ")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--reader", "echo hello"], "which is no JSON"),
        (["--reader", "true"], "it printed nothing"),
        (["--reader", "echo '{\"cpu\": 5}'"], "no number for any zone"),
        (["--reader", "sh -c 'echo no counters here >&2; exit 1'"], "no counters here"),
        (["--reader", 'echo \'{"package-0": 100, "package-1": 100}\''], "--unit J would fit"),
    ],
)
def test_smoke_says_what_is_wrong_with_a_plug(options: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = smoke(capsys, *options)
    assert (status, err) == (1, "")
    assert why in out
    status, out, _ = smoke(capsys, *options, "--json")
    said = json.loads(out)
    assert (status, said["works"]) == (1, False)
    assert any(why in problem for problem in said["problems"])


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--reader", "json:missing"], "cannot be imported"),
        ([], "name one reader with --reader"),
        (["--reader", "true", "--reader", "true"], "name one reader with --reader"),
    ],
)
def test_smoke_used_wrongly_is_one_line_and_status_2(
    options: list[str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = smoke(capsys, *options)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert why in err
