# SPDX-License-Identifier: Apache-2.0
"""The drivers of other people's tools: with which program each is started."""

import sys
from pathlib import Path

import pytest

from raplica_conformance.readers import placed
from raplica_conformance.readers.tools import __main__ as starting

HERE = Path(starting.__file__).parent


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    commands: list[list[str]] = []

    def main(arguments: list[str]) -> int:
        commands.append(list(arguments))
        return 0

    monkeypatch.setattr(placed, "main", main)
    return commands


def test_a_driver_is_started_by_the_python_that_has_its_tool(
    started: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "lib/python3.99/site-packages/perun"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    monkeypatch.setenv("RAPLICA_TOOLS_PYTHON", str(tmp_path / "bin/python"))
    for words in (
        ("/m/sys", "rdmsr"),
        ("/m/sys", "perun", "perun", "4"),
        ("--stepped", "library", "json"),
        ("--stepped", "endpoint", "--url", "x"),
        ("--stepped", "papi", "rapl"),
    ):
        assert starting.main(words) == 0
    rdmsr, perun_, library_, endpoint_, papi_ = started
    assert rdmsr[:2] == ["/m/sys", "--"]
    assert rdmsr[-1] == str(HERE / "rdmsr.sh")
    theirs = str(tmp_path / "bin/python")
    assert perun_ == ["/m/sys", "--", theirs, "-W", "ignore", str(HERE / "perun.py"), str(tmp_path / "bin/perun"), "4"]
    ours = ["--stepped", "--", sys.executable, "-W", "ignore"]
    assert library_ == [*ours, str(HERE / "library.py"), "json"]
    assert endpoint_ == [*ours, str(HERE / "endpoint.py"), "--url", "x"]
    assert papi_ == [*ours, "-m", "raplica_conformance.readers.tools.papi", "rapl"]


def test_a_tool_that_no_python_has_is_named_with_what_to_do(
    started: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAPLICA_TOOLS_PYTHON", raising=False)
    assert starting.main(("--stepped", "library", "no_such_package")) == 127
    assert started == []
    told = capsys.readouterr().err
    assert told.startswith("no_such_package is not installed: name a Python that has it in RAPLICA_TOOLS_PYTHON")
    assert told.count("\n") == 1
