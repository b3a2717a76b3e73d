# SPDX-License-Identifier: Apache-2.0
"""The cases as plain directories: that they hold what a machine shows, and that programs in C and Go can use them."""

from __future__ import annotations

import csv
import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from raplica_conformance.cli_readers import export as export_command
from raplica_conformance.export import ExportError, export, right_answers
from raplica_conformance.export_step import decoded, encoded
from raplica_conformance.readers.moment import Moment
from raplica_conformance.readers.plug import Reading
from raplica_conformance.readers.rule import findings
from raplica_conformance.readers.stage import Stage
from raplica_fixtures.cases import Case, case_ids, load_case

HERE = Path(__file__).parent

# What the programs beside this file are told, and which of it they are too simple for.
RIGHT = (
    "arithmetic/one-wrap",
    "arithmetic/only-dram-wraps",
    "arithmetic/wraps-one-by-one",
    "arithmetic/range-unreadable",
    "arithmetic/range-unreadable-at-a-wrap",
    "arithmetic/wrap-period-exact",
    "topology/every-zone",
    "topology/hexadecimal-numbers",
    "topology/mmio-twin-once",
    "topology/no-core-zone",
    "topology/psys-takes-a-number",
    "topology/zone-goes",
    "topology/zones-come-later",
    "errors/eacces",
    "errors/enodata",
    "errors/masked",
    "errors/no-tree",
    "errors/one-read-fails",
    "time/no-time-at-all",
    "time/hundred-a-second",
)
WRONG = ("arithmetic/reset-to-zero", "arithmetic/lost-interval-unknown", "topology/mirrored-dies")
WRAPS = (
    "arithmetic/one-wrap",
    "arithmetic/only-dram-wraps",
    "arithmetic/wraps-one-by-one",
    "arithmetic/range-unreadable-at-a-wrap",
    "arithmetic/wrap-period-exact",
)
ABOUT_WRAPS = ("wrap", "wrap-after-sum", "wrap-one-step-short", "shared-range")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "cases"
    export(out, [*RIGHT, *WRONG, "interfaces/msr-amd-cores", "interfaces/perf-does-not-wrap"])
    return out


@pytest.fixture(scope="module", params=["c", "go"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program beside this file in one language."""
    language: str = request.param
    name = {"c": "cc", "go": "go"}[language]
    compiler = shutil.which(name)
    if compiler is None:
        pytest.skip(f"no {name} here: install {'gcc or clang' if language == 'c' else 'golang'}")
    folder = tmp_path_factory.mktemp(f"export-reader-{language}")
    program, source = folder / "export_reader", HERE / f"export_reader.{language}"
    words = {"c": ["-std=c11", "-Wall", "-Wextra", "-O1"], "go": ["build"]}[language]
    environment = {**os.environ, "CGO_ENABLED": "0", "GO111MODULE": "off", "GOTOOLCHAIN": "local", "GOFLAGS": ""}
    if "HOME" not in environment:
        environment.setdefault("GOCACHE", str(folder / "cache"))
    subprocess.run([compiler, *words, "-o", program, source], check=True, timeout=300, env=environment)
    return program


def failed(program: Path, exported: Path, cases: tuple[str, ...], *words: str) -> set[str]:
    """The cases that a program fails; it says why, and breaks down at none."""
    wrong = set()
    for case_id in cases:
        ran = subprocess.run(
            [program, *words, exported, case_id], capture_output=True, text=True, check=False, timeout=60
        )
        assert ran.returncode in (0, 1), ran.stderr
        assert bool(ran.stdout) == (ran.returncode == 1)
        if ran.returncode:
            wrong.add(case_id)
    return wrong


def test_a_program_in_another_language_is_judged_by_an_export_alone(built: Path, exported: Path) -> None:
    assert failed(built, exported, RIGHT + WRONG) == set(WRONG)


def test_a_program_in_another_language_that_ignores_wraps_fails_the_wraps(built: Path, exported: Path) -> None:
    assert failed(built, exported, RIGHT, "--no-wrap") == set(WRAPS)


def test_a_program_in_another_language_says_what_is_no_case(built: Path, exported: Path) -> None:
    ran = subprocess.run([built, exported, "arithmetic"], capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert "is no case of an export" in ran.stderr


def test_no_path_has_what_a_file_system_refuses(exported: Path) -> None:
    paths = [path.relative_to(exported).as_posix() for path in exported.rglob("*")]
    assert not [path for path in paths if set(path) & set(':<>"\\|?*')]
    assert not [path for path in exported.rglob("*") if path.is_symlink()]


def test_the_list_has_what_was_written(exported: Path) -> None:
    listed = json.loads((exported / "cases.json").read_text())
    assert set(listed["cases"]) == {
        path.parent.relative_to(exported).as_posix() for path in exported.rglob("case.json")
    }
    assert listed["alternatives"] == {"lost-interval": ["arithmetic/lost-interval-unknown"]}
    assert "expect.tsv" in (exported / "README.md").read_text()


@pytest.mark.parametrize("case_id", ["arithmetic/one-wrap", "errors/enodata", "topology/hexadecimal-numbers"])
def test_a_step_holds_what_a_reader_of_the_machine_finds(exported: Path, case_id: str) -> None:
    case = load_case(case_id)
    stage = Stage(case)
    for number, at_ns in enumerate(case.samples_ns):
        stage.go_to(at_ns)
        here = exported / case_id / f"step-{number:02d}"
        told = json.loads(here.with_suffix(".json").read_text())
        assert told["at_ns"] == at_ns
        failing = {one["path"]: one["errno"] for one in told["errors"]}
        assert sorted(told["entries"]) == sorted(stage.tree.listdir("class/powercap"))
        for name, entry in told["entries"].items():
            assert decoded(Path(entry["directory"]).name) == name
            for attribute, mode in entry["modes"].items():
                path = f"class/powercap/{name}/{attribute}"
                assert stage.live.machine.sysfs.stat(path).st_mode & 0o7777 == int(mode, 8)
                written = here / entry["directory"] / attribute
                shown = written.read_bytes() if written.exists() else failing[f"{entry['directory']}/{attribute}"]
                assert shown == answer_of(stage.tree.read, path)
        lines = [line.split("\t")[0] for line in here.with_suffix(".errors").read_text().splitlines()]
        assert lines == list(failing)


def answer_of(read: Callable[[str], bytes], path: str) -> bytes | str:
    """What a file holds, or the errno's name."""
    try:
        return read(path)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def test_expectations_stand_in_both_files_alike(exported: Path) -> None:
    for case_file in exported.rglob("case.json"):
        told = json.loads(case_file.read_text())
        with (case_file.parent / "expect.tsv").open(newline="") as file:
            rows = list(csv.reader(file, delimiter="\t"))
        assert rows == [["-" if value is None else str(value) for value in one.values()] for one in told["expect"]]
        assert rows
        case: Case = load_case(told["id"])
        assert {row[0] for row in rows} == set(case.interfaces)
        assert told["samples_ns"] == list(case.samples_ns)
        assert [case_file.with_name(step).is_dir() for step in told["steps"]] == [True] * len(case.samples_ns)


def test_a_number_is_right_within_the_bounds_that_the_suite_itself_draws(exported: Path) -> None:
    for case_id in ("arithmetic/one-wrap", "arithmetic/reset-to-zero", "time/no-time-at-all"):
        case = load_case(case_id)
        stage = Stage(case)
        moments: list[Moment] = []
        for at_ns in case.samples_ns:
            stage.go_to(at_ns)
            moments.append(stage.look("powercap"))
        for one in json.loads((exported / case_id / "case.json").read_text())["expect"]:
            for energy_uj in (one["least_uj"] - 1, one["least_uj"], one["most_uj"], one["most_uj"] + 1):
                said = {one["domain"]: Reading(energy_uj)}
                answered = [*moments[:-1], replace(moments[-1], answer=said)]
                wanted = next(each for each in case.expects if each.domain in (one["domain"], "*"))
                found = list(findings(replace(wanted, domain=one["domain"]), answered))
                assert bool(found[0].wrong) != (one["least_uj"] <= energy_uj <= one["most_uj"])


def test_registers_of_every_core_and_counts_of_events_are_there(exported: Path) -> None:
    registers = json.loads((exported / "interfaces/msr-amd-cores/step-01.json").read_text())["registers"]
    assert len(registers) == 32
    assert sorted(cpu for one in registers for cpu in one["cpus"]) == list(range(64))
    assert all(int(one["registers"]["0xc0010299"], 0) == 0xA1003 for one in registers)
    steps = [
        json.loads((exported / f"interfaces/perf-does-not-wrap/step-{number:02d}.json").read_text())["events"]
        for number in range(3)
    ]
    package = [next(one for one in step if one["event"] == "energy-pkg") for step in steps]
    assert package[0]["count"] == 0
    joules = package[2]["count"] * float(package[2]["scale"])
    assert joules == pytest.approx(150, abs=0.001)


def test_a_directory_that_holds_something_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="is not empty: name a directory that is new"):
        export(tmp_path, ["arithmetic/one-wrap"])
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_the_steps_of_a_case_sort_as_its_samples_come(exported: Path) -> None:
    for case_id, digits in (("arithmetic/one-wrap", 2), ("time/hundred-a-second", 3)):
        steps = json.loads((exported / case_id / "case.json").read_text())["steps"]
        assert steps == sorted(path.name for path in (exported / case_id).iterdir() if path.is_dir())
        assert {len(step) for step in steps} == {len("step-") + digits}


@pytest.mark.parametrize(("below", "why"), [("", "is no directory"), ("/deeper", "Not a directory")])
def test_a_file_in_the_place_of_a_directory_is_refused_with_what_to_do(tmp_path: Path, below: str, why: str) -> None:
    (tmp_path / "passwd").write_text("mine")
    ran = CliRunner().invoke(export_command, [f"{tmp_path}/passwd{below}", "arithmetic/one-wrap"])
    assert ran.exit_code == 2
    assert f"{tmp_path}/passwd{below}: {why}: name " in ran.output
    assert "a directory that is new or empty" in ran.output or "one that is new or empty" in ran.output
    assert (tmp_path / "passwd").read_text() == "mine"


def test_a_disk_that_takes_no_more_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_rest: object, **_named: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ExportError, match=r"step-00\.json: No space left on device: name a directory"):
        export(tmp_path / "new", ["arithmetic/one-wrap"])


def test_a_selection_that_matches_nothing_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="arithmetic/none: no case has such an id"):
        export(tmp_path / "new", ["arithmetic/none"])
    assert not (tmp_path / "new").exists()


def test_every_right_answer_can_be_told_for_every_door() -> None:
    """What `export` would say of each case, without writing the steps."""
    for case_id in case_ids():
        case = load_case(case_id)
        stage = Stage(case)
        moments: dict[str, list[Moment]] = {interface: [] for interface in case.interfaces}
        for at_ns in case.samples_ns:
            stage.go_to(at_ns)
            for interface, seen in moments.items():
                seen.append(stage.look(interface))
        assert stage.live.events is None or not stage.live.events.missed
        for interface, seen in moments.items():
            answers = list(right_answers(case, interface, seen))
            assert {one["domain"] for one in answers} >= {each.domain for each in case.expects if each.domain != "*"}
            assert len(answers) >= len(case.expects)
            if case.bug_class in ABOUT_WRAPS:
                assert any(is_turned(before, after) for before, after in pairwise(seen)), case_id
        stage.close()


def is_turned(before: Moment, after: Moment) -> bool:
    """Whether a counter shows less than before."""
    held = ((before.spent[name].raw, one.raw) for name, one in after.spent.items() if name in before.spent)
    return any(was is not None and now is not None and now < was for was, now in held)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1))
def test_every_name_is_found_again(name: str) -> None:
    written = encoded(name)
    assert decoded(written) == name
    assert not set(written) & set(':<>"\\|?*')
