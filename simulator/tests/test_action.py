# SPDX-License-Identifier: Apache-2.0
"""The GitHub Action: its file is one by GitHub's schema, and its steps, run as a runner does, do what they say."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from raplica_simulator.cli import cli

ROOT = Path(__file__).resolve().parents[2]
ACTION = YAML(typ="safe").load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
INSTALL, ALLOW, RUN, JUDGE = STEPS

#: Stands for the Python that installs: makes an environment whose commands are those of this one, and notes the rest.
PYTHON = """#!/bin/sh
case "$1 $2" in
    "-c "*) exec {python} "$@" ;;
    "-m venv")
        mkdir -p "$3/bin"
        cp "$0" "$3/bin/python"
        ln -s {commands}/raplica {commands}/raplica-reader {commands}/conformance "$3/bin" ;;
    *) printf '%s\\n' "$@" >>{log} ;;
esac
"""


class Runner:
    """What GitHub's runner does with a composite action: expressions filled in, `shell: bash`, files for what it says.

    `path` is where GITHUB_PATH and GITHUB_OUTPUT are kept; `inputs` are those given, the others have their defaults.
    """

    def __init__(self, path: Path, **inputs: str) -> None:
        self.path = path
        self.inputs = {name: told["default"] for name, told in ACTION["inputs"].items()} | inputs
        self.github = {"github.action_path": str(ROOT), "runner.temp": str(path / "temp")}
        self.search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def fill(self, text: str) -> str:
        """The text with its expressions replaced; KeyError for an expression that is not known here."""
        known = self.github | {f"inputs.{name}": value for name, value in self.inputs.items()}
        return re.sub(r"\$\{\{ (\S+) \}\}", lambda found: known[found[1]], text)

    def wants(self, step: dict[str, Any]) -> bool:
        """Whether the step is run: its condition asks only which inputs are empty."""
        parts = step.get("if", "").split(" || ")
        names = [re.fullmatch(r"inputs\.(\w+) != ''", part) for part in parts if part]
        assert all(names), step["if"]
        return not names or any(self.inputs[found[1]] for found in names if found)

    def run(self, step: dict[str, Any]) -> "subprocess.CompletedProcess[str]":
        """One step, with bash as the runner starts it."""
        script = self.path / "step.sh"
        script.write_text(step["run"], encoding="utf-8")
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.path,
            env={
                "PATH": self.search,
                "HOME": str(self.path),
                "GITHUB_PATH": str(self.path / "path"),
                "GITHUB_OUTPUT": str(self.path / "output"),
                **{name: self.fill(value) for name, value in step.get("env", {}).items()},
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )


def test_the_file_is_an_action_by_githubs_schema() -> None:
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-actions", "action.yml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_no_input_is_written_into_a_script() -> None:
    # Whoever sets an input would be writing a part of the program.
    for step in STEPS:
        assert "${{" not in step["run"]
        assert step["shell"] == "bash"


def test_every_input_is_used_and_every_step_is_run_only_where_it_is_asked_for(tmp_path: Path) -> None:
    used = set(re.findall(r"inputs\.(\w+)", str(STEPS)))
    assert used == set(ACTION["inputs"])
    asked = [
        [step["name"] for step in STEPS if Runner(tmp_path, **inputs).wants(step)]
        for inputs in ({}, {"run": "true"}, {"tree": "t"}, {"reader": "r"})
    ]
    names = [step["name"] for step in STEPS]
    assert asked == [names[:1], names[:3], [names[0], names[3]], [names[0], names[3]]]


@pytest.mark.parametrize("package", ["", "raplica==1.2.3"])
def test_it_installs_its_own_repository_or_what_is_named(package: str, tmp_path: Path) -> None:
    log, python = tmp_path / "log", tmp_path / "python"
    python.write_text(PYTHON.format(python=sys.executable, commands=Path(sys.executable).parent, log=log))
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    runner = Runner(tmp_path, python=str(python), package=package)
    done = runner.run(INSTALL)
    assert done.returncode == 0, done.stderr
    assert log.read_text().splitlines()[:3] == ["-m", "pip", "install"]
    assert log.read_text().splitlines()[-1] == (package or str(ROOT))
    (folder,) = (tmp_path / "path").read_text().splitlines()
    assert sorted(entry.name for entry in Path(folder).iterdir()) == ["conformance", "raplica", "raplica-reader"]
    assert os.access(Path(folder) / "raplica", os.X_OK)


def test_a_python_that_is_too_old_is_said_so(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)
    done = Runner(tmp_path, python=str(python)).run(INSTALL)
    assert done.returncode == 1
    assert done.stdout.startswith("::error::raplica needs Python 3.11 or newer")


@pytest.mark.slow
@pytest.mark.usefixtures("places")
def test_the_script_runs_on_the_machine_and_its_status_is_the_steps(tmp_path: Path) -> None:
    script = "cat /sys/class/powercap/intel-rapl:0/name\nfalse | true\necho 'not reached'\n"
    runner = Runner(tmp_path, run=script, machine="kabylake", kernel="6.1", load="package=20", scenario="")
    allowed = runner.run(ALLOW)
    assert (allowed.returncode, allowed.stdout) == (0, ""), allowed.stderr
    done = runner.run(RUN)
    assert (done.returncode, done.stdout) == (1, "package-0\n")


@pytest.mark.slow
def test_a_tree_is_judged_and_the_report_is_an_output(tmp_path: Path) -> None:
    assert CliRunner().invoke(cli, ["generate", "baytrail", str(tmp_path / "tree")]).exit_code == 0
    runner = Runner(tmp_path, tree="tree", clauses="powercap.zone.name*\nrapl.zone.*\n", report="r.json")
    (tmp_path / "powercap.zone.name").touch()  # which a glob of bash would find
    done = runner.run(JUDGE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "output").read_text() == "report=r.json\n"
    judged = {result["id"] for result in json.loads((tmp_path / "r.json").read_text())["results"]}
    assert {one.split(".")[0] for one in judged} == {"powercap", "rapl"}


@pytest.mark.slow
def test_a_reader_that_is_wrong_fails_the_step_and_leaves_its_report(tmp_path: Path) -> None:
    runner = Runner(tmp_path, reader="raplica_mutants:wrap_ignored", clauses="arithmetic/one-wrap")
    done = runner.run(JUDGE)
    assert done.returncode == 1
    (result,) = json.loads((tmp_path / "raplica.json").read_text())["results"]
    assert (result["id"], result["verdict"]) == ("arithmetic/one-wrap", "fail")
