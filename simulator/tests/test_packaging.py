# SPDX-License-Identifier: Apache-2.0
"""What a user of the packages meets before any function of theirs: names, types, versions, light commands."""

import __future__

import importlib
import importlib.metadata
import pkgutil
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {
    "raplica_simulator": ROOT / "simulator" / "raplica_simulator",
    "raplica_conformance": ROOT / "conformance" / "raplica_conformance",
    "raplica_reader": ROOT / "reference_impl" / "raplica_reader",
    "raplica_mutants": ROOT / "reference_impl" / "raplica_mutants",
    "raplica_fixtures": ROOT / "fixtures" / "raplica_fixtures",
}
HEAVY = ("rich", "msgspec", "jinja2", "pytest")
COMMANDS = {
    "raplica": "raplica_simulator",
    "raplica-reader": "raplica_reader",
    "conformance": "raplica_conformance",
}


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run this interpreter in a process of its own, so that nothing imported here is seen there."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )


def public_packages() -> list[str]:
    """Names of the four packages and of the packages below them."""
    below = [
        found.name
        for name, folder in PACKAGES.items()
        for found in pkgutil.walk_packages([str(folder)], prefix=f"{name}.")
        if found.ispkg
    ]
    return [*PACKAGES, *below]


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_says_that_it_is_typed(name: str) -> None:
    assert (PACKAGES[name] / "py.typed").is_file()


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_lists_its_public_names(name: str) -> None:
    assert importlib.import_module(name).__all__


@pytest.mark.parametrize("name", public_packages())
def test_public_names_are_sorted_and_complete(name: str) -> None:
    package = importlib.import_module(name)
    listed = list(getattr(package, "__all__", []))
    assert listed == sorted(set(listed))
    assert [missing for missing in listed if not hasattr(package, missing)] == []
    present = {
        public
        for public, value in vars(package).items()
        if not public.startswith("_") and not isinstance(value, ModuleType | __future__._Feature)
    }
    assert present - set(listed) == set()


def test_the_packages_need_what_the_project_file_says_and_no_more() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    names = {requirement.split(">")[0] for requirement in project["dependencies"]}
    assert names == {"click", "jinja2", "msgspec", "pytest", "rich"}
    assert set(project["scripts"]) == set(COMMANDS)


@pytest.mark.parametrize(("command", "package"), COMMANDS.items())
def test_each_command_also_runs_as_a_module_and_tells_the_one_version(command: str, package: str) -> None:
    told = python("-m", package, "--version")
    assert told.returncode == 0, told.stderr
    assert importlib.metadata.version("raplica") in told.stdout
    assert command in told.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_explains_itself_with_an_example(command: str) -> None:
    told = python("-m", COMMANDS[command], "--help")
    assert told.returncode == 0, told.stderr
    assert "xample" in told.stdout
    assert f"{command} " in told.stdout


@pytest.mark.parametrize("command", ["raplica", "conformance"])
def test_help_loads_nothing_heavy(command: str) -> None:
    program = (
        "import sys\n"
        f"from {COMMANDS[command]}.cli import main\n"
        f"sys.argv = [{command!r}, '--help']\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        f"print('LOADED', *sorted({set(HEAVY)!r} & set(sys.modules)))\n"
    )
    told = python("-c", program)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[-1] == "LOADED"


@pytest.mark.parametrize(
    "start",
    [
        pytest.param(["-I", "-S", "raplica_reader"], id="the folder given to an isolated Python"),
        pytest.param(["-S", "-m", "raplica_reader"], id="the module where the folder lies"),
        pytest.param(
            [
                *("-I", "-S", "-c"),
                "import runpy, sys; sys.path.insert(0, '.'); runpy.run_module('raplica_reader', run_name='__main__')",
            ],
            id="the module from an isolated Python that is told where it lies",
        ),
    ],
)
def test_the_readers_folder_copied_alone_runs_without_site_packages(tmp_path: Path, start: list[str]) -> None:
    shutil.copytree(PACKAGES["raplica_reader"], tmp_path / "raplica_reader", ignore=shutil.ignore_patterns("*.pyc"))
    powercap = tmp_path / "sys" / "class" / "powercap"
    powercap.mkdir(parents=True)
    helped = python(*start, "--help", cwd=tmp_path)
    assert (helped.returncode, helped.stderr) == (0, "")
    listed = python(*start, "list", "--json", "--sysfs", str(tmp_path / "sys"), cwd=tmp_path)
    assert "Traceback" not in listed.stderr
    assert "zones" in listed.stdout


def test_the_reader_loads_the_standard_library_and_itself_only(tmp_path: Path) -> None:
    shutil.copytree(PACKAGES["raplica_reader"], tmp_path / "raplica_reader")
    program = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "import pkgutil, raplica_reader\n"
        "for found in pkgutil.walk_packages(raplica_reader.__path__, 'raplica_reader.'):\n"
        "    found.name.endswith('__main__') or __import__(found.name)\n"
        "tops = {name.partition('.')[0] for name in sys.modules}\n"
        "print(*sorted(tops - set(sys.stdlib_module_names) - {'__main__'}))\n"
    )
    told = python("-I", "-S", "-c", program)
    assert told.returncode == 0, told.stderr
    assert told.stdout.split() == ["raplica_reader"]
